//! Rust's tokens, as far as paths need them.

/// The tokens of `text`: words (numbers too), `::`, lifetimes, strings with their quotes, and
/// single marks. Comments are left out, and so are characters.
pub(super) fn tokens(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let length = length(&text[at..]);
        let token = &text[at..at + length];
        at += length;
        if !token.starts_with(char::is_whitespace) && !comment(token) && !character(token) {
            found.push(token);
        }
    }
    found
}

fn comment(token: &str) -> bool {
    token.starts_with("//") || token.starts_with("/*")
}

fn character(token: &str) -> bool {
    token.len() > 1 && token.starts_with('\'') && token.ends_with('\'')
}

/// The bytes of the token at the start of `text`.
fn length(text: &str) -> usize {
    let first = text.chars().next().map_or(0, char::len_utf8);
    let bytes = text.as_bytes();
    match bytes[0] {
        b'/' if text.starts_with("//") => text.find('\n').unwrap_or(text.len()),
        b'/' if text.starts_with("/*") => block_comment(text),
        b':' if text.starts_with("::") => 2,
        b'"' => string(text),
        b'\'' => quote(text),
        _ if word_like(text.chars().next()) => raw(text).unwrap_or_else(|| word(text)),
        _ => first,
    }
}

fn word_like(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

fn word(text: &str) -> usize {
    text.find(|c| !word_like(Some(c))).unwrap_or(text.len())
}

/// `/* … */` with others inside.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        depth += i32::from(rest.starts_with(b"/*")) - i32::from(rest.starts_with(b"*/"));
        let mark = rest.starts_with(b"/*") || rest.starts_with(b"*/");
        at += if mark { 2 } else { 1 };
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// A string with escapes, its quotes included.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

/// A character or a lifetime.
fn quote(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((after, _))) => {
            text[after + 1..].find('\'').map_or(text.len(), |end| after + 1 + end + 1)
        }
        (_, Some((end, '\''))) => end + 1,
        _ => 1 + word(&text[1..]),
    }
}

/// A string with a prefix: `b"…"`, `r#"…"#`.
fn raw(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r"].into_iter().find(|p| {
        text.strip_prefix(p).is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    })?;
    let rest = &text[prefix.len()..];
    if !prefix.ends_with('r') {
        return rest.starts_with('"').then(|| prefix.len() + string(rest));
    }
    let marks = rest.find('"')?;
    let end = format!("\"{}", &rest[..marks]);
    let begin = prefix.len() + marks + 1;
    Some(text[begin..].find(&end).map_or(text.len(), |at| begin + at + end.len()))
}
