//! Expressions as gdb and C have them, on a machine's registers and memory: numbers, `$rip`, operators, and
//! `*(unsigned int *) ADDRESS` or `{unsigned int} ADDRESS` for what lies in memory.

/// Expressions in one another.
const DEPTH: u32 = 64;
/// Operators of one expression, which lie in one another too: `1+1+1` is `(1+1)+1`.
const OPERATORS: u32 = 256;

/// What an expression is about.
pub(crate) trait Subject {
    /// A register, by its name in small letters.
    fn register(&self, name: &str) -> Option<u64>;

    /// `size` bytes of memory at a linear address, little-endian.
    fn memory(&self, address: u64, size: usize) -> Option<u64>;
}

/// A number of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Number {
    bits: u64,
    signed: bool,
}

/// What lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Type {
    size: usize,
    signed: bool,
}

/// An expression that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expression(Node);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Number(Number),
    Register(String),
    Memory(Type, Box<Node>),
    Unary(char, Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
}

/// An operator between two values, by how it is written.
type Operator = &'static str;

/// Operators from the loosest to the tightest. Of two with the same begin the longer comes first.
const LEVELS: [&[Operator]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

impl Expression {
    /// Reads the expression with which `text` begins; what follows is left.
    pub(crate) fn read(text: &str) -> Result<(Expression, &str), String> {
        let mut parser = Parser { rest: text, depth: 0, operators: 0 };
        let node = parser.binary(0)?;
        Ok((Expression(node), parser.rest.trim_start()))
    }

    /// The value, of 64 bits.
    pub(crate) fn value(&self, subject: &dyn Subject) -> Result<u64, String> {
        self.0.value(subject).map(|number| number.bits)
    }

    /// The names of the registers that are needed.
    pub(crate) fn registers(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.0.collect(&mut names);
        names
    }
}

impl Node {
    fn collect<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Node::Number(_) => {}
            Node::Register(name) => names.push(name),
            Node::Memory(_, of) | Node::Unary(_, of) => of.collect(names),
            Node::Binary(_, a, b) => {
                a.collect(names);
                b.collect(names);
            }
        }
    }

    fn value(&self, subject: &dyn Subject) -> Result<Number, String> {
        match self {
            Node::Number(number) => Ok(*number),
            Node::Register(name) => {
                let bits = subject.register(name);
                let bits = bits.ok_or_else(|| format!("unknown register '${name}'"))?;
                Ok(Number { bits, signed: !matches!(&name[..], "rip" | "rsp" | "rbp") })
            }
            Node::Memory(kind, address) => {
                let address = address.value(subject)?.bits;
                let bits = subject.memory(address, kind.size);
                let bits = bits.ok_or_else(|| format!("no memory at {address:#x}"))?;
                Ok(kind.extend(bits))
            }
            Node::Unary(operator, of) => {
                let Number { bits, signed } = of.value(subject)?;
                Ok(match operator {
                    '-' => Number { bits: bits.wrapping_neg(), signed },
                    '~' => Number { bits: !bits, signed },
                    _ => truth(bits == 0),
                })
            }
            Node::Binary("&&", a, b) if a.value(subject)?.bits != 0 => b.truth(subject),
            Node::Binary("||", a, b) if a.value(subject)?.bits == 0 => b.truth(subject),
            Node::Binary("&&" | "||", a, _) => a.truth(subject),
            Node::Binary(operator, a, b) => {
                let (a, b) = (a.value(subject)?, b.value(subject)?);
                apply(operator, a, b).ok_or_else(|| "division by zero".into())
            }
        }
    }

    fn truth(&self, subject: &dyn Subject) -> Result<Number, String> {
        self.value(subject).map(|number| truth(number.bits != 0))
    }
}

fn truth(value: bool) -> Number {
    Number { bits: value.into(), signed: true }
}

impl Type {
    fn extend(self, bits: u64) -> Number {
        let unused = 64 - 8 * self.size as u32;
        let bits = match self.signed {
            true => (((bits << unused) as i64) >> unused) as u64,
            false => bits,
        };
        Number { bits, signed: self.signed }
    }

