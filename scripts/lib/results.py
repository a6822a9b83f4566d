#!/usr/bin/env python3
"""Collects the results of tests, each counted once, and sums them.

usage: results.py FILE note STAGE pass|fail|skip NAME [REASON]
       results.py FILE meson BUILD STAGE
       results.py FILE sum [empty]

FILE gets one line of JSON for each result. `meson` reads the log that `meson test` left in BUILD:
a program that speaks TAP counts with each of its subtests, any other as one. A test that ran in
several builds counts once: failed if it failed anywhere, skipped only if it ran nowhere. That
nothing was counted is a failure, unless `empty` says that there was nothing to count.
"""

import json
import os
import re
import sys

TAP_LINE = re.compile(r"^(ok|not ok)\b\s*(\d+)?\s*-?\s*([^#]*)(?:#\s*(\w+)\s*(.*))?$")
TAP_PLAN = re.compile(r"^1\.\.(\d+)(?:\s*#\s*SKIP\S*\s*(.*))?$", re.IGNORECASE)
PASSED = {"OK", "EXPECTEDFAIL"}
SEVERITY = {"skip": 0, "pass": 1, "fail": 2}


def tap_results(text):
    """(verdict, name, reason) of each subtest; the last item is the planned number or None."""
    found = []
    planned = None
    for line in text.splitlines():
        plan = TAP_PLAN.match(line)
        if plan:
            planned = int(plan.group(1))
            if planned == 0:
                found.append(("skip", "all", plan.group(2) or ""))
            continue
        match = TAP_LINE.match(line)
        if not match:
            continue
        word, number, name, directive, reason = match.groups()
        verdict = "pass" if word == "ok" else "fail"
        if directive and directive.upper() == "SKIP":
            verdict = "skip"
        found.append((verdict, name.strip() or number or "?", reason or ""))
    return found, planned


def is_tap(text):
    return any(TAP_PLAN.match(line) for line in text.splitlines())


def meson_results(build, stage):
    """Yields one record for each test in the log of the last `meson test` in `build`."""
    log = os.path.join(build, "meson-logs", "testlog.json")
    with open(log, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            yield from program_results(json.loads(line), build, stage)


def program_results(entry, build, stage):
    program = identity(entry, build)
    result = entry["result"]
    text = entry.get("stdout", "")
    found, planned = tap_results(text) if is_tap(text) else ([], None)

    names = {}
    for verdict, name, reason in found:
        names[name] = names.get(name, 0) + 1
        if names[name] > 1:
            name = f"{name} ({names[name]})"
        yield record(verdict, f"{program}: {name}", reason, stage)

    failed = [item for item in found if item[0] == "fail"]
    if found and result in PASSED | {"SKIP"}:
        return
    is_whole = found and (planned is None or planned == len(found))
    if is_whole and failed:
        return
    # cmocka says "not ok" of what it skips, and Meson believes the first half of that.
    if is_whole and result == "FAIL" and entry.get("returncode", 0) == 0:
        return
    # Not TAP, or a program that died, hung or was refused: it counts as a whole.
    if result in PASSED:
        yield record("pass", program, "", stage)
    elif result == "SKIP":
        yield record("skip", program, last_line(entry), stage)
    else:
        yield record("fail", program, f"{result} {last_line(entry)}".strip(), stage)


def identity(entry, build):
    """The command, named the same in every build."""
    root = os.path.abspath(build) + os.sep
    words = [str(word).replace(root, "") for word in entry.get("command", [])]
    name = entry["name"].split(" / ")[-1]
    return f"{name} [{' '.join(words)}]" if words else name


def last_line(entry):
    lines = (entry.get("stderr", "") + entry.get("stdout", "")).strip().splitlines()
    return lines[-1] if lines else ""


def record(verdict, name, reason, stage):
    return {"verdict": verdict, "name": name, "reason": reason, "stage": stage}


def append(path, records):
    with open(path, "a", encoding="utf-8") as out:
        for item in records:
            out.write(json.dumps(item) + "\n")


def merged(path):
    """The worst verdict for each name, in the order of first appearance."""
    worst = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                item = json.loads(line)
                old = worst.get(item["name"])
                if not old or SEVERITY[item["verdict"]] > SEVERITY[old["verdict"]]:
                    worst[item["name"]] = item
    return list(worst.values())


def summarize(path, may_be_empty):
    """Prints what failed and what was skipped, then the closing line; the exit code."""
    results = merged(path)
    count = {verdict: 0 for verdict in SEVERITY}
    for item in results:
        count[item["verdict"]] += 1
    for verdict in ("skip", "fail"):
        for item in results:
            if item["verdict"] == verdict:
                print(f"{verdict}: {item['stage']}: {item['name']}: {item['reason']}".rstrip(": "))
    line = f"{count['pass']} passed, {count['fail']} failed"
    if count["skip"]:
        line += f", {count['skip']} skipped"
    print(line, flush=True)
    return 1 if count["fail"] or not (count["pass"] or may_be_empty) else 0


def main(argv):
    if len(argv) in (6, 7) and argv[2] == "note" and argv[4] in SEVERITY:
        append(argv[1], [record(argv[4], argv[5], "".join(argv[6:]), argv[3])])
        return 0
    if len(argv) == 5 and argv[2] == "meson":
        append(argv[1], meson_results(argv[3], argv[4]))
        return 0
    if len(argv) in (3, 4) and argv[2] == "sum" and argv[3:] in ([], ["empty"]):
        return summarize(argv[1], may_be_empty=bool(argv[3:]))
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
