//! Plimsoll's shim in rustc's place: see the crate `plimsoll-shim`.

fn main() -> std::process::ExitCode {
    plimsoll_shim::main()
}