    /// The type with this name, words apart by one space.
    fn named(name: &str) -> Option<Type> {
        let plain = name.strip_prefix("unsigned ").or_else(|| name.strip_prefix("signed "));
        let size = match plain.unwrap_or(name) {
            "char" | "int8_t" | "uint8_t" => 1,
            "short" | "short int" | "int16_t" | "uint16_t" => 2,
            "int" | "unsigned" | "int32_t" | "uint32_t" => 4,
            "long" | "long int" | "long long" | "int64_t" | "uint64_t" => 8,
            _ => return None,
        };
        Some(Type { size, signed: !name.starts_with('u') })
    }
}

fn apply(operator: Operator, a: Number, b: Number) -> Option<Number> {
    let signed = a.signed && b.signed;
    let less = |a: Number, b: Number| match signed {
        true => (a.bits as i64) < b.bits as i64,
        false => a.bits < b.bits,
    };
    let shift = b.bits.min(64) as u32;
    let bits = match operator {
        "==" => return Some(truth(a.bits == b.bits)),
        "!=" => return Some(truth(a.bits != b.bits)),
        "<" => return Some(truth(less(a, b))),
        ">" => return Some(truth(less(b, a))),
        "<=" => return Some(truth(!less(b, a))),
        ">=" => return Some(truth(!less(a, b))),
        "+" => a.bits.wrapping_add(b.bits),
        "-" => a.bits.wrapping_sub(b.bits),
        "*" => a.bits.wrapping_mul(b.bits),
        "/" | "%" if b.bits == 0 => return None,
        "/" if signed => (a.bits as i64).wrapping_div(b.bits as i64) as u64,
        "/" => a.bits / b.bits,
        "%" if signed => (a.bits as i64).wrapping_rem(b.bits as i64) as u64,
        "%" => a.bits % b.bits,
        "<<" => a.bits.checked_shl(shift).unwrap_or(0),
        ">>" if a.signed => ((a.bits as i64) >> shift.min(63)) as u64,
        ">>" => a.bits.checked_shr(shift).unwrap_or(0),
        "&" => a.bits & b.bits,
        "^" => a.bits ^ b.bits,
        _ => a.bits | b.bits,
    };
    Some(Number { bits, signed })
}

struct Parser<'a> {
    rest: &'a str,
    depth: u32,
    operators: u32,
}

impl<'a> Parser<'a> {
    /// Takes `text`, if it comes next.
    fn take(&mut self, text: &str) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes the operator of `level` that comes next.
    fn operator(&mut self, level: usize) -> Option<Operator> {
        let mut all = LEVELS[level].iter().copied();
        all.find(|operator| {
            let rest = self.rest.trim_start().strip_prefix(operator);
            // `a && b` is not `a & (& b)`.
            let longer = |next: char| {
                matches!(*operator, "&" | "|" | "<" | ">") && operator.starts_with(next)
            };
            rest.is_some_and(|rest| !rest.starts_with(longer)) && self.take(operator)
        })
    }

