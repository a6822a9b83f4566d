#!/usr/bin/env python3
"""Explores the commit protocol (commit.pml) with spin, whole and with single rules left out.

usage: check.py             all runs, told in TAP
       check.py NAME...     these runs only
       check.py --show NAME a short counterexample of a run that must fail

The whole protocol must hold in every state of each size. What lacks a rule must fail, by the
assertion named here, at a size at which the whole protocol holds: so that size does reach what the
rule is for.
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile

MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "commit.pml")
MEMORY_MIB = 1000  # each; three times what the largest takes
DEPTH = 100000

SIZES = {
    "journal": {"SLOTS": 5, "BATCHES": 8, "CHECKPOINTS": 0, "CRASHES": 4},
    "syncers": {"WINDOW": 3, "BATCHES": 6, "CHECKPOINTS": 0, "CRASHES": 2},
    "checkpoints": {"BLOCKS": 7, "BATCHES": 4, "CHECKPOINTS": 3, "CRASHES": 1},
    "laps": {"SLOTS": 5, "BATCHES": 6, "CHECKPOINTS": 2, "CRASHES": 2},
    "crashes": {"BATCHES": 4, "CHECKPOINTS": 1, "CRASHES": 3},
    "failures": {"BATCHES": 4, "CHECKPOINTS": 2, "CRASHES": 1, "FAILURES": 1},
    "keys": {"KEYS": 2, "BATCHES": 4, "CHECKPOINTS": 1, "CRASHES": 2},
}

# Rules left out, the size, and the assertion that must fail.
MUST_FAIL = [
    (["LATE_COVER"], "journal", "acknowledged_is_kept"),
    (["FUA_PAST"], "journal", "acknowledged_is_kept"),
    (["FUA_DATA"], "journal", "acknowledged_is_kept"),
    (["REUSE_IN_PERIOD"], "checkpoints", "acknowledged_is_kept"),
    (["REUSE_EARLY"], "checkpoints", "previous_is_whole"),
    (["NO_BARRIER"], "checkpoints", "newest_is_whole"),
    (["NO_WAIT"], "checkpoints", "chain_is_unbroken"),
    (["SLOT_BY_NUMBER"], "laps", "previous_is_whole"),
    (["TRIM_EARLY"], "laps", "chain_is_unbroken"),
    (["NO_VERIFY"], "journal", "reads_verify"),
    (["NO_REWRITE"], "failures", "chain_is_unbroken"),
    (["NO_SUPER_REWRITE"], "failures", "previous_is_whole"),
    (["NO_FLUSH_BEFORE_OPENING"], "failures", "no_damage_claimed"),
    (["NO_FLUSH_FIRST", "NO_FLUSH_BEFORE_OPENING"], "journal", "no_damage_claimed"),
    (["NO_EPOCH", "NO_SEQUENCE"], "journal", "prefix_of_history"),
    (["NEVER_IN_PLACE"], "journal", "room_is_kept"),
    (["ALWAYS_IN_PLACE"], "crashes", "chain_is_unbroken"),
    (["OPENING_TEARS"], "crashes", "no_damage_claimed"),
    (["ROOM_FOR_ONE"], "laps", "room_is_kept"),
    (["NO_RESERVE"], "checkpoints", "reads_verify"),
]

# Rules that another one makes up for. Should one of these fail, its rule has come to matter alone.
MAY_LACK = [
    (["NO_FLUSH_FIRST"], "laps"),
    (["NO_EPOCH"], "laps"),
    (["NO_SEQUENCE"], "laps"),
]


class Run:
    """One exploration: what is left out, at which size, and what must come of it."""

    def __init__(self, name, size, left_out=(), wanted=None):
        self.name, self.size, self.left_out, self.wanted = name, size, left_out, wanted

    def macros(self):
        sizes = [f"-D{key}={value}" for key, value in SIZES[self.size].items()]
        return sizes + [f"-D{macro}" for macro in self.left_out]


def all_runs():
    runs = [Run(f"holds_{size}", size) for size in SIZES]
    runs += [Run("fails_" + "_and_".join(left_out).lower(), size, left_out, wanted)
             for left_out, size, wanted in MUST_FAIL]
    runs += [Run("holds_" + "_and_".join(left_out).lower(), size, left_out)
             for left_out, size in MAY_LACK]
    return runs


def command(words, folder, must_end_well=True):
    done = subprocess.run(words, cwd=folder, text=True, errors="replace", check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if must_end_well and done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stdout[-2000:]}")
    return done.stdout


def build(run, folder, *more):
    command(["spin", "-a", *run.macros(), MODEL], folder)
    # There is one process: no order of processes to reduce.
    optimize = "-O0" if run.wanted else "-O2"
    command(["gcc", optimize, "-w", "-DSAFETY", "-DCOLLAPSE", "-DNOREDUCE",
             f"-DMEMLIM={MEMORY_MIB}", *more, "-o", "pan", "pan.c"], folder)


def explore(run):
    """What is wrong with the run, or None; and a line of figures."""
    with tempfile.TemporaryDirectory(prefix="model.") as folder:
        build(run, folder)
        # -E: a volume that has used up its batches may stand still. -b: no depth is cut off.
        output = command(["./pan", f"-m{DEPTH}", "-b", "-E"], folder, must_end_well=False)
        trail = ""
        if run.wanted is None and os.path.exists(os.path.join(folder, "commit.pml.trail")):
            trail = replay(run, folder)
    errors = re.search(r"errors: (\d+)", output)
    states = re.search(r"(\d+) states, stored", output)
    if not errors or not states or "Search not completed" in output and run.wanted is None:
        return f"the search did not end\n{output[-2000:]}\n{trail}", ""
    violated = re.search(r"assertion violated \(?([^()\s]+)\)?", output)
    found = violated.group(1) if violated else None
    if errors.group(1) != "0" and not found:
        return f"failed without an assertion\n{output[-2000:]}", ""
    if found != run.wanted:
        return f"wanted {run.wanted or 'no violation'}, found {found}\n{trail}", ""
    return None, f"{run.name}: {states.group(1)} states, {found or 'no violation'}"


def replay(run, folder):
    output = command(["spin", "-t", "-T", "-k", "commit.pml.trail", *run.macros(), MODEL], folder,
                     must_end_well=False)
    return output.split("spin: trail ends")[0]


def show(run):
    with tempfile.TemporaryDirectory(prefix="model.") as folder:
        build(run, folder, "-DREACH")
        command(["./pan", f"-m{DEPTH}", "-i", "-E"], folder, must_end_well=False)
        if not os.path.exists(os.path.join(folder, "commit.pml.trail")):
            return f"{run.name}: no violation"
        return replay(run, folder)


def tell(runs):
    """Runs them, as many at once as there are cores, and prints TAP."""
    failed = 0
    print(f"1..{len(runs)}")
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", os.cpu_count()))) as pool:
        for number, (run, result) in enumerate(zip(runs, pool.map(guarded, runs)), 1):
            wrong, figures = result
            print(f"{'not ok' if wrong else 'ok'} {number} - {run.name}")
            for line in (wrong or figures).splitlines():
                print(f"# {line}")
            failed += bool(wrong)
            sys.stdout.flush()
    return 1 if failed else 0


def guarded(run):
    try:
        return explore(run)
    except (OSError, RuntimeError) as error:
        return str(error), ""


def main(argv):
    runs = all_runs()
    names = [word for word in argv[1:] if word != "--show"]
    unknown = set(names) - {run.name for run in runs}
    if unknown or "-h" in argv or "--help" in argv or ("--show" in argv and not names):
        print(__doc__, "names: " + " ".join(run.name for run in runs), sep="\n", file=sys.stderr)
        return 2
    if not shutil.which("spin") or not shutil.which("gcc"):
        print("1..0 # SKIP spin or gcc is not installed")
        return 0
    runs = [run for run in runs if not names or run.name in names]
    if "--show" in argv:
        for run in runs:
            print(show(run))
        return 0
    return tell(runs)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
