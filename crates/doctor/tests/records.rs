//! What ended a recorded build.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use plimsoll_core::event::{Event, Header, Record};
use plimsoll_doctor::{Cause, Certainty, Verdict, recorded};

/// The verdict on a log of these events, written as they lie on disk.
fn judge(events: &[&str]) -> Verdict {
    judge_while(events, false)
}

fn judge_while(events: &[&str], runs: bool) -> Verdict {
    let header: Header = serde_json::from_str(
        r#"{"plimsoll_log":1,"version":"0.1.0","build":"1-2","started_unix_ms":1,"command":"test",
            "line":1073741824,"memory":"1GiB","jobs":4}"#,
    )
    .unwrap();
    let records = events.iter().zip(0_u64..).map(|(event, t)| Record {
        t: plimsoll_core::Millis(t),
        event: serde_json::from_str::<Event>(event).unwrap(),
    });
    recorded(&header, &records.collect::<Vec<_>>(), runs)
}

const APP: &str = r#"{"event":"registered","unit":1,"title":"app v0.1.0","kind":"lib","key":"k","forecast":1,"source":"cold"}"#;
const SCRIPT: &str = r#"{"event":"registered","unit":1,"title":"v8 v130.0.1 (build script run)","kind":"build-script-run","key":"k","forecast":1,"source":"cold"}"#;
const LOST: &str = r#"{"event":"lost","unit":1,"signal":9,"link_only":false}"#;
const LINK_LOST: &str = r#"{"event":"lost","unit":1,"signal":9,"link_only":true}"#;
const TERMINATED: &str = r#"{"event":"lost","unit":1,"signal":15,"link_only":false}"#;
const FAILED: &str =
    r#"{"event":"finished","unit":1,"ok":false,"peak":1063256064,"cpu":1,"wall":1,"waited":0}"#;
const REFUSED: &str = r#"{"event":"refused","unit":1,"needs":2147483648,"line":1073741824}"#;
const DONE: &str = r#"{"event":"done","exit":101,"wall":1,"peak":1}"#;
const DONE_WELL: &str = r#"{"event":"done","exit":0,"wall":1,"peak":1}"#;
const INTERRUPTED: &str = r#"{"event":"done","exit":130,"wall":1,"peak":1}"#;
const CARGO_KILLED: &str = r#"{"event":"done","exit":137,"wall":1,"peak":1}"#;

#[test]
fn a_unit_that_somebody_killed_until_it_failed_is_named() {
    let verdict = judge(&[APP, LOST, LOST, FAILED, DONE]);
    assert_eq!((verdict.cause, verdict.certainty), (Cause::Killed, Certainty::Likely));
    assert_eq!(verdict.unit.as_deref(), Some("app v0.1.0"));
    let evidence = verdict.evidence.unwrap();
    // The header is the first line of the file.
    assert_eq!(evidence.line, 5);
    assert!(evidence.text.contains("2 times") && evidence.text.contains("signal 9"));
    assert_eq!(verdict.remedies[0].command.as_deref(), Some("cargo plimsoll --memory 60% test"));
    let link = judge(&[APP, LINK_LOST, FAILED, DONE]);
    assert_eq!(link.unit.as_deref(), Some("link of app v0.1.0"));
    assert_eq!(judge(&[APP, TERMINATED, FAILED, DONE]).cause, Cause::Terminated);
}

#[test]
fn what_was_killed_and_ran_again_ended_nothing() {
    let verdict = judge(&[APP, LOST, DONE_WELL]);
    assert_eq!((verdict.cause, verdict.memory), (Cause::Succeeded, false));
    assert!(verdict.evidence.unwrap().text.contains("run again: 1"));
}

#[test]
fn a_unit_that_failed_by_itself_is_no_want_of_memory() {
    let verdict = judge(&[APP, FAILED, DONE]);
    assert_eq!((verdict.cause, verdict.memory), (Cause::Failed, false));
    assert_eq!(verdict.unit.as_deref(), Some("app v0.1.0"));
}

