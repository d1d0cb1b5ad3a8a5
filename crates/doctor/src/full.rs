//! File systems that are full, and whether they live in memory: by paths and mounts that the log names, never by this machine.

/// How the C library calls a full file system, in English and in other languages.
const FULL: &[&str] = &[
    "No space left on device",
    "Auf dem Gerät ist kein Speicherplatz mehr verfügbar",
    "Aucun espace disponible sur le périphérique",
    "No queda espacio en el dispositivo",
    "Não há espaço disponível no dispositivo",
    "Spazio esaurito sul device",
    "Brak miejsca na urządzeniu",
    "На устройстве не осталось свободного места",
];

/// A file system is full, and where, as far as the line says it.
pub(crate) fn full(line: &str) -> Option<Option<&str>> {
    let full = line.contains("(os error 28)") || FULL.iter().any(|words| line.contains(words));
    if !full || line.contains("inotify") || line.contains("watch") {
        return None;
    }
    Some(path(line))
}

/// The first path of a line.
pub(crate) fn path(line: &str) -> Option<&str> {
    line.split(['`', '"', '\'', ' ', ':', '=', '('])
        .find(|word| word.starts_with('/') && word.len() > 1)
}

/// A file system that `df` or `mount` names: where it is mounted, and whether it lives in memory.
pub(crate) fn mounted(line: &str) -> Option<(&str, bool)> {
    let words: Vec<&str> = line.split_whitespace().take(8).collect();
    let (name, mount, kind) = match words[..] {
        [name, "on", mount, "type", kind, ..] => (name, mount, kind),
        [name, .., share, mount] if share.ends_with('%') && words.len() >= 6 => {
            (name, mount, if words.len() == 7 { words[1] } else { "" })
        }
        _ => return None,
    };
    let in_memory = name.contains("zram")
        || matches!(name, "tmpfs" | "shm" | "ramfs" | "none")
        || matches!(kind, "tmpfs" | "ramfs");
    mount.starts_with('/').then_some((mount, in_memory))
}

/// Whether a path is on a file system in memory wherever Linux is set up as usual.
pub(crate) fn is_in_memory(path: &str) -> bool {
    ["/dev/shm", "/run/", "/var/run/"].iter().any(|mount| path.starts_with(mount))
        || path.contains("tmpfs")
        || path.contains("ramdisk")
        || path.contains("zram")
}
