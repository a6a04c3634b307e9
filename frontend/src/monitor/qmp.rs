//! A program's commands: the QEMU Machine Protocol.

use super::{Control, Event, Target, hmp};
use crate::status::Status;
use platform::machine::Input;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of a command.
const MOST: usize = 64 << 10;

/// The commands, for `query-commands`.
const COMMANDS: [&str; 17] = [
    "cont",
    "human-monitor-command",
    "inject-nmi",
    "qmp_capabilities",
    "query-commands",
    "query-cpus-fast",
    "query-kvm",
    "query-name",
    "query-status",
    "query-version",
    "quit",
    "screendump",
    "send-key",
    "snapshot-save",
    "stop",
    "system_powerdown",
    "system_reset",
];

/// A program at a monitor.
#[derive(Default)]
pub(super) struct Session {
    /// What has come of a command so far.
    bytes: Vec<u8>,
    /// Capabilities are negotiated: commands are taken, and events told.
    ready: bool,
}

/// Why a command fails.
type Failed = (&'static str, String);

fn generic(why: impl Into<String>) -> Failed {
    ("GenericError", why.into())
}

fn version() -> Value {
    let package = format!("Strata {}", env!("CARGO_PKG_VERSION"));
    json!({"qemu": {"major": 8, "minor": 2, "micro": 0}, "package": package})
}

impl Session {
    /// What a program reads first.
    pub(super) fn greet(&mut self) -> String {
        *self = Self::default();
        line(&json!({"QMP": {"version": version(), "capabilities": []}}))
    }

    /// The answers to what `bytes` complete.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        control: &mut Control,
        target: &mut dyn Target,
    ) -> String {
        self.bytes.extend(bytes);
        let mut answers = String::new();
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.bytes).into_iter::<Value>();
            let (value, used) = (values.next(), values.byte_offset());
            match value {
                None => {
                    self.bytes.clear();
                    return answers;
                }
                Some(Ok(value)) => {
                    self.bytes.drain(..used);
                    answers += &line(&self.answer(&value, control, target));
                }
                Some(Err(error)) if error.is_eof() && self.bytes.len() <= MOST => return answers,
                Some(Err(error)) => {
                    self.bytes.clear();
                    let why = if error.is_eof() { "too long".into() } else { error.to_string() };
                    return answers
                        + &line(&failed(&generic(format!("JSON parse error: {why}")), None));
                }
            }
        }
    }

    fn answer(&mut self, command: &Value, control: &mut Control, target: &mut dyn Target) -> Value {
        let id = command.get("id");
        let Some(name) = command.get("execute").and_then(Value::as_str) else {
            return failed(&generic("QMP input lacks member 'execute'"), id);
        };
        let arguments = &command["arguments"];
        let done = match (self.ready, name) {
            (_, "qmp_capabilities") => {
                self.ready = true;
                Ok(json!({}))
            }
            (false, _) => Err((
                "CommandNotFound",
                "Expecting capabilities negotiation with 'qmp_capabilities'".to_owned(),
            )),
            (true, _) => execute(name, arguments, control, target),
        };
        match (done, id) {
            (Ok(value), None) => json!({"return": value}),
            (Ok(value), Some(id)) => json!({"return": value, "id": id}),
            (Err(why), id) => failed(&why, id),
        }
    }

    /// An event's line, for a program that listens.
    pub(super) fn event(&self, event: Event) -> String {
        if !self.ready {
            return String::new();
        }
        let (name, data) = match event {
            Event::Stop => ("STOP", None),
            Event::Resume => ("RESUME", None),
            Event::PowerDown => ("POWERDOWN", None),
            Event::Reset { guest } => {
                let reason = if guest { "guest-reset" } else { "host-qmp-system-reset" };
                ("RESET", Some(json!({"guest": guest, "reason": reason})))
            }
            Event::Shutdown(status) => {
                let (guest, reason) = shutdown(status);
                let data = Some(json!({"guest": guest, "reason": reason}));
                let panicked = json!({"action": "shutdown"});
                if status == Status::GuestPanicked {
                    return event_line("GUEST_PANICKED", Some(panicked))
                        + &event_line("SHUTDOWN", data);
                }
                ("SHUTDOWN", data)
            }
        };
        event_line(name, data)
    }
}

