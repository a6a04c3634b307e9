//! The command line. `strata run` takes QEMU's names, which have one dash: they are turned into
//! clap's form first. What clap has to say comes out as one line.

use crate::console::Language;
use crate::console::chardev::{self, Named, Serial};
use crate::debug::connection::{self, Where};
use crate::explore;
use crate::kept::{Debugger, Diff, Hash, Record, Replay, Restore, Snapshot, SnapshotAt};
use crate::limits::Limits;
use crate::pace::Pacing;
use crate::process::Process;
use crate::qemu::{self, Meaning};
use crate::status::Failure;
use crate::suite;
use crate::trace::Trace;
use crate::values::{self, FwCfg};
use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use platform::machine::{CodeOptions, OptionalDevice};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// A PC in software, with a hypervisor on board: without a verb, the hypervisor and its embedded
/// guests run on the emulated machine.
#[derive(Debug, Parser)]
#[command(name = "strata", version, propagate_version = true, after_help = AFTER)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

const AFTER: &str = "\
Exit status: 0 the guest powered off (or reset, under -no-reboot); 2 bad input, nothing started; 4 two
snapshots or recordings differ; 6 a test has failed; 8 explore has found something; 116 the guest panicked (pvpanic), or a domain did; 118 all processors halt for ever; 120 triple fault; 122 the
emulator failed; 124 a limit was reached; 130 Ctrl-C; odd: the guest wrote (status - 1) / 2 to isa-debug-exit.";

impl Verb {
    /// The limits that are heeded, if they are not those of a run.
    pub(crate) fn limits(&self) -> Option<&'static [&'static str]> {
        match self {
            Verb::Run(_) | Verb::Host(_) | Verb::Qemu | Verb::Restore(_) | Verb::Record(_) => None,
            Verb::Test(_) => Some(&["--limit-instructions", "--limit-seconds"]),
            Verb::Explore(_) => Some(&["--limit-seconds"]),
            Verb::Link(_)
            | Verb::Image(_)
            | Verb::Snapshot(_)
            | Verb::Hash(_)
            | Verb::Replay(_)
            | Verb::Debug(_)
            | Verb::Diff(_)
            | Verb::Man
            | Verb::Completions(_) => Some(&[]),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a bare machine, with QEMU's names for the flags (also without the verb)
    Run(Run),
    /// Run the hypervisor with the domains described
    Host(Host),
    /// Take QEMU's whole command line, and behave as QEMU: its messages, its exit statuses, no summary
    Qemu,
    /// Make a link to this program by QEMU's name in a folder: called by it, the program is strata qemu
    Link(Link),
    /// Write a bootable image of the hypervisor and its embedded guests (for other machines)
    Image(Image),
    /// Go on from a snapshot
    Restore(Restore),
    /// Look at snapshots
    Snapshot(Snapshot),
    /// Print the hash of a snapshot's state, as the summary of a run has it
    Hash(Hash),
    /// Run, and write down all that is needed to run it again
    Record(Record),
    /// Run a recording again, and compare it with what was recorded
    Replay(Replay),
    /// Go through a recording with gdb, forwards and backwards
    Debug(Debugger),
    /// Say at which instruction two recordings part; status 4 if they do
    Diff(Diff),
    /// Try many futures of one state, and record one in which something is found
    Explore(explore::Explore),
    /// Print the manual page, for man(1)
    Man,
    /// Print a script by which a shell completes words
    Completions(Completions),
    /// Run many guests, and compare what comes of each with what is expected
    Test(suite::Test),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Kernel: bzImage, ELF with a PVH note, or multiboot 1 or 2
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: PathBuf,
    /// Initial RAM disk, or multiboot modules: "FILE CMDLINE,FILE CMDLINE"
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Option<OsString>,
    /// Kernel command line
    #[arg(long, value_name = "CMDLINE", default_value = "")]
    pub(crate) append: String,
    /// Memory, in MiB without a suffix
    #[arg(long = "m", value_name = "SIZE", default_value = "128", value_parser = values::memory)]
    pub(crate) memory: u64,
    /// Number of processors
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::smp)]
    pub(crate) smp: u32,
    /// Processor model and features: MODEL,+feature,-feature; help lists them
    #[arg(long, value_name = "MODEL", default_value = "default")]
    pub(crate) cpu: String,
    #[command(flatten)]
    pub(crate) serials: Serials,
    /// There is no display yet
    #[arg(long, value_name = "KIND", value_parser = ["none"])]
    pub(crate) display: Option<String>,
    /// No serial port but those that -serial is for
    #[arg(long)]
    pub(crate) nodefaults: bool,
    /// As -display none -serial mon:stdio, which are the defaults
    #[arg(long)]
    pub(crate) nographic: bool,
    /// The clock's date: base=utc or base=YYYY-MM-DDTHH:MM:SS [default: a date that never changes]
    #[arg(long, value_name = "OPTIONS", value_parser = values::rtc)]
    pub(crate) rtc: Option<u64>,
    /// End instead of starting again when the guest resets the machine
    #[arg(long)]
    pub(crate) no_reboot: bool,
    /// Where the guest ends the run, have the machine stand still for a monitor, until somebody ends it
    #[arg(long)]
    pub(crate) no_shutdown: bool,
    /// A file for the guest in QEMU's fw_cfg device: name=NAME,file=FILE or name=NAME,string=TEXT; may be
    /// repeated
    #[arg(long = "fw_cfg", value_name = "OPTIONS", value_parser = values::fw_cfg)]
    pub(crate) fw_cfg: Vec<FwCfg>,
    /// Leave IA32_FEATURE_CONTROL as after reset, for programs that test it, instead of VMX on and locked
    #[arg(long)]
    pub(crate) vmx_unlocked: bool,
    /// isa-debug-exit,iobase=PORT,iosize=N, pc-testdev, pvpanic or edu,msix=on|off (MSI-X is not in QEMU's edu);
    /// may be repeated
    #[arg(long, value_name = "DEVICE", value_parser = values::device)]
    pub(crate) device: Vec<OptionalDevice>,
    /// Cuts and keeps decoded code otherwise: interpreter,block=N,cache=N,fuse=on|off (instructions in a
    /// block, operations in the cache); never changes what a guest sees
    #[arg(long, value_name = "OPTIONS", value_parser = values::accel)]
    pub(crate) accel: Option<CodeOptions>,
    #[command(flatten)]
    pub(crate) keep: SnapshotAt,
    #[command(flatten)]
    pub(crate) trace: Trace,
    #[command(flatten)]
    pub(crate) gdb: Gdb,
    #[command(flatten)]
    pub(crate) process: Process,
    #[arg(skip)]
    pub(crate) told: Told,
}

