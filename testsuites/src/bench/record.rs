//! The figures of record: `benches/record.toml`, and what has moved since.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is worth a line.
const MOVED: f64 = 0.03;

/// Figures by table and name.
pub type Figures = BTreeMap<String, BTreeMap<String, f64>>;

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/record.toml")
}

/// The figures on file and the commit they are of.
pub fn read() -> Result<(String, Figures)> {
    let text = fs::read_to_string(path()).context("there are no figures of record yet")?;
    let mut table: toml::Table = text.parse()?;
    let commit = table.remove("commit").and_then(|c| Some(c.as_str()?.to_owned()));
    let figures = toml::Value::Table(table).try_into().context("record.toml")?;
    Ok((commit.unwrap_or_default(), figures))
}

/// Writes `figures` over those on file; tables that were not measured stay.
pub fn write(figures: &Figures) -> Result<()> {
    let mut all = read().map(|(_, figures)| figures).unwrap_or_default();
    for (table, rows) in figures {
        all.entry(table.clone()).or_default().extend(rows.clone());
    }
    let mut text = String::from(
        "# Host instructions by callgrind: per guest instruction (kernels), per event (system);\n\
         # nested: host instructions as a domU over bare. Written by `bench --write`.\n",
    );
    writeln!(text, "commit = \"{}\"", commit())?;
    for (table, rows) in all {
        writeln!(text, "\n[{table}]")?;
        for (name, value) in rows {
            writeln!(text, "{name} = {value:.3}")?;
        }
    }
    Ok(fs::write(path(), text)?)
}

/// The commit that is checked out, with a sign where files differ from the commit.
fn commit() -> String {
    let git = Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]).output();
    git.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default()
}

/// A line for each figure that has moved by more than 3 %.
pub fn moved(old: &Figures, new: &Figures) -> Vec<String> {
    let mut lines = Vec::new();
    for (table, rows) in new {
        for (name, value) in rows {
            let Some(before) = old.get(table).and_then(|rows| rows.get(name)) else { continue };
            let change = value / before - 1.0;
            if change.abs() > MOVED {
                let percent = change * 100.0;
                lines.push(format!("{table} {name}: {before:.2} to {value:.2} ({percent:+.1} %)"));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moved() {
        let figures = |a: f64, b: f64| {
            let rows = [("a".to_owned(), a), ("b".to_owned(), b)];
            Figures::from([("kernels".to_owned(), rows.into())])
        };
        assert!(moved(&figures(10.0, 5.0), &figures(10.2, 4.9)).is_empty());
        let lines = moved(&figures(10.0, 5.0), &figures(10.4, 4.0));
        assert_eq!(
            lines,
            ["kernels a: 10.00 to 10.40 (+4.0 %)", "kernels b: 5.00 to 4.00 (-20.0 %)"]
        );
        assert!(moved(&Figures::new(), &figures(1.0, 1.0)).is_empty());
    }
}
