//! What a chunk's rows are of: the table and the columns that its `COPY` names.

use std::collections::HashMap;

use super::sql;

/// A table and some of its columns, by their names as they are, in the database's encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) table: Relation,
    pub(crate) columns: Vec<Vec<u8>>,
}

/// Schema and name of a table.
pub(crate) type Relation = (Vec<u8>, Vec<u8>);

/// Keys of tables, the best of each first.
pub(crate) type Keys = HashMap<Relation, Vec<Vec<Vec<u8>>>>;

impl Head {
    /// Reads `schema.table (column, …)`, where what stands in parentheses may be missing.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (table, rest) = relation(text)?;
        if rest.is_empty() {
            return Some(Self { table, columns: Vec::new() });
        }
        let (columns, rest) = columns(rest.strip_prefix(b" (")?)?;
        rest.is_empty().then_some(Self { table, columns })
    }

    /// Reads `COPY … FROM stdin;`.
    pub(super) fn of_copy(statement: &[u8]) -> Option<Self> {
        Self::parse(statement.strip_prefix(b"COPY ")?.strip_suffix(b" FROM stdin;\n")?)
    }

    /// Reads what a chunk begins with.
    pub(crate) fn of_preamble(preamble: &[u8]) -> Option<Self> {
        // The settings before it end with an empty line, and hold none.
        Self::of_copy(&preamble[memchr::memmem::find(preamble, b"\n\nCOPY ")? + 2..])
    }
}

/// The primary keys that a script of `pg_dump` makes.
pub(crate) fn primary_keys(script: &[u8]) -> Keys {
    const TABLE: &[u8] = b"\nALTER TABLE ONLY ";
    let key = |at: usize| {
        let (table, rest) = relation(&script[at + TABLE.len()..])?;
        let rest = rest.strip_prefix(b"\n    ADD CONSTRAINT ")?;
        let rest = rest[sql::after_identifier(rest)..].strip_prefix(b" PRIMARY KEY (")?;
        Some((table, vec![columns(rest)?.0]))
    };
    memchr::memmem::find_iter(script, TABLE).filter_map(key).collect()
}

/// Reads `schema.table`; also gives what follows it.
fn relation(text: &[u8]) -> Option<(Relation, &[u8])> {
    let (schema, rest) = name(text);
    let (table, rest) = name(rest.strip_prefix(b".")?);
    Some(((schema, table), rest))
}

/// Reads names up to the parenthesis that ends them; also gives what follows it.
fn columns(text: &[u8]) -> Option<(Vec<Vec<u8>>, &[u8])> {
    let (mut columns, mut rest) = (Vec::new(), text);
    loop {
        let (column, after) = name(rest);
        columns.push(column);
        match after.strip_prefix(b", ") {
            Some(more) => rest = more,
            None => return Some((columns, after.strip_prefix(b")")?)),
        }
    }
}

/// Reads a name, quoted or not; also gives what follows it.
fn name(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let quoted = text.first() == Some(&b'"');
    let end = sql::after_identifier(text);
    let end = if quoted { end } else { memchr::memchr(b')', &text[..end]).unwrap_or(end) };
    let (name, rest) = text.split_at(end);
    let Some(inner) = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")) else {
        return (name.to_vec(), rest);
    };
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        plain.push(*byte);
        if *byte == b'"' {
            // Its double.
            bytes.next();
        }
    }
    (plain, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(table: (&str, &str), columns: &[&str]) -> Head {
        let bytes = |text: &str| text.as_bytes().to_vec();
        Head { table: (bytes(table.0), bytes(table.1)), columns: columns.iter().map(|column| bytes(column)).collect() }
    }

    #[test]
    fn names_are_read_as_they_are_whatever_stands_in_them() {
        let preamble = [sql::preamble("UTF8"), b"COPY s.\"t (\" (a, \"b\"\", )\", \"c\n\") FROM stdin;\n".to_vec()];
        assert_eq!(Head::of_preamble(&preamble.concat()), Some(head(("s", "t ("), &["a", "b\", )", "c\n"])));
        assert_eq!(Head::of_copy(b"COPY s.none FROM stdin;\n"), Some(head(("s", "none"), &[])));
        assert_eq!(Head::of_copy(b"COPY s.t (a FROM stdin;\n"), None);
        assert_eq!(Head::of_copy(b"DROP TABLE x"), None);
    }

    #[test]
    fn primary_keys_are_found_in_a_script() {
        let script = b"--\n\nALTER TABLE ONLY s.t\n    ADD CONSTRAINT \"t p\" PRIMARY KEY (a, \"B\") INCLUDE (c);\n\n\
            ALTER TABLE ONLY s.u\n    ADD CONSTRAINT u_key UNIQUE (a);\n\nALTER TABLE ONLY s.v ATTACH PARTITION s.w;\n";
        let key = head(("s", "t"), &["a", "B"]);
        assert_eq!(primary_keys(script), Keys::from([(key.table, vec![key.columns])]));
    }
}
