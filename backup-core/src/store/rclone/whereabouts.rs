//! Whether a remote is on another machine, as far as its type says so.

use super::program::Program;
use crate::context::Environment;
use crate::store::{RcloneAddress, RcloneOptions};

/// Types that lie on this machine, or that change what another remote keeps, wherever that is.
const NOT_KNOWN: [&str; 10] =
    ["alias", "cache", "chunker", "combine", "compress", "crypt", "hasher", "local", "memory", "union"];

/// Whether a remote surely lies elsewhere. rclone is asked for the type alone, which takes no network.
pub(in crate::store) fn is_elsewhere(
    address: &RcloneAddress,
    options: &RcloneOptions,
    environment: &Environment,
) -> bool {
    let variable = format!("RCLONE_CONFIG_{}_TYPE", address.remote.to_uppercase().replace('-', "_"));
    let of_environment = environment.get(&variable).map(str::to_owned);
    let kind = of_environment.or_else(|| {
        let program = Program::new(&address.remote, options, environment.clone().into());
        let ran = program.run(&["listremotes", "--long"], None).ok().filter(super::run::Ran::is_well)?;
        type_of(&String::from_utf8_lossy(&ran.output), &address.remote)
    });
    kind.is_some_and(|kind| !NOT_KNOWN.contains(&kind.as_str()))
}

/// The type of a remote in a list of all.
fn type_of(list: &str, remote: &str) -> Option<String> {
    list.lines().find_map(|line| Some(line.strip_prefix(remote)?.strip_prefix(':')?.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_read_from_the_list_and_the_environment_comes_first() {
        let list = "vault:     s3\nvault two: local\n";
        assert_eq!(type_of(list, "vault"), Some("s3".into()));
        assert_eq!(type_of(list, "vault two"), Some("local".into()));
        assert_eq!(type_of(list, "vau"), None);
        let address = RcloneAddress { remote: "my-vault".into(), path: String::new() };
        let said = |kind: &str| {
            let variables = [("RCLONE_CONFIG_MY_VAULT_TYPE".to_owned(), kind.to_owned())].into();
            let environment = Environment { variables, ..Environment::default() };
            is_elsewhere(&address, &RcloneOptions::default(), &environment)
        };
        assert!(said("azureblob") && !said("crypt") && !said("local"));
    }
}
