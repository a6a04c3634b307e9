//! QEMU's names of processors and of what they can, in Strata's terms.

use platform::machine;

/// What `-cpu` asks for, and what of it is not to be had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The model and features in Strata's words.
    pub(crate) model: String,
    /// What the user is warned of.
    pub(crate) warnings: Vec<String>,
}

/// The processor with all that there is.
const MAX: &str = "v3,+monitor,+movdiri,+movdir64b";

/// QEMU's models by the beginning of their names, the first that fits, and Strata's nearest.
#[rustfmt::skip]
const MODELS: &[(&str, &str)] = &[
    ("max", MAX), ("host", MAX), ("base", "v1"),
    ("486", "min32"), ("pentium", "min32"), ("athlon", "min32"), ("n270", "min32"), ("coreduo", "min32"),
    ("qemu32", "min32"), ("kvm32", "min32"),
    ("qemu64", "v1,+pni,+cx16"), ("kvm64", "v1,+pni,+cx16"), ("phenom", "v1,+pni,+cx16"),
    ("core2duo", "v1,+pni,+ssse3,+cx16"), ("Conroe", "v1,+pni,+ssse3,+cx16"),
    ("Penryn", "v1,+pni,+ssse3,+cx16"),
    ("Opteron_G1", "v1"), ("Opteron_G2", "v1"), ("Opteron_G3", "v1,+pni,+cx16"), ("Opteron_", "v2"),
    ("Nehalem", "v2"), ("Westmere", "v2"), ("Denverton", "v2"), ("Snowridge", "v2"), ("KnightsMill", "v3"),
    ("SandyBridge", "default,+avx"), ("IvyBridge", "default,+avx,+f16c"),
    ("Haswell", "v3"), ("Broadwell", "v3"), ("Skylake", "v3"), ("Cascadelake", "v3"), ("Cooperlake", "v3"),
    ("Icelake", "v3"), ("SapphireRapids", "v3"), ("GraniteRapids", "v3"), ("SierraForest", "v3"),
    ("EPYC", "v3"), ("Dhyana", "v3"), ("YongFeng", "v3"),
];

/// Properties that ask for nothing here.
#[rustfmt::skip]
const IGNORED: &[&str] = &[
    "check", "enforce", "family", "fill-mtrr-mask", "host-cache-info", "host-phys-bits",
    "host-phys-bits-limit", "hv-passthrough", "kvm", "l3-cache", "legacy-cache", "level", "lmce",
    "migratable", "min-level", "min-xlevel", "model", "model-id", "pmu", "stepping", "tcg-cpuid",
    "topoext", "tsc-frequency", "x-force-features", "xlevel",
];

/// Features that QEMU knows and that this processor lacks; each also as the beginning of others' names.
#[rustfmt::skip]
const LACKED: &[&str] = &[
    "3dnow", "acpi", "amd", "amx", "arch-lbr", "avx-", "avx10", "avx512", "avxifma", "cet", "cldemote", "clzero", "cmp",
    "core-capability", "cr8legacy", "dca", "ds", "dtes64", "est", "extapic", "fb-clear", "fbsdp",
    "fdp-excptn-only", "flush", "fma4", "fsrc", "fsrs", "fxsr-opt", "fzrm", "gds", "gfni", "hle", "ht",
    "hypervisor", "hv-", "ia64", "ibpb", "ibrs", "ibs", "intel-pt", "kvm", "la57", "lam", "lbrv", "lkgs",
    "lwp", "md-clear", "mdds", "mds", "misalignsse", "mmxext", "mpx", "nodeid", "npt", "nrip", "null-sel",
    "osvw", "pbe", "pcommit", "pdcm", "perfctr", "perfmon", "pfthreshold", "phe", "pks", "pku", "pmm", "pn", "prefetchi", "psdp",
    "ppin", "rdctl", "rrsb", "rsba", "rtm", "sbdr", "sgx", "skinit", "skip-l1dfl", "smx", "spec-ctrl", "split-lock", "ss",
    "ssb", "ssbd", "sse4a", "stibp", "succor", "svm", "taa", "tbm", "tce", "tm", "tsc-scale", "tsx", "v-", "vgif", "virt-ssbd",
    "vmcb", "vme-", "vmx-", "vnmi", "waitpkg", "wbnoinvd", "wdt", "wrmsrns", "x-", "xcrypt", "xfd", "xop", "xstore", "xtpr",
];

