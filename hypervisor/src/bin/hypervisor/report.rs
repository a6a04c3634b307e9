//! The statistics at the end.

use crate::console::say;
use crate::host::{Host, Slot};
use alloc::format;
use alloc::string::String;
use hypervisor::vmx::exit::{self, REASONS};
use hypervisor::xen::DomId;

/// Prints one domain's VM exits by reason.
pub(crate) fn domain<'a>(dom: DomId, name: &str, slots: impl IntoIterator<Item = &'a Slot>) {
    let mut exits = [0; REASONS];
    for slot in slots {
        for (sum, count) in exits.iter_mut().zip(slot.vcpu.exits) {
            *sum += count;
        }
    }
    let total: u64 = exits.iter().sum();
    let mut line = String::new();
    for (reason, count) in exits.iter().enumerate().filter(|(_, count)| **count > 0) {
        let separator = if line.is_empty() { "" } else { ", " };
        line += &format!("{separator}{} {count}", exit::name(reason as u16));
    }
    say!("domain {} ({name}): {total} VM exits: {line}", dom.0);
}

/// Prints the statistics of every domain that is still known, and refused hypercalls.
pub(crate) fn all(host: &Host) {
    for (dom, resources) in &host.resources {
        domain(*dom, &resources.name, host.slots.iter().filter(|slot| slot.dom == *dom));
    }
    let refused = &host.xen.refused;
    for ((number, sub), count) in &refused.counts {
        say!("refused hypercall {number}, operation {sub}: {count} times");
    }
    if refused.others > 0 {
        say!("refused hypercalls of other kinds: {} times", refused.others);
    }
}
