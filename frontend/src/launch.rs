//! From what was asked to everything a machine needs to start, read and checked.

use crate::args::{self, Gdb, Host, Run};
use crate::console::chardev::{Chardev, Serial};
use crate::console::own::Own;
use crate::console::{Language, Serials};
use crate::domain::{self, Domain};
use crate::embedded::{DOM0, DOMU, HYPERVISOR};
use crate::files::{self, Blob};
use crate::kept::{Restore, SnapshotAt};
use crate::output;
use crate::pace::Pacing;
use crate::process::Process;
use crate::qemu;
use crate::status::Failure;
use crate::trace::Trace;
use crate::values::{self, Content};
use platform::boot::{self, Format};
use platform::machine::{CodeOptions, Config, FwCfgFile, OptionalDevice};
use std::path::PathBuf;

/// Memory for the hypervisor itself.
const HYPERVISOR_MEMORY: u64 = 32 << 20;

/// Memory for a domain of `memory` bytes: what it has, and what the hypervisor may come to hold for
/// it, which is below 4 MiB and, for its tables, one 128th.
fn domain_memory(memory: u64) -> u64 {
    memory + (4 << 20) + memory / 128
}

/// A machine to be started.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) memory: u64,
    pub(crate) vcpus: u32,
    pub(crate) cpu: String,
    pub(crate) kernel: Blob,
    pub(crate) modules: Vec<Blob>,
    pub(crate) devices: Vec<OptionalDevice>,
    pub(crate) no_reboot: bool,
    /// Where the guest ends the run, the machine stands still.
    pub(crate) no_shutdown: bool,
    /// IA32_FEATURE_CONTROL stays as after reset.
    pub(crate) vmx_unlocked: bool,
    pub(crate) serials: Serials,
    pub(crate) pacing: Pacing,
    /// The machine waits for a monitor to let it go.
    pub(crate) stopped: bool,
    /// What is typed, and where what was typed is written down.
    pub(crate) input: Option<PathBuf>,
    pub(crate) input_log: Option<PathBuf>,
    /// What the clock shows at the start, in seconds since 1970, if it is not the date that never changes.
    pub(crate) clock: Option<u64>,
    /// The files of `fw_cfg`.
    pub(crate) fw_cfg: Vec<FwCfgFile>,
    /// The command is QEMU.
    pub(crate) as_qemu: bool,
    pub(crate) trace: Trace,
    pub(crate) code: CodeOptions,
    pub(crate) keep: SnapshotAt,
    pub(crate) gdb: Gdb,
    pub(crate) process: Process,
    /// The domains on the machine, in the hypervisor's order; none on a bare machine.
    pub(crate) domains: Vec<String>,
}

/// The main job: the embedded dom0 and two embedded domUs.
pub(crate) fn main_job() -> Result<Launch, Failure> {
    let domains = ["dom0", "a", "b"].map(Domain::embedded).to_vec();
    // Nobody need type to it, and it leaves a terminal and a script's standard input alone.
    let ports = vec![Serial::To { device: Chardev::Stdout, mux: false }];
    let serials = args::Serials { ports, ..args::Serials::default() };
    on_hypervisor(domains, &Host { serials, ..Host::default() })
}

/// `strata host`.
pub(crate) fn host(host: &Host) -> Result<Launch, Failure> {
    let domains = match &host.config {
        Some(path) => domain::read(path)?,
        None => domain::list(host.dom0.as_deref(), &host.domu)?,
    };
    on_hypervisor(domains, host)
}

