"""kill -9 at random moments: what was there stays, and of the work the first part is done.

The moments follow from a seed, which is printed; COPPICE_SEED sets it. The same seed gives the same
delays, and the machine decides what they hit.
"""

import os
import random
import shutil
import subprocess
import sys
import time

import tap
import world
from world import World

SEED = int(os.environ.get("COPPICE_SEED", random.SystemRandom().randrange(1 << 32)))
WORKER = os.environ["WORKER"]
COPIES = 14  # kills of a copy
REMOVALS = 6
MOVES = 10
RECOVERIES = 5
STORMS = 14

# Of the worker's storm: a file lives for so many changes of five kinds.
KINDS, KEPT_FILES, LOG_BYTES = 5, 10, 16


def _rng(name):
    print(f"# {name}: seed {SEED}", flush=True)
    return random.Random(f"{SEED} {name}")


def _plant(w, name, rng, files, folders):
    """A tree of files of many sizes, each with bytes of its own."""
    for number in range(files):
        folder = f"{name}/{rng.randrange(folders)}/{rng.randrange(3)}"
        size = rng.choice((0, 1, 70, 900, 4096, 5000, 30_000))
        if rng.random() < 0.02:
            size = 400_000
        w.write(f"{folder}/{number}{'x' * rng.randrange(40)}", rng.randbytes(size))


def _listing(w, name):
    """Every path below a directory of the volume: {path: True for a directory}."""
    found = {}
    folder = ""
    for line in w.run("ls", "-R", "-l", f"v.cop:{name}").lines():
        if line.endswith(":") and line.startswith("v.cop:"):
            folder = line[len("v.cop:"):-1].rstrip("/")
        elif line:
            found[f"{folder}/{line.rsplit(None, 1)[1]}"] = line[0] == "d"
    return found


def _kill_after(w, seconds, *words):
    """Runs a command and kills it; False if it came to its end before, and went well."""
    process = w.start(*words, stderr=subprocess.PIPE)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    process.stderr.read()
    process.stderr.close()
    code = process.wait()
    assert code in (0, -9), code
    w.wait_until_unlocked()
    return code != 0


def _seconds(w, *words):
    began = time.monotonic()
    w.run(*words)
    return time.monotonic() - began


def _restore(w):
    subprocess.run(["cp", "--sparse=always", w.path("base.cop"), w.path("v.cop")], check=True)


def _whole(w, source, name, paths):
    """What the volume has under `name` is what the host has under `source`, for these files."""
    shutil.rmtree(w.path("back"), ignore_errors=True)
    w.run("cp", "-r", "--no-sync", f"v.cop:{name}", "back")
    for path in paths:
        there, here = w.path("back", path), w.path(source, path)
        with open(there, "rb") as got, open(here, "rb") as want:
            assert got.read() == want.read(), f"{path} is not whole"
        tap.equal(os.stat(there).st_mtime_ns, os.stat(here).st_mtime_ns)
        tap.equal(os.stat(there).st_mode, os.stat(here).st_mode)


def _files_below(listing, name):
    return {path[len(name) + 1:] for path, is_folder in listing.items() if not is_folder}


def leaves_what_was_there_and_a_prefix_of_a_copy_that_is_killed():
    rng = _rng("copy")
    with World("192M") as w:
        _plant(w, "before", rng, 150, 4)
        _plant(w, "src", rng, 1500, 12)
        w.run("cp", "-r", "before", "v.cop:/")
        os.rename(w.path("v.cop"), w.path("base.cop"))
        _restore(w)
        began = time.monotonic()
        lines = w.run("cp", "-r", "-v", "src", "v.cop:/").lines()
        took = time.monotonic() - began
        # In the order in which they got their names.
        order = [line.split(" -> ")[0] for line in lines]
        order = [path[4:] for path in order if path != "src" and os.path.isfile(w.path(path))]
        tap.equal(len(order), 1500)
        before = _files_below(_listing(w, "/before"), "/before")
        tap.equal(len(before), 150)
        kept = []
        for _ in range(COPIES):
            _restore(w)
            _kill_after(w, rng.uniform(0, took), "cp", "-r", "src", "v.cop:/")
            names = w.names()
            assert names in (["before"], ["before", "src"]), names
            # A reader replays the journal in memory and writes nothing.
            with w.unchanged():
                there = _files_below(_listing(w, "/src"), "/src") if "src" in names else set()
                tap.equal(there, set(order[:len(there)]))
                w.is_sound()
            w.run("mkdir", "v.cop:/after")  # a writer goes on with what was found
            w.is_sound()
            tap.equal(w.names(), ["after", *names])
            if there:
                tap.equal(_files_below(_listing(w, "/src"), "/src"), there)
                _whole(w, "src", "/src", there)
            _whole(w, "before", "/before", before)
            kept.append(len(there))
        print(f"# of 1500 files there were {sorted(kept)}")


def leaves_a_prefix_of_a_removal_that_is_killed():
    rng = _rng("removal")
    with World("96M") as w:
        _plant(w, "before", rng, 40, 3)
        _plant(w, "src", rng, 600, 8)
        w.run("cp", "-r", "before", "src", "v.cop:/")
        everything = _files_below(_listing(w, "/src"), "/src")
        tap.equal(len(everything), 600)
        os.rename(w.path("v.cop"), w.path("base.cop"))
        _restore(w)
        took = _seconds(w, "rm", "-r", "v.cop:/src")
        tap.equal(w.names(), ["before"])
        left = []
        for _ in range(REMOVALS):
            _restore(w)
            _kill_after(w, rng.uniform(0, took / 2), "rm", "-r", "v.cop:/src")
            w.is_sound()
            there = set()
            if "src" in w.names():
                there = _files_below(_listing(w, "/src"), "/src")
                _whole(w, "src", "/src", there)
            assert there <= everything
            left.append(there)
            w.run("rm", "-r", "-f", "v.cop:/src")
            w.is_sound()
            _whole(w, "before", "/before", _files_below(_listing(w, "/before"), "/before"))
        # The order is always the same, so of any two of them one goes on where the other stopped.
        left.sort(key=len)
        for one, other in zip(left, left[1:]):
            assert one <= other, "not a prefix of one order"
        print(f"# of 600 files {[len(there) for there in left]} were left")


