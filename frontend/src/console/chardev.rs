//! Where a serial port may lead: QEMU's `-serial` and `-chardev`.

use crate::values::{self, Parsed};
use std::path::PathBuf;

/// What is on the other side of a serial port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chardev {
    /// Standard input and output. With signals Ctrl-C ends the run, also in a terminal.
    Stdio { signals: bool },
    /// Output alone, on standard output.
    Stdout,
    /// A file that takes what is sent.
    File { path: PathBuf, append: bool },
    /// Named pipes, `PATH.in` and `PATH.out`, or `PATH` for both ways.
    Pipe(PathBuf),
    /// A connection to another process.
    Socket(Socket),
    /// A new pseudo-terminal.
    Pty,
    /// Nothing: output is thrown away.
    Null,
}

/// A connection to another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) address: Address,
    /// Others connect to the port.
    pub(crate) server: bool,
    /// The machine starts when somebody has connected.
    pub(crate) wait: bool,
}

/// Where a socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp { host: String, port: u16 },
}

/// A value of `-serial`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Serial {
    /// Described in place; with the keys behind Ctrl-A or without.
    To { device: Chardev, mux: bool },
    /// The `-chardev` of this name.
    Named(String),
}

/// A value of `-chardev`: a device with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) device: Chardev,
    pub(crate) mux: bool,
}

/// What a serial port is without a word about it: the terminal, with the keys behind Ctrl-A.
pub(crate) const TERMINAL: Serial =
    Serial::To { device: Chardev::Stdio { signals: false }, mux: true };

/// Where a port leads that is for nobody.
pub(crate) const NOWHERE: Serial = Serial::To { device: Chardev::Null, mux: false };

/// What `-serial` takes.
const ACCEPTED: &str = "accepted are stdio, mon:stdio, file:NAME, pipe:NAME, pty, null, none, \
     unix:PATH[,server=on][,wait=off], tcp:HOST:PORT[,server=on][,wait=off] and chardev:ID";

/// A value of `-serial`.
pub(crate) fn serial(text: &str) -> Parsed<Serial> {
    if let Some(id) = text.strip_prefix("chardev:") {
        return if id.is_empty() { Err(ACCEPTED.into()) } else { Ok(Serial::Named(id.into())) };
    }
    let (plain, mux) = text.strip_prefix("mon:").map_or((text, false), |plain| (plain, true));
    let device = device(plain, mux)?.ok_or(ACCEPTED)?;
    Ok(Serial::To { device, mux })
}

fn device(text: &str, mux: bool) -> Parsed<Option<Chardev>> {
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    Ok(match (kind, rest) {
        ("stdio", "") => Some(Chardev::Stdio { signals: !mux }),
        ("null" | "none", "") => Some(Chardev::Null),
        ("pty", "") => Some(Chardev::Pty),
        ("file", name) if !name.is_empty() => {
            Some(Chardev::File { path: name.into(), append: false })
        }
        ("pipe", name) if !name.is_empty() => Some(Chardev::Pipe(name.into())),
        ("unix" | "tcp", rest) => {
            let (place, options) = rest.split_once(',').unwrap_or((rest, ""));
            let mut socket = Socket { address: address(kind, place)?, server: false, wait: true };
            for (key, value) in switches(options)? {
                socket.set(&key, &value)?;
            }
            Some(Chardev::Socket(socket))
        }
        _ => None,
    })
}

/// The place after `unix:` or `tcp:`.
fn address(kind: &str, place: &str) -> Parsed<Address> {
    if kind == "unix" {
        let wrong = || "accepted is unix:PATH".to_owned();
        return (!place.is_empty()).then(|| Address::Unix(place.into())).ok_or_else(wrong);
    }
    let parts = place.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = parts.ok_or("accepted is tcp:HOST:PORT, the port a number below 65536")?;
    Ok(Address::Tcp { host: host.trim_matches(['[', ']']).to_owned(), port })
}

impl Socket {
    /// Sets one of the switches of sockets.
    fn set(&mut self, key: &str, value: &str) -> Parsed<()> {
        match key {
            "server" => self.server = on_off(key, value)?,
            "wait" => self.wait = on_off(key, value)?,
            // There is no delay to switch off.
            "delay" | "nodelay" | "ipv4" | "ipv6" => _ = on_off(key, value)?,
            "reconnect" => {}
            _ => return Err(format!("{key}={value}: accepted are server=on|off and wait=on|off")),
        }
        Ok(())
    }
}

fn on_off(key: &str, value: &str) -> Parsed<bool> {
    match value {
        "on" | "yes" | "true" | "y" => Ok(true),
        "off" | "no" | "false" | "n" => Ok(false),
        _ => Err(format!("{key}={value}: accepted are on and off")),
    }
}

/// Options, of which switches may be written without a value: `server,nowait` is `server=on,wait=off`.
fn switches(text: &str) -> Parsed<Vec<(String, String)>> {
    let whole = |part: String| match (part.contains('='), part.strip_prefix("no")) {
        (true, _) => part.replace(',', ",,"),
        (false, Some(off)) => format!("{off}=off"),
        (false, None) => format!("{part}=on"),
    };
    let parts = values::list(text).into_iter().filter(|part| !part.is_empty());
    values::key_values(&parts.map(whole).collect::<Vec<_>>().join(","))
}

