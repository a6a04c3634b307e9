//! The run as a process of the host: in the background (`-daemonize`), and with its number in a file (`-pidfile`).

use crate::status::{Failure, Status};
use std::env;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Tells the process in the background that it is the one.
const DAEMON: &str = "STRATA_DAEMON";

/// How the run is to be a process.
#[derive(Debug, Default, Clone, clap::Args)]
pub(crate) struct Process {
    /// Go on in the background as soon as serial ports and monitors can be reached
    #[arg(long)]
    pub(crate) daemonize: bool,
    /// A file for the number of the process, which is removed at its end
    #[arg(long, value_name = "FILE")]
    pub(crate) pidfile: Option<PathBuf>,
}

impl Process {
    /// The run belongs in another process than this.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.daemonize && env::var_os(DAEMON).is_none()
    }

    /// Writes the number of the process down.
    pub(crate) fn begin(&self) -> Result<Option<PidFile>, Failure> {
        self.pidfile.clone().map(PidFile::create).transpose()
    }

    /// All can be reached: who has started the run need not wait, and the streams that it had are let go.
    pub(crate) fn ready(&self) -> Result<(), Failure> {
        if !self.daemonize {
            return Ok(());
        }
        // It fails where the process leads a session of its own already.
        _ = rustix::process::setsid();
        let mut out = io::stdout();
        out.write_all(b".").and_then(|()| out.flush()).map_err(Failure::emulator)?;
        let null = OpenOptions::new().read(true).write(true).open("/dev/null");
        let null = null.map_err(Failure::emulator)?;
        let closed = rustix::stdio::dup2_stdin(&null)
            .and_then(|()| rustix::stdio::dup2_stdout(&null))
            .and_then(|()| rustix::stdio::dup2_stderr(&null));
        closed.map_err(Failure::emulator)
    }
}

/// Starts the run in another process, and waits until it can be reached, or has failed: then its exit status is ours.
pub(crate) fn start(argv: &[OsString]) -> Result<Status, Failure> {
    let failed = |error: io::Error| Failure::usage("-daemonize", error);
    let (name, words) =
        argv.split_first().ok_or_else(|| Failure::usage("-daemonize", "no name"))?;
    let mut command = Command::new(env::current_exe().map_err(failed)?);
    command.arg0(name).args(words).env(DAEMON, "1").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let mut ready = [0];
    let said = child.stdout.as_mut().map_or(Ok(0), |said| said.read(&mut ready)).map_err(failed)?;
    if said > 0 {
        return Ok(Status::Success);
    }
    let status = child.wait().map_err(failed)?;
    std::process::exit(status.code().unwrap_or(1))
}

/// A file with the number of the process.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    fn create(path: PathBuf) -> Result<Self, Failure> {
        let written =
            File::create(&path).and_then(|mut file| writeln!(file, "{}", std::process::id()));
        written.map_err(|error| {
            let why = format!("{error}; accepted is a file that can be written");
            Failure::usage(format!("-pidfile {}", path.display()), why)
        })?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.0);
    }
}
