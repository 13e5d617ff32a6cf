//! What the process was started with.

use std::path::PathBuf;

use backup_core::context::Environment;

/// Reads environment variables, home directory, user and host name, once.
pub(crate) fn capture() -> Environment {
    let variables: std::collections::BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let account = account();
    Environment {
        home: variables.get("HOME").map(PathBuf::from).or(account.as_ref().map(|(_, home)| home.clone())),
        user: account.map(|(name, _)| name).or_else(|| variables.get("USER").cloned()),
        host: std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
        variables,
    }
}

/// Name and home of the effective user, which libpq takes as defaults.
fn account() -> Option<(String, PathBuf)> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2) == Some(&uid.as_str()))
            .then(|| Some((fields.first()?.to_string(), PathBuf::from(fields.get(5)?))))?
    })
}
