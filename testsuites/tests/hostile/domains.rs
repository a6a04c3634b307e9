//! DomUs against the hypervisor and their neighbours: whatever one of them does, it ends alone, with a reason if
//! it has to, and an honest one beside it gets on as if there were somebody who only computes. Each runs on the
//! hypervisor as it is, and on one with assertions and overflow checks.

use crate::emulator::BESIDES;
use crate::run::{Run, Used};
use std::path::PathBuf;
use std::sync::OnceLock;
use testsuites::outcome::Needed;
use testsuites::strata;

/// MiB of each domain that does not ask for more.
const MEMORY: u64 = 16;
/// The time that the honest domU takes at most, in percent of its time alone for each that shares the processor.
const PERCENT: u64 = 130;
/// Seconds of processor time for a run with few domains, of which a fast host takes less than one.
const SECONDS: f64 = 20.0;

/// Dom0 waits for the end of the domUs.
const WATCH: &str = ",append=watch";

/// The hypervisors: how they are called, and the words of the command line that choose them.
fn hypervisors() -> &'static [(&'static str, Vec<String>); 2] {
    static CHECKED: OnceLock<PathBuf> = OnceLock::new();
    static BOTH: OnceLock<[(&'static str, Vec<String>); 2]> = OnceLock::new();
    BOTH.get_or_init(|| {
        let checked = CHECKED.get_or_init(|| strata::checked_hypervisor().needed("a hypervisor"));
        let file = checked.to_str().expect("a name in UTF-8").to_owned();
        [("plain", Vec::new()), ("checked", vec!["--hypervisor".into(), file])]
    })
}

/// Runs `domus`, each by its options, beside an honest one. All of them end, and the hypervisor too, with `status`.
#[track_caller]
fn run(name: &str, hypervisor: usize, dom0: &str, domus: &[String], status: i32) -> Used {
    let (kind, choice) = &hypervisors()[hypervisor];
    let mut words = vec!["host".to_owned(), "--until-domus-end".into()];
    words.extend(choice.iter().cloned());
    words.extend(["--dom0".into(), format!("memory={MEMORY}M{dom0}")]);
    let honest = format!("name=honest,memory={MEMORY}M,append=violate=progress");
    for domu in domus.iter().chain([&honest]) {
        words.extend(["--domu".into(), domu.clone()]);
    }
    words.extend(["--limit-instructions".into(), "60000000000".into()]);
    let used = Run::start_kept(&words, &format!("{kind}-{name}")).needed("strata");
    let used = used.wait().needed("strata");
    assert_eq!(used.status, Some(status), "{kind}: {}\n{}", used.stdout, used.stderr);
    assert!(used.lines("(hv) ").any(|line| line.contains("the last domU has ended")), "{kind}");
    used
}

/// The bound of resident memory holds, where the hostile domUs have `memory` MiB.
#[track_caller]
fn within(used: &Used, memory: u64) {
    // Dom0 and the honest one are there too, and the hypervisor; for each domain it may hold 4 MiB.
    let guests = (memory + memory.div_ceil(MEMORY) * 4) + 2 * (MEMORY + 4) + 32;
    let most = (guests << 20) + (guests << 13) + BESIDES;
    assert!(used.memory <= most, "{} MiB resident", used.memory >> 20);
}

impl Used {
    /// The rest of each line of the console that begins with `prefix`.
    fn lines<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.stdout.lines().filter_map(move |line| line.strip_prefix(prefix))
    }

    /// Microseconds after which the honest domU had done everything, each portion of which it has printed.
    #[track_caller]
    fn progress(&self) -> u64 {
        let portions = self.lines("(honest) ").filter_map(|line| line.strip_prefix("portion "));
        let times: Vec<u64> = portions
            .enumerate()
            .map(|(index, line)| {
                let (number, time) = line.split_once(" after ").expect("a time");
                assert_eq!(number, (index + 1).to_string(), "{}", self.stdout);
                time.strip_suffix(" us").and_then(|time| time.parse().ok()).expect("a number")
            })
            .collect();
        assert_eq!(times.len(), 20, "{}", self.stdout);
        times[19]
    }
}

/// The time of the honest domU alone.
fn alone(hypervisor: usize) -> u64 {
    static TIMES: [OnceLock<u64>; 2] = [OnceLock::new(), OnceLock::new()];
    *TIMES[hypervisor].get_or_init(|| run("alone", hypervisor, WATCH, &[], 0).progress())
}

/// What a domU does, and what comes of that.
struct Misdeed {
    /// What the hypervisor says of its end.
    ends: &'static str,
    /// It goes on afterwards.
    lives: bool,
    /// Options besides name, memory and command line.
    options: &'static str,
    /// Options of dom0.
    dom0: &'static str,
    /// MiB that it has.
    memory: u64,
    /// There are two of them, and each is told the number of the other.
    pair: bool,
}

impl Default for Misdeed {
    fn default() -> Misdeed {
        Misdeed {
            ends: "ended: Poweroff",
            lives: true,
            options: "",
            dom0: WATCH,
            memory: MEMORY,
            pair: false,
        }
    }
}

impl Misdeed {
    #[track_caller]
    fn check(&self, violation: &str) {
        let count = if self.pair { 2 } else { 1 };
        let domu = |number: u64| {
            let peer = if self.pair { format!("-{}", 3 - number) } else { String::new() };
            let Misdeed { options, memory, .. } = self;
            format!("name=d{number},memory={memory}M,{options}append=violate={violation}{peer}")
        };
        let domus: Vec<String> = (1..=count).map(domu).collect();
        // A crash shows in the status.
        let status = if self.ends.starts_with("killed") { 116 } else { 0 };
        for hypervisor in 0..2 {
            let used = run(violation, hypervisor, self.dom0, &domus, status);
            assert!(used.cpu <= SECONDS, "{} s", used.cpu);
            within(&used, self.memory * count);
            self.ended(&used, count);
            let (time, alone) = (used.progress(), alone(hypervisor));
            assert!(time * 100 <= alone * PERCENT * (count + 1), "{time} us, alone {alone} us");
        }
    }

    #[track_caller]
    fn ended(&self, used: &Used, count: u64) {
        for number in 1..=count {
            let says =
                |line: &str| line.contains(&format!("(d{number})")) && line.contains(self.ends);
            assert!(used.lines("(hv) ").any(says), "{}", used.stdout);
            let name = format!("(d{number}) ");
            assert_eq!(
                used.lines(&name).any(|line| line == "still here"),
                self.lives,
                "{}",
                used.stdout
            );
        }
    }
}

/// A test for each misdeed.
macro_rules! misdeeds {
    ($($name:ident: $violation:literal $(, $field:ident: $value:expr)*;)*) => {$(
        #[test]
        fn $name() {
            Misdeed { $($field: $value,)* ..Misdeed::default() }.check($violation);
        }
    )*};
}

misdeeds! {
    faults_three_times: "triple-fault", ends: "killed: vCPU 0: triple fault", lives: false;
    reads_an_unknown_msr: "read-msr", ends: "killed: vCPU 0: triple fault", lives: false;
    jumps_away: "jump-away", ends: "killed: vCPU 0: instruction fetch at guest-physical 0x7fff0000", lives: false;
    enters_real_mode: "real-mode", lives: false;
    overruns_a_table: "overrun", ends: "killed: vCPU 0: instruction fetch at guest-physical 0x7fff0000", lives: false;
    reads_nothing: "read-nothing";
    uses_devices: "use-devices";
    powers_pcs_off: "power-off";
    exhausts_tables: "exhaust-tables";
    makes_privileged_calls: "privileged-calls";
    offers_nothing: "offer-nothing", dom0: "";
    forges_lines: "forge";
    calls_for_long: "multicalls", memory: 128;
    is_a_crowd: "crowd", options: "vcpus=16,";
    sends_init_to_a_poll: "init-poller", options: "vcpus=2,";
    takes_a_poll_down: "down-poller", options: "vcpus=2,";
    takes_all_down: "all-down", lives: false;
    hoard: "hoard", pair: true;
    outgrow: "outgrow", pair: true;
}

/// DomUs in pairs have the hypervisor hold as much as they can for them. All come to their end, and so does the
/// honest one beside them. 8 of them, or as many as `STRATA_HOSTILE_DOMUS` says: CONTRIBUTING.md.
#[test]
#[expect(clippy::disallowed_methods, reason = "how many domUs there are is the user's choice")]
fn many_hoarders() {
    let asked = std::env::var("STRATA_HOSTILE_DOMUS").ok();
    let count = asked.map_or(8, |asked| asked.parse().expect("STRATA_HOSTILE_DOMUS is a number"));
    let domu = |number: u64| {
        let peer = if number.is_multiple_of(2) { number - 1 } else { number + 1 };
        format!("name=d{number},memory={MEMORY}M,append=violate=hoard-{peer}")
    };
    let domus: Vec<String> = (1..=count).map(domu).collect();
    for hypervisor in 0..2 {
        let used = run("many", hypervisor, WATCH, &domus, 0);
        Misdeed { pair: true, ..Misdeed::default() }.ended(&used, count);
        within(&used, MEMORY * count);
        let (time, alone) = (used.progress(), alone(hypervisor));
        assert!(time * 100 <= alone * PERCENT * (count + 1), "{time} us, alone {alone} us");
        assert!(used.cpu <= SECONDS + 2.0 * count as f64, "{} s", used.cpu);
    }
}
