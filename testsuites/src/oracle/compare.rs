//! What differs between two outcomes.

use super::case::{Case, Outcome};
use super::differences;
use super::silicon::Silicon;
use std::fmt::LowerHex;

/// The differences between silicon's outcome and ours, a line each; nothing if there are none.
pub fn compare(case: &Case, silicon: Silicon, host: &Outcome, ours: &Outcome) -> Vec<String> {
    if host == ours {
        return Vec::new();
    }
    let mut host = host.clone();
    differences::settle(case, silicon, &mut host, ours);
    let host = &host;
    if host == ours {
        return Vec::new();
    }
    let mut table = Table(vec![format!("{case}")]);
    let (h, o) = (&host.state, &ours.state);
    table.row("vector", host.event.vector, ours.event.vector);
    table.row("error", host.event.error, ours.event.error);
    table.row("cr2", host.event.address, ours.event.address);
    table.row("rip", h.rip, o.rip);
    table.row("flags", h.flags, o.flags);
    table.rows("r", &h.regs, &o.regs);
    table.rows("seg", &h.segs, &o.segs);
    table.rows("base", &h.bases, &o.bases);
    table.row("mxcsr", h.mxcsr, o.mxcsr);
    table.row("cw", h.cw, o.cw);
    table.row("sw", h.sw, o.sw);
    table.row("tags", h.tags, o.tags);
    let st = |s: &super::State| s.st.map(|r| (r.se as u128) << 64 | r.m as u128);
    table.rows("st", &st(h), &st(o));
    table.rows("xmm", &h.xmm, &o.xmm);
    table.rows("ymm_h", &h.upper, &o.upper);
    table.memory(host, ours);
    table.0
}

struct Table(Vec<String>);

impl Table {
    fn row<T: PartialEq + LowerHex>(&mut self, what: &str, host: T, ours: T) {
        if host != ours {
            self.0.push(format!("  {what:8} host {host:#x} ours {ours:#x}"));
        }
    }

    fn rows<T: PartialEq + LowerHex + Copy>(&mut self, what: &str, host: &[T], ours: &[T]) {
        for (n, (h, o)) in host.iter().zip(ours).enumerate() {
            self.row(&format!("{what}{n}"), *h, *o);
        }
    }

    fn memory(&mut self, host: &Outcome, ours: &Outcome) {
        let text = |o: &Outcome, at| match o.lines.iter().find(|l| l.at == at) {
            None => "unchanged".into(),
            Some(l) => l.bytes.iter().map(|b| format!("{b:02x}")).collect::<String>(),
        };
        let mut at: Vec<u16> = host.lines.iter().chain(&ours.lines).map(|l| l.at).collect();
        at.sort_unstable();
        at.dedup();
        for at in at {
            let (h, o) = (text(host, at), text(ours, at));
            if h != o {
                self.0.push(format!("  data+{at:#x}\n    host {h}\n    ours {o}"));
            }
        }
    }
}
