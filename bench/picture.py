#!/usr/bin/env python3
"""The picture in the README: the memory of one real build over time, by plain Cargo and by `cargo plimsoll`.

    bench/picture.py measure    builds `native` three times from nothing, and writes bench/results/picture.json
    bench/picture.py draw       draws docs/src/memory.svg from that file
    bench/picture.py check      fails if the two do not agree

`measure` runs `cargo-plimsoll` from PATH (or $CARGO_PLIMSOLL). It samples the memory that cannot be dropped (anonymous,
shared and swapped) of everything that the command starts, from outside, ten times a second. Plimsoll builds twice: the
picture shows the second build, which knows the units, and names the first one's peak. It deliberately draws no conclusion
from times: a picture that was made on a busy machine shows the right heights and the wrong lengths.
"""

import ctypes
import datetime
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "bench/results/picture.json"
PICTURE = ROOT / "docs/src/memory.svg"
WORKLOAD = "bench/workloads/native"
BUDGET_MIB, JOBS = 400, 8
INTERVAL = 0.1
PR_SET_CHILD_SUBREAPER = 36


def children():
    """The children of every process."""
    below = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            below.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry))
    return below


def held_kib(pid):
    """What a process holds that the kernel cannot drop; nothing when it has ended."""
    try:
        lines = pathlib.Path("/proc", str(pid), "status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:", "VmSwap:")))


def descendants(pid):
    below, found, todo = children(), [], [pid]
    while todo:
        new = below.get(todo.pop(), [])
        found += new
        todo += new
    return found


def sample(command, environment):
    """Runs a command and gives its memory as [seconds, MiB]."""
    # What outlives its parent stays below this process and is counted.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    start, points = time.monotonic(), []
    with tempfile.TemporaryFile("w+") as said:
        build = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=said)
        while build.poll() is None:
            now = time.monotonic()
            points.append([round(now - start, 1), sum(map(held_kib, descendants(os.getpid()))) // 1024])
            time.sleep(max(0, INTERVAL - (time.monotonic() - now)))
        said.seek(0)
        text = said.read()
    if build.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {build.returncode}:\n{text}")
    return points, text


def measure():
    if not shutil.which(os.environ.get("CARGO_PLIMSOLL", "cargo-plimsoll")):
        sys.exit("`cargo-plimsoll` is not in PATH; install it, or name it in CARGO_PLIMSOLL")
    program = os.environ.get("CARGO_PLIMSOLL", "cargo-plimsoll")
    manifest = ["--locked", "--manifest-path", f"{WORKLOAD}/Cargo.toml"]
    budget = f"{BUDGET_MIB}MiB"
    ours_command = [program, "plimsoll", "build", f"-j{JOBS}", "--memory", budget, *manifest]
    ours_name = f"cargo plimsoll build -j{JOBS} --memory {budget}"
    arms = [
        (f"cargo build -j{JOBS}", ["cargo", "build", f"-j{JOBS}", *manifest]),
        (f"{ours_name}, first build", ours_command),
        (ours_name, ours_command),
    ]
    ours = ("CARGO_BUILD_", "CARGO_PROFILE_", "PLIMSOLL_", "RUSTC", "RUSTFLAGS", "MAKEFLAGS")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    subprocess.run(["cargo", "fetch", *manifest], cwd=ROOT, env=plain, check=True)
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split("(")[0]
    data = {
        "workload": WORKLOAD, "budget_mib": BUDGET_MIB, "arms": [],
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} processors, Linux {platform.release().split('-')[0]}, {rustc.strip()}",
        "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True,
                                 text=True, check=True).stdout.strip(),
    }
    with tempfile.TemporaryDirectory() as home:
        for name, command in arms:
            with tempfile.TemporaryDirectory() as target:
                points, said = sample(command, plain | {"CARGO_TARGET_DIR": target, "PLIMSOLL_HOME": home})
            summary = [line for line in said.splitlines() if "peak" in line]
            print(f"{name}: {max(mib for _, mib in points)} MiB, {points[-1][0]} s", *summary, sep="\n  ")
            data["arms"].append({"command": name, "points": points})
    # A row for each build, not one for each sample.
    rows = [json.dumps(arm) for arm in data.pop("arms")]
    head = json.dumps(data, indent=1)[:-2]
    DATA.write_text(head + ',\n "arms": [\n  ' + ",\n  ".join(rows) + "\n ]\n}\n")


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 300, 64, 16, 58, 58