    fn binary(&mut self, level: usize) -> Result<Node, String> {
        if level == LEVELS.len() {
            return self.unary();
        }
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = self.operator(level) {
            self.operators += 1;
            if self.operators > OPERATORS {
                return Err("too many operators".into());
            }
            let right = self.binary(level + 1)?;
            left = Node::Binary(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("too many expressions in one another".into());
        }
        let prefix =
            ['-', '~', '!'].into_iter().find(|sign| self.take(sign.encode_utf8(&mut [0; 4])));
        let node = if let Some(sign) = prefix {
            Node::Unary(sign, Box::new(self.unary()?))
        } else if self.take("*") {
            self.close("(")?;
            let kind = self.kind("*")?;
            self.close(")")?;
            Node::Memory(kind, Box::new(self.unary()?))
        } else if self.take("{") {
            let kind = self.kind("}")?;
            Node::Memory(kind, Box::new(self.unary()?))
        } else if self.take("(") {
            let node = self.binary(0)?;
            self.close(")")?;
            node
        } else if self.take("$") {
            Node::Register(self.word().to_ascii_lowercase())
        } else {
            self.number()?
        };
        self.depth -= 1;
        Ok(node)
    }

    /// Takes `text`, which has to come next.
    fn close(&mut self, text: &str) -> Result<(), String> {
        match (self.take(text), text) {
            (true, _) => Ok(()),
            (false, "(") => Err("after * stands (TYPE *)".into()),
            (false, _) => Err(format!("no closing '{text}'")),
        }
    }

    /// Takes the name of a type, and then `end`.
    fn kind(&mut self, end: &str) -> Result<Type, String> {
        let (name, rest) = self.rest.split_once(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
        Type::named(&name).ok_or_else(|| format!("unknown type '{name}'"))
    }

    fn word(&mut self) -> &'a str {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn number(&mut self) -> Result<Node, String> {
        let word = self.word();
        let value = match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => word.parse(),
        };
        let bits = value.map_err(|_| format!("'{word}' is no number"))?;
        Ok(Node::Number(Number { bits, signed: i64::try_from(bits).is_ok() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Example;

    impl Subject for Example {
        fn register(&self, name: &str) -> Option<u64> {
            match name {
                "rip" => Some(0x1000),
                "rax" => Some(u64::MAX),
                "fs_base" => Some(0x2000),
                _ => None,
            }
        }

        fn memory(&self, address: u64, size: usize) -> Option<u64> {
            let bytes = 0xffee_ddcc_bbaa_9988_u64;
            (address == 0x2000).then(|| bytes << (64 - 8 * size) >> (64 - 8 * size))
        }
    }

    #[track_caller]
    fn check(text: &str, expect: Result<(u64, &str), &str>) {
        let found = Expression::read(text)
            .and_then(|(expression, rest)| Ok((expression.value(&Example)?, rest)));
        assert_eq!(found, expect.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn values() {
        check("1+2*3", Ok((7, "")));
        check("(1 + 2) * 3 rest", Ok((9, "rest")));
        check("$rip-0x10", Ok((0xFF0, "")));
        check("-1 & 0xff | 0x100", Ok((0x1FF, "")));
        check("~0", Ok((u64::MAX, "")));
        check("7 % 4", Ok((3, "")));
        check("$RIP", Ok((0x1000, "")));
        check("1 << 4 >> 2", Ok((4, "")));
        check("1 << 64", Ok((0, "")));
    }

    #[test]
    fn truths() {
        for (text, value) in [
            ("1 < 2", 1),
            ("2 <= 1", 0),
            ("$rax < 0", 1),
            ("$rax > 0xffffffff80000000", 1),
            ("$rip == 0x1000 && $rax == -1", 1),
            ("0 && 1/0", 0),
            ("1 || 1/0", 1),
            ("3 && 4", 1),
            ("!5 | !0", 1),
            ("1 & 3 == 3", 1),
            ("-4 / 2 == -2", 1),
            ("(1 << 63) / -1 == 1 << 63", 1),
        ] {
            check(text, Ok((value, "")));
        }
    }

    #[test]
    fn memory() {
        check("*(unsigned char *) 0x2000", Ok((0x88, "")));
        check("*(int *)$fs_base", Ok((0xffff_ffff_bbaa_9988, "")));
        check("{unsigned int} ($fs_base) + 1", Ok((0xbbaa_9989, "")));
        check("{long}0x2000 < 0", Ok((1, "")));
        check("*(uint64_t*)0x2000 > 5", Ok((1, "")));
        check("{int}0x3000", Err("no memory at 0x3000"));
    }

    #[test]
    fn wrong_ones() {
        check("1/0", Err("division by zero"));
        check("(1", Err("no closing ')'"));
        check("$foo", Err("unknown register '$foo'"));
        check("0xg", Err("'0xg' is no number"));
        check("", Err("'' is no number"));
        check("99999999999999999999", Err("'99999999999999999999' is no number"));
        check("{float} 1", Err("unknown type 'float'"));
        check("*5", Err("after * stands (TYPE *)"));
        check(&"(".repeat(5000), Err("too many expressions in one another"));
        check(&"-".repeat(5000), Err("too many expressions in one another"));
        check(&"1+".repeat(50_000), Err("too many operators"));
        check("0x8000000000000000 / -1", Ok((0, "")));
    }
}
