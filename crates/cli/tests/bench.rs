//! `gup bench`: rows by name, in three forms; figures are not looked at, since machines differ.

use std::process::{Command, Output};

fn gup(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gup")).args(args).output().expect("gup runs")
}

fn answer(args: &[&str]) -> String {
    let output = gup(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_object_has_the_row_asked_for_with_every_field() {
    let text = answer(&["bench", "--quick", "--json", "--rows", "pin-fast-4k-1m-one,memory"]);
    let object: serde_json::Value = serde_json::from_str(&text).expect("one object");
    assert_eq!(object["schema"], "gup.bench/1");
    let rows = object["rows"].as_array().expect("rows");
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, ["pin-fast-4k-1m-one", "memory-frame", "memory-vma"]);
    let fields =
        ["unit", "what", "against", "asked", "aims", "missed", "engine", "floor", "kernel"];
    for field in fields.into_iter().chain(["engine_over_floor", "kernel_over_engine"]) {
        assert!(rows.iter().all(|row| row.get(field).is_some()), "{field}");
    }
    let ratio = rows[0]["engine"].as_f64().zip(rows[0]["floor"].as_f64()).map(|(a, b)| a / b);
    assert_eq!(rows[0]["engine_over_floor"].as_f64(), ratio);
    assert!(rows[1]["floor"].is_null() && rows[1]["missed"] == serde_json::json!([]));
}

#[test]
fn a_table_for_a_terminal_and_one_for_a_document_have_the_same_rows() {
    let table = answer(&["bench", "--quick", "--rows", "memory"]);
    let document = answer(&["bench", "--quick", "--rows", "memory", "--markdown"]);
    for name in ["memory-frame", "memory-vma"] {
        assert!(table.contains(name) && document.contains(&format!("| `{name}` |")), "{document}");
    }
}

#[test]
fn a_row_that_there_is_not_is_bad_usage_and_the_names_are_told() {
    let output = gup(&["bench", "--rows", "gup-quick"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("gup-quick") && said.contains("fork-present-4k"), "{said}");
}
