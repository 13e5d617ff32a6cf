//! No `cluster.conf` panics, recurses without bound, or takes long.
#![no_main]

use backup_core::cluster::ClusterConf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Whether it is understood does not matter here.
    let _ = ClusterConf::parse(text);
});
