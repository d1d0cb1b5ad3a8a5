//! What watching costs: `cargo run --release -p plimsoll-host --example cost [processes]`.
//!
//! Starts so many sleeping processes (64), touches nothing else, and prints the processor time of each
//! kind of reading, over a thousand of them.

fn main() -> std::io::Result<()> {
    use std::io::{BufRead, BufReader, Write as _};
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use plimsoll_core::Millis;
    use plimsoll_host::{Limits, Owner, ProcessTree, Role};

    const ROUNDS: u32 = 1000;
    let processes: u32 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(64);
    let script = format!(
        "for i in $(seq {processes}); do sleep 1000 & echo $!; done; echo; exec sleep 1000"
    );
    let mut shell = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn()?;
    let mut tree = ProcessTree::new(shell.id())?;
    let lines = shell.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines);
    let mut out = std::io::stdout().lock();

    let pids: Vec<u32> = lines.map_while(Result::ok).map_while(|line| line.parse().ok()).collect();
    let begin = Instant::now();
    for (owner, pid) in (1..).zip(pids) {
        tree.adopt(pid, Owner(owner), Role::Child);
    }
    writeln!(out, "adopt   {:>8.1} µs a process", micros(begin) / f64::from(processes))?;
    tree.scan();
    tree.sample(None, Millis::ZERO);

    let begin = Instant::now();
    for _ in 0..ROUNDS {
        tree.sample(None, Millis::ZERO);
    }
    let sample = micros(begin) / f64::from(ROUNDS);
    writeln!(
        out,
        "sample  {sample:>8.1} µs, {:.2} µs a process",
        sample / f64::from(processes + 1)
    )?;

    let begin = Instant::now();
    for round in 0..ROUNDS {
        tree.sample(None, Millis(u64::from(round) * 50));
    }
    let sample = micros(begin) / f64::from(ROUNDS);
    writeln!(out, "        {sample:>8.1} µs with the slower readings, at 50 ms")?;

    let begin = Instant::now();
    for _ in 0..ROUNDS {
        tree.scan();
    }
    writeln!(out, "scan    {:>8.1} µs where no process is new", micros(begin) / f64::from(ROUNDS))?;
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        tree.alive_below_root();
    }
    writeln!(out, "list    {:>8.1} µs for a pass over /proc", micros(begin) / f64::from(ROUNDS))?;

    let limits = Limits::discover(std::path::Path::new("/"))?;
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        std::hint::black_box(limits.read());
    }
    writeln!(out, "limits  {:>8.1} µs a reading", micros(begin) / f64::from(ROUNDS))?;

    let begin = Instant::now();
    for owner in 1..=processes {
        tree.stop(Owner(owner));
        tree.resume(Owner(owner));
    }
    writeln!(out, "stop    {:>8.1} µs with its resume", micros(begin) / f64::from(processes))?;

    let begin = Instant::now();
    tree.kill_session();
    writeln!(out, "sweep   {:>8.1} µs for all", micros(begin))?;
    shell.kill()?;
    shell.wait()?;
    return Ok(());

    fn micros(begin: Instant) -> f64 {
        begin.elapsed().as_secs_f64() * 1e6
    }
}
