//! Plimsoll's shim before tests: see the crate `plimsoll-shim`.

fn main() -> std::process::ExitCode {
    plimsoll_shim::main()
}
