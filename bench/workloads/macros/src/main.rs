//! Procedural macros and build scripts, and hardly anything else.

use workload_macros_derive::Named;

const SQUARES: [u32; 256] = include!(concat!(env!("OUT_DIR"), "/squares.rs"));

#[derive(Debug, thiserror::Error, Named)]
enum Failure {
    #[error("{0} is not in the table")]
    Absent(u32),
}

fn root(square: u32) -> Result<usize, Failure> {
    SQUARES.iter().position(|it| *it == square).ok_or(Failure::Absent(square))
}

fn main() -> anyhow::Result<()> {
    println!("{} {}", Failure::NAME, itoa::Buffer::new().format(root(144)?));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_table_is_found() {
        assert_eq!(root(144).ok(), Some(12));
        assert_eq!(root(145).unwrap_err().to_string(), "145 is not in the table");
    }
}