/// Why the run ends: by the guest, and QEMU's word.
fn shutdown(status: Status) -> (bool, &'static str) {
    match status {
        Status::GuestPanicked => (true, "guest-panic"),
        Status::Closed => (false, "host-qmp-quit"),
        Status::Interrupted(_) | Status::Quit | Status::Limit => (false, "host-signal"),
        Status::Emulator => (false, "host-error"),
        Status::TripleFault => (true, "guest-reset"),
        _ => (true, "guest-shutdown"),
    }
}

fn event_line(name: &str, data: Option<Value>) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let stamp = json!({"seconds": now.as_secs(), "microseconds": now.subsec_micros()});
    let mut event = json!({"timestamp": stamp, "event": name});
    if let Some(data) = data {
        event["data"] = data;
    }
    line(&event)
}

fn line(value: &Value) -> String {
    format!("{value}\r\n")
}

fn failed((class, why): &Failed, id: Option<&Value>) -> Value {
    let mut value = json!({"error": {"class": class, "desc": why}});
    if let Some(id) = id {
        value["id"] = id.clone();
    }
    value
}

fn execute(
    name: &str,
    arguments: &Value,
    control: &mut Control,
    target: &mut dyn Target,
) -> Result<Value, Failed> {
    match name {
        "stop" => control.pause(true),
        "cont" => control.go_on().map_err(generic)?,
        "quit" => control.quit = true,
        "system_reset" => control.reset(target).map_err(generic)?,
        "system_powerdown" => control.power_down(target),
        "inject-nmi" => target.input(Input::Nmi),
        "human-monitor-command" => {
            let line = arguments["command-line"].as_str();
            let line = line.ok_or_else(|| generic("Parameter 'command-line' is missing"))?;
            let mut processor = arguments["cpu-index"].as_u64().unwrap_or(0) as usize;
            let answer = hmp::obey(line, &mut processor, control, target);
            return Ok(answer.replace('\n', "\r\n").into());
        }
        "query-status" => {
            return Ok(json!({"status": control.status(), "running": !control.paused}));
        }
        "query-cpus-fast" => return Ok(cpus(target)),
        "query-version" => return Ok(version()),
        "query-kvm" => return Ok(json!({"enabled": false, "present": false})),
        "query-commands" => {
            return Ok(COMMANDS.iter().map(|name| json!({"name": name})).collect());
        }
        "query-name" => {}
        "send-key" => {
            let keys = chord(&arguments["keys"]).ok_or_else(|| {
                generic("Parameter 'keys' expects [{\"type\": \"qcode\", \"data\": \"a\"}, ...]")
            })?;
            hmp::press(&keys, target).map_err(generic)?;
        }
        "screendump" => return Err(generic("there is no display")),
        "snapshot-save" => {
            let file = arguments["tag"].as_str();
            let file = file.ok_or_else(|| generic("Parameter 'tag' is missing"))?;
            target.save(file.as_ref()).map_err(generic)?;
        }
        _ => {
            let why = format!("The command {name} has not been found");
            return Err(("CommandNotFound", why));
        }
    }
    Ok(json!({}))
}

/// `[{"type": "qcode", "data": "ctrl"}, {"type": "number", "data": 30}]` in the form of `sendkey`.
fn chord(keys: &Value) -> Option<String> {
    let key = |key: &Value| match key["type"].as_str()? {
        "qcode" => key["data"].as_str().map(str::to_owned),
        "number" => Some(format!("{:#x}", key["data"].as_u64()?)),
        _ => None,
    };
    let keys: Option<Vec<String>> = keys.as_array()?.iter().map(key).collect();
    keys.map(|keys| keys.join("-"))
}

fn cpus(target: &mut dyn Target) -> Value {
    let count = target.machine().processors().count();
    let cpu = |n: usize| {
        json!({
            "cpu-index": n,
            "qom-path": format!("/machine/unattached/device[{n}]"),
            "thread-id": std::process::id(),
            "props": {"core-id": n, "thread-id": 0, "socket-id": 0},
            "target": "x86_64",
        })
    };
    (0..count).map(cpu).collect()
}
