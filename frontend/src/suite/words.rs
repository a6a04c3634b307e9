//! Words of a shell's command line: split as a shell does, and quoted for one.

use std::ffi::OsStr;

/// Splits `text` at blanks outside quotes. Backslashes and both kinds of quotes are a shell's. A command in
/// backquotes, whose output could differ from run to run, is `0`.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut chars = text.chars();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, ' ' | '\t' | '\n') => words.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '`') => {
                let command = chars.by_ref().take_while(|c| *c != '`').count();
                word.get_or_insert_default().push_str(if command > 0 { "0" } else { "" });
            }
            (None | Some('"'), '\\') => {
                let next = chars.next().ok_or("a backslash at the end")?;
                if next != '\n' {
                    word.get_or_insert_default().push(next);
                }
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(quote) = quote {
        return Err(format!("no closing {quote}"));
    }
    words.extend(word);
    Ok(words)
}

/// Words as a line that a shell splits into the same.
pub(super) fn quoted<'a>(words: impl IntoIterator<Item = &'a OsStr>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    let one = |word: &OsStr| {
        let word = word.to_string_lossy();
        match !word.is_empty() && word.chars().all(plain) {
            true => word.into_owned(),
            false => format!("'{}'", word.replace('\'', "'\\''")),
        }
    };
    words.into_iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let check =
            |text: &str, expect: &[&str]| assert_eq!(split(text).unwrap(), expect, "{text}");
        check("", &[]);
        check("  a  b\t c\n", &["a", "b", "c"]);
        check("-cpu max,+x2apic -append 'a b'", &["-cpu", "max,+x2apic", "-append", "a b"]);
        check("\"a 'b' \\\"c\\\"\" '' x'y'z", &["a 'b' \"c\"", "", "xyz"]);
        check("a\\ b \\\n c", &["a b", "c"]);
        check("\"1 `date +%s`\"", &["1 0"]);
        assert_eq!(split("'a").unwrap_err(), "no closing '");
        assert_eq!(split("a\\").unwrap_err(), "a backslash at the end");
    }

    #[test]
    fn what_is_quoted_comes_back() {
        let words = ["a b", "it's", "", "-m=64", "é", "$(x)", "`"];
        let line = quoted(words.iter().map(OsStr::new));
        assert_eq!(split(&line).unwrap(), words);
        assert_eq!(quoted([OsStr::new("-kernel"), OsStr::new("a.b")]), "-kernel a.b");
    }
}
