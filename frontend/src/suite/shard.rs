//! Parts of the tests, for several machines: each test is in one of them, and which one follows from the tests alone.

use super::Case;
use crate::status::Failure;
use crate::values::Parsed;
use clap::ValueEnum;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Bytes that a report of earlier times may have.
const MOST: u64 = 256 << 20;

/// The `part`-th of `of` parts, from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) part: usize,
    pub(super) of: usize,
}

/// Reads `K/N`.
pub(super) fn partition(text: &str) -> Parsed<Partition> {
    let parts = text.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    let found = parts.map(|(part, of)| Partition { part, of });
    let fits = |p: &Partition| (1..=p.of).contains(&p.part) && p.of <= 100_000;
    found.filter(fits).ok_or_else(|| "accepted is K/N with K from 1 to N".into())
}

/// What is to be the same in each part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum ShardBy {
    /// The number of tests.
    #[default]
    Count,
    /// The time that they take: as in an earlier report, or up to their limits.
    Time,
}

/// The tests of a part, in their order. `times`: a report of `--json`.
pub(super) fn part(
    cases: Vec<Case>,
    partition: Partition,
    by: ShardBy,
    times: Option<&Path>,
) -> Result<Vec<Case>, Failure> {
    let places = match by {
        ShardBy::Count => (0..cases.len()).map(|n| n % partition.of).collect(),
        ShardBy::Time => {
            let known = times.map(read).transpose()?.unwrap_or_default();
            balanced(&weights(&cases, &known), partition.of)
        }
    };
    let of_part = cases.into_iter().zip(places).filter(|(_, place)| *place == partition.part - 1);
    Ok(of_part.map(|(case, _)| case).collect())
}

/// Seconds of processor time by test, as `--json` has written them down.
fn read(path: &Path) -> Result<BTreeMap<String, f64>, Failure> {
    let wrong = |why: String| Failure::usage(format!("--times {}", path.display()), why);
    let meta = fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if !meta.is_file() || meta.len() > MOST {
        let most = MOST >> 20;
        return Err(wrong(format!("accepted is a regular file of at most {most} MiB")));
    }
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let all: Option<Value> = serde_json::from_str(&text).ok();
    let test = |test: &Value| Some((test["name"].as_str()?.into(), test["cpu_seconds"].as_f64()?));
    let tests = all.as_ref().and_then(|all| all["tests"].as_array()?.iter().map(test).collect());
    tests.ok_or_else(|| wrong("accepted is what --json has written".into()))
}

/// How much each test weighs. One that is not known is as the others are on average; if none is known, each takes
/// its limit. One that is left out takes nothing.
fn weights(cases: &[Case], known: &BTreeMap<String, f64>) -> Vec<f64> {
    let mean = known.values().sum::<f64>() / known.len().max(1) as f64;
    let weight = |case: &Case| match known.get(&case.name) {
        _ if case.skip.is_some() => 0.0,
        Some(seconds) => *seconds,
        None if known.is_empty() => case.limit as f64,
        None => mean,
    };
    cases.iter().map(weight).collect()
}

/// A place for each weight: the heaviest first, each where least is. Of equals the first.
fn balanced(weights: &[f64], parts: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
    let mut places = vec![0; weights.len()];
    let mut loads = vec![(0.0, 0_usize); parts];
    for n in order {
        let least = |a: &&usize, b: &&usize| {
            let ((load_a, count_a), (load_b, count_b)) = (loads[**a], loads[**b]);
            f64::total_cmp(&load_a, &load_b).then(count_a.cmp(&count_b))
        };
        let all: Vec<usize> = (0..parts).collect();
        let place = all.iter().min_by(least).copied().unwrap_or(0);
        loads[place] = (loads[place].0 + weights[n], loads[place].1 + 1);
        places[n] = place;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::super::Expect;
    use super::*;

    #[test]
    fn partitions() {
        assert_eq!(partition("2/5"), Ok(Partition { part: 2, of: 5 }));
        for wrong in ["", "2", "0/5", "6/5", "1/0", "a/b", "1/2/3", "-1/5"] {
            assert_eq!(partition(wrong).unwrap_err(), "accepted is K/N with K from 1 to N");
        }
    }

    #[test]
    fn heavy_tests_are_parted() {
        assert_eq!(balanced(&[1.0, 9.0, 2.0, 8.0, 3.0], 2), [0, 0, 0, 1, 1]);
        assert_eq!(balanced(&[0.0, 0.0, 0.0], 2), [0, 1, 0]);
        assert_eq!(balanced(&[5.0], 3), [0]);
        assert_eq!(balanced(&[], 3), Vec::<usize>::new());
    }

    fn case(name: &str, limit: u64, skip: bool) -> Case {
        let expect = Expect::Status { status: 0, text: None };
        Case {
            name: name.into(),
            groups: vec![],
            words: vec![],
            folder: "".into(),
            limit,
            expect,
            skip: skip.then(|| "no".into()),
            by_hand: false,
        }
    }

    #[test]
    fn what_tests_weigh() {
        let cases = [case("a", 7, false), case("b", 8, false), case("c", 9, true)];
        assert_eq!(weights(&cases, &BTreeMap::new()), [7.0, 8.0, 0.0]);
        let known = BTreeMap::from([("a".into(), 2.0), ("x".into(), 4.0)]);
        assert_eq!(weights(&cases, &known), [2.0, 3.0, 0.0]);
    }
}
