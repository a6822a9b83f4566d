"""How scripts/lib/results.py counts: the sum is what the tests said, each once."""

import json
import os
import subprocess
import sys
import tempfile

import tap

RESULTS = sys.argv[1]


def tally(*runs):
    """The output and exit code after `meson test` runs, each a list of log entries."""
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "results")
        for number, entries in enumerate(runs):
            build = os.path.join(folder, f"build{number}")
            os.makedirs(os.path.join(build, "meson-logs"))
            with open(os.path.join(build, "meson-logs", "testlog.json"), "w",
                      encoding="utf-8") as log:
                for item in entries:
                    item = dict(item, command=[os.path.join(build, item["name"])])
                    log.write(json.dumps(item) + "\n")
            command(file, "meson", build, "unit")
        done = command(file, "sum")
        return done.stdout.splitlines(), done.returncode


def command(file, *words):
    return subprocess.run([sys.executable, RESULTS, file, *words], capture_output=True, text=True,
                          check=False)


def entry(name, result, stdout="", stderr=""):
    return {"name": f"coppice:unit / {name}", "result": result, "stdout": stdout, "stderr": stderr}


def counts_each_subtest():
    lines, code = tally([entry("a", "OK", "1..2\nok 1 - x\nok 2 - y\n")])
    tap.equal((lines, code), (["2 passed, 0 failed"], 0))


def counts_a_program_without_subtests_as_one():
    lines, code = tally([entry("a", "OK"), entry("b", "FAIL", stderr="why\n")])
    tap.equal((lines[-1], code), ("1 passed, 1 failed", 1))


def names_what_failed_and_what_was_skipped():
    text = "1..3\nok 1 - x\nnot ok 2 - y\nok 3 - z # SKIP no z\n"
    lines, code = tally([entry("a", "FAIL", text)])
    tap.equal((lines[-1], code), ("1 passed, 1 failed, 1 skipped", 1))
    tap.equal(len([line for line in lines if line.startswith("fail: ") and ": y" in line]), 1)
    tap.equal(len([line for line in lines if line.startswith("skip: ") and "no z" in line]), 1)


def takes_what_cmocka_skips_for_skipped():
    text = "1..2\nok 1 - x\n# skipped: no y\nnot ok 2 # SKIP y\n# ok - tests\n"
    skipped = entry("a", "FAIL", text)
    lines, code = tally([dict(skipped, returncode=0)])
    tap.equal((lines[-1], code), ("1 passed, 0 failed, 1 skipped", 0))
    lines, code = tally([dict(skipped, returncode=23)])
    tap.equal((lines[-1], code), ("1 passed, 1 failed, 1 skipped", 1))


def counts_a_program_that_died_in_the_middle():
    lines, code = tally([entry("a", "ERROR", "1..3\nok 1 - x\n")])
    tap.equal((lines[-1], code), ("1 passed, 1 failed", 1))
    lines, code = tally([entry("a", "TIMEOUT", "1..3\nok 1 - x\nnot ok 2 - y\n")])
    tap.equal((lines[-1], code), ("1 passed, 2 failed", 1))


def counts_a_test_of_two_builds_once():
    good = [entry("a", "OK", "1..1\nok 1 - x\n")]
    bad = [entry("a", "FAIL", "1..1\nnot ok 1 - x\n")]
    tap.equal(tally(good, good)[0], ["1 passed, 0 failed"])
    tap.equal(tally(good, bad)[0][-1], "0 passed, 1 failed")
    tap.equal(tally(bad, good)[0][-1], "0 passed, 1 failed")


def counts_a_test_that_another_build_ran_as_run():
    skipped = [entry("a", "OK", "1..1\nok 1 - x # SKIP not here\n")]
    good = [entry("a", "OK", "1..1\nok 1 - x\n")]
    tap.equal(tally(skipped, good)[0], ["1 passed, 0 failed"])


def counts_a_whole_program_skipped():
    lines, _ = tally([entry("a", "SKIP", "1..0 # SKIP no uring\n"), entry("b", "OK")])
    tap.equal(lines[-1], "1 passed, 0 failed, 1 skipped")


def fails_when_nothing_ran():
    lines, code = tally([])
    tap.equal((lines[-1], code), ("0 passed, 0 failed", 1))


def passes_when_there_was_nothing_to_run():
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "results")
        tap.equal(command(file, "sum", "empty").returncode, 0)
        command(file, "note", "build", "fail", "stage build", "exit code 1")
        tap.equal(command(file, "sum", "empty").returncode, 1)


tap.run([
    counts_each_subtest,
    counts_a_program_without_subtests_as_one,
    names_what_failed_and_what_was_skipped,
    takes_what_cmocka_skips_for_skipped,
    counts_a_program_that_died_in_the_middle,
    counts_a_test_of_two_builds_once,
    counts_a_test_that_another_build_ran_as_run,
    counts_a_whole_program_skipped,
    fails_when_nothing_ran,
    passes_when_there_was_nothing_to_run,
])
