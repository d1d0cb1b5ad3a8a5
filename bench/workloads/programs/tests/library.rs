//! The library from outside.

#[test]
fn lines_are_found() {
    assert_eq!(
        workload_programs::lines("one\ntwo\nonce", "on").collect::<Vec<_>>(),
        ["one", "once"]
    );
}
