//! `--hard`: the kernel's wall around a build, as high as its line asks for.

use std::path::Path;

use plimsoll_core::Bytes;
use plimsoll_core::line::wall_of;
use plimsoll_host::Wall;

use super::line::Line;
use super::watch::Watch;

/// The wall moves where the line has moved by as much.
const MOVES: Bytes = Bytes::mib(16);

/// A wall for the build; why there can be none, in words.
pub(super) fn around(line: &Line) -> Result<Wall, String> {
    let height = line.current().ok_or(
        "the account's governor holds the line of this build (`cargo plimsoll disable`, or another PLIMSOLL_HOME, \
         gives it one of its own)",
    )?;
    Wall::new(Path::new("/"), wall_of(height)).map_err(|error| error.to_string())
}

/// Moves the wall with the line.
pub(super) fn follow(wall: &mut Wall, line: &Line) {
    let Some(height) = line.current().map(wall_of) else { return };
    let present = wall.limit();
    if height.max(present) - height.min(present) >= MOVES {
        // Where it cannot be lowered yet, the next turn tries again.
        let _ = wall.set_limit(height);
    }
}

/// Says what the kernel has killed for the wall.
pub(super) fn tell(wall: Option<&Wall>, line: &mut Line, watch: &mut Watch) {
    let kills = wall.map_or(0, Wall::kills);
    if kills > 0 {
        let processes = if kills == 1 { "process" } else { "processes" };
        line.notice(&format!("the wall at the line cost {kills} {processes} of the build"), watch);
    }
}
