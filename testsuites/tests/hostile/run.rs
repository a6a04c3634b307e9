//! Runs `strata` as a child, and what the host says that it has used.
#![expect(unsafe_code, reason = "asks the host about a child")]

use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What a child has used.
#[derive(Debug, Clone)]
pub(crate) struct Used {
    /// Exit status; none after a signal.
    pub(crate) status: Option<i32>,
    /// Seconds of processor time.
    pub(crate) cpu: f64,
    /// The most bytes that were resident.
    pub(crate) memory: u64,
    /// What it wrote to standard output, if that was kept.
    pub(crate) stdout: String,
    /// What it wrote to standard error.
    pub(crate) stderr: String,
}

/// Seconds that each guest runs: `STRATA_HOSTILE_SECONDS`, or 1.
#[expect(clippy::disallowed_methods, reason = "how long the suite runs is the user's choice")]
pub(crate) fn seconds() -> u64 {
    let asked = std::env::var("STRATA_HOSTILE_SECONDS").ok();
    asked.map_or(1, |asked| asked.parse().expect("STRATA_HOSTILE_SECONDS is a number"))
}

/// `strata args` under limits of the host's.
fn limited(args: &[String]) -> Result<Command> {
    let strata = testsuites::strata::command()?;
    let limits = format!("ulimit -t {}; ulimit -v 8000000; exec \"$0\" \"$@\"", seconds() + 120);
    let mut command = Command::new("sh");
    command.arg("-c").arg(limits).arg(strata).args(args);
    Ok(command)
}

/// A running command, that the host ends if it takes much more than it may, and the file that has its
/// standard output, if that is kept.
pub(crate) struct Run(Child, Option<PathBuf>);

impl Run {
    /// Starts the command with `args`. Standard input is `input`, or nothing; standard output goes nowhere.
    pub(crate) fn start(args: &[String], input: Option<&str>) -> Result<Run> {
        let mut command = limited(args)?;
        command.stdin(File::open(input.unwrap_or("/dev/null"))?);
        Ok(Run(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?, None))
    }

    /// Starts the command with `args`, and keeps its standard output in the file `name`.
    pub(crate) fn start_kept(args: &[String], name: &str) -> Result<Run> {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{name}.out"));
        let mut command = limited(args)?;
        command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(Stdio::piped());
        Ok(Run(command.spawn()?, Some(out)))
    }

    /// Seconds of processor time so far. proc(5): fields 14 and 15 of `stat`, in hundredths.
    fn cpu(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("a line of /proc")?;
        ensure!(!fields.starts_with(" Z"), "it has ended");
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
    }

    /// Lets it run for `seconds` of processor time, and sends SIGINT; how much it had used then.
    pub(crate) fn interrupt_after(&mut self, seconds: f64) -> Result<f64> {
        loop {
            let cpu = self.cpu()?;
            if cpu >= seconds {
                // SAFETY: no memory is involved, and the child has not been waited for.
                ensure!(unsafe { libc::kill(self.0.id() as i32, libc::SIGINT) } == 0, "kill");
                return Ok(cpu);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Result<Used> {
        let mut stderr = String::new();
        self.0.stderr.take().context("a pipe")?.read_to_string(&mut stderr)?;
        let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
        // SAFETY: both are written to, and the child is waited for once.
        let usage = unsafe {
            let pid = libc::wait4(self.0.id() as i32, &mut status, 0, usage.as_mut_ptr());
            ensure!(pid == self.0.id() as i32, "wait4");
            usage.assume_init()
        };
        let kept = self.1.map(fs::read).transpose()?.unwrap_or_default();
        let time = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
        Ok(Used {
            status: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
            cpu: time(usage.ru_utime) + time(usage.ru_stime),
            memory: usage.ru_maxrss as u64 * 1024,
            stdout: String::from_utf8_lossy(&kept).into_owned(),
            stderr,
        })
    }
}

impl Used {
    /// The instructions that the bare machine has retired, and the hash of its state, by the summary.
    pub(crate) fn ended_at(&self) -> Result<(u64, &str)> {
        let line = self.stderr.lines().find(|line| line.starts_with("machine "));
        let line = line.or_else(|| self.stderr.lines().find(|line| line.starts_with("all ")));
        let count = line.and_then(|line| line.split_whitespace().nth(1)).context("a summary")?;
        let state = self.stderr.lines().last().and_then(|line| line.strip_prefix("state "));
        Ok((count.parse()?, state.context("a state")?))
    }
}
