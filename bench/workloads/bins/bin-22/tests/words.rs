#[test]
fn counts_words_and_finds_titles() {
    assert_eq!(bins_common::words("one two three").ok(), Some(3));
    assert_eq!(
        bins_common::search("old").map(|found| found.len()).ok(),
        Some(1)
    );
}
