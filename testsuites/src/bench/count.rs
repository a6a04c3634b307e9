//! Host instructions by callgrind, guest instructions by Strata's own summary.

use super::peers::Guest;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the guest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// On the bare machine.
    Bare,
    /// In a domU of the bundled hypervisor.
    Nested,
}

/// The programs and the guest that are measured.
pub struct Strata {
    /// The `strata` command.
    pub program: PathBuf,
    /// The bench's guest.
    pub guest: PathBuf,
}

/// What a run took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Instructions of the host, all of the process.
    pub host: f64,
    /// Instructions of the guest.
    pub guest: f64,
}

impl Strata {
    /// The arguments that run the guest with `words`.
    pub fn arguments(&self, level: Level, words: &str) -> Vec<String> {
        let kernel = self.guest.display();
        let nested = [
            "host".into(),
            "--until-domus-end".into(),
            format!("--dom0=kernel={kernel},memory=64M,append=hold"),
            format!("--domu=name=k,kernel={kernel},memory=64M,append=\"{words}\""),
        ];
        match level {
            Level::Nested => nested.into(),
            Level::Bare => Guest::Bench(words).of_strata(self),
        }
    }

    /// Runs the guest under callgrind; what it printed and what it took.
    fn run(&self, level: Level, words: &str) -> Result<(String, Work)> {
        let out = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(&self.program)
            .args(self.arguments(level, words))
            .stdin(Stdio::null())
            .output()
            .context("valgrind is needed: Debian's package valgrind")?;
        let [stdout, stderr] =
            [&out.stdout, &out.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        let name = if level == Level::Bare { "machine" } else { "k" };
        let host = field(&stderr, "Collected", 1).or_else(|| field(&stderr, "Collected:", 1));
        let (Some(host), Some(guest)) = (host, field(&stderr, name, 1)) else {
            anyhow::bail!("{words}: no counts in\n{stdout}\n{stderr}");
        };
        Ok((stdout, Work { host, guest }))
    }

    /// What `name` takes from `low` to `high` times; and both outputs.
    pub fn difference(
        &self,
        level: Level,
        name: &str,
        low: u32,
        high: u32,
    ) -> Result<(Work, String)> {
        let (a, low) = self.run(level, &format!("{name}={low}"))?;
        let (b, high) = self.run(level, &format!("{name}={high}"))?;
        ensure!(high.guest > low.guest, "{name}: the guest did nothing:\n{a}\n{b}");
        Ok((Work { host: high.host - low.host, guest: high.guest - low.guest }, a + &b))
    }
}

/// The number in the first line that has `word`, `after` places after it; a colon is no place.
fn field(text: &str, word: &str, after: usize) -> Option<f64> {
    text.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().filter(|w| *w != ":").collect();
        let at = words.iter().position(|w| *w == word)?;
        words.get(at + after)?.parse().ok()
    })
}

/// A `strata` command at `path`, or the workspace's own.
pub fn program(path: Option<&Path>) -> Result<PathBuf> {
    path.map_or_else(crate::strata::command, |path| Ok(path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let text = "x\n==7== Collected : 123\nlevel instructions seconds\nk     45    0.1 2\n";
        assert_eq!(field(text, "Collected", 1), Some(123.0));
        assert_eq!(field(text, "k", 1), Some(45.0));
        assert_eq!(field(text, "level", 1), None);
        assert_eq!(field(text, "none", 1), None);
    }
}
