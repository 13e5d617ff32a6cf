//! Whether what is in a store is there still when this machine is gone.

use std::net::IpAddr;
use std::path::Path;

use rustix::fs::statfs;

use super::{Address, StoreSettings, rclone};
use crate::cluster::hosts::own_addresses;
use crate::context::Environment;

/// File systems that another machine keeps, by the number that Linux tells each by: NFS, SMB (three of them), 9P, Ceph, AFS, Lustre,
/// GFS2, OCFS2. What FUSE shows may lie anywhere, and is not counted.
const ELSEWHERE: [u64; 10] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x0102_1997,
    0x00c3_6400,
    0x5346_414f,
    0x0bd0_0bd0,
    0x0116_1970,
    0x7461_636f,
];

impl StoreSettings {
    /// Whether its bundles outlive this machine, as far as can be seen from here: what the settings say, or that it is another
    /// machine's.
    pub fn outlives_this_machine(&self, environment: &Environment) -> bool {
        if let Some(said) = self.elsewhere {
            return said;
        }
        match &self.address {
            Address::Directory(path) => is_elsewhere(path),
            Address::Sftp(address) => !is_here(&address.host, environment),
            Address::Rclone(address) => rclone::is_elsewhere(address, &self.rclone, environment),
            Address::S3(_) => {
                let variable = |name| environment.get(name).map(str::to_owned);
                let endpoint = self.s3.endpoint.clone().or_else(|| variable("AWS_ENDPOINT_URL_S3"));
                let endpoint = endpoint.or_else(|| variable("AWS_ENDPOINT_URL"));
                endpoint.is_none_or(|url| !is_here(host_of(&url), environment))
            }
        }
    }
}

/// Whether a directory, or the nearest one around it, lies on another machine's file system.
fn is_elsewhere(path: &Path) -> bool {
    let there =
        path.ancestors().find_map(|path| statfs(if path == Path::new("") { Path::new(".") } else { path }).ok());
    // The kernel's number is of 32 bits, whatever the field is of.
    there.is_some_and(|there| ELSEWHERE.contains(&u64::from(there.f_type as u32)))
}

/// Whether a name or address is this machine's.
fn is_here(host: &str, environment: &Environment) -> bool {
    if let Ok(address) = host.parse::<IpAddr>() {
        return address.is_loopback() || address.is_unspecified() || own_addresses().contains(&address);
    }
    let host = host.trim_end_matches('.').to_lowercase();
    host == "localhost" || host.ends_with(".localhost") || host == environment.host.to_lowercase()
}

/// The host of a URL.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let machine = authority.rsplit_once('@').map_or(authority, |(_, machine)| machine);
    match machine.strip_prefix('[').and_then(|machine| machine.split_once(']')) {
        Some((address, _)) => address,
        None => machine.split_once(':').map_or(machine, |(host, _)| host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_on_this_machine_goes_with_it_however_it_is_reached() {
        let environment = Environment { host: "Vm.example".into(), ..Environment::default() };
        let outlives = |address: &str, endpoint: Option<&str>| {
            let mut store = StoreSettings::new(Address::parse(Path::new(address)).expect("an address"));
            store.s3.endpoint = endpoint.map(Into::into);
            store.outlives_this_machine(&environment)
        };
        let own = own_addresses().first().map_or_else(
            || "127.0.0.1".into(),
            |address| match address {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            },
        );
        for (address, endpoint, expected) in [
            ("/var/lib", None, false),
            ("/surely/not/there", None, false),
            ("relative", None, false),
            ("sftp://vault/x", None, true),
            ("sftp://root@127.0.0.1:2222/x", None, false),
            ("sftp://[::1]/x", None, false),
            ("sftp://localhost/x", None, false),
            ("sftp://VM.example/x", None, false),
            (&format!("sftp://{own}/x"), None, false),
            ("s3://bucket", None, true),
            ("s3://bucket", Some("https://vault.example.com:9000"), true),
            ("s3://bucket", Some("http://127.0.0.1:9000/"), false),
            ("s3://bucket", Some("http://[::1]:9000/"), false),
            ("s3://bucket", Some("http://minio.localhost"), false),
        ] {
            assert_eq!(outlives(address, endpoint), expected, "{address} {endpoint:?}");
        }
        let said = |elsewhere| {
            let store = StoreSettings::new(Address::Directory("/var/lib".into()));
            StoreSettings { elsewhere: Some(elsewhere), ..store }.outlives_this_machine(&environment)
        };
        assert!(said(true) && !said(false));
    }
}
