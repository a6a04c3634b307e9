//! SSE floating point: bodies that attract one another (scalar doubles), and vectors (packed
//! singles).
#![expect(unsafe_code, reason = "packed instructions are intrinsics on pointers")]

use super::{Memory, fold};
use core::arch::x86_64::{
    _mm_add_ps, _mm_loadu_ps, _mm_max_ps, _mm_mul_ps, _mm_set1_ps, _mm_sqrt_ps, _mm_storeu_ps,
};

const BODIES: usize = 5;
const STEPS: u32 = 50;
const LENGTH: usize = 2048;

#[derive(Clone, Copy)]
struct Body {
    place: [f64; 3],
    speed: [f64; 3],
    mass: f64,
}

pub(super) fn run(count: u32, memory: &mut Memory) -> u64 {
    let mut bodies: [Body; BODIES] = core::array::from_fn(|n| {
        let n = n as f64;
        let place = [n * 1.5 - 3.0, n * n * 0.25 - 1.0, 0.5 - n * 0.125];
        Body { place, speed: [0.125 * n, 0.25 - 0.0625 * n, 0.03125], mass: 1.0 + n * 0.5 }
    });
    let (x, y) = memory.words[..2 * LENGTH].split_at_mut(LENGTH);
    for (n, (x, y)) in x.iter_mut().zip(y.iter_mut()).enumerate() {
        (*x, *y) = ((n as f32 * 0.5).to_bits(), (1000.0 - n as f32).to_bits());
    }
    let mut sum = 0;
    for round in 0..count {
        for _ in 0..STEPS {
            step(&mut bodies);
        }
        vectors(x, y, 1.0 / (round % 8 + 2) as f32);
        sum = fold(
            sum,
            bodies[0].place[0].to_bits() ^ u64::from(y[LENGTH / 2 + round as usize % 64]),
        );
    }
    let sum = bodies.iter().flat_map(|b| b.place).fold(sum, |sum, v| fold(sum, v.to_bits()));
    y.iter().fold(sum, |sum, v| fold(sum, u64::from(*v)))
}

/// A step of time.
fn step(bodies: &mut [Body; BODIES]) {
    const TIME: f64 = 1.0 / 256.0;
    for n in 0..BODIES {
        for m in n + 1..BODIES {
            let (a, b) = (bodies[n], bodies[m]);
            let d: [f64; 3] = core::array::from_fn(|i| a.place[i] - b.place[i]);
            let square = d[0] * d[0] + d[1] * d[1] + d[2] * d[2] + 0.01;
            let pull = TIME / (square * root(square));
            for (i, d) in d.into_iter().enumerate() {
                bodies[n].speed[i] -= d * b.mass * pull;
                bodies[m].speed[i] += d * a.mass * pull;
            }
        }
    }
    for body in bodies {
        for i in 0..3 {
            body.place[i] += body.speed[i] * TIME;
        }
    }
}

/// SQRTSD.
fn root(value: f64) -> f64 {
    let root;
    // SAFETY: one instruction on registers.
    unsafe {
        core::arch::asm!("sqrtsd {root}, {value}", root = out(xmm_reg) root,
            value = in(xmm_reg) value, options(pure, nomem, nostack));
    }
    root
}

/// `y = max(sqrt(y) + x * factor, y * factor)`, four singles at a time.
fn vectors(x: &[u32], y: &mut [u32], factor: f32) {
    for (x, y) in x.chunks_exact(4).zip(y.chunks_exact_mut(4)) {
        // SAFETY: four words each; SSE is a part of x86-64.
        unsafe {
            let factor = _mm_set1_ps(factor);
            let (a, b) = (_mm_loadu_ps(x.as_ptr().cast()), _mm_loadu_ps(y.as_ptr().cast()));
            let sum = _mm_add_ps(_mm_sqrt_ps(b), _mm_mul_ps(a, factor));
            _mm_storeu_ps(y.as_mut_ptr().cast(), _mm_max_ps(sum, _mm_mul_ps(b, factor)));
        }
    }
}
