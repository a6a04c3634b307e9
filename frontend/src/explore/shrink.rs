//! The fewest and smallest perturbations by which the same still happens.

use super::plan::Plan;
use platform::machine::Input;

/// What of `plan` is needed for `holds`, which holds for all of it. Leaves out parts, halves of them and so on (delta
/// debugging), and then makes the times shorter for which processors stand still.
///
/// # Errors
/// Those of `holds`.
pub(crate) fn shrink<E>(
    plan: Plan,
    mut holds: impl FnMut(&Plan) -> Result<bool, E>,
) -> Result<Plan, E> {
    let mut plan = fewest(plan, &mut holds)?;
    for n in 0..plan.len() {
        while let Some(smaller) = smaller(&plan, n) {
            if !holds(&smaller)? {
                break;
            }
            plan = smaller;
        }
    }
    Ok(plan)
}

fn fewest<E>(mut plan: Plan, holds: &mut impl FnMut(&Plan) -> Result<bool, E>) -> Result<Plan, E> {
    let mut part = plan.len();
    while part > 0 {
        let (mut from, before) = (0, plan.len());
        while from < plan.len() {
            let mut without = plan.clone();
            without.drain(from..(from + part).min(plan.len()));
            if holds(&without)? {
                plan = without;
            } else {
                from += part;
            }
        }
        // Where one has gone, another may no longer be needed.
        part = if part == 1 && plan.len() < before { 1 } else { part / 2 };
    }
    Ok(plan)
}

/// The plan with perturbation `n` of half the size.
fn smaller(plan: &Plan, n: usize) -> Option<Plan> {
    let mut plan = plan.clone();
    match &mut plan[n].1 {
        Input::Stall { time, .. } if *time > 1 => *time /= 2,
        Input::Tsc { ticks } if *ticks > 1 => *ticks /= 2,
        _ => return None,
    }
    Some(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::time::Icount;

    /// A plan in which processor 0 stands still at these times.
    fn stalls(at: &[u64]) -> Plan {
        at.iter().map(|at| (Icount(*at), Input::Stall { processor: 0, time: 1000 })).collect()
    }

    #[track_caller]
    fn check(needed: &[u64], least: u64) {
        let all: Vec<u64> = (0..23).collect();
        let holds = |plan: &Plan| {
            let there = |at: &u64| {
                plan.iter().any(|(t, input)| {
                    let long = matches!(input, Input::Stall { time, .. } if *time >= least);
                    t.0 == *at && long
                })
            };
            Ok::<_, ()>(needed.iter().all(there))
        };
        let shrunk = shrink(stalls(&all), holds).unwrap();
        assert_eq!(shrunk.iter().map(|(at, _)| at.0).collect::<Vec<_>>(), needed);
        let short = |(_, input): &(Icount, Input)| matches!(input, Input::Stall { time, .. } if *time < 2 * least);
        assert!(shrunk.iter().all(short), "{shrunk:?}");
    }

    #[test]
    fn only_what_is_needed_is_left() {
        check(&[], 1);
        check(&[7], 100);
        check(&[0, 22], 3);
        check(&[3, 4, 17], 400);
    }
}
