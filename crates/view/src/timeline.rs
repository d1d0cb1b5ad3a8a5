//! Memory over time, drawn with block characters.

use plimsoll_core::{Bytes, Millis};

const COLUMNS: usize = 60;
const ROWS: usize = 8;
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const BUDGET: char = '┄';

/// A budget that is further above the highest memory than this is not drawn: the picture would be flat.
const BUDGET_IN_SIGHT: f64 = 2.0;

/// One sample.
pub(crate) struct Point {
    pub(crate) t: Millis,
    pub(crate) used: Bytes,
    pub(crate) budget: Bytes,
}

/// Draws the samples from the start of the build to `end`; each column shows its highest sample. Empty
/// where there are none.
pub(crate) fn draw(points: &[Point], end: Millis) -> String {
    let Some(columns) = columns(points, end) else {
        return String::new();
    };
    let peak = columns.iter().map(|(used, _)| *used).max().unwrap_or_default().max(Bytes(1));
    let budget_top = columns.iter().map(|(_, budget)| *budget).max().unwrap_or_default();
    let in_sight = budget_top <= peak.scale(BUDGET_IN_SIGHT);
    let top = if in_sight { peak.max(budget_top) } else { peak };
    let level = |bytes: Bytes, steps: usize| (bytes.share_of(top) * steps as f64).min(steps as f64);
    let mut text = String::new();
    for row in (0..ROWS).rev() {
        let label = match row {
            row if row + 1 == ROWS => top.to_string(),
            row if row + 1 == ROWS / 2 => top.scale(0.5).to_string(),
            _ => String::new(),
        };
        text.push_str(&format!("{label:>10} │"));
        let mut drawn = String::new();
        for (used, budget) in &columns {
            // Rounded up: what is there is seen.
            let eighths = level(*used, ROWS * 8).ceil() as usize;
            let block = BLOCKS[eighths.saturating_sub(row * 8).min(8)];
            let budget_row = (level(*budget, ROWS).ceil() as usize).saturating_sub(1);
            drawn.push(if block == ' ' && in_sight && budget_row == row { BUDGET } else { block });
        }
        text.push_str(drawn.trim_end());
        text.push('\n');
    }
    let (end, width) = (end.to_string(), COLUMNS);
    text.push_str(&format!("{:>10} └{}\n", "0", "─".repeat(COLUMNS)));
    text.push_str(&format!("{:>10}  0{end:>right$}\n", "", right = width - 1));
    if !in_sight {
        text.push_str(&format!(
            "{:>10}  (the memory budget, {budget_top}, is above this picture)\n",
            ""
        ));
    }
    text
}

/// The highest memory and the lowest budget of each column; a column without a sample repeats the one
/// before it.
fn columns(points: &[Point], end: Millis) -> Option<Vec<(Bytes, Bytes)>> {
    let first = points.first()?;
    let mut columns: Vec<Option<(Bytes, Bytes)>> = vec![None; COLUMNS];
    for point in points {
        let share = point.t.0 as f64 / end.0.max(1) as f64;
        let at = ((share * COLUMNS as f64) as usize).min(COLUMNS - 1);
        let (used, budget) = columns[at].unwrap_or((point.used, point.budget));
        columns[at] = Some((used.max(point.used), budget.min(point.budget)));
    }
    let mut last = (Bytes::ZERO, first.budget);
    let filled = columns.into_iter().map(|column| {
        last = column.unwrap_or(last);
        last
    });
    Some(filled.collect())
}
