//! Writes a table that the library takes in.

use std::fmt::Write as _;
use std::path::PathBuf;

fn main() {
    let mut table = String::from("[");
    for number in 0..256_u32 {
        write!(table, "{}, ", number * number).expect("a string takes everything");
    }
    table.push(']');
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR"));
    std::fs::write(out.join("squares.rs"), table).expect("OUT_DIR can be written to");
    println!("cargo::rerun-if-changed=build.rs");
}
