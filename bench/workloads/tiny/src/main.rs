//! A few real crates and nothing else: the benchmark's own way through, in a minute.

use quote::ToTokens;

#[derive(serde::Serialize)]
struct Count {
    tokens: usize,
    items: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file: syn::File = syn::parse_str("fn one() {} struct Two { three: u8 }")?;
    let tokens = file.to_token_stream().into_iter().count();
    let items = file.items.len();
    println!("{}", serde_json::to_string(&Count { tokens, items })?);
    Ok(())
}
