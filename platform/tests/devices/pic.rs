//! The interrupt controllers, driven at their lines.

use platform::{device::Device, devices::pic::PicPair, time::Icount};

/// What happens to the pair, or what must be so. Offsets: 0–1 master, 2–3 slave, 4–5 ELCR.
#[derive(Clone, Copy, Debug)]
enum Step {
    Out(u64, u8),
    In(u64, u8),
    Lines(u16),
    Intr(bool),
    Ack(u8),
}
use Step::*;

/// Initialises the pair to vectors 20h and 28h, runs `steps`, names the first that fails.
#[track_caller]
fn check(steps: &[Step]) {
    let mut pair = PicPair::new();
    let init = [(0, 0x11), (1, 0x20), (1, 4), (1, 1), (2, 0x11), (3, 0x28), (3, 2), (3, 1)];
    let init = init.map(|(offset, value)| Out(offset, value));
    for (number, &step) in init.iter().chain(steps).enumerate() {
        let (found, expect) = apply(&mut pair, step);
        assert_eq!(found, expect, "step {}, {step:x?}", number as isize - init.len() as isize);
    }
}

fn apply(pair: &mut PicPair, step: Step) -> (u64, u64) {
    match step {
        Out(offset, value) => pair.write(offset, 1, value.into(), Icount(0)).unwrap(),
        Lines(lines) => pair.set_lines(lines),
        In(offset, expect) => return (pair.read(offset, 1, Icount(0)).unwrap(), expect.into()),
        Intr(expect) => return (pair.intr().into(), expect.into()),
        Ack(expect) => return (pair.acknowledge().into(), expect.into()),
    }
    (0, 0)
}

const EOI: u8 = 0x20;
const READ_IRR: u8 = 0x0a;
const READ_ISR: u8 = 0x0b;

#[test]
fn an_edge_interrupts_once() {
    check(&[Lines(1), Intr(true), Ack(0x20), Intr(false), Out(0, EOI), Intr(false)]);
    check(&[Lines(1), Ack(0x20), Out(0, EOI), Lines(0), Lines(1), Intr(true), Ack(0x20)]);
}

#[test]
fn masks_hold_requests_back() {
    check(&[Out(1, 1), Lines(1), Intr(false), In(0, 1), Out(1, 0), Intr(true), Ack(0x20)]);
    check(&[Out(1, 0xa5), In(1, 0xa5), Out(3, 0x5a), In(3, 0x5a)]);
}

#[test]
fn priorities() {
    // IRQ1 before IRQ3; IRQ3 waits for the EOI; a lower line waits, a higher one nests.
    check(&[Lines(0x0a), Ack(0x21), Intr(false), Out(0, EOI), Intr(true), Ack(0x23)]);
    check(&[Lines(8), Ack(0x23), Lines(9), Intr(true), Ack(0x20), Out(0, READ_ISR), In(0, 9)]);
    // IRQ8 to IRQ15 come where IRQ2 would.
    check(&[Lines(0x0108), Ack(0x28), Out(2, READ_ISR), In(2, 1), Out(0, READ_ISR), In(0, 4)]);
}

#[test]
fn the_slave_needs_two_ends() {
    let served = [Lines(0x0300), Ack(0x28), Intr(false), Out(2, EOI), Intr(false), Out(0, EOI)];
    check(&[&served[..], &[Intr(true), Ack(0x29)]].concat());
}

#[test]
fn special_fully_nested_mode_lets_the_slave_nest() {
    let init = [Out(0, 0x11), Out(1, 0x20), Out(1, 4), Out(1, 0x11)];
    check(&[&init[..], &[Lines(0x0200), Ack(0x29), Lines(0x0300), Intr(true), Ack(0x28)]].concat());
    // Without it, it waits.
    check(&[Lines(0x0200), Ack(0x29), Lines(0x0300), Intr(false)]);
}

#[test]
fn a_level_that_goes_away_is_spurious() {
    check(&[Out(4, 8), Lines(8), Lines(0), Intr(false), Ack(0x27), Out(0, READ_ISR), In(0, 0)]);
    check(&[Out(5, 2), Lines(0x0200), Lines(0), Intr(false), Ack(0x27)]);
}

