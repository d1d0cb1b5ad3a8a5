//! The verdict in words.

use plimsoll_view::{Block, Entry, Tone};

use crate::cause::Cause;
use crate::verdict::Verdict;

/// What a person reads of a log.
#[must_use]
pub fn blocks(verdict: &Verdict) -> Vec<Block> {
    said(verdict, false)
}

/// What a person reads of a recorded build, whose lines nobody looks at.
#[must_use]
pub fn recorded_blocks(verdict: &Verdict) -> Vec<Block> {
    said(verdict, true)
}

/// [`blocks`] as one text, as it is in a file.
#[must_use]
pub fn text(verdict: &Verdict) -> String {
    blocks(verdict).iter().map(Block::to_string).collect()
}

fn said(verdict: &Verdict, is_record: bool) -> Vec<Block> {
    let entry = |tone, word, text| Block::Entry(Entry { tone, word, text });
    let (tone, text) = (tone(verdict), happened(verdict, is_record));
    let mut blocks = vec![entry(tone, "Verdict", text)];
    if let Some(evidence) = &verdict.evidence {
        let text = match is_record {
            true => evidence.text.clone(),
            false => format!("line {}: {}", evidence.line, evidence.text),
        };
        blocks.push(entry(Tone::Info, "Evidence", text));
    }
    if !verdict.remedies.is_empty() {
        blocks.push(Block::Title("What to do".to_owned()));
    }
    for remedy in &verdict.remedies {
        let why = match &remedy.command {
            Some(command) => {
                blocks.push(Block::Fixed(format!("  {command}\n")));
                format!("      {}\n", remedy.why)
            }
            None => format!("  {}\n", remedy.why),
        };
        blocks.push(Block::Text(why));
    }
    blocks
}

/// Whether it was memory, how sure that is, and what happened to what.
fn happened(verdict: &Verdict, is_record: bool) -> String {
    let subject = verdict.unit.as_deref().unwrap_or("the build");
    let certainty = verdict.certainty.word();
    let how = verdict.cause.happened();
    match verdict.cause {
        // A record that ends says how: this one goes on.
        Cause::Unknown if is_record => "the build is still running".to_owned(),
        Cause::Succeeded | Cause::Unknown => format!("the build {how}"),
        Cause::Failed if is_record => format!(
            "not a memory problem ({certainty}): {subject} does not compile, or it ended with an error"
        ),
        Cause::Failed => format!("{subject} {how} ({certainty})"),
        Cause::Refused => format!("not enough memory ({certainty}): {subject} {how}"),
        _ if verdict.memory => format!("out of memory ({certainty}): {subject} {how}"),
        _ => format!("not a memory problem ({certainty}): {subject} {how}"),
    }
}

fn tone(verdict: &Verdict) -> Tone {
    match verdict.cause {
        Cause::Succeeded => Tone::Good,
        Cause::Unknown => Tone::Info,
        _ if verdict.memory => Tone::Bad,
        _ => Tone::Caution,
    }
}
