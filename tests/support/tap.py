"""Tests of scripts: each a function named by the sentence it proves, told in TAP."""

import sys
import traceback


class Skip(Exception):
    """Raised by a test that cannot run here; says why."""


def run(tests):
    """Runs all, prints TAP, ends the program."""
    print(f"1..{len(tests)}")
    failed = 0
    for number, test in enumerate(tests, 1):
        name = test.__name__
        try:
            test()
        except Skip as reason:
            print(f"ok {number} - {name} # SKIP {reason}")
        except Exception:  # whatever it is, it is told and the next test runs
            failed += 1
            print(f"not ok {number} - {name}")
            for line in traceback.format_exc().splitlines():
                print(f"# {line}")
        else:
            print(f"ok {number} - {name}")
        sys.stdout.flush()
    sys.exit(1 if failed else 0)


def equal(got, want):
    if got != want:
        raise AssertionError(f"got {got!r}, want {want!r}")
