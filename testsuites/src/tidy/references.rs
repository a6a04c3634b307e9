//! What the documents name is there: files and folders of the repository, and the definitions that they are
//! said to hold.

use super::{CRATES, Tree, readme};

/// What stands before the name in a definition.
const KEYWORDS: [&str; 9] =
    ["const", "enum", "fn", "macro_rules!", "mod", "static", "struct", "trait", "type"];

/// The references of the documents that lead nowhere: paths in backquotes, and names in backquotes that
/// follow a file's path and a colon, or one another and a comma.
pub fn references(tree: &Tree) -> Vec<String> {
    readme::documents(tree)
        .flat_map(|(document, text)| {
            let wrong = dangling(tree, text).into_iter();
            wrong.map(move |why| format!("{document}: {why}"))
        })
        .collect()
}

/// What is wrong with the references in one document's `text`.
fn dangling(tree: &Tree, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut file, mut before) = (None, "");
    for (number, piece) in text.split('`').enumerate() {
        if number % 2 == 0 {
            before = piece.trim();
        } else if is_path(piece) {
            let there = tree.0.keys().any(|path| leads_to(piece, path));
            wrong.extend((!there).then(|| format!("there is no {piece}")));
            file = tree.0.get_key_value(piece);
        } else {
            file = file.filter(|_| matches!(before, ":" | ",") && is_name(piece));
            let lacks = file.filter(|(_, text)| !defines(text, piece));
            wrong.extend(lacks.map(|(path, _)| format!("{path} defines no {piece}")));
        }
    }
    wrong
}

/// Whether `text` is written like a path into a crate's folder or that of the documents.
fn is_path(text: &str) -> bool {
    let ours = |top: &str| top == "docs" || CRATES.iter().any(|(folder, _)| *folder == top);
    text.split_once('/').is_some_and(|(top, _)| ours(top)) && !text.contains(char::is_whitespace)
}

/// Whether `path` is the file `reference`, or a file below the folder `reference`.
fn leads_to(reference: &str, path: &str) -> bool {
    let rest = path.strip_prefix(reference.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Whether the source `text` defines `name`.
fn defines(text: &str, name: &str) -> bool {
    let word = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    KEYWORDS.iter().any(|keyword| {
        let definition = format!("{keyword} {name}");
        text.split(&definition).skip(1).any(word)
    })
}
