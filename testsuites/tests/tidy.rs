//! The house rules that a machine can check, applied to this repository; and for each rule a
//! small repository that breaks it.

use std::path::Path;
use testsuites::tidy::{self, Tree};

type Rule = fn(&Tree) -> Vec<String>;

/// The repository obeys `rule`.
#[track_caller]
fn obeyed(rule: Rule) {
    let tree = Tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap();
    assert!(tree.0.contains_key("testsuites/tests/tidy.rs"), "not the repository's root");
    let wrong = rule(&tree);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A repository of `files` gets exactly the complaints `expect` from `rule`.
#[track_caller]
fn check(rule: Rule, files: &[(&str, &str)], expect: &[&str]) {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    assert_eq!(rule(&Tree(files.collect())), expect);
}

#[test]
fn root() {
    obeyed(tidy::root);
    let fine = [("Cargo.toml", ""), ("LICENSE-MIT", ""), (".ci/run", ""), ("cpu/x", "")];
    check(tidy::root, &fine, &[]);
    let documents = [("CONTRIBUTING.md", ""), ("CHANGELOG.md", ""), ("docs/usage.md", "")];
    check(tidy::root, &documents, &[]);
    check(tidy::root, &[("NOTES.md", "")], &["NOTES.md: does not belong in the root"]);
    check(tidy::root, &[("notes.txt", "")], &["notes.txt: does not belong in the root"]);
    check(tidy::root, &[("a/x", ""), ("a/y", "")], &["a: does not belong in the root"]);
}

#[test]
fn headers() {
    obeyed(tidy::headers);
    check(tidy::headers, &[("cpu/src/a.rs", "//! A.\n"), ("a.md", "")], &[]);
    let wrong = "cpu/src/a.rs: begins without a `//!` header";
    check(tidy::headers, &[("cpu/src/a.rs", "use b;\n")], &[wrong]);
    check(tidy::headers, &[("cpu/src/a.rs", "")], &[wrong]);
}

#[test]
fn sizes() {
    obeyed(tidy::sizes);
    let long = "//! Long.\n".to_owned() + &"\n".repeat(600);
    check(tidy::sizes, &[("a.rs", &long)], &["a.rs: 601 lines, 600 at most"]);
    check(tidy::sizes, &[("a.rs", &long.replace("Long.", "tidy: table"))], &[]);
    let below = long + "// tidy: table\n";
    check(tidy::sizes, &[("a.rs", &below)], &["a.rs: 602 lines, 600 at most"]);
}

/// The complaints `expect`, with line numbers, about the documentation `text`.
#[track_caller]
fn documented(text: &str, expect: &[&str]) {
    let expect: Vec<String> = expect.iter().map(|why| format!("mmu/src/a.rs:{why}")).collect();
    let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
    check(tidy::docs, &[("mmu/src/a.rs", text)], &expect);
}

#[test]
fn docs() {
    obeyed(tidy::docs);
    for fragment in ["It.", "Sets it.", "Which.", "As there.", "Its name.", "The page.", "4."] {
        let mut expect = vec![format!("1: \"{fragment}\" does not say what is meant")];
        expect.extend(fragment.ends_with(" it.").then(|| "1: ends in a pronoun".to_owned()));
        let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
        documented(&format!("/// {fragment}\nfn f() {{}}"), &expect);
    }
    for fine in ["CR0.", "XCR0.", "`OUT`.", "[`Page`].", "G.", "Linear base address."] {
        documented(&format!("/// {fine}\nfn f() {{}}"), &[]);
    }
    documented("/// Sets the flags of what is done, and does it.", &["1: ends in a pronoun"]);
    documented("/// A long line that\n/// goes on.\n// It.\n//! It.", &[]);
    documented(
        "/// A sentence of four.\n///\n/// Which.",
        &["3: \"Which.\" does not say what is meant"],
    );
    documented(
        "/// Divides one number by another.\n///\n/// # Panics\n///\n/// If the divisor is zero.",
        &[],
    );
    documented("/// An example in code:\n/// ```\n/// it.\n/// ```", &[]);
    documented("/// # Panics\n///\n/// If the page is not there.", &[]);
}

#[test]
fn manifests() {
    obeyed(tidy::manifests);
    let lints = "[lints]\nworkspace = true\n";
    let files = |cpu: &str| {
        let all = tidy::CRATES.map(|(name, _)| (format!("{name}/Cargo.toml"), lints.to_owned()));
        let mut tree = Tree(all.into());
        tree.0.insert("cpu/Cargo.toml".into(), cpu.into());
        tree
    };
    let check = |cpu: &str, expect: &[&str]| assert_eq!(tidy::manifests(&files(cpu)), expect);
    check(&format!("{lints}[dependencies]\nmmu.workspace = true\nserde = \"1\"\n"), &[]);
    let wrong = "cpu/Cargo.toml: cpu may not depend on platform";
    check(&format!("{lints}[dependencies]\nplatform.workspace = true\n"), &[wrong]);
    check(&format!("{lints}[dev-dependencies]\nplatform = {{ path = \"..\" }}\n"), &[wrong]);
    check("", &["cpu/Cargo.toml: does not take the workspace's lints"]);
    let mut tree = files(lints);
    let guests = format!("{lints}[dependencies]\nruntime.workspace = true\n");
    tree.0.insert("hypervisor/guests/Cargo.toml".into(), guests.clone());
    assert_eq!(tidy::manifests(&tree), [""; 0]);
    tree.0.insert("hypervisor/guests/Cargo.toml".into(), guests + "hypervisor.workspace = true\n");
    let wrong = "hypervisor/guests/Cargo.toml: guests may not depend on hypervisor";
    assert_eq!(tidy::manifests(&tree), [wrong]);
}

#[test]
fn orphans() {
    obeyed(tidy::orphans);
    let wrong = |path: &str| format!("{path}: neither a module nor a target: nothing compiles it");
    let tree = [
        (
            "cpu/src/lib.rs",
            "mod a;\npub mod b;\npub(crate) mod c;\n#[path = \"../x/d.rs\"]\nmod d;",
        ),
        ("cpu/src/a.rs", "mod inner;"),
        ("cpu/src/a/inner.rs", ""),
        ("cpu/src/b/mod.rs", "mod sibling;"),
        ("cpu/src/b/sibling.rs", ""),
        ("cpu/src/c.rs", "// mod no;"),
        ("cpu/x/d.rs", ""),
        ("cpu/tests/t.rs", ""),
        ("cpu/Cargo.toml", "build = \"make/main.rs\"\n[[bin]]\npath = \"src/programs/p.rs\""),
        ("cpu/make/main.rs", "mod table;"),
        ("cpu/make/table.rs", ""),
        ("cpu/src/programs/p.rs", ""),
    ];
    check(tidy::orphans, &tree, &[]);
    for path in ["cpu/src/no.rs", "cpu/src/inner.rs", "cpu/tests/t/no.rs", "other/src/lib.rs"] {
        let more = [&tree[..], &[(path, "")]].concat();
        check(tidy::orphans, &more, &[&wrong(path)]);
    }
}

/// `count` files of `mmu`, each of which imports the next, and the last the first if `closed`.
fn chain(count: usize, closed: bool) -> Vec<(String, String)> {
    let mut files = vec![("mmu/src/lib.rs".to_owned(), String::new())];
    for n in 0..count {
        let next = if n + 1 < count { n + 1 } else { 0 };
        let text = format!("pub struct S{n};\nuse crate::m{next}::S{next};\nfn f(s: S{next}) {{}}");
        let open = n + 1 == count && !closed;
        files.push((format!("mmu/src/m{n}.rs"), if open { String::new() } else { text }));
        files[0].1 += &format!("mod m{n};\n");
    }
    files
}

#[test]
fn circles() {
    obeyed(tidy::circles);
    let tree = |count, closed| Tree(chain(count, closed).into_iter().collect());
    assert_eq!(tidy::circles(&tree(5, true)), [""; 0]);
    assert_eq!(tidy::circles(&tree(20, false)), [""; 0]);
    let files = "mmu/src/m0.rs, mmu/src/m1.rs, mmu/src/m2.rs, mmu/src/m3.rs, mmu/src/m4.rs, \
                 mmu/src/m5.rs";
    let wrong = format!("mmu: a circle of 6 files, 5 at most: {files}");
    assert_eq!(tidy::circles(&tree(6, true)), [wrong]);
}

#[test]
fn layers() {
    obeyed(tidy::layers);
    let check = |state, fpu, expect: &[&str]| {
        let files = [
            ("cpu/src/lib.rs", "mod fpu; mod run; mod state; mod trap; pub use run::Cpu;"),
            ("cpu/src/run.rs", "pub struct Cpu;"),
            ("cpu/src/trap.rs", "pub struct Trap;"),
            ("cpu/src/state/mod.rs", "pub mod apic; pub struct State;"),
            ("cpu/src/state/apic.rs", state),
            ("cpu/src/fpu/mod.rs", fpu),
        ];
        check(tidy::layers, &files, expect);
    };
    check("use crate::trap::Trap;", "use crate::state::apic::Apic;", &[]);
    check("use super::State;", "use crate::state::State;", &[]);
    let wrong = "cpu/src/state/apic.rs: imports cpu/src/run.rs";
    check("use crate::Cpu;", "", &[wrong]);
    check("fn f(cpu: super::super::run::Cpu) {}", "", &[wrong]);
    check("", "use crate::Cpu;", &["cpu/src/fpu/mod.rs: imports cpu/src/run.rs"]);
    check("", "use crate::trap::Trap;", &["cpu/src/fpu/mod.rs: imports cpu/src/trap.rs"]);
}

/// The edges of the circles of a crate whose files are `files`, as `from>to: names`.
#[track_caller]
fn edges(files: &[(&str, &str)], expect: &[&str]) {
    let files = files.iter().map(|(path, text)| (format!("mmu/src/{path}"), (*text).to_owned()));
    let tree = Tree(files.collect());
    let mut found = Vec::new();
    for circle in tidy::import_circles(&tree, "mmu") {
        let short =
            |path: &str| path.trim_start_matches("mmu/src/").trim_end_matches(".rs").to_owned();
        found.extend(circle.edges.iter().map(|(from, to, names)| {
            format!("{}>{}: {}", short(from), short(to), names.join(" "))
        }));
    }
    assert_eq!(found, expect);
}

/// A crate of two modules, `a` with a type `A` and `b` with a type `B` made of `A`.
#[track_caller]
fn two(a: &str, b: &str, expect: &[&str]) {
    let a = format!("pub struct A;\n{a}");
    let b = format!("use crate::a::A;\npub struct B(A);\n{b}");
    let root = "mod a;\nmod b;\npub use b::B;\n";
    edges(&[("lib.rs", root), ("a.rs", &a), ("b.rs", &b)], expect);
}

#[test]
fn imports() {
    two("", "", &[]);
    two("fn f(b: crate::b::B) {}", "", &["a>b: crate::b::B", "b>a: A"]);
    two("use super::b::{self, B as C};", "", &["a>b: C", "b>a: A"]);
    two("use crate::b;\nfn f(b: b::B) {}", "", &["a>b: b::B", "b>a: A"]);
    two("use crate::{b::*};", "", &["a>b: crate::b::*", "b>a: A"]);
    two("mod inner { use super::super::b::B; }", "", &["a>b: B", "b>a: A"]);
    two("fn f() { m!() }", "macro_rules! m { () => {} }", &["a>b: m", "b>a: A"]);
}

#[test]
fn no_imports() {
    two("// use crate::b::B;\n/* crate::b::B */", "", &[]);
    two("const S: &str = \"crate::b::B\"; const R: &str = r#\"\" crate::b::B \"#;", "", &[]);
    two("#[cfg(test)]\nmod tests { use crate::b::B; }\npub fn f<'a>(c: &'a str) {}", "", &[]);
    two("use std::b::B;\nfn f(x: other::b::B) {}", "", &[]);
    two("pub use crate::b::B;", "", &[]);
    two("pub(in crate::b) fn f() {}", "", &[]);
}

/// A re-export is no dependency of the file where it stands, but leads to the one that defines.
#[test]
fn re_exports() {
    let facade = "mod a;\nmod b;\npub use b::B;\npub use a::*;\n";
    let (a, b) = ("use crate::B;\npub struct A;", "use super::A;\npub struct B(A);");
    edges(&[("lib.rs", facade), ("a.rs", a), ("b.rs", b)], &["a>b: B", "b>a: A"]);
    let uses = format!("{facade}pub fn f(b: B) {{}}");
    let back = "use crate::f;\npub struct B;";
    let expect = ["b>lib: f", "lib>b: B"];
    edges(&[("lib.rs", &uses), ("a.rs", "pub struct A;"), ("b.rs", back)], &expect);
}

#[test]
fn clocks() {
    obeyed(tidy::clocks);
    let check = |path, text, expect: &[&str]| check(tidy::clocks, &[(path, text)], expect);
    check("cpu/src/a.rs", "use std::time::Duration;", &["cpu/src/a.rs:1: names std::time"]);
    check("mmu/src/a.rs", "\nlet m: HashMap<u8, u8>;", &["mmu/src/a.rs:2: names HashMap"]);
    check("platform/src/a.rs", "std::env::args()", &["platform/src/a.rs:1: names std::env"]);
    check("cpu/src/a.rs", "// std::time is not for us\nmy_std::time();\nFixedHashMap", &[]);
    check("cpu/src/a.rs", "#[cfg(test)]\nmod tests { use std::fs; }", &[]);
    check("frontend/src/a.rs", "use std::time::Instant;", &[]);
}

#[test]
fn machine_alone_names_cpu() {
    obeyed(tidy::machine_alone_names_cpu);
    let check = |path, text, expect: &[&str]| {
        check(tidy::machine_alone_names_cpu, &[(path, text)], expect);
    };
    check("platform/src/board.rs", "use cpu::Bus;", &["platform/src/board.rs:1: names cpu"]);
    check("platform/src/machine/mod.rs", "use cpu::Bus;", &[]);
    check("platform/src/machine/run.rs", "use cpu::Bus;", &[]);
    check("platform/src/board.rs", "use crate::cpu::Bus;", &[]);
}

#[test]
fn devices() {
    obeyed(tidy::devices);
    let tree = |pit: &'static str| {
        [
            ("platform/src/pic.rs", "impl Device for Pic {}"),
            ("platform/src/pit.rs", pit),
            ("platform/src/board.rs", "use crate::pic::Pic;"),
        ]
    };
    check(tidy::devices, &tree("impl Device for Pit {}\nuse crate::time::Icount;"), &[]);
    let wrong = ["platform/src/pit.rs:2: a device names pic"];
    check(tidy::devices, &tree("impl Device for Pit {}\nuse crate::pic::Pic;"), &wrong);
    check(tidy::devices, &tree("impl PciFunction for Pit {}\nuse super::pic;"), &wrong);
    let wrong = ["platform/src/pit.rs:1: a device names board"];
    check(tidy::devices, &tree("use crate::board::B; impl Device for Pit {}"), &wrong);
}

