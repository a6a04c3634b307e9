//! The rules of files for trace viewers: Chrome's "Trace Event Format", as far as events of VM exits use it.

use serde_json::Value;
use std::collections::BTreeMap;

/// How many slices each track has, by the names of its process and thread. `Err`: what is against the rules.
pub(crate) fn slices(file: &Value) -> Result<BTreeMap<(String, String), u64>, String> {
    let mut tracks = Tracks::default();
    for (n, event) in file.as_array().ok_or("the file is no array")?.iter().enumerate() {
        tracks.take(event).map_err(|why| format!("event {n}, {event}: {why}"))?;
    }
    tracks.count()
}

#[derive(Default)]
struct Tracks {
    processes: BTreeMap<u64, String>,
    threads: BTreeMap<(u64, u64), String>,
    slices: BTreeMap<(u64, u64), Vec<(f64, f64)>>,
}

impl Tracks {
    fn take(&mut self, event: &Value) -> Result<(), String> {
        let number = |name: &str| event[name].as_u64().ok_or(format!("{name} is no number"));
        let text = |value: &Value| value.as_str().map(str::to_owned).ok_or("no text".to_owned());
        let ids = (number("pid")?, number("tid")?);
        if !event["args"].is_object() {
            return Err("args is no object".into());
        }
        match (text(&event["ph"])?.as_str(), text(&event["name"])?.as_str()) {
            ("M", "process_name") => {
                let name = text(&event["args"]["name"])?;
                match self.processes.insert(ids.0, name.clone()) {
                    Some(other) if other != name => Err(format!("it was {other}")),
                    _ => Ok(()),
                }
            }
            ("M", "thread_name") => {
                let name = text(&event["args"]["name"])?;
                self.threads
                    .insert(ids, name)
                    .map_or(Ok(()), |other| Err(format!("it was {other}")))
            }
            ("X", _) => {
                text(&event["cat"])?;
                let time = |name: &str| {
                    let time = event[name].as_f64().filter(|time| *time >= 0.0);
                    time.ok_or(format!("{name} is no time"))
                };
                self.slices.entry(ids).or_default().push((time("ts")?, time("dur")?));
                Ok(())
            }
            (kind, name) => Err(format!("{kind} {name} is none of the events")),
        }
    }

    /// On each track, which has its names, no slice begins before the one before has ended.
    fn count(self) -> Result<BTreeMap<(String, String), u64>, String> {
        let mut counts = BTreeMap::new();
        for ((pid, tid), slices) in &self.slices {
            let process = self.processes.get(pid).ok_or(format!("process {pid} has no name"))?;
            let thread = self
                .threads
                .get(&(*pid, *tid))
                .ok_or(format!("thread {tid} of {process} has no name"))?;
            // Microseconds as binary fractions.
            if let Some(two) = slices.windows(2).find(|two| two[0].0 + two[0].1 > two[1].0 + 1e-3) {
                return Err(format!("{process}, {thread}: {two:?} overlap"));
            }
            counts.insert((process.clone(), thread.clone()), slices.len() as u64);
        }
        Ok(counts)
    }
}
