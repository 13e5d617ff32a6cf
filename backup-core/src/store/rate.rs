//! How fast a store may be read and written.

use std::num::NonZeroU64;
use std::str::FromStr;

use serde::Deserialize;

/// Units, as `curl --limit-rate` has them.
const UNITS: [(char, u32); 3] = [('K', 10), ('M', 20), ('G', 30)];

/// Bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rate(NonZeroU64);

impl Rate {
    /// The number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = UNITS.iter().find(|(unit, _)| text.to_ascii_uppercase().ends_with(*unit));
        let number = unit.map_or(text, |_| &text[..text.len() - 1]);
        let bytes =
            number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << unit.map_or(0, |(_, bits)| *bits)));
        let rate = bytes.and_then(NonZeroU64::new).map(Self);
        rate.ok_or_else(|| format!("{text} is no rate: write bytes a second, such as 500K, 20M or 1G"))
    }
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_curl() {
        let rate = |text: &str| text.parse::<Rate>().ok().map(Rate::get);
        assert_eq!(rate("500"), Some(500));
        assert_eq!(rate("500k"), Some(500 << 10));
        assert_eq!(rate("20M"), Some(20 << 20));
        assert_eq!(rate("1G"), Some(1 << 30));
        for bad in ["", "0", "K", "-1", "1.5M", "20MB", "20 M", "99999999999G"] {
            assert_eq!(rate(bad), None, "{bad}");
        }
    }
}
