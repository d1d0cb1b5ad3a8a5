//! Plimsoll's shim before tests: see the crate `plimsoll-shim`.

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return plimsoll_shim::main();
    #[cfg(not(target_os = "linux"))]
    cargo_plimsoll::shim(None)
}
