//! Whether a compiler is a 32-bit program, which can hold 2 to 4 GiB however much the machine has.
//!
//! What it compiles for says nothing: targets are 32-bit wherever somebody cross-compiles. Only its toolchain's name, its
//! own words, its platform and what people say count.

/// The compiler's triple, or its platform, where a line tells of a 32-bit one.
pub(crate) fn narrow(line: &str) -> Option<String> {
    const PLATFORMS: &[&str] = &["linux/arm/v7", "linux/arm/v6", "linux/386"];
    const ARCHITECTURES: &[&str] = &[
        "i686",
        "i586",
        "i386-",
        "armv7",
        "armv6",
        "arm-unknown",
        "mipsel-",
        "mips-",
        "powerpc-unknown",
    ];
    const BEFORE: &[&str] =
        &["stable-", "beta-", "nightly-", "host: ", "triple is ", "Linux ", " on "];
    if let Some(platform) = PLATFORMS.iter().find(|platform| line.contains(**platform)) {
        return Some((*platform).to_owned());
    }
    for architecture in ARCHITECTURES {
        for (at, _) in line.match_indices(architecture) {
            let (before, rest) = line.split_at(at);
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
                .unwrap_or(rest.len());
            let (triple, behind) = rest.split_at(end);
            // `1.84.0-i686-pc-windows-msvc`.
            let version = before
                .strip_suffix('-')
                .is_some_and(|toolchain| toolchain.ends_with(|c: char| c.is_ascii_digit()));
            // What `uname -m` answers; a compiler's own build.
            let alone = before.is_empty() && behind.is_empty();
            let stage = behind.starts_with("/stage");
            if version || alone || stage || BEFORE.iter().any(|words| before.ends_with(words)) {
                return Some(triple.to_owned());
            }
        }
    }
    said(line).then(|| "32-bit program".to_owned())
}

/// Whether somebody says it of the machine or the toolchain.
fn said(line: &str) -> bool {
    const OF: &[&str] = &[
        "Windows",
        "Debian",
        "Ubuntu",
        "Raspb",
        "system",
        "laptop",
        "machine",
        "toolchain",
        "rustc",
        "compiler",
    ];
    line.contains("32-bit") && !line.contains("64-bit") && OF.iter().any(|word| line.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toolchain_s_name_counts_and_a_target_s_does_not() {
        for (line, triple) in [
            ("  stable-i686-pc-windows-msvc (default)", "i686-pc-windows-msvc"),
            (
                "/rustup/toolchains/1.84.0-armv7-unknown-linux-gnueabihf/bin",
                "armv7-unknown-linux-gnueabihf",
            ),
            ("note: rustc 1.90.0 running on i686-unknown-linux-gnu", "i686-unknown-linux-gnu"),
            ("host: arm-unknown-linux-gnueabihf", "arm-unknown-linux-gnueabihf"),
            (
                "sysroot: \"/b/armv7-unknown-linux-gnueabihf/stage0-sysroot\"",
                "armv7-unknown-linux-gnueabihf",
            ),
            ("armv7l", "armv7l"),
            ("#8 [linux/arm/v7 3/5] RUN cargo build", "linux/arm/v7"),
            ("It is a laptop with a 32-bit Windows.", "32-bit program"),
        ] {
            assert_eq!(narrow(line).as_deref(), Some(triple), "{line}");
        }
        for line in [
            "rustc --target i686-pc-windows-msvc",
            "/home/me/app/target/armv7-unknown-linux-gnueabihf/release/deps",
            "info: downloading component 'rust-std' for 'i686-unknown-linux-gnu'",
            "   Compiling i686-tools v0.1.0",
            "a 32-bit integer",
            "stable-x86_64-unknown-linux-gnu",
        ] {
            assert_eq!(narrow(line), None, "{line}");
        }
    }
}
