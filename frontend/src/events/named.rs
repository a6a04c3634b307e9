//! The lines of VM exits in a trace (`-d vmexit`), told as in a text of events.

use super::forms::Text;
use super::{Exit, Form, Passage};
use crate::counts::Counts;
use platform::machine::{Transition, TransitionKind};

/// With what the processor's own line of an exit begins.
const LINE: &str = "vmexit ";

/// A trace whose exits have names: their lines stand in the order of the exits in `passed`.
pub(crate) fn exits_by_name(
    trace: String,
    passed: &[(usize, Transition)],
    offset: u64,
    counts: &mut Counts,
    xen: bool,
) -> String {
    let mut exits = passed.iter().filter_map(|(processor, t)| {
        Exit::of(t, offset).map(|exit| (*processor, counts.place(t.level), exit))
    });
    let Some(mut next) = exits.next().map(Some) else { return trace };
    let mut all = Vec::new();
    for line in trace.lines() {
        let found = if line.starts_with(LINE) { next.take() } else { None };
        if found.is_some() {
            next = exits.next();
        }
        all.push((line, found));
    }
    drop(exits);
    let mut text = String::with_capacity(trace.len());
    for (line, found) in all {
        match found {
            None => text += &format!("{line}\n"),
            Some((processor, place, exit)) => {
                let domain = counts.levels()[place].name.clone();
                let (entered, before) = (None, None);
                text += &Text { xen }.passage(&Passage {
                    processor,
                    place,
                    domain,
                    entered,
                    before,
                    exit,
                });
            }
        }
    }
    text
}

impl Exit {
    /// The exit that a transition is, if it is one.
    pub(super) fn of(transition: &Transition, offset: u64) -> Option<Self> {
        let TransitionKind::Exit { reason, qualification, physical, rax, rcx } = transition.kind
        else {
            return None;
        };
        let at = transition.at.saturating_add(offset);
        Some(Self { at, rip: transition.rip, reason, qualification, physical, rax, rcx })
    }
}
