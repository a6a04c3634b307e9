//! What embedded programs do: linked lists that are searched, turned round and sorted; products
//! of small matrices; a machine of states that reads numbers. A CRC-16 holds it together.

use super::{END, Memory, Node, Random, fold};

const LINKS: usize = 400;
const SIDE: usize = 16;
const TEXT: usize = 2048;

type Matrix<T> = [[T; SIDE]; SIDE];

pub(super) fn run(count: u32, memory: &mut Memory) -> u64 {
    let (nodes, text) = (&mut memory.nodes[..LINKS], &mut memory.bytes[..TEXT]);
    let mut random = Random(7);
    let mut head = build(nodes, &mut random);
    write(text, &mut random);
    let mut a: Matrix<i16> =
        core::array::from_fn(|_| core::array::from_fn(|_| random.next() as i16 >> 4));
    let b: Matrix<i16> =
        core::array::from_fn(|_| core::array::from_fn(|_| random.next() as i16 >> 4));
    let mut crc = 0;
    for round in 0..count {
        crc = crc16(crc, find(nodes, head, u64::from(round * 7 % 512)));
        head = reverse(nodes, head);
        let by_order = round & 1 == 1;
        head = sort(nodes, head, by_order);
        crc = crc16(crc, nodes[head as usize].order);
        crc = crc16(crc, product(&a, &b));
        a[round as usize % SIDE][3] ^= crc as i16 & 0xFF;
        for kind in machine(text) {
            crc = crc16(crc, kind);
        }
        text[(round as usize * 13) % TEXT] ^= (crc & 1) as u8;
    }
    fold(u64::from(crc), u64::from(head))
}

/// One bit after the other.
fn crc16(crc: u16, value: u32) -> u16 {
    (0..32).fold(crc, |crc, bit| {
        let carry = (u32::from(crc) ^ value >> bit) & 1;
        crc >> 1 ^ (carry as u16).wrapping_neg() & 0xA001
    })
}

fn build(nodes: &mut [Node], random: &mut Random) -> u32 {
    for (n, node) in nodes.iter_mut().enumerate() {
        let order = n as u32;
        *node = Node { key: u64::from(random.next() % 512), value: 0, next: order + 1, order };
    }
    nodes[LINKS - 1].next = END;
    0
}

/// How far from the head the key is.
fn find(nodes: &[Node], head: u32, key: u64) -> u32 {
    let (mut at, mut steps) = (head, 0);
    while at != END && nodes[at as usize].key != key {
        at = nodes[at as usize].next;
        steps += 1;
    }
    steps
}

fn reverse(nodes: &mut [Node], head: u32) -> u32 {
    let (mut at, mut before) = (head, END);
    while at != END {
        let next = core::mem::replace(&mut nodes[at as usize].next, before);
        (before, at) = (at, next);
    }
    before
}

/// Merges runs of 1, 2, 4, … links until one is left.
fn sort(nodes: &mut [Node], mut head: u32, by_order: bool) -> u32 {
    let mut run = 1;
    while run < LINKS {
        let (mut rest, mut tail) = (head, END);
        head = END;
        while rest != END {
            let (mut a, mut b) = ((rest, run), (skip(nodes, rest, run), run));
            while has(a) || has(b) {
                let from_a = has(a) && !(has(b) && less(nodes, b.0, a.0, by_order));
                let from = if from_a { &mut a } else { &mut b };
                let taken = from.0;
                *from = (nodes[taken as usize].next, from.1 - 1);
                match nodes.get_mut(tail as usize) {
                    Some(node) => node.next = taken,
                    None => head = taken,
                }
                tail = taken;
            }
            rest = b.0;
        }
        nodes[tail as usize].next = END;
        run *= 2;
    }
    head
}

/// Whether something is left of a run.
fn has((at, left): (u32, usize)) -> bool {
    left > 0 && at != END
}

fn skip(nodes: &[Node], mut at: u32, links: usize) -> u32 {
    for _ in 0..links {
        match nodes.get(at as usize) {
            Some(node) => at = node.next,
            None => return END,
        }
    }
    at
}

fn less(nodes: &[Node], a: u32, b: u32, by_order: bool) -> bool {
    let (a, b) = (&nodes[a as usize], &nodes[b as usize]);
    if by_order { a.order < b.order } else { a.key < b.key }
}

/// Products of matrices, with sums of pieces of their bits.
fn product(a: &Matrix<i16>, b: &Matrix<i16>) -> u32 {
    let (mut sum, mut c) = (0_u32, [[0_i32; SIDE]; SIDE]);
    for (row, out) in a.iter().zip(&mut c) {
        for (n, out) in out.iter_mut().enumerate() {
            *out = row.iter().zip(b).map(|(x, column)| i32::from(*x) * i32::from(column[n])).sum();
        }
    }
    for value in c.iter().flatten() {
        let pieces = (value >> 2 & 0xF) * (value >> 5 & 0x7F);
        sum = sum.wrapping_add(pieces as u32).wrapping_add(u32::from(*value > 0) * 10);
    }
    sum
}

/// What a word of the text turns out to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Sign,
    Integer,
    Point,
    Exponent,
    ExponentSign,
    Scientific,
    Invalid,
}

/// Fills the text with words, most of them numbers.
fn write(text: &mut [u8], random: &mut Random) {
    const SOME: [&[u8]; 8] = [
        b"5012",
        b"-874",
        b"+122",
        b"35.54400",
        b".1234500",
        b"5.500e+3",
        b"-.123e-2",
        b"T0.3e-1F",
    ];
    let mut at = 0;
    while at + 10 < text.len() {
        let word = SOME[(random.next() % 8) as usize];
        text[at..at + word.len()].copy_from_slice(word);
        at += word.len();
        text[at] = b',';
        at += 1;
    }
    text[at..].fill(b',');
}

/// How often a word ended in each state.
fn machine(text: &[u8]) -> [u32; 8] {
    let (mut ends, mut state) = ([0; 8], State::Start);
    for byte in text {
        if *byte == b',' {
            ends[state as usize] += 1;
            state = State::Start;
        } else {
            state = step(state, *byte);
        }
    }
    ends
}

fn step(state: State, byte: u8) -> State {
    match (state, byte) {
        (State::Start, b'+' | b'-') => State::Sign,
        (State::Start | State::Sign | State::Integer, b'0'..=b'9') => State::Integer,
        (State::Start | State::Sign | State::Integer, b'.') => State::Point,
        (State::Point, b'0'..=b'9') => State::Point,
        (State::Point | State::Integer, b'e' | b'E') => State::Exponent,
        (State::Exponent, b'+' | b'-') => State::ExponentSign,
        (State::Exponent | State::ExponentSign | State::Scientific, b'0'..=b'9') => {
            State::Scientific
        }
        _ => State::Invalid,
    }
}
