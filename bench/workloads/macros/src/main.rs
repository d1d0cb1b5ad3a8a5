//! Procedural macros and build scripts, and hardly anything else.

use workload_macros_derive::Named;

const SQUARES: [u32; 256] = include!(concat!(env!("OUT_DIR"), "/squares.rs"));

#[derive(Named)]
struct Root(usize);

paste::paste! {
    fn [<root _ of>](square: u32) -> anyhow::Result<Root> {
        let place = SQUARES.iter().position(|it| *it == square);
        place.map(Root).ok_or_else(|| anyhow::anyhow!("{square} is not in the table"))
    }
}

#[rustversion::since(1.0)]
const HEADING: &str = indoc::indoc! {"
    name  root
    ----  ----
"};

fn main() -> anyhow::Result<()> {
    println!("{HEADING}{}  {}", Root::NAME, root_of(144)?.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_table_is_found() {
        assert_eq!(root_of(144).map(|root| root.0).ok(), Some(12));
        assert_eq!(
            root_of(145).map(|root| root.0).unwrap_err().to_string(),
            "145 is not in the table"
        );
    }
}
