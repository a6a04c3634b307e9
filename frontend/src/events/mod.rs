//! VM entries and exits as events, written down in one of several forms (`--events`).
//!
//! Reading order: this file (what is chosen, and where it goes), `decode` (what an exit is about), `xen` (names of
//! hypercalls), `forms` (text, JSON lines), `chrome` (the form that trace viewers read), `named` (exits in a trace).

mod chrome;
mod decode;
mod forms;
mod named;
mod xen;

use crate::counts::Counts;
use crate::output::Output;
use crate::status::Failure;
use crate::stop::Stop;
use crate::values::{self, Parsed};
pub(crate) use named::exits_by_name;
use platform::machine::{Transition, exit_reason};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::path::PathBuf;

/// What `--events` takes.
const ACCEPTED: &str = "accepted is FILE.json, FILE.jsonl or FILE.txt, then domain=NAME, reason=NUMBER, \
     except=NUMBER, from=N, to=N and last=N behind commas";

/// A value of `--events`: where events go, and which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chosen {
    file: PathBuf,
    domains: Vec<String>,
    reasons: Vec<u32>,
    except: Vec<u32>,
    from: Option<u64>,
    to: Option<u64>,
    last: Option<usize>,
}

/// Reads a value of `--events`.
pub(crate) fn chosen(text: &str) -> Parsed<Chosen> {
    let parts = values::list(text);
    let file = PathBuf::from(&parts[0]);
    form(&file, false).ok_or(ACCEPTED)?;
    let mut chosen = Chosen { file, ..Chosen::default() };
    for part in &parts[1..] {
        let (key, value) = part.split_once('=').ok_or(ACCEPTED)?;
        chosen.set(key, value).ok_or_else(|| format!("{part}: {ACCEPTED}"))?;
    }
    Ok(chosen)
}

impl Chosen {
    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "domain" if !value.is_empty() => self.domains.push(value.into()),
            "reason" => self.reasons.push(value.parse().ok()?),
            "except" => self.except.push(value.parse().ok()?),
            "from" => self.from = Some(value.parse().ok()?),
            "to" => self.to = Some(value.parse().ok()?),
            "last" => self.last = Some(value.parse().ok().filter(|n| *n > 0)?),
            _ => return None,
        }
        Some(())
    }

    /// Whether a passage is wanted. Its reason is that of the exit.
    fn wants(&self, passage: &Passage) -> bool {
        let reason = passage.exit.reason & 0xFFFF;
        (self.domains.is_empty() || self.domains.contains(&passage.domain))
            && (self.reasons.is_empty() || self.reasons.contains(&reason))
            && !self.except.contains(&reason)
            && self.from.is_none_or(|from| passage.exit.at >= from)
            && self.to.is_none_or(|to| passage.exit.at <= to)
    }
}

/// A guest's way from its entry to its exit, and an entry that has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Passage {
    processor: usize,
    /// The level's place: 0 is the hypervisor.
    place: usize,
    domain: String,
    /// When the guest was entered; `None`: it was not.
    entered: Option<u64>,
    /// When the hypervisor had begun, and with what, if that is known.
    before: Option<(u64, String)>,
    exit: Exit,
}

/// A VM exit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Exit {
    /// Time of the processor, over resets, in nanoseconds of the machine's clock.
    at: u64,
    rip: u64,
    reason: u32,
    qualification: u64,
    physical: u64,
    rax: u64,
    rcx: u64,
}

impl Exit {
    fn name(&self) -> &'static str {
        exit_reason(self.reason)
    }
}

/// A form in which events are written.
trait Form: Send {
    /// The text of a passage.
    fn passage(&mut self, passage: &Passage) -> String;

    /// What stands after the last event.
    fn end(&mut self) -> String {
        String::new()
    }
}

/// The form of a file of this name. With `xen` the guests' calls are Xen's.
fn form(file: &std::path::Path, xen: bool) -> Option<Box<dyn Form>> {
    match file.extension()?.to_str()? {
        "json" => Some(Box::new(chrome::Chrome::new(xen))),
        "jsonl" => Some(Box::new(forms::Lines { xen })),
        "txt" => Some(Box::new(forms::Text { xen })),
        _ => None,
    }
}

/// What is known of a processor.
#[derive(Default)]
struct Processor {
    /// When the guest that runs was entered.
    entered: Option<u64>,
    /// When the last guest has left, and why.
    left: Option<(u64, String)>,
}

