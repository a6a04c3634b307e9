//! Tables of figures, printed.

use super::{Item, mean};
use std::collections::BTreeMap;

/// Columns of figures by item.
#[derive(Default)]
pub struct Table(Vec<(&'static str, BTreeMap<String, f64>)>);

impl Table {
    /// A column, empty if there is none of this title.
    pub fn column(&self, title: &str) -> BTreeMap<String, f64> {
        self.0.iter().find(|(t, _)| *t == title).map(|(_, c)| c.clone()).unwrap_or_default()
    }

    /// Sets a figure; a new title adds a column.
    pub fn set(&mut self, title: &'static str, name: &str, value: f64) {
        let at = self.0.iter().position(|(t, _)| *t == title).unwrap_or_else(|| {
            self.0.push((title, BTreeMap::new()));
            self.0.len() - 1
        });
        self.0[at].1.insert(name.into(), value);
    }

    /// The table with the geometric means of the columns; `left_out` names a figure (column,
    /// item) that is not in them.
    pub fn text(&self, items: &[Item], left_out: fn(&str, &str) -> bool) -> String {
        if items.is_empty() {
            return String::new();
        }
        let row = |first: &str, cells: String| format!("{first:<11}{cells}\n");
        let mut text = row("", self.0.iter().map(|(title, _)| format!("{title:>12}")).collect());
        for Item { name, .. } in items {
            let cell = |(_, column): &(_, BTreeMap<String, f64>)| match column.get(*name) {
                Some(value) => format!("{value:>12.2}"),
                None => format!("{:>12}", "-"),
            };
            text += &row(name, self.0.iter().map(cell).collect());
        }
        let mean = |(title, column): &(&str, BTreeMap<String, f64>)| {
            let values = column.iter().filter(|(name, _)| !left_out(title, name)).map(|(_, v)| *v);
            format!("{:>12.2}", mean(&values.collect::<Vec<_>>()))
        };
        text + &row("mean", self.0.iter().map(mean).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed() {
        let mut table = Table::default();
        for (title, name, value) in [("x", "a", 2.0), ("x", "b", 8.0), ("y", "b", 1.0)] {
            table.set(title, name, value);
        }
        let items = ["a", "b"].map(|name| Item { name, unit: 1, long: 1 });
        let expect = "                      x           y\n\
                      a                  2.00           -\n\
                      b                  8.00        1.00\n\
                      mean               4.00        0.00\n";
        assert_eq!(table.text(&items, |column, name| (column, name) == ("y", "b")), expect);
    }
}
