//! `-d`: what is traced, and where the lines go. A VM exit's line is told as `--events` tells it: with domain and
//! processor, and with what the exit is about by name.

use crate::counts::Counts;
use crate::events;
use crate::output::Output;
use crate::status::Failure;
use crate::stop::Stop;
use crate::values;
use platform::machine::{Machine, TraceItems, Transition};
use std::collections::VecDeque;
use std::fs::File;
use std::io::stderr;
use std::path::PathBuf;

/// What is said where the trace's stream takes no more.
const NO_TRACE: &str = "-D: the trace cannot be written";

/// What to write down while running.
#[derive(Debug, Default, Clone, clap::Args)]
pub(crate) struct Trace {
    /// What to trace: int, exec, in_asm, vmexit
    #[arg(long = "d", value_name = "ITEMS", value_delimiter = ',',
          value_parser = ["int", "exec", "in_asm", "vmexit"])]
    pub(crate) items: Vec<String>,
    /// Where the trace goes [default: stderr]
    #[arg(long = "D", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Write the last N lines of the trace only, when the run ends
    #[arg(long, value_name = "N", value_parser = values::lines)]
    pub(crate) last: Option<usize>,
}

impl Trace {
    /// What the machine is to trace.
    pub(crate) fn items(&self) -> TraceItems {
        let asked = |name: &str| self.items.iter().any(|item| item == name);
        TraceItems {
            int: asked("int"),
            exec: asked("exec"),
            in_asm: asked("in_asm"),
            vmexit: asked("vmexit"),
            transitions: asked("vmexit"),
        }
    }
}

/// The lines' way out.
pub(crate) struct Tracing {
    to: Output,
    /// With `--last`, how many lines are kept, and those.
    last: Option<usize>,
    kept: VecDeque<String>,
    /// The guests are domains, whose calls are Xen's.
    xen: bool,
}

impl Tracing {
    /// To where `-D` says, or to standard error.
    pub(crate) fn open(trace: &Trace, xen: bool) -> Result<Self, Failure> {
        let to = match &trace.file {
            None => Output::new(stderr())?,
            Some(path) => {
                let failed = |e| {
                    let what = format!("-D {}", path.display());
                    Failure::usage(what, format!("{e}; accepted is a file that can be written"))
                };
                Output::new(File::create(path).map_err(failed)?)?
            }
        };
        Ok(Self { to, last: trace.last, kept: VecDeque::new(), xen })
    }

    /// Writes down what the machine has traced since the last call; `passed` are its transitions meanwhile, and its
    /// clock began `offset` ago.
    pub(crate) fn write(
        &mut self,
        machine: &mut Machine,
        passed: &[(usize, Transition)],
        offset: u64,
        counts: &mut Counts,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let text = events::exits_by_name(machine.take_trace(), passed, offset, counts, self.xen);
        let text = match self.last {
            None => text,
            Some(most) => self.keep(&text, most),
        };
        self.to.write(text.into_bytes(), stop).map_err(|_| Failure::emulator(NO_TRACE))
    }

    /// Keeps the last lines; nothing is to be written yet.
    fn keep(&mut self, text: &str, most: usize) -> String {
        for line in text.lines() {
            if self.kept.len() == most {
                self.kept.pop_front();
            }
            self.kept.push_back(line.to_owned());
        }
        String::new()
    }

    /// Waits until all is written.
    pub(crate) fn finish(&mut self, stop: &Stop) -> Result<(), Failure> {
        let kept: String = self.kept.drain(..).map(|line| line + "\n").collect();
        let written = self.to.write(kept.into_bytes(), stop);
        written.and_then(|()| self.to.finish(stop)).map_err(|_| Failure::emulator(NO_TRACE))
    }
}
