//! What is typed at the physical console, and to whom. As in Xen, Ctrl-A three times switches: from dom0 to each domU
//! in turn, to the hypervisor, and back to dom0.

use super::abi::nr::virq;
use super::host_services::{DomId, HostServices};
use super::{Xen, vuart};

/// Ctrl-A.
const ESCAPE: u8 = 1;
/// How many of them switch.
const TIMES: u8 = 3;
/// Bytes that are kept for dom0, and more than it will ever read at once.
const MOST: usize = 4096;
/// The privileged domain.
const DOM0: DomId = DomId(0);

/// Who is typed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Focus {
    /// A domain: dom0 by `console_io`, a domU at its COM1.
    Domain(DomId),
    /// The hypervisor itself.
    Hypervisor,
}

/// The state between two bytes.
#[derive(Debug, Clone)]
pub struct Typing {
    focus: Focus,
    /// How many times Ctrl-A has come in a row.
    escapes: u8,
    /// Somebody has typed: then unfinished lines are shown.
    used: bool,
}

impl Default for Typing {
    fn default() -> Self {
        Self { focus: Focus::Domain(DOM0), escapes: 0, used: false }
    }
}

impl Typing {
    /// Whether unfinished lines of `dom`, to which a person types, are shown.
    pub(super) fn shows(&self, dom: DomId) -> bool {
        self.used && self.focus == Focus::Domain(dom)
    }
}

/// What came of a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// A domain has it, or it may be part of a switch.
    Taken,
    /// From now on somebody else is typed to.
    Switched(Focus),
    /// A key for the hypervisor.
    Key(u8),
}

impl Xen {
    /// Takes a byte that was typed at the physical console.
    pub fn typed(&mut self, host: &mut dyn HostServices, byte: u8) -> Typed {
        self.typing.used = true;
        if byte == ESCAPE {
            self.typing.escapes += 1;
            if self.typing.escapes < TIMES {
                return Typed::Taken;
            }
            self.typing.escapes = 0;
            self.typing.focus = self.next_focus();
            return Typed::Switched(self.typing.focus);
        }
        for _ in 0..core::mem::take(&mut self.typing.escapes) {
            self.type_to_focus(host, ESCAPE);
        }
        self.type_to_focus(host, byte)
    }

    /// Who comes after the one that is typed to now.
    fn next_focus(&self) -> Focus {
        let Focus::Domain(now) = self.typing.focus else { return Focus::Domain(DOM0) };
        let mut domus = self.domains.iter().filter(|(_, domain)| domain.uart.is_some());
        let next = domus.find(|(id, domain)| **id > now && domain.alive());
        next.map_or(Focus::Hypervisor, |(id, _)| Focus::Domain(*id))
    }

    /// Hands a byte to whom it is for. A domain that is gone is not typed to any more.
    fn type_to_focus(&mut self, host: &mut dyn HostServices, byte: u8) -> Typed {
        match self.typing.focus {
            Focus::Hypervisor => return Typed::Key(byte),
            Focus::Domain(DOM0) => {
                if self.console_input.len() < MOST {
                    self.console_input.push_back(byte);
                }
                self.raise_global_virq(host, DOM0, virq::CONSOLE);
            }
            Focus::Domain(dom) => {
                let domain = self.domain_mut(dom).ok().filter(|domain| domain.alive());
                let Some(uart) = domain.and_then(|domain| domain.uart.as_mut()) else {
                    self.typing.focus = Focus::Domain(DOM0);
                    return Typed::Switched(self.typing.focus);
                };
                uart.push_input(byte);
                let line = uart.line();
                self.set_gsi(host, dom, vuart::GSI, line);
            }
        }
        Typed::Taken
    }
}
