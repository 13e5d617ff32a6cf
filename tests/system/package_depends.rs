//! The Debian package says which libraries the program is linked with: a machine without them would install what can't start.

use std::fs;
use std::path::Path;
use std::process::Command;

use system_tests::binary;

fn output(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn every_library_that_the_program_is_linked_with_is_a_dependency() {
    let control = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/package/control");
    let control = fs::read_to_string(control).expect("the control file");
    let depends = control.lines().find_map(|line| line.strip_prefix("Depends: ")).expect("dependencies");
    let depends: Vec<&str> = depends.split([',', '|']).map(str::trim).collect();
    let linked = output(Command::new("ldd").arg(binary()));
    let paths: Vec<&str> = linked.lines().filter_map(|line| line.split_once("=> /")?.1.split(' ').next()).collect();
    assert!(paths.len() > 3, "{linked}");
    for path in paths {
        // Debian's packages name some files by the link that /lib is, and some not.
        let real = fs::canonicalize(Path::new("/").join(path)).expect("a library").display().to_string();
        let mut owner = Command::new("dpkg-query");
        let found = owner.args(["--search", &real, real.trim_start_matches("/usr")]).output().expect("it runs");
        let found = String::from_utf8(found.stdout).expect("UTF-8");
        let package = found.split(':').next().unwrap_or_default();
        assert!(depends.contains(&package), "{real} is of {package:?}, and the package depends on {depends:?}");
    }
}
