//! Every row captured from silicon, replayed on ours: on any host.

use testsuites::oracle::vectors::{replay, rows};

#[test]
fn rows_of_silicon() {
    let rows = rows().expect("the rows");
    assert!(rows.len() > 1000, "only {} rows", rows.len());
    let wrong = replay(&rows);
    let some = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {} rows differ:\n{some}", wrong.len(), rows.len());
}
