//! A doc line says the thing: a noun phrase, or a verb with its object.

use super::Tree;

/// A paragraph of fewer words is looked at.
const FEW: usize = 4;

/// Words that refer to something said elsewhere.
#[rustfmt::skip]
const PRONOUNS: [&str; 18] = [
    "it", "its", "this", "that", "these", "those", "they", "them", "their", "what", "which", "who", "whom", "whose",
    "where", "when", "why", "how",
];

/// Words that say nothing by themselves.
#[rustfmt::skip]
const FILLERS: [&str; 52] = [
    "a", "all", "an", "and", "any", "are", "as", "at", "been", "both", "by", "did", "do", "does", "done", "each",
    "every", "everything", "everywhere", "for", "from", "had", "has", "have", "here", "in", "is", "no", "none", "not",
    "nothing", "nowhere", "of", "on", "one", "only", "or", "other", "others", "same", "so", "some", "such", "the",
    "there", "to", "two", "was", "were", "whether", "with", "yet",
];

/// Paragraphs of documentation that are a pronoun or a fragment, and lines that end in "it".
pub fn docs(tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in tree.rust("") {
        for paragraph in paragraphs(text) {
            let words: Vec<&str> = paragraph.iter().flat_map(|(_, text)| words(text)).collect();
            if is_fragment(&words) {
                let (line, words) = (paragraph[0].0, words.join(" "));
                wrong.push(format!("{path}:{line}: \"{words}\" does not say what is meant"));
            }
            let open = paragraph.iter().filter(|(_, text)| text.ends_with(" it."));
            wrong.extend(open.map(|(line, _)| format!("{path}:{line}: ends in a pronoun")));
        }
    }
    wrong
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
}

/// The paragraphs of `///` lines, without code and headings; each line with its number from 1.
fn paragraphs(text: &str) -> Vec<Vec<(usize, &str)>> {
    let mut found = vec![Vec::new()];
    let mut code = false;
    for (number, line) in text.lines().enumerate() {
        let doc = line.trim().strip_prefix("///").map(str::trim);
        code ^= doc.is_some_and(|doc| doc.starts_with("```"));
        match doc {
            Some(doc) if !code && !doc.is_empty() && !is_mark(doc) && !doc.starts_with('#') => {
                found.last_mut().expect("begins with one").push((number + 1, doc));
            }
            _ => found.push(Vec::new()),
        }
    }
    found.retain(|paragraph| !paragraph.is_empty());
    found
}

/// Whether a line is the start of a section or the bound of a piece of code.
fn is_mark(doc: &str) -> bool {
    doc.starts_with("# ") || doc.starts_with("```")
}

/// Whether a short paragraph names nothing: it refers to something else by a pronoun, or has not
/// two words of its own. `CR0.`, `OUT`-like names and "Linear base address." say enough.
fn is_fragment(words: &[&str]) -> bool {
    if words.len() >= FEW || words.iter().any(|word| is_name(word)) {
        return false;
    }
    let plain = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let plain: Vec<String> = words.iter().map(|word| plain(word)).collect();
    let own = plain
        .iter()
        .filter(|word| word.contains(char::is_alphabetic) && !FILLERS.contains(&word.as_str()));
    plain.iter().any(|word| PRONOUNS.contains(&word.as_str())) || own.count() < 2
}

/// Whether `word` is a name: of an item in backquotes or brackets, or of the SDM in upper case.
fn is_name(word: &str) -> bool {
    let capital = |c: &char| c.is_uppercase() || c.is_ascii_digit();
    let letters: String = word.chars().filter(|c| c.is_alphanumeric()).collect();
    word.contains(['`', '[', '_'])
        || letters.chars().filter(capital).count() > 1
        || (letters.chars().all(char::is_uppercase) && !["A", "I", ""].contains(&letters.as_str()))
}
