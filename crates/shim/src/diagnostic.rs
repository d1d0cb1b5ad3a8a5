//! What the shim itself has to say, in the form in which Cargo expects a compiler to speak.
//!
//! Only that a unit cannot be built is said here: it is the unit's own result. What concerns the build as a
//! whole is not, for Cargo would keep it as this crate's diagnostic and show it again and again.

use std::io::Write as _;

/// Prints `error: <text>` as a person reads it.
pub(crate) fn plain(text: &str) {
    print(&format!("error: {text}\n"));
}

/// Prints an error as rustc would: as JSON where that was asked for.
pub(crate) fn error(text: &str, json: bool) {
    if json {
        print(&as_json(text));
    } else {
        plain(text);
    }
}

fn print(text: &str) {
    // Where even our standard error is gone, nobody can be told.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// One diagnostic as in <https://doc.rust-lang.org/rustc/json.html>.
fn as_json(text: &str) -> String {
    let text = escaped(text);
    format!(
        "{{\"$message_type\":\"diagnostic\",\"message\":\"{text}\",\"code\":null,\"level\":\"error\",\
         \"spans\":[],\"children\":[],\"rendered\":\"error: {text}\\n\\n\"}}\n"
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_is_one_line_of_json() {
        assert_eq!(
            as_json("needs \"3\" GiB,\nhas 2\t"),
            "{\"$message_type\":\"diagnostic\",\"message\":\"needs \\\"3\\\" GiB,\\nhas 2\\u0009\",\
             \"code\":null,\"level\":\"error\",\"spans\":[],\"children\":[],\
             \"rendered\":\"error: needs \\\"3\\\" GiB,\\nhas 2\\u0009\\n\\n\"}\n"
        );
    }
}
