//! `cargo plimsoll`: see the library of the same name.

fn main() -> std::process::ExitCode {
    cargo_plimsoll::main()
}
