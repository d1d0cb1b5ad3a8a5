//! The programs from outside.

use std::process::Command;

#[test]
fn each_program_says_its_name() {
    for (name, program) in [
        ("count", env!("CARGO_BIN_EXE_count")),
        ("find", env!("CARGO_BIN_EXE_find")),
        ("format", env!("CARGO_BIN_EXE_format")),
        ("show", env!("CARGO_BIN_EXE_show")),
    ] {
        let said = Command::new(program).output().unwrap();
        assert!(said.stdout.starts_with(name.as_bytes()), "{said:?}");
    }
}
