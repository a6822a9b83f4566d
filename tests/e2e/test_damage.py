"""dump and repair: what lies on a volume, and how one goes on after damage."""

import os
import subprocess
import sys

import tap
import world
from world import World

BLOCK = 4096
WORKER = os.environ["WORKER"]


def _dump(w, *words, code=world.FINE, says=None):
    return w.run("dump", "--json", "v.cop", *words, code=code, says=says).json()


def shows_superblocks_and_goes_on_after_a_bad_one():
    with World() as w, w.unchanged():
        page = _dump(w)
        tap.equal(page["schema"], "coppice.dump/1")
        tap.equal(page["what"], "superblocks")
        tap.equal(len(page["superblocks"]), 16)
        tap.equal([s["role"] for s in page["superblocks"]].count("newest"), 4)
        tap.equal((page["finished"], page["problem_count"]), (True, 0))
        text = w.run("dump", "v.cop").text()
        assert 'role "newest"' in text and max(map(len, text.splitlines())) <= 101, text
    with World() as w:
        newest = next(s for s in _dump(w)["superblocks"] if s["role"] == "newest")
        w.flip(newest["block"] * BLOCK + 60)
        page = _dump(w, code=world.INTEGRITY, says="1 problem found")
        tap.equal([s["role"] for s in page["superblocks"] if "role" in s].count("newest"), 3)
        tap.equal([s["block"] for s in page["superblocks"] if "problem" in s], [newest["block"]])


def shows_trees_nodes_and_objects():
    with World() as w:
        w.write("src/file", b"x" * 100000)
        for number in range(200):
            w.write(f"src/many/{number}")
        w.run("cp", "-r", "src", "v.cop:/")
        with w.unchanged():
            trees = _dump(w, "trees")["trees"]
            tap.equal({t["tree"] for t in trees}, {"catalog", "objects", "directory"})
            many = next(t for t in trees if t["tree"] == "directory")
            page = w.run("dump", "-a", "--json", "v.cop", "tree",
                         f"directory:{many['number']}").json()
            names = [e["name"] for n in page["nodes"] for e in n.get("entry_list", [])]
            tap.equal(sorted(names), sorted(str(n) for n in range(200)))
            page = _dump(w, "node", str(page["root"]["addr2"]))
            tap.equal((page["is_node"], page["kind"]), (True, "directory"))
            page = _dump(w, "object", "/src/file")
            tap.equal(page["keys"][0]["name"], "file")
            tap.equal(sum(e["blocks"] for e in page["keys"][0]["extents"]), 25)
            tap.equal(_dump(w, "object", page["object"])["keys"], page["keys"])
            groups = _dump(w, "groups")
            tap.equal(sum(g["free_blocks"] for g in groups["groups"]) <= groups["free_blocks"],
                      True)
            w.run("dump", "v.cop", "object", "/none", code=world.NOT_FOUND,
                  says="v.cop: /none: not found; try: coppice dump v.cop trees")
            w.run("dump", "v.cop", "tree", "content:77", code=world.NOT_FOUND,
                  says="try: coppice dump v.cop trees")


def refuses_what_it_cannot_show():
    with World() as w:
        for words in (["all"], ["tree"], ["tree", "content:"], ["tree", "roots"], ["node", "x"],
                      ["node"], ["journal", "x"], ["object", "name"], ["tree", "objects", "x"]):
            w.run("dump", "v.cop", *words, code=world.USAGE, says="try: coppice dump --help")
        w.run("dump", "v.cop:/x", code=world.USAGE)
        w.run("dump", "none.cop", code=world.NOT_FOUND)
        w.write("text", b"no volume" * 1000)
        w.run("dump", "text", code=world.INTEGRITY)
        w.run("dump", "text", "trees", code=world.NOT_A_VOLUME)


def _lies_below_what_was_durable(page):
    """Is the first batch that would be replayed one that a later one calls durable?"""
    first = page.get("in_newest_checkpoint", 0)
    return len(page["batches"]) > first and \
        page["highest_durable"] >= page["batches"][first].get("sequence", 1 << 63)


def _killed_after_syncs(w):
    """The journal of a volume whose writer was killed after several syncs; each says of the one
    before that it is durable. A checkpoint, which may always come, would have taken them in."""
    for _ in range(20):
        w.run("init", "--force", "--size", "16M", "v.cop")
        process = subprocess.Popen([WORKER, "storm", "v.cop", "1"], cwd=w.folder,
                                   stdout=subprocess.PIPE)
        synced = 0
        while synced < 8:
            synced += process.stdout.readline().startswith(b"synced ")
        process.kill()
        process.stdout.close()
        process.wait()
        w.wait_until_unlocked()
        page = _dump(w, "journal")
        if not page["is_clean"] and _lies_below_what_was_durable(page):
            return page
    raise AssertionError("there was always a checkpoint")


def loses_what_damage_took_from_the_journal_only_when_told_to():
    with World("16M") as w:
        w.write("before", b"B")
        page = _killed_after_syncs(w)
        first = page["batches"][page["in_newest_checkpoint"]]
        whole = w.run("ls", "-R", "v.cop").lines()
        missing = ("v.cop", "object", "/none")
        w.run("dump", *missing, code=world.NOT_FOUND,
              says="try: coppice dump --replay v.cop object /none")
        w.run("dump", "--replay", *missing, code=world.NOT_FOUND,
              says="try: coppice dump v.cop trees")
        w.flip((page["block"] + first["position"]) * BLOCK + 100)

        with w.unchanged():
            done = w.run("mkdir", "v.cop:/new", code=world.INTEGRITY,
                         says="try: coppice repair --accept-loss v.cop")
            assert f"batches {first['sequence']} to " in done.complaint(), done.complaint()
            w.run("cp", "before", "v.cop:/", code=world.INTEGRITY, says="what they held is lost")
            w.run("repair", "v.cop", code=world.INTEGRITY, says="--accept-loss")
            left = w.run("ls", "-R", "v.cop").lines()
            assert set(left) < set(whole), (left, whole)
            page = _dump(w, "journal", code=world.INTEGRITY)
            tap.equal(page["is_damaged"], True)
            problems = w.run("check", "--json", "v.cop", code=world.INTEGRITY,
                             says="1 problem found").json()["problems"]
            tap.equal([p["class"] for p in problems], ["journal"])
        w.run("repair", "--accept-loss", "v.cop")
        w.is_sound()
        tap.equal(w.run("ls", "-R", "v.cop").lines(), left)
        w.run("cp", "before", "v.cop:/")
        tap.equal(w.cat("/before"), b"B")
        tap.equal(_dump(w, "journal")["is_damaged"], False)
        w.run("repair", "v.cop")
        w.is_sound()


world.run_tests(sys.modules[__name__])
