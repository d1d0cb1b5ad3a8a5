//! `run`: arms side by side in one run, interleaved, kept, resumed.

use anyhow::{Result, bail};
use plimsoll_rig::report::{Report, machine};

use crate::arms::{self, Arm};
use crate::bench::{Bench, Named, Place};
use crate::line::Line;
use crate::read_ahead;
use crate::store::Record;
use crate::table;

/// What is laid side by side.
#[derive(Debug)]
pub(crate) struct Plan {
    /// In this order, in each repetition.
    pub(crate) arms: Vec<Arm>,
    /// For the arms that have a line.
    pub(crate) lines: Vec<Line>,
    /// Around each arm, if any.
    pub(crate) walls: Vec<Line>,
    /// How often.
    pub(crate) repeat: u32,
}

/// Runs a plan: one report for each wall (one if there is none).
pub(crate) fn run(bench: &Bench, plan: &Plan) -> Result<Vec<Report>> {
    check(plan)?;
    let mut needs = (false, false, false);
    for line in plan.lines.iter().chain(&plan.walls) {
        let (floor, one, all) = line.needs();
        needs = (needs.0 || floor, needs.1 || one, needs.2 || all);
    }
    // Inside a wall, the time of plain cargo without it tells a crawl.
    needs.2 |= !plan.walls.is_empty();
    println!("{}: {}", bench.workload.name, machine());
    let peaks = bench.peaks(needs.0, needs.1, needs.2)?;
    let named = |line: &Line| {
        Ok::<_, anyhow::Error>(Named { name: line.to_string(), bytes: line.resolve(peaks)? })
    };
    let lines = plan.lines.iter().map(named).collect::<Result<Vec<_>>>()?;
    let walls = plan.walls.iter().map(named).collect::<Result<Vec<_>>>()?;
    let walls = if walls.is_empty() { vec![None] } else { walls.into_iter().map(Some).collect() };
    walls.iter().map(|wall| inside(bench, plan, &lines, wall.as_ref())).collect()
}

fn check(plan: &Plan) -> Result<()> {
    let unwalled = plan.arms.iter().any(|arm| matches!(arm, Arm::Plimsoll { unwalled: true, .. }));
    if unwalled && plan.walls.is_empty() {
        bail!(
            "the arms `cold-unwalled` and `warm-unwalled` repeat an arm from inside a wall; name one with --wall"
        );
    }
    if plan.walls.is_empty() && plan.lines.is_empty() && plan.arms.iter().any(|arm| arm.has_line())
    {
        bail!(
            "these arms need a line; name one with --line (for instance `--line 1.05x-j1`), or a --wall"
        );
    }
    Ok(())
}

fn inside(bench: &Bench, plan: &Plan, lines: &[Named], wall: Option<&Named>) -> Result<Report> {
    if let Some(wall) = wall {
        println!("inside {} MiB ({}):", wall.bytes >> 20, wall.name);
    }
    let mut records: Vec<Record> = Vec::new();
    for repeat in 0..plan.repeat.max(1) {
        for &arm in &plan.arms {
            let lines: Vec<Option<Named>> = if !arm.has_line() || lines.is_empty() {
                vec![None]
            } else {
                lines.iter().cloned().map(Some).collect()
            };
            for line in lines {
                let mut place = Place { line, wall: wall.cloned(), repeat };
                if let Arm::Plimsoll { warm, unwalled: true } = arm {
                    place.line = Some(taken_inside(bench, warm, &place)?);
                }
                if let (Arm::Mbx { .. }, None, Some(wall)) = (arm, &place.line, wall) {
                    let bytes = arms::mbx_default_line(wall.bytes);
                    place.line = Some(Named { name: "its default".to_owned(), bytes });
                }
                records.push(bench.arm(arm, &place)?);
            }
        }
    }
    // Inside a wall most plain builds end early: there the measure is the build without one.
    let unwalled = match wall {
        Some(_) => bench.store.get(&bench.key(Arm::Plain(bench.jobs), &Place::default())?),
        None => None,
    };
    report(bench, plan, wall, &records, unwalled.as_ref())
}

