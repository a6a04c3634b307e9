//! The names of the vCPUs that a hypervisor runs, by what it was told to create when it was started.

use platform::machine::Machine;
use platform::machine::debugging::{Field, Processor};

/// EAX at the entry of a multiboot kernel.
const MULTIBOOT: u64 = 0x2bad_b002;
/// The flag in the multiboot information that there are modules.
const MODULES: u32 = 1 << 3;
/// The most modules that are looked at, and bytes of a command line.
const MOST: (u32, usize) = (256, 256);
/// The most vCPUs that have names.
const VCPUS: usize = 1024;

/// The vCPUs of all domains, in the order in which `strata host` has them created. The bundled hypervisor numbers
/// them so by VPID, from 1 on.
#[derive(Debug, Default)]
pub(crate) struct Domains(Vec<String>);

impl Domains {
    /// What a machine that is about to boot is told; no names if it is no such machine.
    pub(crate) fn of(machine: &Machine) -> Domains {
        let mut vcpus = Vec::new();
        for command in modules(machine).unwrap_or_default() {
            let (name, count) = described(&command).unwrap_or_default();
            let count = count.min(VCPUS - vcpus.len());
            vcpus.extend((0..count).map(|n| format!("domain {name}, vCPU {n}")));
        }
        Domains(vcpus)
    }

    /// The vCPU whose VMCS is current on a processor.
    pub(crate) fn current(&self, p: &Processor) -> Option<&str> {
        let vmcs = &p.state.vmx.vmcs;
        let vpid = vmcs.is_current().then(|| vmcs[Field::Vpid])?;
        self.0.get(usize::try_from(vpid).ok()?.checked_sub(1)?).map(String::as_str)
    }

    /// Who runs on a processor.
    pub(crate) fn level(&self, p: &Processor) -> String {
        let vmx = &p.state.vmx;
        let (name, guest) = (self.current(p), vmx.eptp().map(|pointer| pointer.0));
        match (vmx.guest, name, guest) {
            (false, Some(name), _) => format!("hypervisor, VMCS of {name}"),
            (false, ..) if vmx.on => "hypervisor".into(),
            (false, ..) => "no VMX".into(),
            (true, Some(name), Some(pointer)) => format!("{name}, guest {pointer:#x}"),
            (true, None, Some(pointer)) => format!("guest {pointer:#x}"),
            (true, ..) => format!("guest of VMCS {:#x}", vmx.vmcs.address),
        }
    }
}

/// The command lines of the modules.
fn modules(machine: &Machine) -> Option<Vec<String>> {
    let state = &machine.processor(0)?.state;
    if state.regs[0] != MULTIBOOT || machine.now().0 != 0 {
        return None;
    }
    let word = |at: u64| {
        let mut bytes = [0; 4];
        machine.read_physical(at, &mut bytes).then(|| u32::from_le_bytes(bytes))
    };
    let information = u64::from(state.regs[3] as u32);
    if word(information)? & MODULES == 0 {
        return None;
    }
    let (count, first) = (word(information + 20)?.min(MOST.0), u64::from(word(information + 24)?));
    let text = |n: u32| {
        let at = u64::from(word(first + 16 * u64::from(n) + 8)?);
        let mut bytes = vec![0; MOST.1];
        machine.read_physical(at, &mut bytes).then_some(())?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    };
    (0..count).map(text).collect()
}

/// The name and the number of vCPUs of a domain whose kernel is loaded with this command line.
fn described(command: &str) -> Option<(&str, usize)> {
    let options = command.strip_prefix("kernel ")?;
    let options = options.split_once(" -- ").map_or(options, |(options, _)| options);
    let value =
        |name: &str| options.split(' ').find_map(|o| o.strip_prefix(name)?.strip_prefix('='));
    Some((value("name")?, value("vcpus")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions() {
        let line = "kernel name=a memory=128M vcpus=2 weight=256 cap=0 -- name=b";
        assert_eq!(described(line), Some(("a", 2)));
        for line in ["", "initrd name=a vcpus=1", "kernel", "kernel name=a -- vcpus=1"] {
            assert_eq!(described(line), None, "{line}");
        }
    }
}