/// Build scripts ask a compiler whether something compiles: "no" is an answer, and ends nothing.
#[test]
fn a_probe_that_failed_is_no_failure() {
    const OF_SCRIPT: &str = r#"{"event":"registered","unit":2,"title":"thiserror v2.0.0 (probe)","kind":"lib","key":"p","forecast":1,"source":"cold","inside":7}"#;
    const SAID_NO: &str =
        r#"{"event":"finished","unit":2,"ok":false,"peak":1,"cpu":1,"wall":1,"waited":0}"#;
    let verdict = judge(&[OF_SCRIPT, SAID_NO, APP, FAILED, DONE]);
    assert_eq!((verdict.cause, verdict.unit.as_deref()), (Cause::Failed, Some("app v0.1.0")));
    assert_eq!(verdict.evidence.unwrap().line, 5);
    let verdict = judge(&[OF_SCRIPT, SAID_NO, DONE]);
    assert_eq!(verdict.unit, None);
}

/// Cargo runs once more for what is not the build's own failure.
#[test]
fn what_failed_and_then_did_well_ended_nothing() {
    let again = APP.replace("\"unit\":1", "\"unit\":3");
    let well = FAILED.replace("\"unit\":1", "\"unit\":3").replace("false", "true");
    let other = APP
        .replace("\"unit\":1", "\"unit\":4")
        .replace("\"k\"", "\"other\"")
        .replace("app", "wrong");
    let failed = FAILED.replace("\"unit\":1", "\"unit\":4");
    let verdict = judge(&[APP, FAILED, &again, &well, &other, &failed, DONE]);
    assert_eq!(verdict.unit.as_deref(), Some("wrong v0.1.0"));
}

/// What a person has just done does not help.
#[test]
fn a_recorded_build_is_not_told_to_do_what_it_did() {
    let by_choice = REFUSED.replace('}', ",\"asked\":true}");
    let by_choice = judge(&[APP, &by_choice, FAILED, DONE]);
    assert_eq!(
        by_choice.remedies[0].command.as_deref(),
        Some("cargo plimsoll --oversized shrink test")
    );
    let too_large = judge(&[APP, REFUSED, FAILED, DONE]);
    assert_eq!(
        too_large.remedies[0].command.as_deref(),
        Some("cargo plimsoll --oversized shrink-output test")
    );
    let killed = judge(&[APP, LOST, LOST, FAILED, DONE]);
    for verdict in [by_choice, too_large, killed] {
        let commands = verdict.remedies.iter().filter_map(|it| it.command.as_deref());
        assert!(commands.clone().count() > 0);
        assert!(commands.clone().all(|it| it != "cargo plimsoll test"), "{verdict:?}");
    }
}

#[test]
fn who_kills_a_build_script_is_not_seen_so_near_the_budget_it_is_possible() {
    let verdict = judge(&[SCRIPT, FAILED, DONE]);
    assert_eq!((verdict.cause, verdict.certainty), (Cause::Killed, Certainty::Possible));
}

#[test]
fn a_refused_unit_an_interrupt_and_a_killed_cargo_say_so_themselves() {
    let refused = judge(&[APP, REFUSED, FAILED, DONE]);
    assert_eq!((refused.cause, refused.certainty), (Cause::Refused, Certainty::Certain));
    assert_eq!(judge(&[APP, FAILED, INTERRUPTED]).cause, Cause::Interrupted);
    assert_eq!(judge(&[APP, CARGO_KILLED]).cause, Cause::Killed);
}

#[test]
fn a_record_that_stops_in_the_midst_is_at_best_a_possibility() {
    let verdict = judge(&[APP]);
    assert_eq!((verdict.cause, verdict.certainty), (Cause::Killed, Certainty::Possible));
    assert!(verdict.evidence.unwrap().text.contains("breaks off while"));
    let verdict = judge_while(&[APP], true);
    assert_eq!((verdict.cause, verdict.memory), (Cause::Unknown, false));
}