/// The hypervisor with `domains` as its modules.
fn on_hypervisor(domains: Vec<Domain>, host: &Host) -> Result<Launch, Failure> {
    let mut modules = Vec::new();
    for (n, domain) in domains.iter().enumerate() {
        modules.extend(domain_modules(domain, if n == 0 { DOM0 } else { DOMU })?);
    }
    let files: u64 = modules.iter().map(|m| m.bytes.len() as u64).sum();
    let asked: u64 = domains.iter().map(|d| domain_memory(d.memory)).sum();
    let needed = (HYPERVISOR_MEMORY + files + asked).next_multiple_of(1 << 20);
    let memory = match host.memory {
        Some(memory) if memory < needed => {
            let [memory, needed] = [memory >> 20, needed >> 20];
            let why = format!("{memory}M; accepted is at least {needed}M for these domains");
            return Err(Failure::usage("--memory", why));
        }
        chosen => chosen.unwrap_or(needed),
    };
    let kernel = hypervisor(host)?;
    files::check_boot(&kernel, &modules, memory)?;
    Ok(Launch {
        memory,
        vcpus: 1,
        cpu: host.cpu.clone().unwrap_or_else(|| "default".into()),
        kernel,
        modules,
        // By which the hypervisor tells of a domain's crash.
        devices: vec![OptionalDevice::Pvpanic],
        no_reboot: true,
        no_shutdown: false,
        vmx_unlocked: false,
        serials: Serials { switch: true, own: own(&domains)?, ..serials(host.serials.clone()) },
        pacing: host.serials.icount.unwrap_or_default(),
        stopped: host.serials.stopped,
        input: host.serials.input.clone(),
        input_log: host.serials.input_log.clone(),
        clock: None,
        fw_cfg: Vec::new(),
        as_qemu: false,
        trace: host.trace.clone(),
        code: host.accel.unwrap_or_default(),
        keep: host.keep.clone(),
        gdb: host.gdb.clone(),
        process: Process::default(),
        domains: domains.into_iter().map(|d| d.name).collect(),
    })
}

/// The consoles that domains have for themselves.
fn own(domains: &[Domain]) -> Result<Vec<Own>, Failure> {
    let mut all = Vec::new();
    for (n, domain) in domains.iter().enumerate() {
        let Some(serial) = domain.console.clone() else { continue };
        let why = "console=: accepted with the first 256 domains";
        let number = u8::try_from(n).map_err(|_| Failure::usage(&domain.place, why))?;
        let (place, name) = (domain.place.clone(), domain.name.clone());
        all.push(Own { domain: number, place, name, serial });
    }
    Ok(all)
}

/// The hypervisor itself, the embedded one or the user's.
fn hypervisor(host: &Host) -> Result<Blob, Failure> {
    let cmdline = if host.until_domus_end { "until-domus-end" } else { "" }.into();
    let (name, bytes) = match &host.hypervisor {
        Some(path) => (path.display().to_string(), files::read("--hypervisor", path)?),
        None => ("strata-hypervisor".into(), HYPERVISOR.to_vec()),
    };
    Ok(Blob { name, bytes, cmdline })
}

/// A domain's kernel and initramfs as the hypervisor's modules.
fn domain_modules(domain: &Domain, embedded: &[u8]) -> Result<Vec<Blob>, Failure> {
    let Domain { place, name, kernel, initrd, memory, vcpus, weight, cap, console, append } =
        domain;
    let own = if console.is_some() { " console=own" } else { "" };
    let of_domain = |failure: Failure| Failure::input(format_args!("{place}: {}", failure.text));
    let cmdline = format!(
        "kernel name={name} memory={}M vcpus={vcpus} weight={weight} cap={cap}{own} -- {append}",
        memory >> 20
    );
    let Some(path) = kernel else {
        let name = format!("the embedded guest of {name}");
        files::check_pvh(&name, embedded, *memory).map_err(of_domain)?;
        return Ok(vec![Blob { name, bytes: embedded.to_vec(), cmdline }]);
    };
    let shown = path.display().to_string();
    let packed = files::read("kernel", path).map_err(of_domain)?;
    let bytes = files::unpacked(&shown, packed, *memory).map_err(of_domain)?;
    files::check_pvh(&shown, &bytes, *memory).map_err(of_domain)?;
    let mut modules = vec![Blob { name: shown, bytes, cmdline }];
    if let Some(path) = initrd {
        let bytes = files::read("initrd", path).map_err(of_domain)?;
        let shown = path.display().to_string();
        files::check_initramfs(&shown, &bytes).map_err(of_domain)?;
        modules.push(Blob { name: shown, bytes, cmdline: "initrd".into() });
    }
    Ok(modules)
}

