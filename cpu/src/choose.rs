//! The model that a user asks for: `MODEL,+feature,-feature,feature=on|off`, with QEMU's names.

use crate::feature::{FEATURES, Feature, FeatureInfo, ModelName};
use crate::model::Model;

/// Features that make no sense without another: (what is needed, who needs it).
#[rustfmt::skip]
const NEEDS: &[(&str, &[&str])] = &[
    ("apic", &["x2apic", "tsc-deadline"]),
    ("avx", &["avx2", "f16c", "fma", "vaes", "vpclmulqdq"]),
    ("fxsr", &["sse"]),
    ("lm", &["cx16", "fsgsbase", "invpcid", "lahf-lm", "pcid", "pdpe1gb", "syscall", "vmx"]),
    ("mce", &["mca"]),
    ("pae", &["lm", "nx"]),
    ("sse", &["sse2"]),
    ("sse2", &["aes", "avx", "lm", "pclmulqdq", "pni", "sha-ni"]),
    ("pni", &["ssse3"]),
    ("ssse3", &["sse4.1"]),
    ("sse4.1", &["sse4.2"]),
    ("xsave", &["avx", "xgetbv1", "xsavec", "xsaveopt", "xsaves"]),
];

/// Other names that QEMU knows a feature by.
const ALIASES: &[(&str, &str)] = &[
    ("sse3", "pni"),
    ("sse4-1", "sse4.1"),
    ("sse4-2", "sse4.2"),
    ("pclmuldq", "pclmulqdq"),
    ("i64", "lm"),
    ("xd", "nx"),
    ("lzcnt", "abm"),
];

fn row(name: &str) -> Option<&'static FeatureInfo> {
    let dashed = name.replace('_', "-");
    let alias = ALIASES.iter().find(|a| a.0 == dashed);
    let name = alias.map_or(dashed.as_str(), |a| a.1);
    FEATURES.iter().find(|r| r.name == name)
}

/// `+name`, `-name`, `name`, `name=on` or `name=off`.
fn switch(word: &str) -> Result<(&'static str, bool), String> {
    let (name, on) = match (word.strip_prefix('+'), word.strip_prefix('-'), word.split_once('=')) {
        (Some(name), _, _) => (name, true),
        (_, Some(name), _) => (name, false),
        (_, _, Some((name, "on"))) => (name, true),
        (_, _, Some((name, "off"))) => (name, false),
        (_, _, Some(_)) => return Err(format!("{word}: accepted are on and off")),
        _ => (word, true),
    };
    let known = row(name).ok_or_else(|| {
        format!("CPU feature {name:?} is not known; `-cpu help` lists those that are")
    })?;
    Ok((known.name, on))
}

impl Model {
    /// The model that `text` asks for: a name, then switches from left to right. Without a feature, what
    /// needs it goes too.
    ///
    /// # Errors
    /// A sentence for the user: a name that is not known, or a feature that is asked for without one that
    /// it needs.
    pub fn parse(text: &str) -> Result<Model, String> {
        let mut words = text.split(',');
        let name = words.next().unwrap_or_default();
        let mut model = Model::named(name).ok_or_else(|| {
            let known = ModelName::ALL.iter().map(|row| row.0).collect::<Vec<_>>().join(", ");
            format!("CPU model {name:?} is not known; accepted are {known}")
        })?;
        let mut asked = Vec::new();
        for word in words {
            let (name, on) = switch(word)?;
            asked.retain(|a| *a != name);
            if on {
                asked.push(name);
            }
            model.set(feature(name), on);
        }
        drop_needy(&mut model, &asked)?;
        Ok(model)
    }

    /// What `-cpu help` prints.
    pub fn help() -> String {
        let names = |of: ModelName| {
            let rows = FEATURES.iter().filter(|r| r.first == of);
            rows.map(|r| r.name).collect::<Vec<_>>().join(" ")
        };
        let order = ["min32", "v1", "v2", "default", "v3"];
        let mut out = "Models, each with the features of those before it:\n".to_owned();
        for model in order {
            let of = ModelName::ALL.iter().find(|row| row.0 == model);
            let text = of.map_or_else(String::new, |row| names(row.1));
            out += &format!("  {model:8} {text}\n");
        }
        out + &format!("Only where asked for:\n           {}\n", names(ModelName::OnRequest))
    }
}

fn feature(name: &str) -> Feature {
    row(name).map_or_else(|| unreachable!("{name} is in the table"), |r| r.feature)
}

/// Takes away what lacks something that it needs, until nothing does.
fn drop_needy(model: &mut Model, asked: &[&str]) -> Result<(), String> {
    let mut lost = true;
    while std::mem::take(&mut lost) {
        for (needed, needy) in NEEDS {
            if model.has(feature(needed)) {
                continue;
            }
            for name in *needy {
                if asked.contains(name) {
                    return Err(format!("CPU feature {name} needs {needed}"));
                }
                lost |= model.has(feature(name));
                model.set(feature(name), false);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, with: &[&str], without: &[&str]) {
        let m = Model::parse(text).unwrap();
        with.iter().for_each(|f| assert!(m.has(feature(f)), "{text} lacks {f}"));
        without.iter().for_each(|f| assert!(!m.has(feature(f)), "{text} has {f}"));
    }

    #[test]
    fn switches() {
        check("v3", &["avx2", "fma", "abm", "xsave"], &["monitor"]);
        check("v3,-avx2", &["avx", "fma"], &["avx2"]);
        check("v3,avx2=off,+monitor", &["avx", "monitor"], &["avx2"]);
        check("v3,-xsave", &["sse4.2"], &["xsave", "xsaveopt", "avx", "avx2", "fma", "f16c"]);
        check("v2,+movbe,bmi1=on", &["movbe", "bmi1"], &["bmi2"]);
        check("v2,-sse4_1", &["ssse3"], &["sse4.1", "sse4.2"]);
        check("default,-avx,+avx,-x2apic", &["avx"], &["x2apic"]);
        check("default,-lm", &["sse2"], &["lm", "vmx", "syscall", "cx16"]);
        check("v1,-sse3", &["sse2"], &["pni"]);
        check("min32", &["cmov"], &["lm", "sse", "fxsr", "mmx", "nx"]);
    }

    #[track_caller]
    fn check_error(text: &str, expect: &str) {
        assert_eq!(Model::parse(text).unwrap_err(), expect);
    }

    #[test]
    fn errors() {
        let known = "default, v3, v2, v1, min32";
        check_error("v4", &format!("CPU model \"v4\" is not known; accepted are {known}"));
        check_error("", &format!("CPU model \"\" is not known; accepted are {known}"));
        let unknown = "is not known; `-cpu help` lists those that are";
        check_error("v3,+avx9", &format!("CPU feature \"avx9\" {unknown}"));
        check_error("v3,", &format!("CPU feature \"\" {unknown}"));
        check_error("v3,avx=maybe", "avx=maybe: accepted are on and off");
        check_error("v2,+avx2", "CPU feature avx2 needs avx");
        check_error("v3,-sse2,+avx", "CPU feature avx needs sse2");
    }

    #[test]
    fn every_name_is_in_the_table_once() {
        for r in FEATURES {
            assert_eq!(FEATURES.iter().filter(|s| s.name == r.name).count(), 1, "{}", r.name);
        }
        let named = NEEDS.iter().flat_map(|(n, of)| of.iter().chain([n]));
        named.chain(ALIASES.iter().map(|a| &a.1)).for_each(|n| {
            feature(n);
        });
    }
}
