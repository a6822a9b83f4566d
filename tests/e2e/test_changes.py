"""init, mkdir, rm, mv: what they change, and what they refuse to."""

import os
import re
import sys

import tap
import world
from world import World, MIB


def makes_volumes_and_leaves_alone_what_is_there():
    with World(None) as w:
        w.run("init", "new.cop", code=world.USAGE, says="needs --size")
        assert not os.path.exists(w.path("new.cop"))
        w.run("init", "--size", "8M", "new.cop")
        tap.equal(os.path.getsize(w.path("new.cop")), 8 * MIB)
        with w.unchanged("new.cop"):
            w.run("init", "--size", "8M", "new.cop", code=world.ERROR, says="--force")
        w.write("notes", b"precious")
        with w.unchanged("notes"):
            w.run("init", "--size", "8M", "notes", code=world.ERROR, says="not empty")
        w.run("init", "--force", "--size", "16M", "new.cop")
        tap.equal(w.run("df", "--json", "new.cop").json()["size_bytes"], 16 * MIB)
        w.write("empty")
        w.run("init", "--size", "8M", "empty")
        w.run("check", "empty")
        os.truncate(w.write("blank"), 32 * MIB)
        w.run("init", "--label", "a label", "--node-size", "8K", "--metadata-copies", "1",
              "--preallocate", "--force", "blank")
        page = w.run("info", "--json", "blank").json()
        tap.equal((page["label"], page["node_bytes"], page["metadata_copies"],
                   page["volume_bytes"]), ("a label", 8192, 1, 32 * MIB))
        assert os.stat(w.path("blank")).st_blocks * 512 >= 31 * MIB
        w.run("init", "--size", "8M", "no/where", code=world.NOT_FOUND)
        w.run("init", "--size", "8M", "v.cop:/x", code=world.USAGE, says="without a path")
        w.run("init", "--size", "8M", ".", code=world.USAGE, says="a directory")


def refuses_sizes_that_make_no_sense():
    with World(None) as w:
        for size, says in (("1M", "8"), ("0", "least"), ("x", "not a size"), ("-5", "not a size"),
                           ("99999999999999999999", "not a size"), ("15E", "")):
            w.run("init", "--size", size, "new.cop", code=world.USAGE, says=says)
            assert not os.path.exists(w.path("new.cop")), size
        for more in (["--node-size", "3000"], ["--node-size", "128K"], ["--metadata-copies", "3"],
                     ["--label", "x" * 64], ["--journal", "1E"]):
            w.run("init", "--size", "64M", *more, "new.cop", code=world.USAGE)
            assert not os.path.exists(w.path("new.cop")), more
        most = w.run("init", "--size", "64M", "--journal", "16M", "new.cop", code=world.USAGE,
                     says="a journal of 16777216 bytes is too large; here it has ").complaint()
        most = re.search(r"here it has (\d+) at the most", most)[1]
        w.run("init", "--size", "64M", "--journal", most, "new.cop")


def makes_directories():
    with World() as w:
        w.run("mkdir", "v.cop:/a", "v.cop:/b")
        w.run("mkdir", "v.cop:/a", code=world.ERROR, says="exists")
        w.run("mkdir", "v.cop:/x/y", code=world.NOT_FOUND, says="try: coppice mkdir -p v.cop:/x/y")
        w.run("mkdir", "-p", "v.cop:/x/y/../z/", "v.cop:/x", umask=0o027)
        tap.equal(w.names("/x"), ["y", "z"])
        w.run("cp", "-", "v.cop:/x/file", input=b"F")
        for below in ("y", "y/z", "y/"):
            w.run("mkdir", "-p", f"v.cop:/x/file/{below}", code=world.ERROR,
                  says=f"v.cop:/x/file/{below}: /x/file is not a directory; try: ")
        w.run("rm", "v.cop:/x/file")
        tap.equal(w.stat("/x/z")["mode"], 0o750)
        w.run("mkdir", "v.cop:/" + "n" * 256, code=world.ERROR, says="name")
        w.run("mkdir", "v.cop:/" + "n" * 255)
        w.write("f")
        w.run("cp", "f", "v.cop:/")
        w.run("mkdir", "-p", "v.cop:/f/g", code=world.ERROR, says="not a directory")
        w.run("mkdir", "-p", "v.cop:/f", code=world.ERROR)
        w.run("mkdir", "v.cop:/", code=world.ERROR)
        w.run("mkdir", "-p", "v.cop:/")
        w.is_sound()


