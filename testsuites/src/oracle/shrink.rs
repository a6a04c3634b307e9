//! The smallest case that still shows a difference, by proptest's search over a list of reductions.

use super::base;
use super::case::{Case, DATA, DATA_SIZE, Patch};
use super::row;
use iced_x86::{Decoder, DecoderOptions};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

/// A way to make a case simpler; `false` if it already is.
type Reduction = Box<dyn Fn(&mut Case) -> bool>;

/// Reductions in order, the drastic ones first; each is tried once and stays if the case still fails.
struct Tree {
    current: Case,
    before: Option<Case>,
    rest: std::vec::IntoIter<Reduction>,
}

impl ValueTree for Tree {
    type Value = Case;

    fn current(&self) -> Case {
        self.current.clone()
    }

    fn simplify(&mut self) -> bool {
        let form = self.current.instruction().mnemonic();
        for reduce in self.rest.by_ref() {
            let mut next = self.current.clone();
            if reduce(&mut next) && next.instruction().mnemonic() == form {
                self.before = Some(std::mem::replace(&mut self.current, next));
                return true;
            }
        }
        false
    }

    fn complicate(&mut self) -> bool {
        match self.before.take() {
            Some(case) => {
                self.current = case;
                self.simplify()
            }
            None => false,
        }
    }
}

/// Shrinks `case` as long as `fails`.
pub fn shrink(case: &Case, fails: impl Fn(&Case) -> bool) -> Case {
    let config =
        Config { max_shrink_iters: u32::MAX, failure_persistence: None, ..Config::default() };
    let mut best = case.clone();
    // What did not go the first time may go when the rest is gone.
    for _ in 0..3 {
        let rest = reductions().into_iter();
        let tree = Tree { current: best.clone(), before: None, rest };
        let test = |case: Case| match fails(&case) {
            true => Err(TestCaseError::fail("differs")),
            false => Ok(()),
        };
        match TestRunner::new(config.clone()).run_one(tree, test) {
            Err(TestError::Fail(_, smaller)) if smaller != best => best = smaller,
            _ => break,
        }
    }
    best
}

fn reductions() -> Vec<Reduction> {
    let mut all: Vec<Reduction> = vec![Box::new(|c| std::mem::take(&mut c.step))];
    all.extend((0..6).map(|_| Box::new(drop_prefix) as Reduction));
    all.push(Box::new(|c| constant(c, true)));
    all.push(Box::new(|c| constant(c, false)));
    all.push(Box::new(quiet_memory));
    all.push(Box::new(keep_near_memory));
    for group in ["y", "x", "f", "b", "r"] {
        all.push(Box::new(move |c| quiet(c, |k| k.starts_with(group) && k.len() < 4)));
    }
    let keys: Vec<String> =
        row::fields(&base::state(super::Mode::Bits64, 0)).into_iter().map(|f| f.0).collect();
    for key in keys {
        if key != "ip" && !key.starts_with('s') || key == "sw" {
            let (whole, low) = (key.clone(), key);
            all.push(Box::new(move |c| quiet(c, |k| k == whole)));
            if !matches!(low.as_str(), "mx" | "cw" | "sw" | "tg" | "fl") {
                all.push(Box::new(move |c| low_bits(c, &low)));
            }
        }
    }
    all.extend((0..22).map(|bit| {
        let clear = move |c: &mut Case| {
            let had = c.state.flags >> bit & 1 != 0;
            c.state.flags &= !(1 << bit);
            had
        };
        Box::new(clear) as Reduction
    }));
    // Patches: halves, quarters, then one by one.
    for parts in [2usize, 4, 8, 16, 32, 64] {
        all.extend(
            (0..parts).map(|n| Box::new(move |c: &mut Case| drop_patches(c, parts, n)) as _),
        );
    }
    all
}

/// Takes away the first byte.
fn drop_prefix(c: &mut Case) -> bool {
    c.code.rotate_left(1);
    c.code[14] = 0xcc;
    let longer = c.len > 1;
    c.trim();
    longer
}

/// Zeroes the displacement or the immediate.
fn constant(c: &mut Case, displacement: bool) -> bool {
    let mut d = Decoder::with_ip(c.mode.bits(), &c.code, c.mode.start(), DecoderOptions::NONE);
    let i = d.decode();
    let at = d.get_constant_offsets(&i);
    let (from, size) = match displacement {
        true => (at.displacement_offset(), at.displacement_size()),
        false => (at.immediate_offset(), at.immediate_size()),
    };
    let bytes = &mut c.code[from..from + size];
    let changed = bytes.iter().any(|b| *b != 0);
    bytes.fill(0);
    c.trim();
    changed && !c.inward()
}

/// Gives the registers that `which` names their quiet values.
fn quiet(c: &mut Case, which: impl Fn(&str) -> bool) -> bool {
    let was = c.state.clone();
    for (key, v) in row::fields(&base::state(c.mode, 0)).into_iter().filter(|f| which(&f.0)) {
        let _ = row::set(&mut c.state, &key, v);
    }
    c.state != was
}

/// Leaves a register its low byte.
fn low_bits(c: &mut Case, key: &str) -> bool {
    let was = c.state.clone();
    for (k, v) in row::fields(&was).into_iter().filter(|f| f.0 == key) {
        let _ = row::set(&mut c.state, &k, v & 0xff);
    }
    c.state != was
}

/// All data zero.
fn quiet_memory(c: &mut Case) -> bool {
    let had = c.page != 0 || !c.patches.is_empty();
    (c.page, c.patches) = (0, vec![]);
    had
}

/// All data zero but what some register points to.
fn keep_near_memory(c: &mut Case) -> bool {
    if c.page == 0 {
        return false;
    }
    let data = c.data();
    let near = |at: usize| {
        let la = DATA + at as u64;
        c.state.regs.iter().chain([&c.instruction().memory_displacement64()]).any(|r| {
            [*r, r.wrapping_add(DATA)].iter().any(|r| la.wrapping_sub(*r).wrapping_add(40) < 80)
        })
    };
    let words = (0..DATA_SIZE).step_by(8).filter(|at| near(*at));
    let patch = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&data[at..at + 8]);
        Patch { at: at as u16, bytes }
    };
    let patches: Vec<Patch> = words.map(patch).filter(|p| p.bytes != [0; 8]).take(150).collect();
    (c.page, c.patches) = (0, patches);
    true
}

/// Drops part `n` of `parts`.
fn drop_patches(c: &mut Case, parts: usize, n: usize) -> bool {
    let len = c.patches.len();
    let (from, to) = (len * n / parts, len * (n + 1) / parts);
    c.patches.drain(from..to);
    from != to
}
