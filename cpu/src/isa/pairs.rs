//! Pairs of operations that often follow one another, done by one handler.
//!
//! What an interpreter pays for most is the indirect jump from one handler to the next: a processor
//! remembers the targets of some thousand of them, and a kernel at work has more. A pair has one less.
//! The lists are those operations that ran most in Linux and in user programs.

use super::alu::{RegRm, RmImm, RmReg, op::*};
use super::branch::{Call, Jcc, Jmp, Ret};
use super::fuse::{Arithmetic, Compare, CompareLoad, FromByte, FromDisp, FromReg};
use super::misc::Nop;
use super::moves::{Extend, Lea, MovRegRm, MovRmImm, MovRmReg, PopReg, Push};
use super::rm::{Memory, RegD, RegS};
use super::shift::{ROL, ROR, SHL, SHR, Shift};
use super::unary::{DEC, INC, ImulRegRm, Unary};
use crate::dispatch::{Handler, handler, linked, pair, uses};
use crate::mem::{Base, General, Index};
use crate::op::Op;
use std::sync::OnceLock;

type Mb = Memory<Base>;
type Mi = Memory<Index>;
type Mg = Memory<General>;

/// Calls `$then!` with the operations that may come first, and those that may come only second, each a
/// parenthesised list of types.
macro_rules! with_lists {
    ($then:ident) => {
        $then! {
            (
                MovRmReg<RegD, u64>,
                MovRmReg<RegD, u32>,
                MovRegRm<Mb, u64>,
                MovRegRm<Mb, u32>,
                MovRegRm<Mb, u8>,
                MovRegRm<Mi, u64>,
                MovRegRm<Mi, u32>,
                MovRegRm<Mg, u64>,
                MovRmReg<Mb, u64>,
                MovRmReg<Mb, u32>,
                MovRmReg<Mb, u8>,
                MovRmReg<Mi, u64>,
                MovRmImm<RegD, u32>,
                MovRmImm<Mb, u64>,
                Push<RegD, u64>,
                PopReg<u64>,
                Lea<Base, u64>,
                Lea<Base, u32>,
                Lea<Index, u64>,
                Extend<Mb, u32, u8, false>,
                Extend<Mi, u32, u8, false>,
                Extend<Mb, u32, u16, false>,
                Extend<RegS, u64, u32, true>,
                Extend<RegS, u32, u8, false>,
                RmReg<RegD, u64, ADD, false>,
                RmReg<RegD, u64, ADD, true>,
                RmReg<RegD, u32, ADD, false>,
                RmReg<RegD, u64, SUB, true>,
                RmReg<RegD, u32, AND, false>,
                RmReg<RegD, u32, XOR, false>,
                RmReg<RegD, u32, XOR, true>,
                RmImm<RegD, u64, ADD, true>,
                RmImm<RegD, u64, ADD, false>,
                RmImm<RegD, u32, ADD, false>,
                RmImm<RegD, u64, SUB, true>,
                RmImm<RegD, u32, AND, false>,
                RmImm<RegD, u32, AND, true>,
                Shift<RegD, u64, SHR, false, false>,
                Shift<RegD, u64, SHR, false, true>,
                Shift<RegD, u32, SHR, false, false>,
                Shift<RegD, u64, SHL, false, false>,
                Shift<RegD, u32, ROR, false, false>,
                Shift<RegD, u32, ROL, false, false>,
                Unary<RegD, u64, INC, false>,
                Nop
            )
            (
                RmReg<RegD, u64, CMP, true>,
                RegRm<Mb, u64, ADD, true>,
                Unary<Mb, u32, INC, true>,
                Unary<RegD, u32, DEC, true>,
                Unary<RegD, u64, INC, true>,
                ImulRegRm<RegS, u64, false>,
                Ret<u64>,
                Call<u64, true>,
                Call<u64, false>,
                Jmp<false>,
                Jmp<true>,
                Jcc<2, false>,
                Jcc<3, false>,
                Jcc<4, false>,
                Jcc<5, false>,
                Compare<RegD, FromDisp, u8, CMP, 4>,
                Compare<RegD, FromDisp, u8, CMP, 5>,
                Compare<RegD, FromDisp, u8, CMP, 7>,
                Compare<RegD, FromDisp, u32, CMP, 4>,
                Compare<RegD, FromDisp, u32, CMP, 5>,
                Compare<RegD, FromDisp, u32, CMP, 6>,
                Compare<RegD, FromDisp, u32, CMP, 7>,
                Compare<RegD, FromDisp, u64, CMP, 4>,
                Compare<RegD, FromDisp, u64, CMP, 5>,
                Compare<RegD, FromReg, u32, CMP, 4>,
                Compare<RegD, FromReg, u32, CMP, 5>,
                Compare<RegD, FromReg, u64, CMP, 2>,
                Compare<RegD, FromReg, u64, CMP, 3>,
                Compare<RegD, FromReg, u64, CMP, 4>,
                Compare<RegD, FromReg, u64, CMP, 5>,
                Compare<RegD, FromReg, u8, TEST, 4>,
                Compare<RegD, FromReg, u8, TEST, 5>,
                Compare<RegD, FromReg, u32, TEST, 4>,
                Compare<RegD, FromReg, u32, TEST, 5>,
                Compare<RegD, FromReg, u64, TEST, 4>,
                Compare<RegD, FromReg, u64, TEST, 5>,
                Compare<RegD, FromDisp, u8, TEST, 4>,
                Compare<RegD, FromDisp, u8, TEST, 5>,
                Compare<Mb, FromByte, u8, CMP, 4>,
                Compare<Mb, FromByte, u8, CMP, 5>,
                Compare<Mb, FromReg, u32, CMP, 5>,
                CompareLoad<Mb, u64, 3>,
                Arithmetic<FromDisp, u32, ADD, 5>,
                Arithmetic<FromDisp, u32, AND, 4>,
                Arithmetic<FromDisp, u32, AND, 5>
            )
        }
    };
}

