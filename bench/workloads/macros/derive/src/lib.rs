//! A derive that gives a type its name as a constant.

use proc_macro::{TokenStream, TokenTree};

/// `NAME`, the type's own name.
#[proc_macro_derive(Named)]
pub fn named(input: TokenStream) -> TokenStream {
    let mut words = input.into_iter().skip_while(|it| {
        !matches!(it, TokenTree::Ident(word) if ["enum", "struct"].contains(&&*word.to_string()))
    });
    let name = words.nth(1).map(|it| it.to_string()).unwrap_or_default();
    let text = format!("impl {name} {{ const NAME: &str = \"{name}\"; }}");
    text.parse().unwrap_or_default()
}