#[test]
fn an_edge_stays_when_the_line_falls() {
    check(&[Lines(8), Lines(0), Intr(true), Out(0, READ_IRR), In(0, 8), Ack(0x23), Intr(false)]);
    check(&[Lines(0x0800), Lines(0), Intr(true), Ack(0x2b), Out(2, EOI), Out(0, EOI), Intr(false)]);
    // Also while it is masked, but not over initialisation.
    check(&[Out(3, 8), Lines(0x0800), Lines(0), Intr(false), Out(3, 0), Intr(true), Ack(0x2b)]);
    check(&[Out(1, 8), Lines(8), Lines(0), Out(0, 0x13), Out(1, 0x20), Out(1, 1), Intr(false)]);
    // The slave's INT is no edge of a device: masked there, it is gone here.
    check(&[Lines(0x0800), Lines(0), Out(3, 8), Intr(false), Out(0, READ_IRR), In(0, 0)]);
}

#[test]
fn levels_ask_again() {
    let level = [Out(5, 8), In(5, 8), Lines(0x0800), Ack(0x2b), Out(2, EOI), Out(0, EOI)];
    check(&[&level[..], &[Intr(true), Lines(0), Intr(false)]].concat());
    // IRQ0, 1, 2, 8 and 13 are edge triggered whatever the ELCR is told.
    check(&[Out(4, 0xff), In(4, 0xf8), Out(5, 0xff), In(5, 0xde)]);
}

#[test]
fn ends_of_interrupt() {
    let two = [Lines(2), Ack(0x21), Lines(3), Ack(0x20), Out(0, READ_ISR), In(0, 3)];
    // Non-specific: the highest. Specific: the one named.
    check(&[&two[..], &[Out(0, EOI), In(0, 2), Out(0, EOI), In(0, 0)]].concat());
    check(&[&two[..], &[Out(0, 0x61), In(0, 1)]].concat());
    // Automatic.
    let automatic = [Out(0, 0x11), Out(1, 0x20), Out(1, 4), Out(1, 3), Lines(1), Ack(0x20)];
    check(&[&automatic[..], &[Out(0, READ_ISR), In(0, 0), Lines(3), Intr(true)]].concat());
}

#[test]
fn rotation() {
    // Rotate on non-specific EOI: IRQ3 becomes the lowest, so IRQ4 is the highest.
    let rotated = [Lines(8), Ack(0x23), Out(0, 0xa0), Lines(0), Lines(0x18)];
    check(&[&rotated[..], &[Ack(0x24), Out(0, EOI), Ack(0x23)]].concat());
    // Set priority: IRQ0 the lowest.
    check(&[Out(0, 0xc0), Lines(3), Ack(0x21), Out(0, EOI), Ack(0x20)]);
    // Rotate on specific EOI.
    check(&[Lines(8), Ack(0x23), Out(0, 0xe3), Lines(0), Lines(0x18), Ack(0x24)]);
    // Rotate in automatic EOI mode.
    let automatic = [Out(0, 0x11), Out(1, 0x20), Out(1, 4), Out(1, 3), Out(0, 0x80)];
    check(&[&automatic[..], &[Lines(3), Ack(0x20), Lines(2), Lines(3), Ack(0x21)]].concat());
}

#[test]
fn special_mask_mode_lets_lower_lines_through() {
    let serving = [Lines(1), Ack(0x20), Lines(3), Intr(false)];
    check(&[&serving[..], &[Out(1, 1), Intr(false), Out(0, 0x68), Intr(true), Ack(0x21)]].concat());
}

#[test]
fn polling_acknowledges() {
    check(&[Out(0, 0x0c), In(0, 0)]);
    check(&[Lines(8), Out(0, 0x0c), In(0, 0x83), Out(0, READ_ISR), In(0, 8), Intr(false)]);
    check(&[Lines(0x0400), Out(2, 0x0c), In(2, 0x82), Intr(false)]);
}

#[test]
fn initialisation_clears_and_its_words_come_in_order() {
    let dirty = [Lines(1), Ack(0x20), Out(1, 0xff), Out(0, 0x11), Out(0, READ_ISR)];
    check(&[&dirty[..], &[In(0, 0), Out(1, 0x40), Out(1, 4), Out(1, 1), In(1, 0)]].concat());
    // The edge that came before is forgotten, the next has the new base.
    check(&[Lines(1), Out(0, 0x11), Out(1, 0x40), Out(1, 4), Out(1, 1), Intr(false)]);
    let again = [Out(0, 0x11), Out(1, 0x40), Out(1, 4), Out(1, 1), Lines(2), Ack(0x41)];
    check(&again);
    // Single, without ICW4: two words.
    check(&[Out(0, 0x12), Out(1, 0x40), Out(1, 0x77), In(1, 0x77)]);
    check(&[Out(0, READ_IRR), Lines(0x20), In(0, 0x20)]);
}
