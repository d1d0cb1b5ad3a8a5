//! A derive that gives a type its name as a constant.

use quote::quote;

/// `NAME`, the type's own name.
#[proc_macro_derive(Named)]
pub fn named(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    let (ident, name) = (&input.ident, input.ident.to_string());
    quote! { impl #ident { const NAME: &str = #name; } }.into()
}
