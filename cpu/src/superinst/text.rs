//! The text of operations, as the tables write them.

use super::tables::TYPES;
use super::{Member, Superinst};
use crate::dispatch::{class, uses};
use crate::op::slot;

const QWORDS: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
const WORDS: [&str; 8] = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];
const BYTES: [&str; 8] = ["al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"];
const HIGH: [&str; 4] = ["ah", "ch", "dh", "bh"];

/// The text of a sequence.
pub(super) fn sequence(s: &Superinst) -> String {
    let link = |k| if k == 1 { s.link } else { 0 };
    let texts = s.members.iter().enumerate().map(|(k, member)| operation(member, link(k)));
    texts.collect::<Option<Vec<_>>>().unwrap_or_default().join(" ; ")
}

/// The text of an operation that is linked to the one before by `link`, or by 0; `None` if the tables have no word
/// for an operand.
pub(super) fn operation(member: &Member, link: u32) -> Option<String> {
    let mut text = String::new();
    let mut rest = TYPES[member.number as usize].template;
    while let Some((before, after)) = rest.split_once("{") {
        // `{nf}` and `{load}` are no slots.
        let Some((slot, after)) = after.split_once('}') else { break };
        rest = after;
        text += before;
        text += &match slot.split_once(':') {
            Some((slot, width)) => operand(member.known, link, slot, width)?,
            None => format!("{{{slot}}}"),
        };
    }
    Some(text + rest)
}

/// The operand in a slot of a certain width, of which `known` says something.
fn operand(known: u64, link: u32, slot: &str, width: &str) -> Option<String> {
    let k = ["d", "s", "b", "x"].iter().position(|s| *s == slot).unwrap_or(0);
    let place = (known >> (8 * k)) as u8;
    let scale = (known >> 32) as u8;
    let text = match (width, place) {
        ("xmm" | "st", class::ANY) => width.to_owned(),
        ("xmm" | "st", _) => format!("{width}{}", place / 16),
        ("address", class::ANY) => "reg".to_owned(),
        ("address", class::UNPINNED) => "other".to_owned(),
        ("address", slot::ZERO) => "none".to_owned(),
        ("address", slot::PAGE_BASE) => "rip".to_owned(),
        ("address", _) => register(place, "64")?,
        (_, class::ANY) => format!("reg{width}"),
        (_, class::UNPINNED) => format!("other{width}"),
        _ => register(place, width)?,
    };
    let mark = if link == uses::DST << k { "=" } else { "" };
    let times = if slot == "x" && scale != 0 { format!("*{scale}") } else { String::new() };
    Some(format!("{mark}{text}{times}"))
}

/// The general-purpose register at a place in the processor's state.
fn register(place: u8, width: &str) -> Option<String> {
    let k = place as usize / 8;
    let high = !place.is_multiple_of(8);
    if k >= QWORDS.len() || high && (width != "8" || k >= HIGH.len()) {
        return None;
    }
    let low = |names: [&str; 8], suffix: &str| match names.get(k) {
        Some(name) => (*name).to_owned(),
        None => format!("{}{suffix}", QWORDS[k]),
    };
    Some(match width {
        "8" if high => HIGH[k].to_owned(),
        "8" => low(BYTES, "b"),
        "16" => low(WORDS, "w"),
        "32" if k < 8 => format!("e{}", WORDS[k]),
        "32" => format!("{}d", QWORDS[k]),
        _ => QWORDS[k].to_owned(),
    })
}
