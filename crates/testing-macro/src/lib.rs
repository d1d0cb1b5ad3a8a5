//! The `#[test]` of `plimsoll-testing`: registers a function with that crate's harness.

use proc_macro::{Delimiter, TokenStream, TokenTree};

/// Registers a test, as the built-in attribute of this name does: any `fn name()`.
///
/// What else the built-in one knows (`#[ignore]`, `#[should_panic]`) does not compile here: a test says in its body
/// what it lacks.
#[proc_macro_attribute]
pub fn test(_: TokenStream, item: TokenStream) -> TokenStream {
    let mut tokens = item.clone().into_iter();
    let is_fn = |token: TokenTree| matches!(token, TokenTree::Ident(it) if it.to_string() == "fn");
    let found = tokens.by_ref().any(is_fn);
    let Some(TokenTree::Ident(name)) = tokens.next().filter(|_| found) else {
        return error("`#[test]` stands on a function");
    };
    // An attribute is `#` and a group, and its first word is its name.
    let unknown = item.clone().into_iter().any(|token| match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
            let first = group.stream().into_iter().next().map(|word| word.to_string());
            matches!(first.as_deref(), Some("ignore" | "should_panic"))
        }
        _ => false,
    });
    if unknown {
        return error(
            "a test of this harness says in its body why it is ignored: `plimsoll_testing::ignored`",
        );
    }
    let name = name.to_string();
    let registered: TokenStream = format!(
        "::plimsoll_testing::register! {{ ::plimsoll_testing::Test {{ \
             name: ::core::concat!(::core::module_path!(), \"::{name}\"), body: {name} }} }}"
    )
    .parse()
    .unwrap_or_else(|_| error("the name of this test cannot be registered"));
    [item, registered].into_iter().collect()
}

fn error(message: &str) -> TokenStream {
    format!("::core::compile_error!({message:?});").parse().unwrap_or_default()
}