def leaves_each_move_done_or_not_begun():
    rng = _rng("moves")
    with World("32M") as w:
        count = 600
        for number in range(count):
            w.write(f"src/{number:03}", b"new %03d" % number)
            w.write(f"into/{number:03}", b"old %03d" % number)  # each move replaces a file
        operands = [f"v.cop:/src/{number:03}" for number in range(count)]
        w.run("cp", "-r", "src", "into", "v.cop:/")
        os.rename(w.path("v.cop"), w.path("base.cop"))
        _restore(w)
        took = _seconds(w, "mv", *operands, "v.cop:/into")
        moved = []
        for _ in range(MOVES):
            _restore(w)
            _kill_after(w, rng.uniform(0, took), "mv", *operands, "v.cop:/into")
            w.is_sound()
            done = count - len(w.names("/src"))
            moved.append(done)
            tap.equal(w.names("/src"), [f"{number:03}" for number in range(done, count)])
            shutil.rmtree(w.path("into"))
            w.run("cp", "-r", "--no-sync", "v.cop:/into", "into")
            for number in range(count):
                word = "new" if number < done else "old"
                tap.equal(w.read(f"into/{number:03}"), b"%s %03d" % (word.encode(), number))
        print(f"# of {count} moves there were {sorted(moved)}")


def recovers_the_same_however_often_recovery_is_killed():
    rng = _rng("recovery")
    with World("96M") as w:
        _plant(w, "src", rng, 900, 10)
        os.rename(w.path("v.cop"), w.path("base.cop"))
        _restore(w)
        took = _seconds(w, "cp", "-r", "src", "v.cop:/")
        for _ in range(RECOVERIES):
            _restore(w)
            _kill_after(w, rng.uniform(took / 3, took), "cp", "-r", "src", "v.cop:/")
            want = _listing(w, "/")
            # Opening for writing is what recovers; sync does nothing else.
            span = 0.06
            for _ in range(rng.randrange(2, 7)):
                _kill_after(w, rng.uniform(0, span), "sync", "v.cop")
                tap.equal(_listing(w, "/"), want)
            w.is_sound()
            w.run("sync", "v.cop")
            tap.equal(_listing(w, "/"), want)
            if want:
                _whole(w, "src", "/src", _files_below(_listing(w, "/src"), "/src"))
            w.is_sound()


def _storm_names(number):
    """What is there after so many changes of the worker: in the root, and in the directory d."""
    root, folder = {"d", "log"}, set()
    for first in range(1, number + 1, KINDS):
        if number < first + 2:
            root.add(f"f{first:07}")
        elif number < first + KINDS * KEPT_FILES + 4:
            folder.add(f"g{first:07}")
    return root, folder


def _storm_content(first):
    size = first * 37 % 9000 + 1
    return bytes((first * 7 + i % 251) & 255 for i in range(size))


def _storm_log(number):
    return b"".join(b"record %08d\n" % first for first in range(1, number - 2, KINDS))


def _check_storm(w, synced, begun):
    """Names are those after one change between the two; bytes are a prefix of each file's own."""
    root = set(w.names())
    folder = set(w.names("/d"))
    fit = [number for number in range(synced, begun + 1)
           if _storm_names(number) == (root, folder)]
    assert fit, f"no state from {synced} to {begun} has these names: {root} {folder}"
    log = w.cat("/log")
    assert _storm_log(begun).startswith(log), "the log has what was not written"
    assert len(log) >= len(_storm_log(synced)), "the log has lost what was synced"
    shutil.rmtree(w.path("d"), ignore_errors=True)
    w.run("cp", "-r", "--no-sync", "v.cop:/d", "d")
    for name in folder:
        first = int(name[1:])
        got, want = w.read(f"d/{name}"), _storm_content(first)
        assert want.startswith(got), f"{name} has what was not written"
        assert got == want or first + 1 > synced, f"{name} has lost what was synced"
    return fit[0]


def keeps_what_was_synced_when_changes_and_syncs_are_killed():
    rng = _rng("storm")
    with World("16M") as w:
        os.rename(w.path("v.cop"), w.path("base.cop"))
        reached = []
        for _ in range(STORMS):
            _restore(w)
            process = subprocess.Popen([WORKER, "storm", "v.cop", str(rng.randrange(1 << 31))],
                                       cwd=w.folder, stdout=subprocess.PIPE)
            try:
                tap.equal(process.stdout.readline(), b"synced 0\n")
                time.sleep(rng.uniform(0, 0.4))
            finally:
                process.kill()
            said = process.stdout.read().split(b"\n")
            process.stdout.close()
            tap.equal(process.wait(), -9)
            w.wait_until_unlocked()
            synced = max([0] + [int(line[7:]) for line in said if line.startswith(b"synced ")])
            begun = max([0] + [int(line[6:]) for line in said if line.startswith(b"begin ")])
            w.is_sound()
            state = _check_storm(w, synced, begun)
            w.run("mkdir", "v.cop:/after")
            w.run("rm", "-r", "v.cop:/after")
            tap.equal(_check_storm(w, synced, begun), state)
            w.is_sound()
            reached.append((synced, state, begun))
        print(f"# synced, found, begun: {reached}")


world.run_tests(sys.modules[__name__])
