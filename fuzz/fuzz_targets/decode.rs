//! Whatever a peer sends: no byte makes the decoder panic, however it is cut into pieces, and what is
//! understood once is understood the same way when it is said again.
//!
//! The same is a property test of `plimsoll-proto`, which runs with all others.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_proto::{Enabled, Governing, LineBuffer, MAX_LINE, ToDriver, ToGovernor, ToShim};

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let mut buffer = LineBuffer::default();
    for piece in stream.chunks(usize::from(*cut).max(1)) {
        if buffer.extend(piece).is_err() {
            assert!(stream.len() > MAX_LINE, "a short stream was refused for its length");
            return;
        }
        while let Some(line) = buffer.next_line() {
            read(&line);
        }
    }
});

fn read(line: &[u8]) {
    if let Ok(message) = ToGovernor::decode(line) {
        let again = message.encode();
        assert_eq!(ToGovernor::decode(&again[..again.len() - 1]), Ok(message));
    }
    if let Ok(message) = ToShim::decode(line) {
        let again = message.encode();
        assert_eq!(ToShim::decode(&again[..again.len() - 1]), Ok(message));
    }
    if let Ok(message) = ToDriver::decode(line) {
        let again = message.encode();
        assert_eq!(ToDriver::decode(&again[..again.len() - 1]), Ok(message));
    }
    // What lies in files that others may have written to.
    let _ = Governing::decode(line);
    let _ = Enabled::decode(line);
}