/// What the command line says besides its options.
#[derive(Debug, Default, Clone)]
pub(crate) struct Told {
    /// It is QEMU's.
    pub(crate) as_qemu: bool,
    /// What has no effect.
    pub(crate) notes: Vec<String>,
    /// What the user should know.
    pub(crate) warnings: Vec<String>,
}

/// Where the serial ports lead, and how fast the guest's clock goes.
#[derive(Debug, Default, Clone, clap::Args)]
pub(crate) struct Serials {
    /// COM1, and COM2 when repeated: stdio, mon:stdio, file:NAME, pipe:NAME, pty, null, none,
    /// unix:PATH,server=on,wait=off, tcp:HOST:PORT,server=on,wait=off or chardev:ID [default: mon:stdio]
    #[arg(long = "serial", value_name = "WHERE", value_parser = chardev::serial)]
    pub(crate) ports: Vec<Serial>,
    /// A device for -serial chardev:ID: stdio, file, pipe, pty, null or socket, with id=ID and path=, host=,
    /// port=, server=, wait=, append=, mux=, signal=
    #[arg(long = "chardev", value_name = "OPTIONS", value_parser = chardev::chardev)]
    pub(crate) named: Vec<Named>,
    /// shift=0,sleep=on holds the guest's clock back to the host's, sleep=off lets it run free
    /// [default: held back if a person types at a terminal]
    #[arg(long, value_name = "OPTIONS", value_parser = values::icount)]
    pub(crate) icount: Option<Pacing>,
    /// A monitor for people: where, as -serial has it; without a word behind Ctrl-A c of mon:stdio
    #[arg(long, value_name = "WHERE", value_parser = chardev::serial)]
    pub(crate) monitor: Vec<Serial>,
    /// A monitor for programs, by QEMU's machine protocol: where, as -serial has it
    #[arg(long, value_name = "WHERE", value_parser = chardev::serial)]
    pub(crate) qmp: Vec<Serial>,
    /// A monitor at a -chardev: chardev=ID,mode=readline or mode=control
    #[arg(long, value_name = "OPTIONS", value_parser = values::mon)]
    pub(crate) mon: Vec<(Language, Serial)>,
    /// Where what the guest writes to the debug port E9h goes: as -serial has it [default: nowhere]
    #[arg(long, value_name = "WHERE", value_parser = chardev::serial)]
    pub(crate) debugcon: Option<Serial>,
    /// Wait for cont at a monitor before the first instruction
    #[arg(long = "S")]
    pub(crate) stopped: bool,
    /// Type what the file says, at counts of instructions or where the guest has printed a text
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Write down what is typed, in the form that --input takes
    #[arg(long, value_name = "FILE")]
    pub(crate) input_log: Option<PathBuf>,
}

