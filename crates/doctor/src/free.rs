//! How much memory was free, as a log shows it or somebody says it.
//!
//! All lines are in small letters. What is free says nothing of a limit; `doubt.rs` knows where it counts.

/// Bytes of `12196008 kb`, `51gi`, `48,120 mb`.
fn bytes(number: &str, unit: &str) -> Option<u64> {
    let unit = unit.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
    let digits: String =
        number.chars().filter(|c| !matches!(c, ',' | '\u{a0}' | '\u{202f}')).collect();
    // Tenths do not matter here.
    let whole: u64 = digits.split('.').next()?.parse().ok()?;
    let shift = match unit {
        "kb" | "kib" | "k" | "ki" => 10,
        "mb" | "mib" | "m" | "mi" => 20,
        "gb" | "gib" | "g" | "gi" | "gigs" | "gbs" => 30,
        _ => return None,
    };
    whole.checked_shl(shift).filter(|bytes| bytes >> shift == whole)
}

/// A number with its unit, in one word or two.
fn size(words: &[&str]) -> Option<u64> {
    let word = words.first()?.trim_start_matches(['(', '~', '`', '"']);
    let end = word.find(|c: char| c.is_alphabetic()).unwrap_or(word.len());
    match &word[end..] {
        "" => bytes(word, words.get(1)?),
        unit => bytes(&word[..end], unit),
    }
}

/// What a table shows as free: `free`, `top`, `htop`, `/proc/meminfo`, `systeminfo`, PowerShell.
pub(crate) fn shown(line: &str) -> Option<u64> {
    for name in [
        "memavailable:",
        "memfree:",
        "lowfree:",
        "available physical memory:",
        "virtual memory: available:",
    ] {
        if let Some((_, rest)) = line.split_once(name) {
            return size(&rest.split_whitespace().take(2).collect::<Vec<_>>());
        }
    }
    if let Some((_, rest)) = line.split_once("freephysicalmemory") {
        return bytes(rest.trim_start_matches([' ', ':', '=']).split_whitespace().next()?, "kb");
    }
    // `mib mem :  64228.1 total,  51234.5 free`
    if let Some((before, rest)) = line.split_once(" mem :") {
        let number = rest.split(',').find_map(|part| part.trim().strip_suffix(" free"))?;
        return bytes(number.trim(), before.trim());
    }
    // `mem[|||||   6.2g/62.7g]`
    if let Some((_, rest)) = line.split_once("mem[") {
        let (used, total) =
            rest.split(']').next()?.trim_start_matches(['|', ' ']).split_once('/')?;
        return size(&[total])?.checked_sub(size(&[used])?);
    }
    let columns: Vec<&str> = line.strip_prefix("mem:")?.split_whitespace().collect();
    let [total, _, free, ..] = columns[..] else { return None };
    let free = columns.get(5).copied().unwrap_or(free);
    // Without a unit: kB, or MB by `-m`, which is a number that no machine has in kB.
    const MEGABYTES: u64 = 4_000_000;
    match total.parse::<u64>() {
        Ok(total) => bytes(free, if total < MEGABYTES { "mb" } else { "kb" }),
        Err(_) => size(&[free]),
    }
}

/// What somebody says was free: `40 GB of RAM free`, or what is left of `64 GB` with `20 GB in use`.
pub(crate) fn told(line: &str) -> Option<u64> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is = |word: &&str, these: &[&str]| {
        these.contains(&word.trim_matches(|c: char| !c.is_ascii_alphanumeric()))
    };
    let memory = words.iter().any(|word| is(word, &["ram", "memory", "mem"]));
    if !memory || words.iter().any(|word| is(word, &["disk", "storage", "drive", "ssd", "swap"])) {
        return None;
    }
    let sizes: Vec<(usize, u64)> =
        (0..words.len()).filter_map(|at| Some((at, size(&words[at..])?))).collect();
    let is_free = |word: &&str| is(word, &["free", "available", "unused", "idle"]);
    for (at, size) in &sizes {
        // Behind it, in the same clause, or just before.
        let behind = words[*at..].iter().take(6).any(is_free);
        let before = words[at.saturating_sub(2)..*at].iter().any(is_free);
        if behind || before {
            return Some(*size);
        }
    }
    let used = words.iter().any(|word| is(word, &["use", "uses", "used", "using", "usage"]));
    let most = sizes.iter().map(|(_, size)| *size).max()?;
    let least = sizes.iter().map(|(_, size)| *size).min()?;
    (used && sizes.len() == 2).then_some(most - least)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn tables_of_many_tools_are_read() {
        for line in [
            "mem:            62gi       4.1gi        51gi       310mi       7.0gi        57gi",
            "mem:          64228        4100       58368",
            "mem:       65769472     4198400    59768832",
            "memavailable:   59768832 kb",
            "lowfree:        59768832 kb",
            "available physical memory: 58,368 mb",
            "freephysicalmemory : 59768832",
            "mib mem :  64228.1 total,  58368.5 free,   3800.2 used",
            "mem[|||||          5.2g/62.7g]",
        ] {
            let free = shown(line).unwrap();
            assert!((56 * GIB..=58 * GIB).contains(&free), "{line}: {}", free / GIB);
        }
        for line in ["mem: none", "swap: 8gi 0b 8gi", "memory: 4 gb", "mem[", "memfree:"] {
            assert_eq!(shown(line), None, "{line}");
        }
    }

    #[test]
    fn what_somebody_says_of_it_is_understood() {
        assert_eq!(told("there are 40 gb of ram free"), Some(40 * GIB));
        assert_eq!(told("with 40gb free memory it still dies"), Some(40 * GIB));
        assert_eq!(told("i have 64 gb of ram and never more than 20 gb in use."), Some(44 * GIB));
        assert_eq!(told("rustc uses about 3 gb of the 32 gb memory"), Some(29 * GIB));
        for line in [
            "i have 64 gb of ram",
            "40 gb free on the disk, and little memory",
            "a program with 40 gb free",
            "memory limit 4 gb",
            "free memory",
        ] {
            assert_eq!(told(line), None, "{line}");
        }
    }
}
