#!/usr/bin/env python3
"""Proves that the crash suite finds every planted bug, and nothing without it.

usage: plants.py CRASH         in a build with plants: each is found, its scenario replays with the
                               plant and passes without it
       plants.py --none CRASH  in any other build: there is no planted bug in the program
"""

import os
import subprocess
import sys

# Where each is met soonest: a stale node where a write was lost, a swallowed error after a flush
# that failed, what concerns the journal's room and its marks where it goes round, counts of
# references where content is cloned.
RANDOM = ["--kind", "random"]
LAPS = ["--kind", "laps"]
CLONE = ["--workload", "pair.100.98.0"]  # a clone, its source gone, parts of it punched
PLANTS = {
    1: [],
    2: [],
    3: [],
    4: ["--kind", "settled", "--fault", "lose"],
    5: [],
    6: LAPS,
    7: LAPS,
    8: [],
    9: LAPS,
    10: LAPS,
    11: [*RANDOM, "--fault", "failflush"],
    12: [],
    13: LAPS,
    14: [*RANDOM, "--fault", "failflush"],
    15: [],
    16: [],
    17: LAPS,
    18: [],
    19: [],
    20: CLONE,
    21: CLONE,
    22: CLONE,
    23: CLONE,
    24: CLONE,
    25: ["--kind", "leaves"],
    26: [],
}
SEED = "1"
VIOLATIONS = 20  # found; of most plants there are more
REPLAYED = 6  # of them


def run(crash, plant, *options):
    env = dict(os.environ)
    env.pop("COP_PLANT", None)
    if plant:
        env["COP_PLANT"] = str(plant)
    return subprocess.run([crash, "--seed", SEED, *options], env=env, text=True, errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def scenarios_of(output):
    """What replays each violation, those with one cut first."""
    found = [line.split("'")[1] for line in output.splitlines()
             if line.startswith("  crash --replay '")]
    return sorted(found, key=lambda scenario: "cut2=" in scenario)


def replays(crash, plant, scenario):
    """It fails with the plant, and passes without."""
    return (run(crash, plant, "--replay", scenario).returncode == 1 and
            run(crash, None, "--replay", scenario).returncode == 0)


def prove(crash, plant):
    found = run(crash, plant, "--violations", str(VIOLATIONS), "--seconds", "240", "--jobs", "2",
                *PLANTS[plant])
    scenarios = scenarios_of(found.stdout)
    if found.returncode != 1 or not scenarios:
        return f"was not found: {found.stdout[-500:]}"
    for scenario in scenarios[:REPLAYED // 2] + scenarios[-REPLAYED // 2:]:
        if not replays(crash, plant, scenario):
            return f"does not replay with it, or fails without: {scenario}"
    print(f"plant {plant}: {found.stdout.splitlines()[-1]}: {found.stdout.splitlines()[0]}")
    return None


def main():
    if sys.argv[1] == "--none":
        symbols = subprocess.run(["nm", sys.argv[2]], text=True, stdout=subprocess.PIPE, check=True)
        return any(line.endswith(" planted") for line in symbols.stdout.splitlines())
    failures = 0
    for plant in PLANTS:
        failure = prove(sys.argv[1], plant)
        if failure:
            print(f"plant {plant}: {failure}")
            failures += 1
    print(f"{len(PLANTS)} plants, {failures} failures")
    return failures > 0


sys.exit(main())