/// Physical address bits of the processor.
const PHYS_BITS: &str = "40";

/// Whether `text` names a model of QEMU's.
fn model(text: &str) -> Option<&'static str> {
    MODELS.iter().find(|(name, _)| text.starts_with(name)).map(|(_, model)| *model)
}

/// Translates a value of `-cpu`. What QEMU has and Strata has not is warned of; `all`: every other name
/// that is not known, too.
pub(crate) fn translate(text: &str, all: bool) -> Asked {
    let mut words = text.split(',');
    let name = words.next().unwrap_or_default();
    let mut asked = Asked { model: model(name).unwrap_or(name).to_owned(), warnings: Vec::new() };
    for word in words {
        asked.add(word, all);
    }
    asked
}

impl Asked {
    fn add(&mut self, word: &str, all: bool) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let bare = name.trim_start_matches(['+', '-']).replace('_', "-");
        match (bare.as_str(), value) {
            ("vendor", "" | "GenuineIntel") | ("phys-bits", PHYS_BITS) => {}
            ("vendor", other) => self.warn(format!("the vendor is GenuineIntel, not {other}")),
            ("phys-bits", other) => {
                self.warn(format!("physical addresses have {PHYS_BITS} bits, not {other}"));
            }
            (bare, _) if IGNORED.contains(&bare) => {}
            (bare, _)
                if machine::check_cpu(&format!("v3,{word}")).is_ok() || !(all || lacked(bare)) =>
            {
                self.model = format!("{},{word}", self.model);
            }
            (_, "off") => {}
            _ if name.starts_with('-') => {}
            (bare, _) => self.warn(format!("the processor has no feature {bare}")),
        }
    }

    fn warn(&mut self, text: String) {
        self.warnings.push(format!("-cpu: warning: {text}"));
    }
}

fn lacked(name: &str) -> bool {
    LACKED.iter().any(|lacked| name.starts_with(lacked))
}

/// What `-cpu help` prints in QEMU's form.
pub(crate) fn help() -> String {
    let mut out = "Available CPUs:\n".to_owned();
    for (name, model) in MODELS {
        out += &format!("  {name:<20}  (as {model})\n");
    }
    out + "\n" + &machine::cpu_help()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, all: bool, model: &str, warnings: &[&str]) {
        let asked = translate(text, all);
        assert_eq!(asked.model, model);
        let expect: Vec<String> = warnings.iter().map(|w| format!("-cpu: warning: {w}")).collect();
        assert_eq!(asked.warnings, expect);
    }

    #[test]
    fn models() {
        check("max", true, MAX, &[]);
        check("default,-avx", false, "default,-avx", &[]);
        check("qemu64,+x2apic,+tsc-deadline", true, "v1,+pni,+cx16,+x2apic,+tsc-deadline", &[]);
        check("Skylake-Server-v4,host-phys-bits,+vmx", true, "v3,+vmx", &[]);
        check("host,migratable=no,hv_passthrough", true, MAX, &[]);
        for (_, model) in MODELS {
            machine::check_cpu(model).unwrap();
        }
    }

    #[test]
    fn what_is_lacked() {
        check("max,+vmx,-pku,-vmx-mbec", true, &format!("{MAX},+vmx"), &[]);
        check("max,+svm", false, MAX, &["the processor has no feature svm"]);
        check("max,svm=off,la57", false, MAX, &["the processor has no feature la57"]);
        check("max,+nosuch", true, MAX, &["the processor has no feature nosuch"]);
        // Strata's own command line says what is wrong with it.
        check("max,+nosuch", false, &format!("{MAX},+nosuch"), &[]);
        check("max,vendor=GenuineIntel,phys-bits=40", true, MAX, &[]);
        let expect = ["the vendor is GenuineIntel, not AuthenticAMD"];
        check("Opteron_G1,vendor=AuthenticAMD", true, "v1", &expect);
        let expect = ["physical addresses have 40 bits, not 36"];
        check("IvyBridge,phys-bits=36", true, "default,+avx,+f16c", &expect);
    }
}