/// `strata run`.
pub(crate) fn bare(run: Run) -> Result<Launch, Failure> {
    tell(&run);
    let bytes = files::read("-kernel", &run.kernel).map_err(|failure| match run.told.as_qemu {
        true => Failure::input(format_args!("could not open kernel: {}", failure.text)),
        false => failure,
    })?;
    let name = run.kernel.display().to_string();
    let modules = match &run.initrd {
        Some(initrd) => modules(&initrd.to_string_lossy(), &bytes)?,
        None => Vec::new(),
    };
    let kernel = Blob { name, bytes, cmdline: run.append.clone() };
    files::check_boot(&kernel, &modules, run.memory)?;
    let (serials, devices, fw_cfg) = (bare_serials(&run), devices(&run)?, fw_cfg(&run)?);
    if run.process.daemonize && serials.use_stdio() {
        let why = "accepted with serial ports and monitors elsewhere than on stdio, such as -serial file:NAME";
        return Err(Failure::usage("-daemonize", why));
    }
    Ok(Launch {
        memory: run.memory,
        vcpus: run.smp,
        cpu: run.cpu,
        kernel,
        modules,
        fw_cfg,
        devices,
        as_qemu: run.told.as_qemu,
        no_reboot: run.no_reboot,
        no_shutdown: run.no_shutdown,
        vmx_unlocked: run.vmx_unlocked,
        pacing: run.serials.icount.unwrap_or_default(),
        stopped: run.serials.stopped,
        input: run.serials.input,
        input_log: run.serials.input_log,
        clock: run.rtc.or_else(|| run.told.as_qemu.then(values::now)),
        serials,
        trace: run.trace,
        code: run.accel.unwrap_or_default(),
        keep: run.keep,
        gdb: run.gdb,
        process: run.process,
        domains: Vec::new(),
    })
}

/// `strata restore`: nothing is booted, and a reset ends the run.
pub(crate) fn restored(config: &Config, restore: &Restore) -> Launch {
    let Restore { file: _, serials: asked, accel, trace, keep, gdb } = restore;
    Launch {
        memory: config.ram,
        vcpus: config.vcpus,
        cpu: config.cpu_model.clone(),
        kernel: Blob { name: String::new(), bytes: Vec::new(), cmdline: String::new() },
        modules: Vec::new(),
        devices: config.devices.clone(),
        no_reboot: true,
        no_shutdown: false,
        vmx_unlocked: config.vmx_unlocked,
        pacing: asked.icount.unwrap_or_default(),
        stopped: asked.stopped,
        input: asked.input.clone(),
        input_log: asked.input_log.clone(),
        clock: Some(config.clock),
        fw_cfg: config.fw_cfg.clone(),
        as_qemu: false,
        serials: serials(asked.clone()),
        trace: trace.clone(),
        code: accel.unwrap_or_default(),
        keep: keep.clone(),
        gdb: gdb.clone(),
        process: Process::default(),
        domains: Vec::new(),
    }
}

/// The serial ports of a machine.
fn serials(asked: args::Serials) -> Serials {
    let person = asked.monitor.into_iter().map(|place| (Language::Person, place));
    let program = asked.qmp.into_iter().map(|place| (Language::Program, place));
    let monitors = person.chain(program).chain(asked.mon).collect();
    Serials::new(asked.ports, asked.named, monitors, asked.debugcon)
}

/// The serial ports of a bare machine. Without a word about them the first is on the terminal, unless nothing is to
/// be there, or QEMU would show it in a window.
fn bare_serials(run: &Run) -> Serials {
    let nowhere = run.nodefaults || run.told.as_qemu && run.display.is_some() && !run.nographic;
    let mut asked = run.serials.clone();
    if asked.ports.is_empty() && nowhere {
        asked.ports.push(Serial::To { device: Chardev::Null, mux: false });
    }
    serials(asked)
}

/// The devices of a bare machine; QEMU's has `fw_cfg` always.
///
/// # Errors
/// Two devices of a kind that differ: the machine has one of each.
fn devices(run: &Run) -> Result<Vec<OptionalDevice>, Failure> {
    let fw_cfg = run.told.as_qemu || !run.fw_cfg.is_empty();
    let mut devices = run.device.clone();
    devices.extend(fw_cfg.then_some(OptionalDevice::FwCfg));
    let kind = std::mem::discriminant::<OptionalDevice>;
    let differ = |a: &OptionalDevice, b: &OptionalDevice| kind(a) == kind(b) && a != b;
    let two = (1..devices.len()).any(|n| devices[..n].iter().any(|d| differ(d, &devices[n])));
    match two {
        true => Err(Failure::usage("-device", "two of a kind; accepted is one of each kind")),
        false => Ok(devices),
    }
}

