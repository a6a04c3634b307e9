//! How a test ends: success, failure, error or skip, as in the Xen Test Framework. A *failure* says that the
//! subject is broken and is any failed assertion; an *error* says that the test is, because a tool is missing
//! or crashed, or a guest cannot be built. A *skip* says that this machine cannot run the test.
//!
//! The test harness knows success and failure only. So an error is a panic whose text begins with `error: `,
//! and a skip passes, but is written to `target/skips.txt`, which `.ci/run` prints and counts. A machine that
//! could run the test may not skip: `STRATA_NO_SKIP` lists what is there, by commas.

use std::fmt::Debug;
use std::fs::OpenOptions;
use std::io::Write;

/// The variable with the resources that must not cause a skip.
const NO_SKIP: &str = "STRATA_NO_SKIP";

/// Records that the running test is skipped because `resource` is not there. The caller returns.
///
/// # Panics
///
/// If `STRATA_NO_SKIP` lists `resource`, or the skip cannot be recorded: both are errors.
#[expect(clippy::disallowed_methods, reason = "a test harness reads its environment")]
pub fn skip(resource: &str, why: &str) {
    let there = std::env::var(NO_SKIP).unwrap_or_default();
    assert!(!lists(&there, resource), "error: {resource} should be here, but {why}");
    let thread = std::thread::current();
    let line = format!("{}: {resource}: {why}\n", thread.name().unwrap_or("?"));
    let path = crate::strata::target().needed("the target folder").join("skips.txt");
    let mut file = OpenOptions::new().append(true).create(true).open(path).needed("skips.txt");
    file.write_all(line.as_bytes()).needed("skips.txt");
}

/// Whether `resource` is one of `names`, which commas part.
fn lists(names: &str, resource: &str) -> bool {
    names.split(',').any(|name| name.trim() == resource)
}

/// What a test needs before its subject is looked at.
pub trait Needed<T> {
    /// The value; without one the test ends in an error that names `what`.
    fn needed(self, what: &str) -> T;
}

impl<T, E: Debug> Needed<T> for Result<T, E> {
    #[track_caller]
    fn needed(self, what: &str) -> T {
        self.unwrap_or_else(|why| panic!("error: {what}: {why:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_resources() {
        assert!(lists("iasl", "iasl"));
        assert!(lists("grub, iasl", "iasl"));
        assert!(!lists("", "iasl"));
        assert!(!lists("iasl2,no-iasl", "iasl"));
    }

    #[test]
    #[should_panic(expected = "error: a file: \"gone\"")]
    fn errors_say_so() {
        Err::<(), _>("gone").needed("a file");
    }
}
