//! The recipe for low memory that people pass on to each other, as variables of Cargo's. Its `-j1` is not in it.

/// The recipe for this profile. No LTO without optimisation, where the guide has it so.
#[must_use]
pub fn recipe(profile: &str) -> Vec<(String, String)> {
    let name = profile.to_uppercase().replace('-', "_");
    let lto = if profile == "dev" { "off" } else { "thin" };
    [
        ("DEBUG", "0"),
        ("CODEGEN_UNITS", "256"),
        ("LTO", lto),
        ("INCREMENTAL", "true"),
        ("OVERFLOW_CHECKS", "false"),
    ]
    .map(|(key, value)| (format!("CARGO_PROFILE_{name}_{key}"), value.to_owned()))
    .to_vec()
}
