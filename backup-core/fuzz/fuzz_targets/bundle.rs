//! No file that is given as a bundle panics, or takes memory without bound.
#![no_main]

use backup_core::Context;
use backup_core::bundle::verify::verify;
use backup_core::context::Environment;
use backup_core::event::Meter;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: Vec<u8>| {
    let context = Context::new(Environment::default());
    let _ = verify(bytes, &context, &Meter::default());
});
