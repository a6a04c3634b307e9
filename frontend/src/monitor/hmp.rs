//! A person's commands, as QEMU has them.

use super::{Control, Target, memory, show};
use crate::expression::{Expression, Subject};
use crate::keys;
use platform::machine::{Input, Machine};
use std::path::PathBuf;

/// A command: its names, what it takes, and what it does.
type Row = (&'static [&'static str], &'static str, &'static str);

/// The commands, for `help`.
#[rustfmt::skip]
const COMMANDS: &[Row] = &[
    (&["help", "?"], "[COMMAND]", "show the help"),
    (&["info"], "[SUBCOMMAND]", "show what is known of the machine"),
    (&["stop", "s"], "", "have the machine stand still"),
    (&["cont", "c"], "", "go on"),
    (&["quit", "q"], "", "end the run"),
    (&["system_reset"], "", "reset the machine"),
    (&["system_powerdown"], "", "press the power button"),
    (&["nmi"], "", "send all processors an NMI"),
    (&["cpu"], "INDEX", "choose the processor that commands are about"),
    (&["x"], "/FMT ADDRESS", "show memory at a linear address"),
    (&["xp"], "/FMT ADDRESS", "show memory at a physical address"),
    (&["print", "p"], "/FMT EXPRESSION", "show what an expression is worth"),
    (&["gva2gpa"], "ADDRESS", "show the physical address of a linear one"),
    (&["savevm"], "FILE", "write a snapshot"),
    (&["loadvm"], "FILE", "go on from a snapshot"),
    (&["sendkey"], "KEYS", "press the keys and release them: sendkey ctrl-alt-delete"),
];

/// What a command has to say.
pub(super) fn obey(
    line: &str,
    processor: &mut usize,
    control: &mut Control,
    target: &mut dyn Target,
) -> String {
    let line = line.trim();
    // As in QEMU a format may stand directly behind its command.
    let end = line.find([' ', '/']).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let rest = rest.trim();
    if name.is_empty() {
        return String::new();
    }
    let known = COMMANDS.iter().find(|(names, _, _)| names.contains(&name));
    let done = match known.map(|(names, _, _)| names[0]) {
        Some("help") => Ok(help(rest)),
        Some("info") => show::info(rest, *processor, control, target),
        Some("cpu") => choose(rest, processor, target),
        Some("x" | "xp" | "print" | "gva2gpa") => look(name, rest, *processor, target),
        Some("savevm" | "loadvm") => state(name, rest, control, target),
        Some("sendkey") => press(rest, target),
        Some(name) => steer(name, control, target),
        None => Err(format!("unknown command: '{name}'")),
    };
    match done {
        Ok(text) => text,
        Err(why) => format!("Error: {why}\n"),
    }
}

fn help(of: &str) -> String {
    let wanted = COMMANDS.iter().filter(|(names, _, _)| of.is_empty() || names.contains(&of));
    let line = |(names, takes, does): &Row| format!("{} {takes} -- {does}\n", names.join("|"));
    wanted.map(line).collect::<String>() + if of == "info" { show::HELP } else { "" }
}

/// What changes the run.
fn steer(name: &str, control: &mut Control, target: &mut dyn Target) -> Result<String, String> {
    match name {
        "stop" => control.pause(true),
        "cont" => control.go_on()?,
        "quit" => control.quit = true,
        "system_reset" => control.reset(target)?,
        "system_powerdown" => control.power_down(target),
        _ => target.input(Input::Nmi),
    }
    Ok(String::new())
}

/// Presses keys in their order and releases them, the last one first.
pub(super) fn press(text: &str, target: &mut dyn Target) -> Result<String, String> {
    let keys = keys::chord(text).map_err(|key| format!("unknown key: '{key}'"))?;
    for &key in &keys {
        target.input(Input::Key { key, down: true });
    }
    for &key in keys.iter().rev() {
        target.input(Input::Key { key, down: false });
    }
    Ok(String::new())
}

fn choose(text: &str, processor: &mut usize, target: &mut dyn Target) -> Result<String, String> {
    let count = target.machine().processors().count();
    let index = text.parse().ok().filter(|index| *index < count);
    *processor = index.ok_or_else(|| format!("accepted is 0 to {}", count - 1))?;
    Ok(String::new())
}

/// A processor as the monitor shows one.
struct Shown<'a> {
    machine: &'a Machine,
    processor: usize,
}

impl Subject for Shown<'_> {
    fn register(&self, name: &str) -> Option<u64> {
        show::register(self.machine, self.processor, name)
    }

    fn memory(&self, address: u64, size: usize) -> Option<u64> {
        let mut bytes = [0; 8];
        let read = self.machine.peek_linear(self.processor, address, &mut bytes[..size]);
        (read == size).then(|| u64::from_le_bytes(bytes))
    }
}

/// What shows memory or values.
fn look(
    name: &str,
    text: &str,
    processor: usize,
    target: &mut dyn Target,
) -> Result<String, String> {
    let machine = target.machine();
    let (format, text) = memory::format(text)?;
    let (expression, rest) = Expression::read(text)?;
    let number = expression.value(&Shown { machine, processor })?;
    if !rest.is_empty() {
        return Err(format!("unexpected '{rest}'"));
    }
    Ok(match name {
        "x" => memory::dump(machine, Some(processor), format, number),
        "xp" => memory::dump(machine, None, format, number),
        "gva2gpa" => match machine.translation(processor, number) {
            Some(physical) => format!("gpa: {physical:#x}\n"),
            None => "Unmapped\n".into(),
        },
        _ => memory::print(format, number) + "\n",
    })
}

/// Snapshots, which are files.
fn state(
    name: &str,
    text: &str,
    control: &mut Control,
    target: &mut dyn Target,
) -> Result<String, String> {
    if text.is_empty() {
        return Err("accepted is the name of a file".into());
    }
    let path = PathBuf::from(text);
    if name == "savevm" {
        target.save(&path)?;
        control.saved.push(text.to_owned());
    } else {
        if let Some(why) = target.is_kept() {
            return Err(format!("no other state: {why}"));
        }
        target.load(&path)?;
    }
    Ok(String::new())
}