/// The complaint `why`, if any, about `line` in a block of commands of `document`.
#[track_caller]
fn shown(document: &str, line: &str, why: &str) {
    let text = format!("text\n```sh\n{line}   # a comment\n```\nstrata --not-in-a-block\n");
    let files = [
        (document, text.as_str()),
        (".ci/run", ""),
        ("frontend/src/main.rs", "\"host\" \"smp\" limit_seconds: u64"),
        ("platform/examples/boot.rs", ""),
        ("testsuites/tests/tidy.rs", ""),
        ("cpu/tests/vmx/main.rs", ""),
    ];
    let line = line.replace("\\\n", " ");
    let expect = format!("{document}: `{line}`: {why}");
    let expect: &[&str] = if why.is_empty() { &[] } else { &[&expect] };
    check(tidy::commands, &files, expect);
}

#[test]
fn commands() {
    obeyed(tidy::commands);
    let check = |line, why| shown("README.md", line, why);
    check(".ci/run", "");
    check(".ci/walk", "there is no .ci/walk");
    check("cargo test -p testsuites --test tidy", "");
    check("cargo test -p cpu --test vmx", "");
    check("cargo test -p testsuites --test other", "there is no testsuites/tests/other.rs");
    check("cargo test -p others", "there is no package others");
    check("cargo run -p platform --example boot", "");
    check("cargo run -p platform --example fly", "there is no platform/examples/fly.rs");
    check("cargo build --workspace --example boot", "");
    check("cargo test --workspace --test tidy", "");
    check("cargo test --workspace --test fly", "there is no frontend/tests/fly.rs");
    check("target/release/examples/boot /tmp/kernel", "");
    check("strata run -smp 2 --limit-seconds 3", "");
    check("strata run \\\n-cpus 2", "strata has no flag cpus");
    check("cargo run --release -- run --slow", "strata has no flag slow");
}

