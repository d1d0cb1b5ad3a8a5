fn main() -> Result<(), bins_common::Error> {
    bins_common::run("bin-09")
}

#[cfg(test)]
mod tests {
    #[test]
    fn finds() {
        assert_eq!(
            bins_common::search("whale").map(|found| found.len()).ok(),
            Some(2)
        );
        let _router = bins_common::router();
    }
}
