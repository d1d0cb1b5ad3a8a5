#!/usr/bin/env python3
"""Fits the cold model (crates/core/src/forecast/cold.rs) to recorded builds.

    fit.py collect HOME... > data.csv               from Plimsoll homes (logs/, history.sqlite3) to rows
    fit.py fit data.csv [--exclude Cargo.lock]...   the coefficients as Rust, residuals, ramp and links
    fit.py test data.csv held-out.csv [--exclude Cargo.lock]...   fits the first, tries it on the second

A row is one complete run of one unit that the build knew nothing of. Packages named in an excluded
lock file take no part in the fit. Needs numpy and scipy; README.md says how the rows were made.
"""

import csv
import glob
import json
import math
import re
import sqlite3
import sys
import zlib

import numpy as np
from scipy.optimize import least_squares

MIB = 1024.0 * 1024.0
# As MEMORY_PER_TOKEN in crates/core/src/forecast/estimate.rs.
MEMORY_PER_TOKEN = 0.024
# As `cold_link`: how a link's forecast gives back its inputs (the share was 0.9 behind data.csv).
LINK_FLOOR, LINK_SHARE = 16 * MIB, 0.33
# Shares of the processor time at which a curve's memory is kept, for the ramp.
SHARES = [0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8]
TEXT = ["package", "crate", "kind"]
COLUMNS = TEXT + ["check", "optimised", "debuginfo", "source", "dependencies", "tokens", "peak", "cpu",
                  "link_inputs", "link_peak"] + [f"at_{share}" for share in SHARES]


# -- rows ----------------------------------------------------------------------------------------------


def collect(homes):
    """One row per unit of each home's logs of which the history holds a complete run."""
    for home in homes:
        history = sqlite3.connect(f"file:{home}/history.sqlite3?mode=ro", uri=True)
        runs = {}
        for key, *run in history.execute(
            "select u.key, u.package, u.crate, o.curve, o.cpu, o.link_peak, o.tokens "
            "from observations o join units u on u.id = o.unit order by o.id desc"
        ):
            runs[key] = run
        for log in sorted(glob.glob(f"{home}/logs/build-*.jsonl")):
            yield from rows_of(log, runs)


def rows_of(log, runs):
    registered, asked, seen = {}, {}, set()
    for line in open(log):
        event = json.loads(line)
        what = event.get("event")
        if what == "registered" and event.get("cold"):
            registered[event["unit"]] = event
        elif what == "link-asked":
            asked[event["unit"]] = event["forecast"]
        elif what == "finished" and event["ok"] and event["unit"] in registered:
            unit = registered[event["unit"]]
            if unit["key"] not in runs or unit["key"] in seen:
                continue
            seen.add(unit["key"])
            package, crate, curve, cpu, link_peak, tokens = runs[unit["key"]]
            yield row_of(event["unit"], unit, package, crate, json.loads(curve), cpu, link_peak, tokens, asked)


def row_of(id, unit, package, crate, curve, cpu, link_peak, tokens, asked):
    peak = max((memory for _, memory in curve), default=0)
    cold = unit["cold"]
    inputs = max(0, asked.get(id, 0) - LINK_FLOOR) / LINK_SHARE
    row = {
        "package": package, "crate": crate, "kind": unit["kind"], "check": int(cold["check"]),
        "optimised": int(cold["optimised"]), "debuginfo": int(cold["debuginfo"]),
        "source": cold["source"], "dependencies": cold["dependencies"], "tokens": tokens,
        "peak": peak, "cpu": cpu, "link_inputs": round(inputs), "link_peak": link_peak,
    }
    for share in SHARES:
        until = share * cpu
        reached = [memory for start, memory in curve if start <= until]
        reached += [memory for start, memory in curve if start > until][:1]
        row[f"at_{share}"] = round(max(reached) / peak, 3) if peak else 0
    return row


