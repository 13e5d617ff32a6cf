//! Where in the file values stand.

use super::value::{Map, Value};

/// The line of every value, in the order in which they begin in the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lines(Vec<usize>);

impl Lines {
    /// Of the places, in bytes and ascending, where the values of `source` begin.
    pub(super) fn new(source: &str, places: &[usize]) -> Self {
        let mut newlines = memchr::memchr_iter(b'\n', source.as_bytes()).peekable();
        let mut line = 1;
        let lines = places.iter().map(|place| {
            while newlines.next_if(|newline| newline < place).is_some() {
                line += 1;
            }
            line
        });
        Self(lines.collect())
    }

    /// The line, from 1, of the value at a path of keys; a number stands for an item of an array. `map` is the whole of the
    /// file that these are the lines of.
    pub fn of(&self, map: &Map, path: &[&str]) -> Option<usize> {
        self.0.get(in_map(map, path)?).copied()
    }
}

/// How many values begin before the one at a path.
fn in_map(map: &Map, path: &[&str]) -> Option<usize> {
    // Of a doubled key the last one counts.
    let at = map.0.iter().rposition(|(key, _)| Some(key.as_str()) == path.first().copied())?;
    let before: usize = map.0[..at].iter().map(|(_, value)| count(value)).sum();
    Some(before + below(&map.0[at].1, &path[1..])?)
}

fn below(value: &Value, path: &[&str]) -> Option<usize> {
    match value {
        _ if path.is_empty() => Some(0),
        Value::Map(map) => Some(1 + in_map(map, path)?),
        Value::Array(items) => {
            let at: usize = path[0].parse().ok()?;
            let before: usize = items.get(..at)?.iter().map(count).sum();
            Some(1 + before + below(items.get(at)?, &path[1..])?)
        }
        _ => None,
    }
}

/// The value and all within it.
fn count(value: &Value) -> usize {
    match value {
        Value::Map(map) => 1 + map.0.iter().map(|(_, value)| count(value)).sum::<usize>(),
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_value_knows_its_line() {
        let source = "a: 1\nb: {\n  c: ['x', {\n    d: 2\n  }\n  'y']\n}\nb: { c: [\n'z'\n'w'] }\n\"e\": (\n1\n)\nf 3";
        let (map, lines) = super::super::parser::parse_with_lines(source).expect("a good text");
        let cases: [(&[&str], Option<usize>); 8] = [
            (&["a"], Some(1)),
            (&["b"], Some(8)),
            (&["b", "c"], Some(8)),
            (&["b", "c", "0"], Some(9)),
            (&["b", "c", "1"], Some(10)),
            (&["e"], Some(11)),
            (&["f"], Some(14)),
            (&["b", "c", "2"], None),
        ];
        for (path, line) in cases {
            assert_eq!(lines.of(&map, path), line, "{path:?}");
        }
    }
}
