//! Writes what the fuzz targets begin with below `corpus/` of the working directory.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    for (number, (target, seed)) in backup_core::fuzzing::seeds().into_iter().enumerate() {
        let directory = Path::new("corpus").join(target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}
