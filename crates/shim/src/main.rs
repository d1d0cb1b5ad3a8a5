//! The shim as it is, for this crate's tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    plimsoll_shim::main()
}
