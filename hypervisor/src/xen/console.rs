//! What is typed at the physical console, and to whom. As in Xen, Ctrl-A three times switches: from dom0 to each domU
//! in turn, to the hypervisor, and back to dom0. What the domain that is typed to prints passes as it is, so that its
//! line editors and full-screen programs work; others' output stays lines that move no cursor. Domains with consoles of
//! their own are left out.

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
    /// Somebody has typed: before, nobody is there to whom the output of a domain could go as it is.
    used: bool,
}

impl Default for Typing {
    fn default() -> Self {
        Self { focus: Focus::Domain(DOM0), escapes: 0, used: false }
    }
}

impl Typing {
    /// Whether a person types to `dom`, and sees what that prints as it is.
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
        if byte == ESCAPE {
            self.typing.escapes += 1;
            if self.typing.escapes < TIMES {
                return Typed::Taken;
            }
            self.typing.escapes = 0;
            return self.switch(self.next_focus());
        }
        for _ in 0..core::mem::take(&mut self.typing.escapes) {
            self.type_to_focus(host, ESCAPE);
        }
        self.type_to_focus(host, byte)
    }

    /// From now on `focus` is typed to.
    fn switch(&mut self, focus: Focus) -> Typed {
        self.typing.focus = focus;
        self.typing.used = true;
        self.show_focus();
        Typed::Switched(focus)
    }

    /// Who comes after the one that is typed to now.
    fn next_focus(&self) -> Focus {
        let after = match self.typing.focus {
            Focus::Domain(now) => Some(now),
            Focus::Hypervisor => None,
        };
        let shared = |dom: DomId| self.takes_typing(dom) && after.is_none_or(|now| dom > now);
        let next = self.domains.keys().find(|dom| shared(**dom));
        next.map_or(Focus::Hypervisor, |dom| Focus::Domain(*dom))
    }

    /// Whether `dom` can be typed to at the physical console.
    fn takes_typing(&self, dom: DomId) -> bool {
        let takes = |domain: &super::Domain| {
            !domain.own_console && domain.alive() && (dom == DOM0 || domain.uart.is_some())
        };
        self.domain(dom).is_ok_and(takes)
    }

    /// Hands a byte to whom it is for. A domain that is gone is not typed to any more.
    fn type_to_focus(&mut self, host: &mut dyn HostServices, byte: u8) -> Typed {
        match self.typing.focus {
            Focus::Hypervisor => return Typed::Key(byte),
            Focus::Domain(dom) if self.takes_typing(dom) => {
                self.give(host, dom, byte);
                if !core::mem::replace(&mut self.typing.used, true) {
                    self.show_focus();
                }
            }
            Focus::Domain(DOM0) => return self.switch(self.next_focus()),
            Focus::Domain(_) => {
                let dom0 = Focus::Domain(DOM0);
                let first = if self.takes_typing(DOM0) { dom0 } else { Focus::Hypervisor };
                return self.switch(first);
            }
        }
        Typed::Taken
    }

    /// Takes a byte that was typed at the domain's own console.
    pub fn typed_to(&mut self, host: &mut dyn HostServices, dom: DomId, byte: u8) {
        if self.domain(dom).is_ok_and(|domain| domain.own_console && domain.alive()) {
            self.give(host, dom, byte);
        }
    }

    fn give(&mut self, host: &mut dyn HostServices, dom: DomId, byte: u8) {
        if dom == DOM0 {
            if self.console_input.len() < MOST {
                self.console_input.push_back(byte);
            }
            return self.raise_global_virq(host, DOM0, virq::CONSOLE);
        }
        let uart = self.domain_mut(dom).ok().and_then(|domain| domain.uart.as_mut());
        if let Some(uart) = uart {
            uart.push_input(byte);
            let line = uart.line();
            self.set_gsi(host, dom, vuart::GSI, line);
        }
    }
}
