//! Names of this machine's users and groups.

use std::collections::HashMap;
use std::fs;

/// The longest name that a tar header has room for.
const LONGEST: usize = 31;

/// Users and groups by their numbers, as `/etc/passwd` and `/etc/group` have them.
pub(crate) struct Accounts {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Accounts {
    /// Reads both files; one that can't be read has nobody in it.
    pub(crate) fn load() -> Self {
        let read = |path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let line = |line: &str| {
                let mut fields = line.split(':');
                let name = fields.next().filter(|name| name.len() <= LONGEST)?;
                Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
            };
            text.lines().filter_map(line).collect()
        };
        Self { users: read("/etc/passwd"), groups: read("/etc/group") }
    }

    /// A user's name; empty where the number has none.
    pub(crate) fn user(&self, number: u32) -> String {
        self.users.get(&number).cloned().unwrap_or_default()
    }

    /// A group's name; empty where the number has none.
    pub(crate) fn group(&self, number: u32) -> String {
        self.groups.get(&number).cloned().unwrap_or_default()
    }

    /// The number of a user, where one has the name.
    pub(crate) fn user_number(&self, name: &str) -> Option<u32> {
        number(&self.users, name)
    }

    /// The number of a group, where one has the name.
    pub(crate) fn group_number(&self, name: &str) -> Option<u32> {
        number(&self.groups, name)
    }
}

fn number(names: &HashMap<u32, String>, name: &str) -> Option<u32> {
    names.iter().find(|(_, other)| *other == name).map(|(number, _)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_to_one_another() {
        let accounts = Accounts::load();
        assert_eq!((accounts.user(0).as_str(), accounts.user_number("root")), ("root", Some(0)));
        assert_eq!((accounts.group(0).as_str(), accounts.group_number("root")), ("root", Some(0)));
        assert_eq!((accounts.user(u32::MAX - 1).as_str(), accounts.user_number("no such user")), ("", None));
    }
}