/// Whether gdb may join the run.
#[derive(Debug, Default, Clone, clap::Args)]
pub(crate) struct Gdb {
    /// Where gdb is waited for while the run goes on: tcp:HOST:PORT, unix:PATH or none
    #[arg(long, value_name = "WHERE", value_parser = connection::place)]
    pub(crate) gdb: Option<Where>,
    /// As -gdb tcp::1234
    #[arg(long = "s")]
    pub(crate) standard: bool,
}

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Host {
    /// The privileged domain: kernel=,initrd=,memory=,vcpus=,weight=,cap=,append= (without
    /// a kernel: the embedded one)
    #[arg(long, value_name = "OPTIONS", conflicts_with = "config")]
    pub(crate) dom0: Option<String>,
    /// A further domain: name= and the options of --dom0; may be repeated
    #[arg(long, value_name = "OPTIONS", conflicts_with = "config")]
    pub(crate) domu: Vec<String>,
    /// A TOML file with a table dom0 and an array of tables domu, with the same options
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Another hypervisor than the embedded one: a multiboot image that takes the same modules
    #[arg(long, value_name = "FILE")]
    pub(crate) hypervisor: Option<PathBuf>,
    /// End when the last domU has ended, whatever dom0 does
    #[arg(long)]
    pub(crate) until_domus_end: bool,
    #[command(flatten)]
    pub(crate) serials: Serials,
    /// Processor model and features, as -cpu of strata run
    #[arg(long, value_name = "MODEL")]
    pub(crate) cpu: Option<String>,
    /// The machine's memory, or -m SIZE [default: what the domains need]
    #[arg(long, value_name = "SIZE", value_parser = values::memory)]
    pub(crate) memory: Option<u64>,
    /// Cuts and keeps decoded code otherwise: interpreter,block=N,cache=N,fuse=on|off (instructions in a
    /// block, operations in the cache); never changes what a guest sees
    #[arg(long, value_name = "OPTIONS", value_parser = values::accel)]
    pub(crate) accel: Option<CodeOptions>,
    #[command(flatten)]
    pub(crate) keep: SnapshotAt,
    #[command(flatten)]
    pub(crate) trace: Trace,
    #[command(flatten)]
    pub(crate) gdb: Gdb,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Link {
    /// The folder for the link
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Image {
    /// The image to write
    #[arg(value_name = "OUT.iso", value_parser = values::new_file)]
    pub(crate) out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell whose words are completed
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// QEMU's names that `strata host` takes too, and the names of its own options.
const HOST: [(&str, &str); 14] = [
    ("serial", "serial"),
    ("chardev", "chardev"),
    ("debugcon", "debugcon"),
    ("icount", "icount"),
    ("accel", "accel"),
    ("d", "d"),
    ("D", "D"),
    ("m", "memory"),
    ("cpu", "cpu"),
    ("monitor", "monitor"),
    ("qmp", "qmp"),
    ("mon", "mon"),
    ("gdb", "gdb"),
    ("snapshot", "snapshot"),
];

/// What `strata host` has instead of others of QEMU's flags.
fn instead(name: &str) -> &'static str {
    match name {
        "smp" => "the hypervisor runs on one processor; vcpus= of a domain is how many it has",
        "kernel" | "initrd" | "append" => {
            "they are a domain's: kernel=, initrd= and append= of --dom0 and --domu"
        }
        _ => "no option of strata host; strata host --help lists them",
    }
}

/// Turns QEMU's names among the options of `strata host` into clap's form.
fn host_words(args: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>, Failure> {
    let mut args = args.into_iter();
    let mut out = Vec::new();
    while let Some(arg) = args.next() {
        let name = arg.to_str().and_then(|a| a.strip_prefix('-'));
        let name = name.map(|n| n.strip_prefix('-').unwrap_or(n)).unwrap_or_default();
        match HOST.iter().find(|(known, _)| *known == name) {
            Some((_, own)) => {
                let mut long = OsString::from(format!("--{own}="));
                long.push(
                    args.next().ok_or_else(|| {
                        Failure::usage(format!("-{name}"), "requires an argument")
                    })?,
                );
                out.push(long);
            }
            None if matches!(name, "s" | "S") => out.push(format!("--{name}").into()),
            None if qemu::is_flag(&arg) => {
                return Err(Failure::usage(arg.to_string_lossy(), instead(name)));
            }
            None => out.push(arg),
        }
    }
    Ok(out)
}

/// What the words are for.
enum Kind {
    /// `strata run`, or its options alone.
    Run,
    /// QEMU's command line.
    Qemu,
    /// `strata host`, or another verb that takes some of QEMU's names.
    Host(&'static str),
    Other,
}

/// Tells what the words after the program's name are for, and how many of them say so.
fn kind(program: &OsStr, words: &[OsString]) -> (Kind, usize) {
    match words.first().and_then(|word| word.to_str()) {
        _ if qemu::called(program) => (Kind::Qemu, 0),
        Some("qemu") => (Kind::Qemu, 1),
        Some("run") => (Kind::Run, 1),
        Some("host") => (Kind::Host("host"), 1),
        Some("restore") => (Kind::Host("restore"), 1),
        Some("debug") => (Kind::Host("debug"), 1),
        Some(word) if qemu::is_flag(OsStr::new(word)) => (Kind::Run, 0),
        _ => (Kind::Other, 0),
    }
}

/// Whether the command is to be QEMU.
pub(crate) fn as_qemu(argv: &[OsString]) -> bool {
    argv.split_first().is_some_and(|(program, words)| matches!(kind(program, words).0, Kind::Qemu))
}

/// Reads the command line, which begins with the program's name. `Err` is a failure, or the text that was
/// asked for (help, version).
pub(crate) fn parse(argv: &[OsString]) -> Result<Args, Asked> {
    let Some((program, words)) = argv.split_first() else { return clap(Vec::new()) };
    let (kind, skip) = kind(program, words);
    let words = words[skip..].to_vec();
    match kind {
        Kind::Run => run(words, false),
        Kind::Qemu => run(words, true),
        Kind::Host(verb) => {
            let words = host_words(words).map_err(Asked::Failure)?;
            clap([vec![verb.into()], words].concat())
        }
        Kind::Other => clap(words),
    }
}

/// Reads the options of `strata run`, or of QEMU.
fn run(words: Vec<OsString>, as_qemu: bool) -> Result<Args, Asked> {
    let words = qemu::translate(words, as_qemu).map_err(Asked::Failure)?;
    if let Some(text) = words.text {
        return Err(Asked::Text(text));
    }
    let asked = |names: &[&str]| words.words.iter().any(|w| names.iter().any(|n| w == n));
    if as_qemu && asked(&["--help"]) {
        return Err(Asked::Text(qemu::help::help()));
    }
    if as_qemu && asked(&["--version"]) {
        return Err(Asked::Text(qemu::help::version()));
    }
    let mut args = clap([vec!["run".into()], words.words].concat())?;
    if let Some(Verb::Run(run)) = &mut args.verb {
        run.told = Told { as_qemu, notes: words.notes, warnings: words.warnings };
    }
    Ok(args)
}

/// Lets clap read what follows the program's name.
fn clap(words: Vec<OsString>) -> Result<Args, Asked> {
    let words = std::iter::once("strata".into()).chain(words);
    Args::try_parse_from(words).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            Asked::Text(qemu_names(&error.to_string()))
        }
        _ => Asked::Failure(one_line(&error)),
    })
}

/// Why there is nothing to run.
#[derive(Debug)]
pub(crate) enum Asked {
    Text(String),
    Failure(Failure),
}

/// The first paragraph of clap's message; where a word was unknown, the known ones.
fn one_line(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let first: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
    let text = first.join(" ");
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let hint = match error.kind() {
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand => accepted(error),
        _ => String::new(),
    };
    Failure::input(qemu_names(text) + &hint)
}

/// `; accepted are …`: the flags of the verb that complains, by the usage line of its message.
fn accepted(error: &clap::Error) -> String {
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    let command = Args::command();
    let verb =
        command.get_subcommands().find(|v| usage.contains(&format!("strata {}", v.get_name())));
    let mut names: Vec<String> = match verb {
        Some(verb) => {
            verb.get_arguments().filter_map(|a| a.get_long()).map(|n| format!("--{n}")).collect()
        }
        None => command.get_subcommands().map(|v| v.get_name().to_owned()).collect(),
    };
    let all = ["--limit-instructions", "--limit-seconds", "--report", "--events"];
    names.extend(all.map(str::to_owned));
    format!("; accepted are {}", qemu_names(&names.join(", ")))
}

/// QEMU's names with one dash, as the user knows them.
fn qemu_names(text: &str) -> String {
    let one = |word: &str| {
        let bare = word.trim_start_matches('\'').strip_prefix("--")?;
        let end = bare.find(|c: char| !c.is_alphanumeric() && c != '-').unwrap_or(bare.len());
        let known = qemu::FLAGS
            .iter()
            .any(|flag| flag.meaning == Meaning::Known && flag.name == &bare[..end]);
        known.then(|| word.replacen("--", "-", 1))
    };
    let words = text.split(' ').map(|word| one(word).unwrap_or_else(|| word.to_owned()));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(text: &str) -> Vec<OsString> {
        std::iter::once("strata").chain(text.split_whitespace()).map(OsString::from).collect()
    }

    fn run(text: &str) -> Run {
        match parse(&argv(text)).unwrap().verb {
            Some(Verb::Run(run)) => run,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn check_error(text: &str, expect: &str) {
        match parse(&argv(text)) {
            Err(Asked::Failure(failure)) => assert_eq!(failure.text, expect),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn clap_agrees_with_itself() {
        Args::command().debug_assert();
    }

    #[test]
    fn qemu_flags() {
        let run = run("run -m 512 -kernel K -initrd I -append -x=1 -serial stdio -serial file:F \
                       -display none -no-reboot -smp cpus=2 -device isa-debug-exit,iobase=0xf4 -device pc-testdev \
                       -d int,vmexit -D T --limit-seconds 3");
        assert_eq!((run.memory, run.smp, run.no_reboot), (512 << 20, 2, true));
        assert_eq!((run.append.as_str(), run.kernel), ("-x=1", "K".into()));
        assert_eq!(
            run.serials.ports,
            [chardev::serial("stdio").unwrap(), chardev::serial("file:F").unwrap()]
        );
        let exit = OptionalDevice::DebugExit { base: 0xF4, length: 2 };
        assert_eq!(run.device, [exit, OptionalDevice::TestDevice]);
        assert_eq!(
            (run.trace.items.join("+"), run.trace.file),
            ("int+vmexit".into(), Some("T".into()))
        );
    }

    #[test]
    fn cpu_models() {
        assert_eq!(run("run -kernel K -cpu v3,-avx2").cpu, "v3,-avx2");
        match parse(&argv("run -cpu help")) {
            Err(Asked::Text(text)) => assert!(text.contains("min32") && text.contains("avx2")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn host_and_main_job() {
        let args = parse(&argv("--limit-instructions 5")).unwrap();
        assert!(args.verb.is_none());
        assert_eq!(args.limits.limit_instructions, Some(5));
        let args = parse(&argv("host --domu name=a --domu name=b --until-domus-end")).unwrap();
        let Some(Verb::Host(host)) = args.verb else { panic!() };
        assert_eq!((host.domu.len(), host.until_domus_end), (2, true));
    }

    #[test]
    fn errors_have_one_line() {
        check_error("run", "the following required arguments were not provided: -kernel <FILE>");
        check_error(
            "run -kernel K -m lots",
            "invalid value 'lots' for '-m <SIZE>': accepted is a number above 0 with an optional \
             K, M, G or T",
        );
        check_error(
            "run -kernel K -display sdl",
            "invalid value 'sdl' for '-display <KIND>' [possible values: none]",
        );
        check_error(
            "run -kernel K -d walk",
            "invalid value 'walk' for '-d <ITEMS>' [possible values: int, exec, in_asm, vmexit]",
        );
        check_error("run -kernel", "-kernel: requires an argument");
        check_error(
            "walk",
            "unrecognized subcommand 'walk'; accepted are run, host, qemu, link, image, \
             restore, snapshot, hash, record, replay, debug, diff, explore, man, completions, test, --limit-instructions, --limit-seconds, --report, \
             --events",
        );
        check_error(
            "host --nosuch",
            "unexpected argument '--nosuch' found; accepted are --dom0, --domu, --config, \
             --hypervisor, --until-domus-end, -serial, -chardev, -icount, -monitor, -qmp, -mon, -debugcon, -S, --input, --input-log, -cpu, --memory, -accel, --snapshot, --snapshot-at, -d, -D, --last, -gdb, -s, --limit-instructions, --limit-seconds, \
             --report, --events",
        );
        check_error(
            "host --config F --dom0 kernel=K",
            "the argument '--config <FILE>' cannot be used with '--dom0 <OPTIONS>'",
        );
        check_error(
            "--limit-seconds 0",
            "invalid value '0' for '--limit-seconds <S>': accepted is a whole number above 0",
        );
    }
}
