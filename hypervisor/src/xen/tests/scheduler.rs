//! Shares of the processor, with vCPUs that run, sleep and wake by a script.

use crate::xen::domain::DomainConfig;
use crate::xen::host_services::DomId;
use crate::xen::scheduler::SLICE_MS;
use crate::xen::testing::VecMachine;
use crate::xen::vcpu::Activity;
use crate::xen::{Share, Xen};
use alloc::vec::Vec;
use proptest::prelude::*;

/// Ticks in a millisecond; times below are in ticks, a microsecond each.
const KHZ: u64 = 1000;
const SLICE: u64 = SLICE_MS * KHZ;

/// A domain all of whose vCPUs do the same: run for a time, sleep for a time.
#[derive(Debug, Clone, Copy)]
struct Plan {
    vcpus: u32,
    weight: u16,
    cap: u16,
    run: u64,
    sleep: u64,
}

/// A domain that always wants to run.
const HOG: Plan = Plan { vcpus: 1, weight: 256, cap: 0, run: u64::MAX, sleep: 0 };

/// A vCPU of the script.
struct Actor {
    key: (DomId, u32),
    plan: Plan,
    /// What is left to run before the next sleep.
    left: u64,
    /// The end of its sleep.
    wake: Option<u64>,
    /// The time since which it wants to run.
    ready: u64,
}

struct Script {
    host: VecMachine,
    xen: Xen,
    actors: Vec<Actor>,
    now: u64,
    /// The time that each domain has used.
    used: Vec<u64>,
    /// The longest wait of each domain's vCPUs after a sleep.
    longest: Vec<u64>,
}

impl Script {
    fn new(plans: &[Plan]) -> Self {
        let mut script = Self {
            host: VecMachine::new(64),
            xen: Xen::new(KHZ, 0),
            actors: Vec::new(),
            now: 0,
            used: alloc::vec![0; plans.len()],
            longest: alloc::vec![0; plans.len()],
        };
        for &plan in plans {
            let share = Share { weight: plan.weight, cap: plan.cap };
            let config = DomainConfig { vcpus: plan.vcpus, share, ..Default::default() };
            let dom = script.xen.create_domain(&mut script.host, config).unwrap();
            for vcpu in 0..plan.vcpus {
                script.xen.vcpu_mut(dom, vcpu).unwrap().activity = Activity::Runnable;
                let (key, left) = ((dom, vcpu), plan.run);
                script.actors.push(Actor { key, plan, left, wake: None, ready: 0 });
            }
        }
        script
    }

    fn set(&mut self, index: usize, activity: Activity) {
        let (dom, vcpu) = self.actors[index].key;
        self.xen.vcpu_mut(dom, vcpu).unwrap().activity = activity;
    }

    /// Wakes who has slept enough.
    fn wake(&mut self) {
        for index in 0..self.actors.len() {
            if self.actors[index].wake.is_some_and(|at| at <= self.now) {
                let actor = &mut self.actors[index];
                (actor.wake, actor.left, actor.ready) = (None, actor.plan.run, self.now);
                self.set(index, Activity::Runnable);
            }
        }
    }

    /// Lets one vCPU run until it sleeps, its slice ends, or another wakes.
    fn step(&mut self, end: u64) {
        self.wake();
        let chosen = self.xen.schedule(&mut self.host, self.now);
        let wake = self.actors.iter().filter_map(|actor| actor.wake).min();
        let until = [wake, Some(end)].into_iter().flatten();
        let Some(key) = chosen else {
            let resume = self.xen.scheduler.resume();
            self.now = until.chain(resume).min().unwrap();
            return;
        };
        let index = self.actors.iter().position(|actor| actor.key == key).unwrap();
        let slice_end = self.xen.scheduler.slice_end();
        let sleeps = self.now.saturating_add(self.actors[index].left);
        let until = until.chain([slice_end, sleeps]).min().unwrap();
        let domain = usize::from(key.0.0) - 1;
        let actor = &mut self.actors[index];
        let spent = until - self.now;
        self.longest[domain] = self.longest[domain].max(self.now - actor.ready);
        actor.left -= spent;
        self.used[domain] += spent;
        self.now = until;
        actor.ready = self.now;
        if actor.left == 0 {
            actor.wake = Some(self.now.saturating_add(actor.plan.sleep.max(1)));
            self.set(index, Activity::Blocked);
        }
    }

    fn run(&mut self, ticks: u64) {
        let end = self.now + ticks;
        while self.now < end {
            self.step(end);
        }
    }
}

/// Ten seconds of `plans`: each gets its part of the time, in percent, within one of them.
#[track_caller]
fn check(plans: &[Plan], percent: &[u64]) {
    let mut script = Script::new(plans);
    script.run(10_000 * KHZ);
    let got: Vec<u64> = script.used.iter().map(|used| used / (100 * KHZ)).collect();
    let near = got.iter().zip(percent).all(|(got, want)| got.abs_diff(*want) <= 1);
    assert!(near, "{got:?} for {percent:?}");
}

