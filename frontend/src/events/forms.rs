//! Events by lines: for people, and as JSON.

use super::decode::details;
use super::{Form, Passage};
use serde_json::{Map, Value, json};

/// A line of text for each exit.
pub(super) struct Text {
    pub(super) xen: bool,
}

impl Form for Text {
    fn passage(&mut self, passage: &Passage) -> String {
        let Passage { processor, domain, exit, .. } = passage;
        let details = details(exit, self.xen);
        let details: String =
            details.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let name = exit.name();
        format!("vmexit {} {domain}/{processor} {name}{details} ip={:#x}\n", exit.at, exit.rip)
    }
}

/// A JSON object a line for each exit.
pub(super) struct Lines {
    pub(super) xen: bool,
}

impl Form for Lines {
    fn passage(&mut self, passage: &Passage) -> String {
        let Passage { processor, place: _, domain, entered, before: _, exit } = passage;
        let mut line = arguments(passage, self.xen);
        line.insert("at".into(), exit.at.into());
        line.insert("entered".into(), json!(entered));
        line.insert("processor".into(), (*processor).into());
        line.insert("domain".into(), domain.as_str().into());
        line.insert("name".into(), exit.name().into());
        format!("{}\n", Value::Object(line))
    }
}

/// What is told of an exit besides its place, time and name.
pub(super) fn arguments(passage: &Passage, xen: bool) -> Map<String, Value> {
    let exit = &passage.exit;
    let mut map = Map::new();
    map.insert("reason".into(), (exit.reason & 0xFFFF).into());
    map.insert("rip".into(), format!("{:#x}", exit.rip).into());
    if exit.reason >> 31 != 0 {
        map.insert("failed".into(), true.into());
    }
    map.extend(details(exit, xen).into_iter().map(|(name, value)| (name.into(), value.into())));
    map
}

#[cfg(test)]
mod tests {
    use super::super::Exit;
    use super::*;

    #[test]
    fn lines() {
        let exit = Exit {
            at: 4_203,
            rip: 0x10,
            reason: 48,
            qualification: 0x182,
            physical: 0xFEE0_0020,
            rax: 0,
            rcx: 0,
        };
        let entered = Some(4_000);
        let passage =
            Passage { processor: 0, place: 2, domain: "a".into(), entered, before: None, exit };
        assert_eq!(
            Text { xen: true }.passage(&passage),
            "vmexit 4203 a/0 EPT violation gpa=0xfee00020 access=write, not mapped ip=0x10\n"
        );
        let line = Lines { xen: true }.passage(&passage);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            value,
            json!({"at": 4203, "entered": 4000, "processor": 0, "domain": "a", "name": "EPT violation",
                   "reason": 48, "rip": "0x10", "gpa": "0xfee00020", "access": "write, not mapped"})
        );
    }
}
