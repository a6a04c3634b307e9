//! The manual page and the shells' completions, from the same description of the command line as the help.
//!
//! clap knows flags with one dash by a letter only: what it writes is turned into QEMU's form here.

use crate::args::Args;
use crate::qemu::{FLAGS, Meaning};
use crate::status::Failure;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

/// The page, for man(1).
pub(crate) fn page() -> Result<String, Failure> {
    let mut command = Args::command();
    command.build();
    let page = render(&command).map_err(Failure::emulator)?;
    Ok(one_dash(&page, "\\-"))
}

fn render(command: &Command) -> std::io::Result<String> {
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    man.render_subcommands_section(&mut page)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let mut options = Vec::new();
        Man::new(verb.clone()).render_options_section(&mut options)?;
        let title = format!(".SH OPTIONS OF {}", verb.get_name().to_uppercase());
        page += &String::from_utf8_lossy(&options).replacen(".SH OPTIONS", &title, 1);
    }
    let mut end = Vec::new();
    man.render_extra_section(&mut end)?;
    Ok(page + &String::from_utf8_lossy(&end))
}

/// The script that completes words of the command line in a shell.
pub(crate) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "strata", &mut script);
    let script = one_dash(&String::from_utf8_lossy(&script), "-");
    match shell {
        // There the options have no dashes, and another letter says that they have one.
        Shell::Fish => known().fold(script, |script, name| {
            script.replace(&format!(" -l {name} "), &format!(" -o {name} "))
        }),
        _ => script,
    }
}

/// QEMU's flags that `strata run` has.
fn known() -> impl Iterator<Item = &'static str> {
    FLAGS.iter().filter(|flag| flag.meaning == Meaning::Known).map(|flag| flag.name)
}

/// Text in which QEMU's flags have two dashes, with one. `dash` is a dash in that text.
fn one_dash(text: &str, dash: &str) -> String {
    let names: Vec<_> = known().map(|name| name.replace('-', dash)).collect();
    let mut out = String::new();
    let two = dash.repeat(2);
    let mut parts = text.split(&two);
    out += parts.next().unwrap_or_default();
    for part in parts {
        let ends = |name: &str| {
            let rest = part.strip_prefix(name);
            rest.is_some_and(|rest| {
                !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                    && !rest.starts_with(dash)
            })
        };
        let flag = names.iter().any(|name| ends(name));
        out += dash;
        out += if flag { "" } else { dash };
        out += part;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes() {
        let check = |text: &str, expect: &str| assert_eq!(one_dash(text, "-"), expect);
        check("--kernel --m --memory --no-reboot", "-kernel -m --memory -no-reboot");
        check("--kernel=x '--d[a]' --D) --domu", "-kernel=x '-d[a]' -D) --domu");
        check("a -- b", "a -- b");
        assert_eq!(one_dash("\\-\\-no\\-reboot", "\\-"), "\\-no\\-reboot");
    }
}