/// The line that the arm inside the wall took: by name, or, under `auto`, what it followed on average.
fn taken_inside(bench: &Bench, warm: bool, place: &Place) -> Result<Named> {
    let record = bench.arm(Arm::Plimsoll { warm, unwalled: false }, place)?;
    match (record.line_bytes, &record.plimsoll) {
        (Some(bytes), _) => Ok(Named { name: "as inside".to_owned(), bytes }),
        (None, Some(own)) if own.line_bytes > 0 => Ok(Named {
            name: "as inside".to_owned(),
            bytes: own.line_bytes.div_ceil(1 << 20) << 20,
        }),
        _ => bail!("the arm inside the wall left no event log, so that its line is not known"),
    }
}

fn report(
    bench: &Bench,
    plan: &Plan,
    wall: Option<&Named>,
    records: &[Record],
    unwalled: Option<&Record>,
) -> Result<Report> {
    let join = |names: &mut dyn Iterator<Item = String>| names.collect::<Vec<_>>().join(",");
    let mut command = format!(
        "run --workload {} --arms {} {}",
        bench.workload.name,
        join(&mut plan.arms.iter().map(Arm::to_string)),
        bench.sizes(),
    );
    if !plan.lines.is_empty() {
        command += &format!(" --line {}", join(&mut plan.lines.iter().map(Line::to_string)));
    }
    if let Some(wall) = wall {
        command += &format!(" --wall {}", wall.name);
    }
    if plan.repeat > 1 {
        command += &format!(" --repeat {}", plan.repeat);
    }
    if bench.swap {
        command += " --swap";
    }
    if let Some(read_ahead) = &bench.read_ahead {
        command += &format!(" --read-ahead {}", read_ahead.kib());
    }
    if !bench.extra.is_empty() {
        command += &format!(" -- {}", bench.extra.join(" "));
    }
    let mut title = bench.workload.name.clone();
    for extra in &bench.extra {
        title += &format!(" {extra}");
    }
    if !plan.lines.is_empty() {
        title += &format!(" at {}", join(&mut plan.lines.iter().map(Line::to_string)));
    }
    if let Some(wall) = wall {
        title += &format!(
            " inside a wall of {}{}",
            wall.name,
            if bench.swap { " with swap" } else { "" }
        );
    }
    if let Some(processors) = bench.plimsoll.as_ref().and_then(|it| it.processors) {
        title += &format!(", planned for {processors} processors");
    }
    if let Some(read_ahead) = &bench.read_ahead {
        title += &format!(", the disk reading {} KiB ahead", read_ahead.kib());
    }
    let mut commits: Vec<_> = records.iter().map(|record| record.commit.as_str()).collect();
    commits.sort_unstable();
    commits.dedup();
    let samplers = records.iter().map(|it| it.sampler.as_str()).next().unwrap_or("");
    let wall_line = wall.map_or(String::new(), |wall| {
        let ahead =
            read_ahead::now(&bench.state).map(|kib| format!("disk read-ahead {kib} KiB · "));
        format!("wall {} MiB · {}", wall.bytes >> 20, ahead.unwrap_or_default())
    });
    let body = format!(
        "`plimsoll-bench {command}`\n\n{wall_line}commit {} · {} · measured by {samplers}\n\n{}",
        commits.join(", "),
        machine(),
        table::arms(records, unwalled),
    );
    let ok = records
        .iter()
        .filter(|it| it.plimsoll.is_some() || it.programs.is_some())
        .all(|it| it.exit == Some(0));
    let arms = records.iter().map(Record::to_publish).collect::<Result<Vec<_>, _>>()?;
    let json = serde_json::json!({ "command": command, "machine": machine(), "arms": arms });
    Ok(Report { title, body, json, ok })
}
