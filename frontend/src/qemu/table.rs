//! Every flag of QEMU's x86 system emulator, and what becomes of it here. tidy: table

use Meaning::{Absent, Ignored, Known, Only, Warned};

/// What becomes of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A flag of `strata run`.
    Known,
    /// Accepted: it has no effect, for the reason given.
    Ignored(&'static str),
    /// Accepted: it has no effect, which a warning says with the reason.
    Warned(&'static str),
    /// Accepted with these values, which ask for nothing; otherwise refused, for the reason given.
    Only(&'static [&'static str], &'static str),
    /// Refused; the text says what exists instead.
    Absent(&'static str),
}

/// A flag: its name without dashes, whether a value follows, and its meaning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) value: bool,
    pub(crate) meaning: Meaning,
}

const fn flag(name: &'static str, value: bool, meaning: Meaning) -> Flag {
    Flag { name, value, meaning }
}

const DISKS: &str = "there are no disks; -initrd loads an initial RAM disk";
const FIRMWARE: &str = "there is no firmware to run; -kernel loads a kernel";
const NETWORK: &str = "there is no network";
const DISPLAY: &str = "there is no display";
const MIGRATION: &str = "machines are not migrated";
const TABLES: &str = "the tables are the machine's own";

/// The flags by name.
#[rustfmt::skip]
pub(crate) const FLAGS: &[Flag] = &[
    flag("M", true, Known),
    flag("L", true, Ignored("there is no firmware to look for")),
    flag("accel", true, Known),
    flag("acpitable", true, Absent(TABLES)),
    flag("action", true, Known),
    flag("add-fd", true, Absent("files are named by their path")),
    flag("append", true, Known),
    flag("async-teardown", false, Ignored("the end is quick")),
    flag("audio", true, Only(&["none", "driver=none"], "there is no sound")),
    flag("audiodev", true, Ignored("there is no sound")),
    flag("balloon", true, Only(&["none"], "there is no balloon")),
    flag("bios", true, Warned("there is no firmware to run, the kernel is loaded without it")),
    flag("blockdev", true, Absent(DISKS)),
    flag("boot", true, Ignored("the kernel is what is booted")),
    flag("cdrom", true, Absent(DISKS)),
    flag("chardev", true, Known),
    flag("compat", true, Ignored("nothing is deprecated")),
    flag("cpu", true, Known),
    flag("d", true, Known),
    flag("D", true, Known),
    flag("daemonize", false, Known),
    flag("debugcon", true, Known),
    flag("device", true, Known),
    flag("dfilter", true, Absent("-d traces all code")),
    flag("display", true, Known),
    flag("drive", true, Absent(DISKS)),
    flag("dtb", true, Absent("a PC has ACPI tables")),
    flag("dump-vmstate", true, Absent(MIGRATION)),
    flag("echr", true, Only(&["1", "0x1", "0x01"], "the key is Ctrl-A")),
    flag("enable-kvm", false, Known),
    flag("enable-sync-profile", false, Ignored("there is nothing to profile")),
    flag("fda", true, Absent(DISKS)),
    flag("fdb", true, Absent(DISKS)),
    flag("fsdev", true, Absent("no folder of the host is shared")),
    flag("full-screen", false, Ignored(DISPLAY)),
    flag("fw_cfg", true, Known),
    flag("g", true, Ignored(DISPLAY)),
    flag("gdb", true, Known),
    flag("global", true, Ignored("devices have no such properties")),
    flag("hda", true, Absent(DISKS)),
    flag("hdb", true, Absent(DISKS)),
    flag("hdc", true, Absent(DISKS)),
    flag("hdd", true, Absent(DISKS)),
    flag("icount", true, Known),
    flag("incoming", true, Absent(MIGRATION)),
    flag("initrd", true, Known),
    flag("iscsi", true, Absent(DISKS)),
    flag("jitdump", false, Ignored("no code is generated")),
    flag("k", true, Ignored("there is no keyboard layout")),
    flag("kernel", true, Known),
    flag("loadvm", true, Absent("a run begins at power-on")),
    flag("m", true, Known),
    flag("machine", true, Known),
    flag("mem-path", true, Ignored("memory is anonymous")),
    flag("mem-prealloc", false, Ignored("memory is taken as it is used")),
    flag("mon", true, Known),
    flag("monitor", true, Known),
    flag("msg", true, Ignored("messages have no time stamp")),
    flag("mtdblock", true, Absent(DISKS)),
    flag("name", true, Ignored("a machine has no name")),
    flag("net", true, Only(&["none"], NETWORK)),
    flag("netdev", true, Absent(NETWORK)),
    flag("nic", true, Only(&["none"], NETWORK)),
    flag("no-acpi", false, Absent(TABLES)),
    flag("no-fd-bootchk", false, Ignored("there are no disks")),
    flag("no-hpet", false, Absent("the machine has an HPET")),
    flag("no-reboot", false, Known),
    flag("no-shutdown", false, Known),
    flag("no-user-config", false, Ignored("there are no configuration files")),
    flag("nodefaults", false, Known),
    flag("nographic", false, Known),
    flag("numa", true, Absent("memory is the same for all processors")),
    flag("object", true, Absent("there are no such objects")),
    flag("only-migratable", false, Ignored(MIGRATION)),
    flag("option-rom", true, Absent(FIRMWARE)),
    flag("overcommit", true, Ignored("the host's memory is taken as it is used")),
    flag("parallel", true, Only(&["none", "null"], "there is no parallel port")),
    flag("perfmap", false, Ignored("no code is generated")),
    flag("pflash", true, Absent(FIRMWARE)),
    flag("pidfile", true, Known),
    flag("plugin", true, Absent("-d int,exec,in_asm,vmexit traces")),
    flag("preconfig", false, Absent("the machine is configured by flags")),
    flag("qmp", true, Known),
    flag("qmp-pretty", true, Known),
    flag("qtest", true, Absent("the guest alone drives the devices")),
    flag("qtest-log", true, Absent("the guest alone drives the devices")),
    flag("readconfig", true, Absent("flags stand on the command line")),
    flag("rtc", true, Known),
    flag("run-with", true, Ignored("the process is as it was started")),
    flag("S", false, Known),
    flag("s", false, Known),
    flag("sandbox", true, Ignored("no system call is filtered")),
    flag("sd", true, Absent(DISKS)),
    flag("seed", true, Ignored("what is random follows from the state")),
    flag("semihosting", false, Absent("a PC has no semihosting")),
    flag("semihosting-config", true, Absent("a PC has no semihosting")),
    flag("serial", true, Known),
    flag("set", true, Absent("properties stand behind their device")),
    flag("shim", true, Absent(FIRMWARE)),
    flag("smbios", true, Absent(TABLES)),
    flag("smp", true, Known),
    flag("snapshot", false, Ignored("there are no disks")),
    flag("spice", true, Absent(DISPLAY)),
    flag("tb-size", true, Ignored("-accel interpreter,cache=N sizes the cache")),
    flag("tpmdev", true, Absent("there is no TPM")),
    flag("trace", true, Ignored("-d traces")),
    flag("usb", false, Ignored("there is no USB")),
    flag("usbdevice", true, Absent("there is no USB")),
    flag("uuid", true, Ignored("no table shows it")),
    flag("vga", true, Ignored(DISPLAY)),
    flag("virtfs", true, Absent("no folder of the host is shared")),
    flag("vmx-unlocked", false, Known),
    flag("vnc", true, Ignored(DISPLAY)),
    flag("watchdog", true, Absent("there is no watchdog")),
    flag("watchdog-action", true, Ignored("there is no watchdog")),
    flag("win2k-hack", false, Ignored("there are no disks")),
    flag("xen-attach", false, Absent("strata host runs domains")),
    flag("xen-domid", true, Absent("strata host runs domains")),
    flag("xen-domid-restrict", false, Absent("strata host runs domains")),
];

/// The flag of this name.
pub(crate) fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

/// The flag whose name is most like `name`, if any is alike.
pub(crate) fn alike(name: &str) -> Option<&'static str> {
    let all = FLAGS.iter().filter(|flag| flag.name.len() > 1);
    let near = all.map(|flag| (distance(name, flag.name), flag.name)).min()?;
    (near.0 <= 1 + name.len() / 5).then_some(near.1)
}

/// How many letters must be changed, added or dropped to make `a` of `b`, or stand in each other's place.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for (n, flag) in FLAGS.iter().enumerate() {
            assert!(FLAGS[..n].iter().all(|other| other.name != flag.name), "{}", flag.name);
        }
    }

    #[test]
    fn what_was_meant() {
        let check = |name, expect| assert_eq!(alike(name), expect, "{name}");
        check("kernal", Some("kernel"));
        check("appned", Some("append"));
        check("machin", Some("machine"));
        check("no-rebot", Some("no-reboot"));
        check("frobnicate", None);
        check("x", None);
    }
}
