//! Who waits for whose file lock: Cargo locks its build directory, and a second Cargo waits for the first.
//!
//! From `/proc/locks` (proc_locks(5)): a request that is blocked stands below the lock that it waits for, with an
//! arrow before its kind.
//!
//! ```text
//! 1: FLOCK  ADVISORY  WRITE 4721 fe:00:131094 0 EOF
//! 1: -> FLOCK  ADVISORY  WRITE 4730 fe:00:131094 0 EOF
//! ```

use std::fs;

/// A process that waits for a lock which another holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockWait {
    /// Who waits.
    pub waiter: u32,
    /// Who holds it.
    pub holder: u32,
}

/// All waits for locks that this process may see; none where the kernel does not list locks.
#[must_use]
pub fn lock_waits() -> Vec<LockWait> {
    parse(&fs::read_to_string("/proc/locks").unwrap_or_default())
}

fn parse(table: &str) -> Vec<LockWait> {
    let mut waits = Vec::new();
    let mut holder: Option<(&str, u32)> = None;
    for line in table.lines() {
        let mut words = line.split_whitespace();
        let Some(number) = words.next() else { continue };
        let mut words = words.peekable();
        let waits_here = words.next_if_eq(&"->").is_some();
        // Processes outside our pid namespace are 0, holders by open file description -1.
        let pid = words.nth(3).and_then(|pid| pid.parse().ok()).filter(|pid| *pid != 0);
        match (waits_here, holder, pid) {
            (false, _, pid) => holder = pid.map(|pid| (number, pid)),
            (true, Some((same, holder)), Some(waiter)) if same == number && waiter != holder => {
                waits.push(LockWait { waiter, holder });
            }
            _ => {}
        }
    }
    waits
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn an_arrow_waits_for_the_lock_above_it() {
        let table = "1: FLOCK  ADVISORY  WRITE 10 fe:00:1 0 EOF\n\
                     1: -> FLOCK  ADVISORY  WRITE 11 fe:00:1 0 EOF\n\
                     1: -> FLOCK  ADVISORY  READ  12 fe:00:1 0 EOF\n\
                     2: POSIX  ADVISORY  WRITE 0 fe:00:2 0 EOF\n\
                     2: -> POSIX  ADVISORY  WRITE 13 fe:00:2 0 EOF\n\
                     3: OFDLCK ADVISORY  WRITE -1 fe:00:3 0 EOF\n\
                     4: -> FLOCK what\n\nx";
        let waits: Vec<_> = parse(table).iter().map(|it| (it.waiter, it.holder)).collect();
        assert_eq!(waits, [(11, 10), (12, 10)]);
    }

    #[test]
    fn a_real_wait_is_seen() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lock = |script: &str| -> Child {
            let mut command = Command::new("flock");
            command.arg("-o").arg(file.path()).args(["sh", "-c", script]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
        };
        let mut holder = lock("echo held; read x");
        let mut said = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        let mut waiter = lock("true");
        let until = Instant::now() + Duration::from_secs(20);
        let expected = LockWait { waiter: waiter.id(), holder: holder.id() };
        while !lock_waits().contains(&expected) {
            assert!(Instant::now() < until, "{:?}", lock_waits());
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(holder.stdin.take());
        holder.wait().unwrap();
        waiter.wait().unwrap();
        assert!(!lock_waits().contains(&expected));
    }
}
