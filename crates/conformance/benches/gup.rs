//! `cargo bench`: the rows of `gup bench`, as a table; those that the arguments name.

use gup_conformance::bench::{Effort, run};

fn main() {
    let effort =
        if std::env::args().any(|arg| arg == "--test") { Effort::Quick } else { Effort::Full };
    let rows: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    match run(effort, &rows, |name| eprintln!("measuring {name}")) {
        Ok(report) => print!("{report}"),
        Err(error) => {
            eprintln!("gup bench: {error}");
            std::process::exit(3);
        }
    }
}
