//! Places where amounts of money are written in other ways, for servers of tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A directory of root's, whoever runs the test; gone with the value.
pub struct RootsPlace(PathBuf);

impl RootsPlace {
    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Default for RootsPlace {
    fn default() -> Self {
        let made = fixtures::as_root("mktemp").arg("-d").output().expect("mktemp runs");
        let path = PathBuf::from(String::from_utf8(made.stdout).expect("UTF-8").trim());
        assert!(fixtures::as_root("chmod").arg("755").arg(&path).status().expect("chmod runs").success());
        Self(path)
    }
}

impl Drop for RootsPlace {
    fn drop(&mut self) {
        let _ = fixtures::as_root("rm").arg("-rf").arg(&self.0).status();
    }
}

/// Places where 1250 is `$ 12,50` and `$ 1.250`, for a server that has `LOCPATH`. Of a locale they have the money alone.
pub fn locales() -> TempDir {
    let directory = reachable();
    for (name, point, thousands, digits, symbol) in [("es_CO", ",", ".", 2, "$"), ("es_CL", ",", ".", 0, "$")] {
        let path = |suffix: &str| directory.path().join(format!("{name}{suffix}"));
        let source = format!(
            "LC_MONETARY\nint_curr_symbol \"XXX \"\ncurrency_symbol \"{symbol}\"\nmon_decimal_point \"{point}\"\n\
             mon_thousands_sep \"{thousands}\"\nmon_grouping 3;3\npositive_sign \"\"\nnegative_sign \"-\"\n\
             int_frac_digits {digits}\nfrac_digits {digits}\np_cs_precedes 1\np_sep_by_space 1\nn_cs_precedes 1\n\
             n_sep_by_space 1\np_sign_posn 1\nn_sign_posn 1\nEND LC_MONETARY\n"
        );
        fs::write(path(".source"), source).expect("a locale's source");
        let made =
            Command::new("localedef").args(["--no-archive", "-c", "-i"]).args([path(".source"), path("")]).output();
        let made = made.expect("missing prerequisite: localedef (package libc-bin)");
        assert!(path("/LC_MONETARY").is_file(), "{made:?}");
    }
    directory
}

/// A directory that the servers' user can reach, in memory where there is enough.
pub fn reachable() -> TempDir {
    let directory = fixtures::quick_directory();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    directory
}
