//! A test harness whose tests can say while they run that this machine lacks what they need.
//!
//! The built-in harness knows at run time only passed and failed, so that a test that can do nothing here would have to
//! pass. Here it ends as ignored, with its reason, wherever in it that turns out, also in a helper ([`ignored`]). All
//! else is as with the built-in harness: `#[test] fn name()`, filters, `--list`, `--test-threads`, the last line. (The
//! output of a test is not held back.)
//!
//! A test binary with `harness = false` in its manifest takes part by two items at its root:
//!
//! ```no_run
//! #[macro_use]
//! extern crate plimsoll_testing;
//!
//! fn main() -> std::process::ExitCode {
//!     plimsoll_testing::run()
//! }
//! ```
//!
//! A reason is the same words on every machine where it holds: `.ci/run` compares it with a list (`.ci/ignored`).

#[cfg(target_os = "linux")]
pub mod cgroup;
#[cfg(target_os = "linux")]
pub mod needs;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

#[doc(hidden)]
pub use inventory::submit as register;
pub use plimsoll_testing_macro::test;

/// A test, as its attribute registers it.
#[derive(Debug)]
pub struct Test {
    /// Its path from the binary's own name on.
    pub name: &'static str,
    /// What it does.
    pub body: fn(),
}

inventory::collect!(Test);

/// Why a test is ignored, on its way up from where that turned out.
struct Ignored(String);

/// Ends the test that calls it: it is ignored, and `reason` stands in its line. Only on the test's own thread.
pub fn ignored(reason: impl Into<String>) -> ! {
    // No panic: the place of the call is of no interest.
    resume_unwind(Box::new(Ignored(reason.into())))
}

/// Runs the tests of this binary, as its arguments say.
#[must_use]
pub fn run() -> ExitCode {
    let (mut filters, mut words) = split(std::env::args());
    if filters.len() == 1 {
        words.append(&mut filters);
    }
    let arguments = Arguments::from_iter(words);
    #[cfg(target_os = "linux")]
    cgroup::enter_scope();
    let mut tests: Vec<&Test> = inventory::iter::<Test>.into_iter().collect();
    tests.sort_by_key(|test| test.name);
    let trials = tests.into_iter().map(|test| {
        let name = test.name.split_once("::").map_or(test.name, |(_, name)| name);
        Trial::ignorable_test(name, || Ok(completion(test.body)))
    });
    let is_chosen = |name: &str| {
        let chooses = |it: &String| if arguments.exact { name == it } else { name.contains(it) };
        filters.is_empty() || filters.iter().any(chooses)
    };
    let trials = trials.filter(|trial| is_chosen(trial.name()));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// The words that choose tests, of which `libtest_mimic` takes one and the built-in harness any number; and the others.
fn split(words: impl Iterator<Item = String>) -> (Vec<String>, Vec<String>) {
    const WITH_VALUE: [&str; 5] = ["--skip", "--test-threads", "--format", "--color", "--logfile"];
    let mut belongs = true;
    words.partition(|word| {
        let is_option = belongs || word.starts_with('-');
        belongs = WITH_VALUE.contains(&word.as_str());
        !is_option
    })
}

fn completion(body: fn()) -> Completion {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(()) => Completion::Completed,
        Err(payload) => match payload.downcast::<Ignored>() {
            Ok(ignored) => Completion::ignored_with(ignored.0),
            Err(payload) => resume_unwind(payload),
        },
    }
}

#[cfg(test)]
mod tests {
    // Not all: the built-in harness runs these.
    use super::{Completion, completion, ignored, split};

    #[test]
    fn a_test_that_lacks_something_is_ignored_and_one_that_panics_is_not() {
        let lacks: fn() = || ignored("there is no moon");
        let Completion::Ignored { reason } = completion(lacks) else { panic!("it has passed") };
        assert_eq!(reason.as_deref(), Some("there is no moon"));
        assert!(matches!(completion(|| ()), Completion::Completed));
        assert!(std::panic::catch_unwind(|| completion(|| panic!("on purpose"))).is_err());
    }

    #[test]
    fn what_chooses_tests_is_told_from_options_and_their_values() {
        let words = "program one --skip two three --exact --test-threads=4 four";
        let (filters, rest) = split(words.split(' ').map(str::to_owned));
        assert_eq!(filters, ["one", "three", "four"]);
        assert_eq!(rest, ["program", "--skip", "two", "--exact", "--test-threads=4"]);
    }
}