/// What `-chardev` takes.
const CHARDEVS: &str = "accepted are stdio, file, pipe, pty, null and socket, with id=NAME";

/// A value of `-chardev`.
pub(crate) fn chardev(text: &str) -> Parsed<Named> {
    let (kind, rest) = text.split_once(',').ok_or(CHARDEVS)?;
    let mut options = Options::default();
    for (key, value) in switches(rest)? {
        options.set(key, value)?;
    }
    let Options { id, mux, signal, append, path, host, port, sockets } = options;
    let id = id.ok_or(CHARDEVS)?;
    let path = |what: &str| path.ok_or_else(|| format!("{what} needs path=NAME"));
    let device = match kind {
        "stdio" => Chardev::Stdio { signals: signal.unwrap_or(!mux) },
        "null" => Chardev::Null,
        "pty" | "serial" => Chardev::Pty,
        "file" => Chardev::File { path: path("file")?, append },
        "pipe" => Chardev::Pipe(path("pipe")?),
        "socket" => {
            let address = match port {
                Some(port) => Address::Tcp { host: host.unwrap_or_default(), port },
                None => Address::Unix(path("socket")?),
            };
            let mut socket = Socket { address, server: false, wait: true };
            for (key, value) in sockets {
                socket.set(&key, &value)?;
            }
            Chardev::Socket(socket)
        }
        _ => return Err(CHARDEVS.into()),
    };
    Ok(Named { id, device, mux })
}

/// The options of `-chardev`, of all kinds.
#[derive(Default)]
struct Options {
    id: Option<String>,
    mux: bool,
    signal: Option<bool>,
    append: bool,
    path: Option<PathBuf>,
    host: Option<String>,
    port: Option<u16>,
    /// Those that a socket looks at.
    sockets: Vec<(String, String)>,
}

impl Options {
    fn set(&mut self, key: String, value: String) -> Parsed<()> {
        match key.as_str() {
            "id" if !value.is_empty() => self.id = Some(value),
            "mux" => self.mux = on_off(&key, &value)?,
            "signal" => self.signal = Some(on_off(&key, &value)?),
            "append" => self.append = on_off(&key, &value)?,
            "path" => self.path = Some(value.into()),
            "host" => self.host = Some(value),
            "port" => {
                let wrong = |_| format!("port={value}: accepted is a number below 65536");
                self.port = Some(value.parse().map_err(wrong)?);
            }
            _ => self.sockets.push((key, value)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: std::fmt::Debug>(found: Parsed<T>, expect: &str) {
        let text = found.map_or_else(|e| e, |v| format!("{v:?}"));
        assert!(text.contains(expect), "{text} lacks {expect}");
    }

    #[test]
    fn serials() {
        check(serial("stdio"), "To { device: Stdio { signals: true }, mux: false }");
        check(serial("mon:stdio"), "To { device: Stdio { signals: false }, mux: true }");
        check(serial("null"), "Null");
        check(serial("none"), "Null");
        check(serial("pty"), "Pty");
        check(serial("file:a:b"), "File { path: \"a:b\", append: false }");
        check(serial("pipe:p"), "Pipe(\"p\")");
        check(
            serial("unix:/s,server=on,wait=off"),
            "Socket { address: Unix(\"/s\"), server: true, wait: false }",
        );
        check(serial("unix:/s,server,nowait"), "server: true, wait: false");
        check(
            serial("tcp::4444,server"),
            "Tcp { host: \"\", port: 4444 }, server: true, wait: true",
        );
        check(serial("tcp:[::1]:4"), "Tcp { host: \"::1\", port: 4 }, server: false");
        check(serial("chardev:c"), "Named(\"c\")");
        for text in ["", "file:", "pipe:", "telnet::4", "stdio:x", "chardev:", "mon:", "vc"] {
            check(serial(text), ACCEPTED);
        }
        check(serial("tcp:4444"), "accepted is tcp:HOST:PORT");
        check(serial("tcp:h:65536"), "a number below 65536");
        check(serial("unix:"), "accepted is unix:PATH");
        check(serial("unix:/s,server=maybe"), "server=maybe: accepted are on and off");
        check(serial("unix:/s,tls-creds=x"), "tls-creds=x: accepted are server=on|off");
    }

    #[test]
    fn chardevs() {
        check(
            chardev("stdio,id=a"),
            "Named { id: \"a\", device: Stdio { signals: true }, mux: false",
        );
        check(chardev("stdio,mux=on,id=a,signal=off"), "Stdio { signals: false }, mux: true");
        check(chardev("file,id=f,path=a,,b,append=on"), "File { path: \"a,b\", append: true }");
        check(
            chardev("socket,id=s,host=localhost,port=7,server=on,wait=off"),
            "Tcp { host: \"localhost\", port: 7 }, server: true, wait: false",
        );
        check(chardev("socket,id=s,path=/s,server"), "Unix(\"/s\"), server: true, wait: true");
        check(chardev("pipe,id=p,path=x"), "Pipe(\"x\")");
        check(chardev("pty,id=p"), "Pty");
        check(chardev("file,id=f"), "file needs path=NAME");
        check(chardev("socket,id=f,port=x"), "port=x: accepted is a number");
        for text in ["", "stdio", "null,", "vc,id=v", "null,id="] {
            check(chardev(text), "accepted are");
        }
    }
}
