//! What of a schema runs with more rights than whoever makes it run: by itself, as code of the server's process, or as its owner.

use crate::component::postgres::plain::statements;

/// By the schema's scripts, which a backup writes for people: event triggers, functions in C, and those that run as their owner. An
/// extension's are its own.
pub(crate) fn later_powers(pre_data: &[u8], post_data: &[u8]) -> Vec<String> {
    [pre_data, post_data].into_iter().flat_map(statements).filter_map(|statement| power(&statement)).collect()
}

fn power(statement: &[u8]) -> Option<String> {
    if let Some(rest) = statement.strip_prefix(b"CREATE EVENT TRIGGER ") {
        return Some(format!("event trigger {}", name(rest, b" ON ")));
    }
    let kinds = [("function", &b"CREATE FUNCTION "[..]), ("procedure", b"CREATE PROCEDURE ")];
    let (kind, rest) = kinds.iter().find_map(|(kind, begin)| Some((kind, statement.strip_prefix(*begin)?)))?;
    // As pg_dump writes it: a line of its own, before the body.
    let line = statement.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"    LANGUAGE "))?;
    let in_c = line == b"c" || line.starts_with(b"c ");
    let as_owner = memchr::memmem::find(line, b" SECURITY DEFINER").is_some();
    let how = match (in_c, as_owner) {
        (false, false) => return None,
        (true, false) => "in C",
        (false, true) => "as its owner",
        (true, true) => "in C, as its owner",
    };
    Some(format!("{kind} {} ({how})", name(rest, b"(")))
}

/// What stands before `end`.
fn name(text: &[u8], end: &[u8]) -> String {
    let end = memchr::memmem::find(text, end).unwrap_or(text.len());
    String::from_utf8_lossy(&text[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_more_rights_than_who_calls_it_is_found() {
        let pre_data = b"SET x = 1;\n\nCREATE FUNCTION public.plain(a integer) RETURNS integer\n    LANGUAGE sql\n    AS $$ SELECT 1;\n\
            CREATE EVENT TRIGGER not_one;\n $$;\n\nCREATE FUNCTION public.owner() RETURNS integer\n    LANGUAGE plpgsql STABLE SECURITY DEFINER\n    AS \
            $_$\n    LANGUAGE c\n$_$;\n\nCREATE FUNCTION public.code(text) RETURNS text\n    LANGUAGE c STRICT\n    AS '$libdir/x', 'code';\n\n\
            CREATE PROCEDURE public.p()\n    LANGUAGE c SECURITY DEFINER\n    AS '$libdir/x', 'p';\n";
        let post_data = b"CREATE EVENT TRIGGER guard ON ddl_command_end\n   EXECUTE FUNCTION public.owner();\n";
        let expected = [
            "function public.owner (as its owner)",
            "function public.code (in C)",
            "procedure public.p (in C, as its owner)",
            "event trigger guard",
        ];
        assert_eq!(later_powers(pre_data, post_data), expected);
    }
}
