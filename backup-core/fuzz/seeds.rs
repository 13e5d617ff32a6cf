//! Writes what the fuzz targets begin with below `corpus/` of the working directory. All of this crate is built for fuzzing, so that this is
//! a target too, which does all its work before the first input: run it with `-runs=0`.
#![no_main]

use std::fs;
use std::path::Path;

libfuzzer_sys::fuzz_target!(init: write().expect("a directory to write to"), |_bytes: &[u8]| ());

fn write() -> std::io::Result<()> {
    for (number, (target, seed)) in backup_core::fuzzing::seeds().into_iter().enumerate() {
        let directory = Path::new("corpus").join(target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}
