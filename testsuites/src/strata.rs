//! Runs the `strata` command as a user would, in release mode (or under the profile `checked`, if this program is
//! built under that), and reads what it said.

#[path = "../../hypervisor/runtime/programs.rs"]
pub(crate) mod programs;

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Held while cargo looks whether the command is up to date.
static BUILDING: Mutex<()> = Mutex::new(());

/// How a run of `strata` ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Exit status of the command.
    pub status: Option<i32>,
    /// What it wrote to standard output: the guests' consoles.
    pub stdout: String,
    /// What it wrote to standard error: the summary.
    pub stderr: String,
}

impl Ended {
    /// The hash of the final machine state: the summary's last line.
    pub fn state(&self) -> Result<&str> {
        let last = self.stderr.lines().last().unwrap_or_default();
        let hash = last.strip_prefix("state ").filter(|hash| {
            hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        hash.with_context(|| format!("the last line is no state: '{last}'"))
    }

    /// The lines of the console whose lines begin with `prefix`, without it, without the kernel's
    /// own messages (which begin with a bracket), and with each time at a line's `MARK` cut off.
    pub fn console(&self, prefix: &str) -> Vec<String> {
        let own = self.stdout.lines().filter_map(|line| line.strip_prefix(prefix));
        let plain = own.map(|line| line.trim_end_matches('\r'));
        plain.filter(|line| !line.starts_with('[') && !line.is_empty()).map(untimed).collect()
    }
}

/// `MARK name` of `MARK name seconds`.
fn untimed(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["MARK", name, ..] => format!("MARK {name}"),
        _ => line.to_owned(),
    }
}

/// The command, built if it is not up to date.
pub fn command() -> Result<PathBuf> {
    build(&[], "")
}

/// The command as a debug build.
pub fn debug_command() -> Result<PathBuf> {
    build_under("dev", &[], "")
}

/// As [`command`], built with more of cargo's `args`, in a folder of its own below the target folder.
pub fn build(args: &[&str], folder: &str) -> Result<PathBuf> {
    build_under(profile()?, args, folder)
}

fn build_under(profile: &str, args: &[&str], folder: &str) -> Result<PathBuf> {
    let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let target = target()?.join(folder);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "-q", "--profile", profile, "-p", "frontend"]).args(args);
    cargo.arg("--target-dir").arg(&target);
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    ensure!(cargo.status()?.success(), "strata does not build");
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(target.join(folder).join("strata"))
}

/// The hypervisor alone, built with assertions and overflow checks; its ELF file.
pub fn checked_hypervisor() -> Result<PathBuf> {
    hypervisor("bare-checked", "bare-checked", "")
}

/// The hypervisor with a fault that is to be found; its ELF file.
pub fn planted_hypervisor() -> Result<PathBuf> {
    hypervisor("planted", "bare", "hypervisor/planted")
}

/// The hypervisor, built under `profile` with `features` in a folder of its own.
fn hypervisor(folder: &str, profile: &str, features: &str) -> Result<PathBuf> {
    let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let cargo = env!("CARGO").as_ref();
    let folder = programs::build(cargo, &root, &target()?.join(folder), profile, features);
    Ok(folder.join("strata-hypervisor"))
}

/// The profile that the command is built under.
fn profile() -> Result<&'static str> {
    Ok(if own_folder()?.ends_with("checked") { "checked" } else { "release" })
}

/// The folder that this program was built in, without the profile.
pub fn target() -> Result<PathBuf> {
    Ok(own_folder()?.parent().context("a profile's folder lies in another")?.into())
}

/// The folder of this program's profile: a test lies in target/PROFILE/deps, a program in target/PROFILE.
fn own_folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let mut folders = program.ancestors().skip(1).skip_while(|folder| folder.ends_with("deps"));
    Ok(folders.next().context("programs and tests lie below target/PROFILE")?.into())
}

/// Runs `strata args` to its end, with nothing on its standard input.
pub fn run(args: &[&str]) -> Result<Ended> {
    run_by(&command()?, args)
}

/// As [`run`], by this program.
pub fn run_by(program: &Path, args: &[&str]) -> Result<Ended> {
    let out = Command::new(program).args(args).stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ended { status: out.status.code(), stdout: text(&out.stdout), stderr: text(&out.stderr) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(stdout: &str, stderr: &str) -> Ended {
        Ended { status: Some(0), stdout: stdout.into(), stderr: stderr.into() }
    }

    #[test]
    fn consoles() {
        let text = "(a) [    0.1] x\r\n(a) MARK done 3.25\r\n(b) MARK x 1\n\n(a) hello 1\n";
        assert_eq!(ended(text, "").console("(a) "), ["MARK done", "hello 1"]);
        assert_eq!(ended("\r\n[ 1.0] y\nplain\r\n", "").console(""), ["plain"]);
    }

    #[test]
    fn states() {
        let hash = "0123456789abcdef".repeat(4);
        assert_eq!(ended("", &format!("x\nstate {hash}\n")).state().unwrap(), hash);
        for wrong in ["", "state ", "state 0123\n", &format!("state {hash}\nmore\n")] {
            assert!(ended("", wrong).state().is_err(), "{wrong}");
        }
    }
}
