//! Expressions of the monitor: numbers, registers (`$rip`), `+ - * / % & | ^ ~ ( )`.

/// Expressions in one another.
const DEPTH: u32 = 64;

/// What an expression is worth, and what follows.
pub(super) fn value<'a>(
    text: &'a str,
    register: &dyn Fn(&str) -> Option<u64>,
) -> Result<(u64, &'a str), String> {
    let mut parser = Parser { rest: text, register, depth: 0 };
    let value = parser.binary(0)?;
    Ok((value, parser.rest.trim_start()))
}

struct Parser<'a, 'b> {
    rest: &'a str,
    register: &'b dyn Fn(&str) -> Option<u64>,
    depth: u32,
}

/// Operators from the loosest to the tightest.
const LEVELS: [&[char]; 3] = [&['|', '^', '&'], &['+', '-'], &['*', '/', '%']];

impl Parser<'_, '_> {
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn skip(&mut self) {
        let mut chars = self.rest.chars();
        chars.next();
        self.rest = chars.as_str();
    }

    fn binary(&mut self, level: usize) -> Result<u64, String> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = self.peek().filter(|c| operators.contains(c)) {
            self.skip();
            let right = self.binary(level + 1)?;
            left = apply(operator, left, right).ok_or("division by zero")?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<u64, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("too many expressions in one another".into());
        }
        let value = match self.peek() {
            Some('-') => {
                self.skip();
                self.unary()?.wrapping_neg()
            }
            Some('~') => {
                self.skip();
                !self.unary()?
            }
            Some('(') => {
                self.skip();
                let value = self.binary(0)?;
                if self.peek() != Some(')') {
                    return Err("no closing ')'".into());
                }
                self.skip();
                value
            }
            Some('$') => {
                self.skip();
                let name = self.word();
                (self.register)(&name).ok_or_else(|| format!("unknown register '${name}'"))?
            }
            _ => self.number()?,
        };
        self.depth -= 1;
        Ok(value)
    }

    fn word(&mut self) -> String {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_ascii_lowercase()
    }

    fn number(&mut self) -> Result<u64, String> {
        let word = self.word();
        let value = match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => word.parse(),
        };
        value.map_err(|_| format!("'{word}' is no number"))
    }
}

fn apply(operator: char, a: u64, b: u64) -> Option<u64> {
    Some(match operator {
        '+' => a.wrapping_add(b),
        '-' => a.wrapping_sub(b),
        '*' => a.wrapping_mul(b),
        '/' => a.checked_div(b)?,
        '%' => a.checked_rem(b)?,
        '&' => a & b,
        '|' => a | b,
        _ => a ^ b,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<(u64, &str), &str>) {
        let register = |name: &str| (name == "rip").then_some(0x1000);
        let found = value(text, &register);
        assert_eq!(found, expect.map_err(str::to_owned));
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
    }

    #[test]
    fn wrong_ones() {
        check("1/0", Err("division by zero"));
        check("(1", Err("no closing ')'"));
        check("$foo", Err("unknown register '$foo'"));
        check("0xg", Err("'0xg' is no number"));
        check("", Err("'' is no number"));
        check("99999999999999999999", Err("'99999999999999999999' is no number"));
        check(&"(".repeat(5000), Err("too many expressions in one another"));
        check(&"-".repeat(5000), Err("too many expressions in one another"));
    }
}
