//! Bytes to bytes: `enable` and then `disable`, with and without an edit between.

use proptest::prelude::*;

use super::config_text::tests::file;
use super::*;

/// An account with this configuration, and shims that exist.
fn account(config: &[u8]) -> (tempfile::TempDir, Account, Shims) {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("cargo")).unwrap();
    fs::write(at("cargo/config.toml"), config).unwrap();
    let test = at("plimsoll-test");
    let shims = Shims { rustc: at("plimsoll-rustc"), rustdoc: at("plimsoll-rustdoc"), test };
    let account = Account { home: at("home"), config: at("cargo/config.toml"), unread: None };
    (dir, account, shims)
}

proptest! {
    // Each case writes files that are forced to the disk.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_configuration_comes_back_byte_for_byte(text in file()) {
        prop_assume!(text.parse::<toml::Table>().is_ok());
        let (_dir, account, shims) = account(text.as_bytes());
        let (done, enabled) = account.enable(None, &shims).unwrap();
        prop_assert_eq!(done, Enabling::Done);
        prop_assert_eq!(Account::enabled(&account.home), Some(enabled));
        prop_assert_eq!(account.enable(None, &shims).unwrap().0, Enabling::Already);
        prop_assert_eq!(account.disable(&shims).unwrap(), Disabling::Restored);
        prop_assert_eq!(fs::read(&account.config).unwrap(), text.as_bytes());
        prop_assert_eq!(account.disable(&shims).unwrap(), Disabling::NotEnabled);
    }

    #[test]
    fn what_was_added_since_is_all_that_stays(text in file(), again in any::<bool>()) {
        const ADDED: &str = "\n[added]\nsince = true\n";
        prop_assume!(text.parse::<toml::Table>().is_ok());
        let (_dir, account, shims) = account(text.as_bytes());
        account.enable(None, &shims).unwrap();
        let written = fs::read_to_string(&account.config).unwrap();
        fs::write(&account.config, format!("{written}{ADDED}")).unwrap();
        if again {
            account.enable(None, &shims).unwrap();
        }
        let done = account.disable(&shims).unwrap();
        prop_assert_eq!(done, if again { Disabling::Restored } else { Disabling::TakenOut });
        let lines = |text: &str| -> Vec<String> {
            text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
        };
        let left = fs::read_to_string(&account.config).unwrap();
        prop_assert_eq!(lines(&left), lines(&format!("{text}{ADDED}")));
    }
}
