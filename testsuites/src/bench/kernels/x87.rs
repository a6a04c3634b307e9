//! x87 floating point: points of the Mandelbrot set, and roots and quotients.
#![expect(unsafe_code, reason = "the compiler does not emit x87 instructions")]

use super::{Memory, fold};
use core::arch::asm;

const SIDE: u32 = 32;
const LIMIT: u32 = 64;

pub(super) fn run(count: u32, _: &mut Memory) -> u64 {
    (0..count).fold(0, |sum, round| {
        let mut sum = fold(sum, chain(f64::from(round % 16) + 1.5).to_bits());
        for n in 0..SIDE * SIDE {
            let x = f64::from(n % SIDE) * 3.0 / f64::from(SIDE) - 2.0;
            let y = f64::from(n / SIDE) * 2.5 / f64::from(SIDE) - 1.25 + f64::from(round) * 1e-3;
            sum = fold(sum, u64::from(escape(x, y)));
        }
        sum
    })
}

/// The number of steps, of [`LIMIT`] at most, until the point leaves the circle of radius 2.
fn escape(x: f64, y: f64) -> u32 {
    let mut left = LIMIT;
    let [x, y, four] = [x, y, 4.0];
    // SAFETY: leaves the x87 stack as empty as it found it.
    unsafe {
        asm!(
            "fld qword ptr [{four}]",
            "fld qword ptr [{y}]",
            "fld qword ptr [{x}]",              // x y 4
            "2:",
            "fld st(1)",
            "fmul st(0), st(0)",
            "fld st(1)",
            "fmul st(0), st(0)",                // xx yy x y 4
            "fld st(1)",
            "fadd st(0), st(1)",
            "fcomip st(0), st(5)",              // xx + yy ? 4
            "ja 3f",
            "fsubrp st(1), st(0)",
            "fadd qword ptr [{x}]",             // x' x y 4
            "fxch st(1)",
            "fmulp st(2), st(0)",               // x' xy 4
            "fld st(1)",
            "faddp st(2), st(0)",
            "fxch st(1)",
            "fadd qword ptr [{y}]",
            "fxch st(1)",                       // x' y' 4
            "dec {left:e}",
            "jnz 2b",
            "fld st(0)",
            "fld st(0)",
            "3:",
            "fstp st(0)", "fstp st(0)", "fstp st(0)", "fstp st(0)", "fstp st(0)",
            left = inout(reg) left, x = in(reg) &x, y = in(reg) &y, four = in(reg) &four,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _, options(nostack)
        );
    }
    left
}

/// Square roots, quotients and rounding to integers in a chain.
fn chain(start: f64) -> f64 {
    let mut value = start;
    let (mut left, mut whole) = (1000_u32, 0_u64);
    // SAFETY: leaves the x87 stack as empty as it found it.
    unsafe {
        asm!(
            "fld1",
            "fld qword ptr [{value}]",
            "2:",
            "fsqrt",
            "fadd st(0), st(1)",
            "fld st(0)",
            "fmul qword ptr [{value}]",
            "frndint",
            "fist dword ptr [{whole}]",
            "fild dword ptr [{whole}]",
            "faddp st(1), st(0)",
            "fabs",
            "fadd st(0), st(2)",
            "fdivrp st(1), st(0)",
            "fadd st(0), st(1)",
            "dec {left:e}",
            "jnz 2b",
            "fstp qword ptr [{value}]",
            "fstp st(0)",
            left = inout(reg) left, value = in(reg) &mut value, whole = in(reg) &mut whole,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _, options(nostack)
        );
    }
    let _ = left;
    value
}
