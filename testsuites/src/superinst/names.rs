//! Operations as the tables of superinstructions write them.

use cpu::superinst::select::Explained;
use std::collections::BTreeMap;

/// The texts of operations, each of which gets a number.
#[derive(Default)]
pub struct Names {
    numbers: BTreeMap<String, u32>,
    /// The texts of the operations, by number.
    texts: Vec<String>,
}

impl Names {
    /// The parts of a piece of a block that a sequence can have, by number.
    pub fn runs(&mut self, piece: &[Explained]) -> Vec<Vec<u32>> {
        let mut runs = vec![Vec::new()];
        for operation in piece {
            let number = operation.text.as_ref().map(|text| self.number(text));
            match (number, runs.last_mut()) {
                (Some(number), Some(run)) => run.push(number),
                _ => runs.push(Vec::new()),
            }
        }
        runs.retain(|run| run.len() > 1);
        runs
    }

    /// The sequence of these operations.
    pub fn sequence(&self, ops: &[u32]) -> String {
        let texts: Vec<&str> = ops.iter().map(|n| self.texts[*n as usize].as_str()).collect();
        texts.join(" ; ")
    }

    fn number(&mut self, text: &str) -> u32 {
        let fresh = self.texts.len() as u32;
        *self.numbers.entry(text.to_owned()).or_insert_with_key(|text| {
            self.texts.push(text.clone());
            fresh
        })
    }
}