/// Writes events down.
pub(crate) struct Events {
    chosen: Chosen,
    form: Box<dyn Form>,
    to: Output,
    processors: BTreeMap<usize, Processor>,
    /// With `last=`, the events before the end.
    ring: VecDeque<Passage>,
}

impl Events {
    /// Begins the file. `xen`: the guests' calls are Xen's.
    pub(crate) fn create(chosen: &Chosen, xen: bool) -> Result<Self, Failure> {
        let what = format!("--events {}", chosen.file.display());
        let failed =
            |e| Failure::usage(&what, format!("{e}; accepted is a file that can be written"));
        let form = form(&chosen.file, xen).ok_or_else(|| Failure::usage(&what, ACCEPTED))?;
        let to = Output::new(File::create(&chosen.file).map_err(failed)?)?;
        Ok(Self {
            chosen: chosen.clone(),
            form,
            to,
            processors: BTreeMap::new(),
            ring: VecDeque::new(),
        })
    }

    /// Writes what the processors have passed through; their clocks began `offset` ago.
    pub(crate) fn write(
        &mut self,
        transitions: Vec<(usize, Transition)>,
        offset: u64,
        counts: &mut Counts,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let mut text = String::new();
        for (processor, transition) in transitions {
            let place = counts.place(transition.level);
            let Some(mut passage) = self.passage(processor, place, &transition, offset) else {
                continue;
            };
            passage.domain.clone_from(&counts.levels()[place].name);
            text.push_str(&self.wanted(passage));
        }
        self.to.write(text.into_bytes(), stop).map_err(|error| failed(&error))
    }

    /// The passage that ends with a transition, whose domain is not named yet.
    fn passage(
        &mut self,
        processor: usize,
        place: usize,
        transition: &Transition,
        offset: u64,
    ) -> Option<Passage> {
        let known = self.processors.entry(processor).or_default();
        let Some(exit) = Exit::of(transition, offset) else {
            known.entered = Some(transition.at.saturating_add(offset));
            return None;
        };
        let entered = known.entered.take();
        let before = known.left.replace((exit.at, exit.name().to_owned()));
        Some(Passage { processor, place, domain: String::new(), entered, before, exit })
    }

    /// The text of a passage, if it is wanted, and now.
    fn wanted(&mut self, passage: Passage) -> String {
        match self.chosen.last {
            _ if !self.chosen.wants(&passage) => String::new(),
            None => self.form.passage(&passage),
            Some(last) => {
                if self.ring.len() == last {
                    self.ring.pop_front();
                }
                self.ring.push_back(passage);
                String::new()
            }
        }
    }

    /// The machine starts again.
    pub(crate) fn restart(&mut self) {
        self.processors.clear();
    }

    /// Ends the file.
    pub(crate) fn finish(&mut self, stop: &Stop) -> Result<(), Failure> {
        let last: String = self.ring.drain(..).map(|passage| self.form.passage(&passage)).collect();
        let text = last + &self.form.end();
        let written = self.to.write(text.into_bytes(), stop);
        written.and_then(|()| self.to.finish(stop)).map_err(|error| failed(&error))
    }
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::emulator(format_args!("--events: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let found = chosen(text).map_or_else(|why| why, |chosen| format!("{chosen:?}"));
        assert!(found.contains(expect), "{found} lacks {expect}");
    }

    #[test]
    fn choices() {
        check("f.json", "file: \"f.json\", domains: []");
        check("a,,b.jsonl,domain=a,domain=b,reason=48,except=30,from=1,to=2,last=3", "a,b.jsonl");
        check("f.txt,last=3", "last: Some(3)");
        for wrong in ["", "f", "f.xml", ".json", "f.json,last", "f.json,last=0", "f.json,x=1"] {
            check(wrong, ACCEPTED);
        }
        check("f.json,reason=x", "reason=x: accepted is FILE.json");
    }

    #[test]
    fn which_are_wanted() {
        let exit =
            Exit { at: 5, rip: 0, reason: 30, qualification: 0, physical: 0, rax: 0, rcx: 0 };
        let passage = Passage {
            processor: 0,
            place: 1,
            domain: "a".into(),
            entered: None,
            before: None,
            exit,
        };
        let wants = |more: &str| chosen(&format!("f.txt{more}")).unwrap().wants(&passage);
        for more in
            ["", ",domain=a", ",domain=b,domain=a", ",reason=30", ",except=48", ",from=5,to=5"]
        {
            assert!(wants(more), "{more}");
        }
        for more in [",domain=b", ",reason=48", ",except=30", ",from=6", ",to=4"] {
            assert!(!wants(more), "{more}");
        }
    }
}
