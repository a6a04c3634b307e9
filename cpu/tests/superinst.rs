//! Every superinstruction of the tables, on random states, against the loop that does one instruction at a time: all
//! that a guest can tell is compared, after faults and exhausted budgets in the middle too.
//!
//! Only where the tables are: debug builds, the feature `loop-dispatch` and builds without `superinst` have none.
#![cfg(all(feature = "superinst", threaded))]

#[path = "superinst/assemble.rs"]
mod assemble;
#[path = "superinst/random.rs"]
mod random;
#[path = "superinst/side.rs"]
mod side;

use assemble::Assembler;
use random::Random;
use side::Side;

/// How often registers are drawn anew until the tables choose the superinstruction that is meant.
const DRAWS: usize = 200;
/// Random states for each.
const STATES: usize = 12;

#[test]
fn every_superinstruction_does_what_single_steps_do() {
    let (mut fused, mut single) = (Side::new(true), Side::new(false));
    let (mut random, assembler, start) = (Random(1), Assembler::new(), single.start());
    let (mut wrong, mut count, mut faults, mut cut) = (Vec::new(), 0, 0, 0);
    for (table, superinst) in cpu::superinst::all() {
        count += 1;
        let text = superinst.text();
        // A variant on pinned registers may stand among the exact ones too, which come first: it is the same.
        let chosen =
            |code: &[u8]| side::chosen(code).is_some_and(|s| s == superinst || s.text() == text);
        let code = (0..DRAWS).find_map(|k| {
            assembler.program(&text, k % 2 == 1, &mut random).filter(|code| chosen(code))
        });
        let Some(code) = code else {
            wrong.push(format!("{table}: nothing is decoded to {text}"));
            continue;
        };
        fused.load(&code);
        single.load(&code);
        for k in 0..STATES {
            let state = random.state(&start);
            let data = random.data();
            // Every third stops after a few instructions.
            let budget =
                if k % 3 == 2 { 1 + random.below(superinst.length() as u64) } else { 1000 };
            let want = single.run(&state, &data, budget);
            faults += usize::from(want.faulted());
            cut += usize::from(budget < 1000);
            // The second time all that is in reach is in the TLB.
            let runs = [fused.run(&state, &data, budget), fused.run(&state, &data, budget)];
            if let Some(got) = runs.iter().find(|got| **got != want) {
                wrong.push(format!("{table}: {text}\n    {}", want.difference(got)));
                break;
            }
        }
    }
    let some: Vec<_> = wrong.iter().take(20).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} of {count} are wrong:\n{}", wrong.len(), some.join("\n"));
    assert!(count > 5000 && faults > 1000 && cut > 1000, "{count} {faults} {cut}");
}
