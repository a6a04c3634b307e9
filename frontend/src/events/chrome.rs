//! Events in the form of Chrome's trace viewer, which Perfetto reads: a track for each domain and processor, a slice
//! from VM entry to VM exit, named by the exit's reason, and on the hypervisor's track what follows from it.

use super::forms::arguments;
use super::{Form, Passage};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The state between two events.
pub(super) struct Chrome {
    xen: bool,
    begun: bool,
    /// Tracks that have their names: the level's place and the processor.
    named: BTreeSet<(usize, usize)>,
}

impl Chrome {
    /// The state before the first event.
    pub(super) fn new(xen: bool) -> Self {
        Self { xen, begun: false, named: BTreeSet::new() }
    }

    /// An event behind those before.
    fn add(&mut self, out: &mut String, event: &Value) {
        out.push_str(if std::mem::replace(&mut self.begun, true) { ",\n" } else { "[\n" });
        out.push_str(&event.to_string());
    }

    /// Names a track before its first event.
    fn track(&mut self, out: &mut String, place: usize, processor: usize, domain: &str) {
        if !self.named.insert((place, processor)) {
            return;
        }
        let ids = |name: &str, value: String| json!({"ph": "M", "name": name, "pid": place + 1, "tid": processor + 1, "args": {"name": value}});
        self.add(out, &ids("process_name", domain.to_owned()));
        self.add(out, &ids("thread_name", format!("processor {processor}")));
    }
}

/// Microseconds of the machine's clock.
fn micros(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

impl Form for Chrome {
    fn passage(&mut self, passage: &Passage) -> String {
        let Passage { processor, place, domain, entered, before, exit } = passage;
        let mut out = String::new();
        let slice = |name: &str, place: usize, from: u64, to: u64, args: Value| {
            json!({"ph": "X", "cat": "vmx", "name": name, "pid": place + 1, "tid": processor + 1,
                   "ts": micros(from), "dur": micros(to.saturating_sub(from)), "args": args})
        };
        let root = before.as_ref().zip(entered.or(Some(exit.at)));
        if let Some(((left, name), to)) = root {
            self.track(&mut out, 0, *processor, "hypervisor");
            self.add(&mut out, &slice(name, 0, *left, to, json!({})));
        }
        let args = Value::Object(arguments(passage, self.xen));
        self.track(&mut out, *place, *processor, domain);
        let from = entered.unwrap_or(exit.at);
        self.add(&mut out, &slice(exit.name(), *place, from, exit.at, args));
        out
    }

    fn end(&mut self) -> String {
        if std::mem::replace(&mut self.begun, true) { "\n]\n".into() } else { "[]\n".into() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Exit;
    use super::*;

    #[test]
    fn a_file() {
        let exit =
            |at| Exit { at, rip: 0x10, reason: 10, qualification: 0, physical: 0, rax: 0, rcx: 0 };
        let mut chrome = Chrome::new(true);
        let before = Some((1_000, "CPUID".to_owned()));
        let passage = |before, entered, at| Passage {
            processor: 0,
            place: 1,
            domain: "a".into(),
            entered: Some(entered),
            before,
            exit: exit(at),
        };
        let text = chrome.passage(&passage(None, 500, 1_000))
            + &chrome.passage(&passage(before, 1_500, 2_250))
            + &chrome.end();
        let events: Vec<Value> = serde_json::from_str(&text).unwrap();
        let slices: Vec<_> = events
            .iter()
            .filter(|event| event["ph"] == "X")
            .map(|e| format!("{} {} {} {}", e["name"], e["pid"], e["ts"], e["dur"]))
            .collect();
        assert_eq!(slices, ["\"CPUID\" 2 0.5 0.5", "\"CPUID\" 1 1.0 0.5", "\"CPUID\" 2 1.5 0.75"]);
        assert_eq!(events.iter().filter(|event| event["ph"] == "M").count(), 4);
        assert_eq!(Chrome::new(false).end(), "[]\n");
    }
}
