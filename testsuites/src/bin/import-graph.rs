//! `import-graph`: prints the circles of imports of each crate, largest first.

#![expect(clippy::print_stdout, reason = "a command")]

use anyhow::Result;
use clap::Parser;
use std::path::PathBuf;
use testsuites::tidy::{CRATES, Circle, Tree, import_circles};

/// Prints which files import each other in a circle, and the names that make them do so.
#[derive(Parser)]
struct Arguments {
    /// Name of the only crate to look at
    #[arg(long)]
    only: Option<String>,
    /// The sizes alone
    #[arg(long)]
    sizes: bool,
    /// The root of the source
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/.."))]
    root: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let tree = Tree::read(&arguments.root)?;
    for (name, _) in CRATES {
        if arguments.only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let circles = import_circles(&tree, name);
        let sizes: Vec<String> = circles.iter().map(|c| c.files.len().to_string()).collect();
        println!(
            "{name}: circles of {} files",
            if sizes.is_empty() { "0".to_owned() } else { sizes.join(", ") }
        );
        if !arguments.sizes {
            circles.iter().for_each(print);
        }
    }
    Ok(())
}

/// One line for each edge of a circle, below the file that it leaves.
fn print(circle: &Circle) {
    println!("\n  a circle of {} files, {} edges", circle.files.len(), circle.edges.len());
    for file in &circle.files {
        println!("  {file}");
        for (_, to, names) in circle.edges.iter().filter(|(from, _, _)| from == file) {
            println!("    -> {to}: {}", names.join(", "));
        }
    }
    println!();
}