def load(path, excluded=frozenset()):
    with open(path) as file:
        rows = [
            {name: value if name in TEXT else float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        ]
    return [row for row in rows if row["package"] not in excluded]


def measured(rows):
    """Compilers that ran long enough to be sampled: fewer than three clock ticks show little."""
    return [r for r in rows if r["kind"] != "build-script-run" and r["cpu"] >= 30 and r["peak"] >= 14 * MIB]


# -- the model -----------------------------------------------------------------------------------------

NAMES = ["intercept", "source", "dependencies", "check", "optimised", "debuginfo", "proc_macro", "script"]
# What cannot be: optimising and debug information take nothing away, checking adds nothing.
AT_LEAST = {"source": 0, "dependencies": 0, "optimised": 0, "debuginfo": 0}
AT_MOST = {"check": 0}
# Where to stay unless the data says otherwise: cranelift-codegen, one token, in the architecture's
# table (front end only 1,069 of 1,340 MiB and 18 of 39 s; without debug information 1,287 MiB and 36 s).
PEAK_PRIOR = {"check": -0.25, "optimised": 0.1, "debuginfo": 0.04}
CPU_PRIOR = {"check": -0.75, "optimised": 0.7, "debuginfo": 0.08}
# Of release builds too little was recorded: this is believed, not fitted (see README.md).
BELIEVED = ["optimised"]
# How strongly: as 1 / standard deviation of what is believed beforehand.
DRAWN = 0.7
# KiB of source that a MiB of dependencies is worth to an executable, which instantiates their generics.
INSTANTIATED = [0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0]


def features(row, instantiated):
    kind = row["kind"]
    source = row["source"] / 1024
    if kind == "build-script":
        # A build script's root is the package's: its sources are not the script's.
        source = 0.0
    elif kind in ("bin", "test"):
        source += instantiated * row["dependencies"] / MIB
    return [1, math.log(source + 1), math.log(row["dependencies"] / MIB + 1), row["check"],
            row["optimised"], row["debuginfo"], kind == "proc-macro", kind == "build-script"]


class Fit:
    """ln(floor + exp(linear)), by a robust loss, drawn to the prior and kept within the bounds above."""

    def __init__(self, unit, floor, truth, prior):
        self.unit, self.floor, self.truth, self.prior = unit, floor, truth, prior

    def table(self, rows):
        return np.array([features(row, self.instantiated) for row in rows], float), np.log([self.truth(row) for row in rows])

    def predict(self, x, b=None):
        return np.log(self.floor + np.exp(x @ (self.b if b is None else b)))

    def fit(self, rows):
        best = (math.inf, None, None)
        for self.instantiated in INSTANTIATED:
            lost = self.fit_linear(rows)
            best = min(best, (lost, self.instantiated, tuple(self.b)))
        _, self.instantiated, b = best
        self.b = np.array(b)
        return self

    def fit_linear(self, rows):
        x, y = self.table(rows)
        low, high = (np.array([of.get(name, far) for name in NAMES], float)
                     for of, far in ((AT_LEAST, -9), (AT_MOST, 9)))
        prior = np.array([self.prior.get(name, 0.0) for name in NAMES])
        paired = self.paired(rows)
        if paired is not None:
            at = NAMES.index("check")
            prior[at], low[at], high[at] = paired, paired, paired
        for at in (NAMES.index(name) for name in BELIEVED):
            low[at], high[at] = prior[at], prior[at]
        low, high = low - 1e-6, high + 1e-6
        self.b = np.append(y.mean() - 1, prior[1:])
        weight = np.ones(len(y))
        for _ in range(4):
            def loss(b):
                return np.append(np.sqrt(weight) * (self.predict(x, b) - y) / 0.35, DRAWN * (b - prior)[1:])

            self.b = least_squares(loss, self.b, loss="soft_l1", bounds=(low, high)).x
            # An error counts by the root of what it is an error of: a large unit's costs more.
            weight = np.exp(self.predict(x)) ** 0.5
            weight /= weight.mean()
        error = np.abs(self.predict(x) - y)
        binaries = np.array([row["kind"] in ("bin", "test") for row in rows])
        return (error[binaries] ** 2).mean() if binaries.any() else 0.0

    def paired(self, rows):
        """What checking changes, from crates that were both checked and built; None without any."""
        both = {}
        for row in rows:
            if row["kind"] == "lib" and row["cpu"] >= 500 and not row["optimised"]:
                above = math.log(max(self.truth(row) - self.floor, 1.0))
                both.setdefault((row["package"], row["crate"]), {}).setdefault(row["check"], []).append(above)
        changes = [np.mean(of[1]) - np.mean(of[0]) for of in both.values() if len(of) == 2]
        return min(0.0, float(np.mean(changes))) if len(changes) >= 5 else None

    def residuals(self, rows):
        x, y = self.table(rows)
        return np.exp(self.predict(x)), y - self.predict(x)

    def cross_validated(self, rows, folds=8):
        """Residuals of each package under a fit that has not seen it."""
        fold = np.array([zlib.crc32(row["package"].encode()) % folds for row in rows])
        predicted, errors = np.zeros(len(rows)), np.zeros(len(rows))
        for k in np.unique(fold):
            rest = [row for row, f in zip(rows, fold) if f != k]
            one = Fit(self.unit, self.floor, self.truth, self.prior).fit(rest)
            predicted[fold == k], errors[fold == k] = one.residuals([r for r, f in zip(rows, fold) if f == k])
        return predicted, errors


def peak_fit():
    return Fit("MiB", 20.0, lambda row: row["peak"] / MIB / (1 + MEMORY_PER_TOKEN * (row["tokens"] - 1)), PEAK_PRIOR)


def cpu_fit():
    return Fit("ms", 30.0, lambda row: max(row["cpu"], 20.0), CPU_PRIOR)


# -- what is printed -----------------------------------------------------------------------------------


def residual_table(title, fit, predicted, errors, cuts):
    print(f"\n{title}: ln(measured / forecast), {len(errors)} runs, mean {errors.mean():+.2f}, sd {errors.std():.2f}")
    for low, high in zip(cuts, cuts[1:] + [1e12]):
        some = errors[(predicted >= low) & (predicted < high)]
        if len(some):
            print(f"  forecast from {low:6.0f} {fit.unit}: n {len(some):3}, mean {some.mean():+.2f}, "
                  f"sd {some.std():.2f}, 90 % below {np.quantile(some, 0.9):+.2f}")


CUTS = {"MiB": [0, 40, 80, 200, 500], "ms": [0, 200, 1000, 5000, 20000]}


def largest(fit, rows, n):
    predicted, errors = fit.residuals(rows)
    for i in sorted(range(len(rows)), key=lambda i: -fit.truth(rows[i]))[:n]:
        row = rows[i]
        print(f"  {row['package']:32} {row['kind']:11} {row['source'] / MIB:6.2f} MiB source, "
              f"{row['dependencies'] / MIB:5.0f} MiB deps: forecast {predicted[i]:6.0f} {fit.unit}, "
              f"measured {fit.truth(row):6.0f}")


def rust(name, fit):
    print(f"\nconst {name}: Fit = Fit {{\n    floor: {fit.floor:.1f},")
    for key, value in zip(NAMES, fit.b):
        print(f"    {key}: {value:.2f},".replace("-0.00", "0.00"))
    print(f"    instantiated: {fit.instantiated:.1f},")
    print("};")


def ramp(rows):
    rows = [row for row in rows if row["cpu"] >= 1000 and row["kind"] != "build-script-run"]
    print(f"\nshare of the peak reached by a share of the processor time, {len(rows)} runs of a second and more")
    for share in SHARES:
        column = [row[f"at_{share}"] for row in rows]
        print(f"  {share:4.0%}: " + ", ".join(f"{q:.0%} below {np.quantile(column, q):.2f}" for q in (0.5, 0.75, 0.9)))


def links(rows):
    print("\nlinks of 60 MiB and more of inputs")
    for row in sorted(rows, key=lambda row: -row["link_inputs"]):
        if row["link_inputs"] >= 60 * MIB and row["link_peak"]:
            inputs, peak = row["link_inputs"] / MIB, row["link_peak"] / MIB
            print(f"  {row['package']:32} {inputs:5.0f} MiB inputs, peak {peak:4.0f} MiB, share {peak / inputs:.2f}")


def main():
    words = sys.argv[1:]
    excluded = set()
    while "--exclude" in words:
        at = words.index("--exclude")
        excluded |= set(re.findall(r'^name = "(.+)"', open(words[at + 1]).read(), re.M))
        del words[at:at + 2]
    match words:
        case ["collect", *homes]:
            out = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
            out.writeheader()
            out.writerows(collect(homes))
        case ["fit", data]:
            rows = load(data, excluded)
            for name, fit in (("PEAK", peak_fit()), ("CPU", cpu_fit())):
                fit.fit(measured(rows))
                rust(name, fit)
                residual_table("cross-validated by package", fit, *fit.cross_validated(measured(rows)), CUTS[fit.unit])
                largest(fit, measured(rows), 12)
            ramp(rows)
            links(rows)
        case ["test", data, held_out]:
            for fit in (peak_fit(), cpu_fit()):
                fit.fit(measured(load(data, excluded)))
                held = measured(load(held_out))
                residual_table("held out", fit, *fit.residuals(held), CUTS[fit.unit])
                largest(fit, held, 25)
            links(load(held_out))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