#[test]
fn shares_go_by_domain() {
    check(&[HOG, HOG], &[50, 50]);
    check(&[Plan { vcpus: 16, ..HOG }, HOG], &[50, 50]);
    check(&[Plan { vcpus: 32, ..HOG }, HOG, Plan { vcpus: 2, ..HOG }], &[33, 33, 33]);
}

#[test]
fn shares_follow_weights() {
    check(&[Plan { weight: 512, ..HOG }, HOG, HOG], &[50, 25, 25]);
    check(&[Plan { weight: 65_535, ..HOG }, Plan { weight: 1, ..HOG }], &[100, 0]);
    check(&[Plan { vcpus: 16, weight: 128, ..HOG }, Plan { weight: 384, ..HOG }], &[25, 75]);
}

#[test]
fn caps_hold_though_the_processor_is_idle() {
    check(&[Plan { cap: 20, ..HOG }], &[20]);
    check(&[Plan { cap: 20, ..HOG }, HOG], &[20, 80]);
    check(&[Plan { cap: 1, vcpus: 4, ..HOG }, Plan { cap: 50, ..HOG }], &[1, 50]);
    check(&[Plan { cap: 90, ..HOG }, HOG], &[50, 50]);
    check(&[Plan { cap: 100, ..HOG }], &[100]);
}

#[test]
fn idle_time_goes_to_others() {
    let sleeper = Plan { run: 1000, sleep: 9000, ..HOG };
    check(&[HOG, Plan { sleep: 49_000, ..sleeper }], &[98, 2]);
    check(&[sleeper], &[10]);
    check(&[HOG, Plan { run: 1000, sleep: u64::MAX, ..HOG }], &[100, 0]);
}

/// Sleeps of a moment just before the slice would end, or at any other time, gain nothing.
#[test]
fn sleeping_steals_nothing() {
    for run in [1, 10, 100, 1000, SLICE - 1, SLICE, SLICE + 1, 7 * SLICE] {
        for vcpus in [1, 2, 16] {
            let mut script = Script::new(&[HOG, Plan { vcpus, run, sleep: 1, ..HOG }]);
            script.run(1000 * KHZ);
            assert!(script.used[1] <= 510 * KHZ, "{run}, {vcpus}: {:?}", script.used);
        }
    }
}

#[test]
fn the_woken_are_served_soon() {
    let mut plans = alloc::vec![Plan { vcpus: 4, ..HOG }; 9];
    plans.push(Plan { run: 200, sleep: 20_000, ..HOG });
    let mut script = Script::new(&plans);
    // At first all begin at once.
    script.run(100 * KHZ);
    script.longest.fill(0);
    script.run(10_000 * KHZ);
    assert!(script.longest[9] <= 2 * SLICE, "{} ticks", script.longest[9]);
}

#[test]
fn a_long_sleep_saves_nothing_up() {
    let mut script = Script::new(&[HOG, Plan { run: 1, sleep: 5_000 * KHZ, ..HOG }]);
    script.run(4_000 * KHZ);
    script.actors[1].plan.run = u64::MAX;
    script.run(1_000 * KHZ);
    let before = script.used.clone();
    script.run(1_000 * KHZ);
    let used = script.used[1] - before[1];
    assert!((490 * KHZ..=510 * KHZ).contains(&used), "{used}");
}

fn plan() -> impl Strategy<Value = Plan> {
    let run = prop_oneof![Just(u64::MAX), 1u64..20_000];
    (1u32..5, 64u16..1024, run, 1u64..50_000).prop_map(|(vcpus, weight, run, sleep)| Plan {
        vcpus,
        weight,
        cap: 0,
        run,
        sleep,
    })
}

proptest! {
    /// Two domains that always want to run get what their weights say, whatever others do beside
    /// them, and no time is lost.
    #[test]
    fn shares_are_fair_beside_anything(
        others in prop::collection::vec(plan(), 0..5),
        (one, two) in (64u16..1024, 64u16..1024),
    ) {
        let hogs = [one, two].map(|weight| Plan { weight, ..HOG });
        let plans: Vec<Plan> = hogs.into_iter().chain(others).collect();
        let mut script = Script::new(&plans);
        script.run(2_000 * KHZ);
        prop_assert_eq!(script.used.iter().sum::<u64>(), 2_000 * KHZ);
        let [a, b] = [0, 1].map(|i| script.used[i] as f64 / f64::from(plans[i].weight));
        let slice = SLICE as f64 / f64::from(one.min(two));
        prop_assert!((a - b).abs() <= 2.0 * slice + 1.0, "{a} and {b}");
    }
}