def removes_files_and_trees():
    with World() as w:
        w.write("src/a/b", b"x" * 100_000)
        w.write("src/c", b"y")
        os.symlink("/", w.path("src/link"))
        w.run("cp", "-r", "src", "v.cop:/")
        w.run("rm", "v.cop:/src", code=world.ERROR, says="try: coppice rm -r v.cop:/src")
        w.run("rm", "v.cop:/src/link")
        w.run("rm", "v.cop:/src/c/", code=world.ERROR, says="not a directory")
        w.run("rm", "v.cop:/nothing", code=world.NOT_FOUND)
        w.run("rm", "-f", "v.cop:/nothing", "v.cop:/no/thing")
        w.run("rm", "v.cop:/nothing", "v.cop:/src/c", code=world.SOME_FAILED)
        tap.equal(w.names("/src"), ["a"])
        w.run("rm", "-r", "v.cop:/src/")
        tap.equal(w.names(), [])
        w.is_sound()


def never_removes_the_root():
    with World() as w:
        w.run("mkdir", "v.cop:/keep")
        with w.unchanged():
            for operand in ("v.cop", "v.cop:/", "v.cop://", "v.cop:/.", "v.cop:/keep/.."):
                w.run("rm", "-rf", operand, code=world.NOT_PERMITTED, says="cannot be removed")
            w.run("mv", "v.cop:/", "v.cop:/keep/x", code=world.NOT_PERMITTED)


def moves_and_renames():
    with World() as w:
        w.write("a", b"A")
        w.write("b", b"B")
        w.run("cp", "a", "b", "v.cop:/")
        w.run("mkdir", "v.cop:/d")
        w.run("mv", "v.cop:/a", "v.cop:/c")
        w.run("mv", "v.cop:/b", "v.cop:/c", "v.cop:/d")
        tap.equal(w.names("/d"), ["b", "c"])
        w.run("mv", "-n", "v.cop:/d/b", "v.cop:/d/c")
        tap.equal(w.cat("/d/c"), b"A")
        w.run("mv", "v.cop:/d/b", "v.cop:/d/c")
        tap.equal(w.cat("/d/c"), b"B")
        done = w.run("mv", "v.cop:/d", "v.cop:/d/e", code=world.ERROR)
        tap.equal(done.complaint(),
                  "coppice: mv: v.cop:/d: a directory cannot be moved into itself\n")
        w.run("mv", "v.cop:/d", "v.cop:/new/")
        w.run("mv", "v.cop:/new/c", "v.cop:/f/", code=world.ERROR, says="not a directory")
        w.run("mv", "v.cop:/missing", "v.cop:/x", code=world.NOT_FOUND)
        w.run("mv", "v.cop:/new/c", "v.cop:/new/c", code=world.ERROR, says="the same")
        w.run("mv", "v.cop:/new", "v.cop:/new/c", "v.cop:/nowhere", code=world.ERROR)
        w.run("mkdir", "v.cop:/full", "v.cop:/full/new")
        w.run("mkdir", "v.cop:/full/new/x")
        w.run("mv", "v.cop:/new", "v.cop:/full", code=world.ERROR, says="not empty")
        w.is_sound()


def does_not_move_across_volumes():
    with World() as w:
        w.run("init", "--size", "8M", "other.cop")
        w.run("mkdir", "v.cop:/d")
        w.run("mv", "v.cop:/d", "other.cop:/", code=world.ERROR, says="try: coppice cp -r")
        w.run("mv", "v.cop:/d", "host", code=world.NOT_FOUND)
        # One volume, however it is spelled.
        w.run("mv", "file:v.cop:/d", "./v.cop:/e")
        tap.equal(w.names(), ["e"])


def leaves_the_last_flush_to_the_kernel_when_asked():
    with World() as w:
        w.write("a", b"A")
        w.run("cp", "--no-sync", "a", "v.cop:/")
        w.run("mkdir", "--no-sync", "v.cop:/d")
        w.run("mv", "--no-sync", "v.cop:/a", "v.cop:/d/")
        tap.equal(w.names("/d"), ["a"])
        w.is_sound()


world.run_tests(sys.modules[__name__])
