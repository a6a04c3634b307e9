//! The manual page and the completions name what the command takes, in the form in which it takes it.

use std::process::{Command, Stdio};

const STRATA: &str = env!("CARGO_BIN_EXE_strata");

/// What the command prints.
fn prints(words: &[&str]) -> String {
    let out = Command::new(STRATA).args(words).output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn a_page() {
    let page = prints(&["man"]);
    assert!(page.contains(".TH strata 1"), "{page}");
    for part in
        ["\\fB\\-kernel\\fR", "\\fB\\-no\\-reboot\\fR", "\\fB\\-\\-domu\\fR", "\\fB\\-\\-jobs\\fR"]
    {
        assert!(page.contains(part), "{page} lacks {part}");
    }
    for section in ["NAME", "SYNOPSIS", "OPTIONS OF RUN", "OPTIONS OF HOST", "OPTIONS OF TEST"] {
        assert!(
            page.lines().any(|line| line == format!(".SH {section}")),
            "{page} lacks {section}"
        );
    }
    assert!(!page.contains("\\-\\-kernel"), "{page}");
}

#[test]
fn bash_completes() {
    let script = prints(&["completions", "bash"]);
    let complete = |verb: &str, word: &str| {
        let line = format!(
            "{script}\nCOMP_WORDS=(strata {verb} {word}); COMP_CWORD=2; _strata strata {word} {verb}; echo \"${{COMPREPLY[@]}}\""
        );
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", &line]).stdin(Stdio::null());
        let out = bash.output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("run", "-ker"), "-kernel");
    assert_eq!(complete("run", "--limit-i"), "--limit-instructions");
    assert_eq!(complete("host", "--dom"), "--dom0 --domu");
}

#[test]
fn every_shell() {
    for (shell, part) in [
        ("zsh", "'-kernel="),
        ("fish", "-o kernel "),
        ("elvish", "-kernel"),
        ("powershell", "-kernel"),
    ] {
        let script = prints(&["completions", shell]);
        assert!(script.contains(part) && !script.contains("--kernel"), "{script}");
    }
    let out = Command::new(STRATA).args(["completions", "csh"]).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
}