macro_rules! handlers {
    (($($first:ty),*) ($($second:ty),*)) => {
        [$(handler::<$first>(),)* $(handler::<$second>()),*]
    };
}

macro_rules! links {
    ($a:ty, $b:ty) => {
        [
            pair::<$a, $b, 0>(),
            pair::<$a, $b, { uses::D }>(),
            pair::<$a, $b, { uses::S }>(),
            pair::<$a, $b, { uses::B }>(),
        ]
    };
}

macro_rules! row {
    ($a:ty, ($($first:ty),*), ($($second:ty),*)) => {
        [$(links!($a, $first),)* $(links!($a, $second)),*]
    };
}

macro_rules! rows {
    (($($first:ty),*) $second:tt) => { rows!(@ [$($first),*] ($($first),*) $second) };
    (@ [$($a:ty),*] $first:tt $second:tt) => { [$(row!($a, $first, $second)),*] };
}

/// How many operations may come second.
const SECONDS: usize = with_lists!(handlers).len();

/// The handler of each pair, by first, second, and the register that links them (see [`LINKS`]).
static PAIRS: &[[[Handler; 4]; SECONDS]] = &with_lists!(rows);

/// The last index of [`PAIRS`]. One link is enough.
const LINKS: [u8; 4] = [0, uses::D, uses::S, uses::B];

/// The numbers of the handlers, sorted by address.
fn numbers() -> &'static [(usize, usize)] {
    static NUMBERS: OnceLock<Vec<(usize, usize)>> = OnceLock::new();
    NUMBERS.get_or_init(|| {
        let all = with_lists!(handlers);
        let mut v: Vec<_> = all.iter().enumerate().map(|(n, &f)| (f as usize, n)).collect();
        v.sort_unstable();
        v
    })
}

fn number(f: Handler) -> Option<usize> {
    let at = numbers().binary_search_by_key(&(f as usize), |x| x.0).ok()?;
    Some(numbers()[at].1)
}

/// Joins the operations of a block in pairs, from its begin.
pub fn join(ops: &mut [Op]) {
    let mut k = 0;
    while k + 1 < ops.len() {
        let first = number(ops[k].f).and_then(|n| PAIRS.get(n));
        if let Some((row, second)) = first.zip(number(ops[k + 1].f)) {
            let choice = &row[second];
            let useful = |&l: &usize| choice[l] as usize != choice[0] as usize;
            let holds = |l: &usize| linked(&ops[k + 1], LINKS[*l]) == ops[k].d;
            let link = (1..LINKS.len()).filter(useful).find(holds).unwrap_or(0);
            ops[k].f = choice[link];
            k += 1;
        }
        k += 1;
    }
}