def draw():
    data = json.loads(DATA.read_text())
    budget, (plain, first, again) = data["budget_mib"], data["arms"]
    first_peak = max(mib for _, mib in first["points"])
    arms = [plain, again]
    seconds = max(arm["points"][-1][0] for arm in arms)
    highest = max(mib for arm in arms for _, mib in arm["points"])
    top = -(-(highest + 20) // 100) * 100

    def x(second):
        return round(LEFT + (WIDTH - LEFT - RIGHT) * second / seconds, 1)

    def y(mib):
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * mib / top, 1)

    def outline(points):
        # The highest of each half second: one point a pixel.
        step, tops = seconds / (WIDTH - LEFT - RIGHT), {}
        for second, mib in points:
            tops[int(second / step)] = max(tops.get(int(second / step), 0), mib)
        return " ".join(f"{x(place * step)},{y(mib)}" for place, mib in sorted(tops.items()))

    peaks = [max(mib for _, mib in arm["points"]) for arm in arms]
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'role="img" font-family="system-ui, sans-serif" font-size="13">',
        f"<title>Memory of one build over time: plain Cargo {peaks[0]} MiB, "
        f"Plimsoll {peaks[1]} MiB of a budget of {budget} MiB</title>",
        "<style>",
        ".text{fill:#1f2328}.quiet{fill:#59636e}.grid{stroke:#d1d9e0}",
        ".plain{fill:none;stroke:#cf222e;stroke-width:1.5}.with{fill:#0969da33;stroke:#0969da;stroke-width:1.5}",
        ".plain-text{fill:#cf222e}.with-text{fill:#0969da}.budget{stroke:#1f2328;stroke-width:1.5;stroke-dasharray:6 4}",
        "@media (prefers-color-scheme: dark){",
        ".text{fill:#f0f6fc}.quiet{fill:#9198a1}.grid{stroke:#3d444d}",
        ".plain{stroke:#ff7b72}.with{fill:#4493f833;stroke:#4493f8}",
        ".plain-text{fill:#ff7b72}.with-text{fill:#4493f8}.budget{stroke:#f0f6fc}}",
        "</style>",
    ]
    for arm, peak, style, row in zip(arms, peaks, ("plain-text", "with-text"), (18, 38)):
        svg.append(f'<text x="{LEFT}" y="{row}" class="{style}">{arm["command"]}: peak {peak} MiB</text>')
    for mib in range(0, top + 1, 100):
        svg.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(mib)}" y2="{y(mib)}" class="grid"/>')
        svg.append(f'<text x="{LEFT - 8}" y="{y(mib) + 4}" text-anchor="end" class="quiet">{mib}</text>')
    every = next(step for step in (5, 10, 20, 60, 120, 300) if seconds / step <= 12)
    for second in range(0, int(seconds) + 1, every):
        svg.append(f'<text x="{x(second)}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" class="quiet">{second}</text>')
    with_points = arms[1]["points"]
    area = f"{x(0)},{y(0)} {outline(with_points)} {x(with_points[-1][0])},{y(0)}"
    svg += [
        f'<text x="{LEFT - 8}" y="{TOP - 8}" text-anchor="end" class="quiet">MiB</text>',
        f'<polygon points="{area}" class="with"/>',
        f'<polyline points="{outline(arms[0]["points"])}" class="plain"/>',
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(budget)}" y2="{y(budget)}" class="budget"/>',
        f'<text x="{WIDTH - RIGHT}" y="{y(budget) - 6}" text-anchor="end" class="text">budget: {budget} MiB</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 22}" class="quiet" font-size="11">Seconds. {data["workload"]} from nothing, one '
        f"run each. Plimsoll&#8217;s second build; its first peaked at {first_peak} MiB.</text>",
        f'<text x="{LEFT}" y="{HEIGHT - 6}" class="quiet" font-size="11">{data["date"]}, commit {data["commit"]}, '
        f'{data["machine"]}</text>',
        "</svg>",
    ]
    return "\n".join(svg) + "\n"


def main():
    match sys.argv[1:]:
        case ["measure"]:
            measure()
            PICTURE.write_text(draw())
        case ["draw"]:
            PICTURE.write_text(draw())
        case ["check"]:
            if PICTURE.read_text() != draw():
                sys.exit(f"{PICTURE.relative_to(ROOT)} is not drawn from {DATA.relative_to(ROOT)}; run {sys.argv[0]} draw")
        case _:
            sys.exit(__doc__)


main()