/// The files of `-fw_cfg`.
fn fw_cfg(run: &Run) -> Result<Vec<FwCfgFile>, Failure> {
    let most = FwCfgFile::MOST;
    if run.fw_cfg.len() > most {
        return Err(Failure::usage("-fw_cfg", format!("accepted are at most {most} files")));
    }
    let file = |file: &values::FwCfg| {
        let bytes = match &file.content {
            Content::File(path) => files::read("-fw_cfg", path)?,
            Content::Text(text) => text.as_bytes().to_vec(),
        };
        Ok(FwCfgFile { name: file.name.clone(), bytes })
    };
    run.fw_cfg.iter().map(file).collect()
}

/// Says what the user should know of the command line, and where something is traced what of it has no effect.
fn tell(run: &Run) {
    let name = if run.told.as_qemu { qemu::NAME } else { "strata" };
    let notes = run.told.notes.iter().filter(|_| !run.trace.items.is_empty());
    if run.trace.file.is_some() && run.trace.items.is_empty() {
        output::say(&format!("{name}: -D: warning: without -d nothing is traced\n"));
    }
    run.told
        .warnings
        .iter()
        .chain(notes)
        .for_each(|text| output::say(&format!("{name}: {text}\n")));
}

/// The files of `-initrd`: one for Linux and other PVH kernels, a list of `FILE CMDLINE`
/// between commas for multiboot.
fn modules(text: &str, kernel: &[u8]) -> Result<Vec<Blob>, Failure> {
    match boot::recognise(kernel) {
        Some(Format::Multiboot1 | Format::Multiboot2) => {
            values::list(text).iter().map(|module| multiboot_module(module)).collect()
        }
        _ => {
            let bytes = files::read("-initrd", text.as_ref())?;
            if is_linux(kernel) {
                files::check_initramfs(text, &bytes)?;
            }
            Ok(vec![Blob { name: text.into(), bytes, cmdline: String::new() }])
        }
    }
}

/// `FILE CMDLINE`: the command line that a multiboot module gets begins with the file's name.
fn multiboot_module(text: &str) -> Result<Blob, Failure> {
    let name = text.split(' ').next().unwrap_or(text);
    let bytes = files::read("-initrd", name.as_ref())?;
    Ok(Blob { name: name.into(), bytes, cmdline: text.into() })
}

/// Whether a kernel is Linux, by its banner or its boot protocol.
fn is_linux(kernel: &[u8]) -> bool {
    const BANNER: &[u8] = b"Linux version ";
    boot::recognise(kernel) == Some(Format::Linux)
        || kernel.windows(BANNER.len()).any(|window| window == BANNER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cmdlines(launch: &Launch) -> Vec<&str> {
        launch.modules.iter().map(|m| m.cmdline.as_str()).collect()
    }

    #[test]
    fn the_main_job() {
        let launch = main_job().unwrap();
        assert_eq!(
            cmdlines(&launch),
            [
                "kernel name=dom0 memory=128M vcpus=1 weight=256 cap=0 -- ",
                "kernel name=a memory=128M vcpus=1 weight=256 cap=0 -- ",
                "kernel name=b memory=128M vcpus=1 weight=256 cap=0 -- "
            ]
        );
        assert!(launch.memory > 3 * domain_memory(128 << 20) + HYPERVISOR_MEMORY);
        assert_eq!(launch.domains, ["dom0", "a", "b"]);
    }

    #[track_caller]
    fn check_host(asked: &Host, expect: &str) {
        let failure = host(asked).unwrap_err();
        assert!(failure.text.starts_with(expect), "{}", failure.text);
    }

    #[test]
    fn wrong_hosts() {
        let host = |dom0: &str| Host { dom0: Some(dom0.into()), ..Host::default() };
        check_host(&host("kernel=/no/such"), "--dom0 (name=dom0): kernel /no/such: No such file");
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        check_host(
            &host(&format!("kernel={manifest}")),
            &format!("--dom0 (name=dom0): {manifest}: not a kernel for"),
        );
        let config = Some("/no/such.toml".into());
        check_host(&Host { config, ..Host::default() }, "/no/such.toml: No such file");
        let hypervisor = |name: &str| Host { hypervisor: Some(name.into()), ..Host::default() };
        check_host(&hypervisor("/no/such"), "--hypervisor /no/such: No such file");
        check_host(&hypervisor(manifest), &format!("{manifest}: "));
        let memory = Some(1 << 20);
        check_host(&Host { memory, ..Host::default() }, "--memory: 1M; accepted is at least 16");
    }
}