#[test]
fn documents() {
    for document in ["README.md", "CONTRIBUTING.md", "docs/usage.md", "docs/a/b.md"] {
        shown(document, ".ci/walk", "there is no .ci/walk");
    }
    for other in ["notes.md", "docs/drawing.svg"] {
        shown(other, ".ci/walk", "");
    }
}

/// The complaint `why`, if any, about a document that says `text`.
#[track_caller]
fn referred(text: &str, why: &str) {
    let source = "pub fn run() {}\nstruct Cpu;\nmacro_rules! forms {}\n// fn outer";
    let files = [("docs/a.md", text), ("cpu/src/run.rs", source)];
    let expect = format!("docs/a.md: {why}");
    let expect: &[&str] = if why.is_empty() { &[] } else { &[&expect] };
    check(tidy::references, &files, expect);
}

#[test]
fn references() {
    obeyed(tidy::references);
    referred("`cpu/src/run.rs`, `cpu/src/`, `cpu/src`, `docs/a.md`, `target/x`, `a/b`", "");
    referred("See `cpu/src/walk.rs`.", "there is no cpu/src/walk.rs");
    referred("See `cpu/source/`.", "there is no cpu/source/");
    referred("`cpu/src/run.rs`: `run`, `Cpu`,\n`forms`; `others`", "");
    referred("`cpu/src/run.rs`: `ru`", "cpu/src/run.rs defines no ru");
    referred("`cpu/src/run.rs`:\n`run`, `walk`", "cpu/src/run.rs defines no walk");
    referred("`cpu/src/run.rs` and `walk`; `cpu/src/run.rs`: `walk!`, `walk`", "");
    referred("`cpu/src/run.rs`:\n```sh\ncargo run\n```\n`walk`", "");
    referred("```sh\ncargo run\n```\n`cpu/src/no.rs`", "there is no cpu/src/no.rs");
}

#[test]
fn departures() {
    obeyed(tidy::departures);
    let list = "- `cpu/src/listed.rs`: something";
    let confession = "// DEPARTURE: no fetch from devices.";
    for document in ["README.md", "docs/usage.md"] {
        let files = |path, text| [(document, list), (path, text)];
        check(tidy::departures, &files("cpu/src/listed.rs", confession), &[]);
        check(tidy::departures, &files("cpu/src/other.rs", "// nothing"), &[]);
        let wrong = "cpu/src/other.rs: confesses a departure that no document lists";
        check(tidy::departures, &files("cpu/src/other.rs", confession), &[wrong]);
    }
}
