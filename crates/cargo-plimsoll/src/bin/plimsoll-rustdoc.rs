//! Plimsoll's shim in rustdoc's place: see the crate `plimsoll-shim`.

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return plimsoll_shim::main();
    #[cfg(not(target_os = "linux"))]
    cargo_plimsoll::shim(Some("rustdoc"))
}
