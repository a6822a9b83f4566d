"""ls, cat, stat, df, du, info, check, sync, version: what they show, to people and programs."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import tap
import world
from world import World, MIB


def lists_sorted_one_name_a_line():
    with World() as w:
        w.write("src/b", b"1")
        w.write("src/a", b"22")
        w.write("src/.c", b"")
        w.write("src/d/e", b"")
        w.run("cp", "-r", "src", "v.cop:/")
        tap.equal(w.names("/src"), [".c", "a", "b", "d"])
        tap.equal(w.run("ls", "v.cop").lines(), ["src"])
        tap.equal(w.run("ls", "-a", "v.cop:/src").lines(), [".c", "a", "b", "d"])
        tap.equal(w.run("ls", "-d", "v.cop:/src").lines(), ["v.cop:/src"])
        tap.equal(w.run("ls", "v.cop:/src/a").lines(), ["v.cop:/src/a"])
        tap.equal(w.run("ls", "-R", "v.cop").lines(),
                  ["v.cop:/:", "src", "", "v.cop:/src:", ".c", "a", "b", "d", "",
                   "v.cop:/src/d:", "e"])
        long = w.run("ls", "-l", "v.cop:/src").lines()
        tap.equal(len(long), 4)
        tap.equal(long[1].split()[0], "-rw-r--r--")
        tap.equal(long[1].split()[4], "2")
        w.run("ls", "v.cop:/src", "v.cop:/missing", code=world.SOME_FAILED, says="not found")
        w.run("ls", "v.cop:/missing", code=world.NOT_FOUND)
        w.run("ls", "v.cop:/src/a/x", code=world.ERROR, says="not a directory")


def lists_as_one_document_with_every_name_intact():
    with World() as w:
        odd = b"\xff\xc3\n\x1b\"\\\xed\xa0\x80 \xc3\xa9"
        os.mkdir(w.path("src"))
        with open(os.path.join(os.fsencode(w.path("src")), odd), "wb") as file:
            file.write(b"xyz")
        os.symlink(odd, os.path.join(os.fsencode(w.path("src")), b"link"))
        w.run("cp", "-r", "src", "v.cop:/")
        page = w.run("ls", "-R", "--json", "v.cop").json()
        tap.equal(page["schema"], "coppice.ls/1")
        entries = {os.fsencode(e["name"]): e for e in page["entries"]}
        tap.equal(set(entries), {b"src", b"link", odd})
        tap.equal(os.fsencode(entries[odd]["path"]), b"/src/" + odd)
        tap.equal(entries[odd]["length_bytes"], 3)
        tap.equal(os.fsencode(entries[b"link"]["target"]), odd)
        tap.equal(entries[b"src"]["kind"], "directory")


def _on_terminal(w, *words, columns=80):
    """What the program prints on a terminal of this width."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = w.start(*words, stdout=terminal, stderr=subprocess.PIPE)
    os.close(terminal)
    seen = b""
    try:
        while piece := os.read(controller, 4096):
            seen += piece
    except OSError:
        pass  # the end of a terminal
    os.close(controller)
    process.stderr.close()
    tap.equal(process.wait(), 0)
    return seen.replace(b"\r\n", b"\n")


def escapes_control_bytes_on_a_terminal():
    with World() as w:
        os.mkdir(w.path("src"))
        with open(os.path.join(os.fsencode(w.path("src")), b"\x1b[31m\xff\n"), "wb"):
            pass
        w.run("cp", "-r", "src", "v.cop:/")
        tap.equal(_on_terminal(w, "ls", "v.cop:/src"), b"\\e[31m\\xff\\n\n")
        tap.equal(w.run("ls", "v.cop:/src").out, b"\x1b[31m\xff\n\n")


def lists_in_columns_on_a_terminal():
    with World() as w:
        for name in ("a", "bb", "ccc", "dddd", "e"):
            w.write(f"src/{name}")
        w.run("cp", "-r", "src", "v.cop:/")
        tap.equal(_on_terminal(w, "ls", "v.cop:/src", columns=20),
                  b"a     ccc   e\nbb    dddd\n")


def shows_all_attributes():
    with World() as w:
        w.write("file", b"content")
        os.utime(w.path("file"), ns=(5, -7))
        w.run("cp", "-p", "file", "v.cop:/")
        what = w.stat("/file")
        tap.equal(what["schema"], "coppice.stat/1")
        for key, value in {"kind": "file", "primary_name": "file", "parent": "1", "links": 1,
                           "length_bytes": 7, "modified_ns": -7, "accessed_ns": 5, "levels": 0,
                           "doctype": "unknown", "form": "inline"}.items():
            tap.equal(what[key], value)
        text = w.run("stat", "v.cop:/file").text()
        for title in ("primary name", "doctype", "created", "last opened", "last written", "flags",
                      "content", "levels"):
            assert title in text, title
        tap.equal(w.stat("/")["kind"], "directory")
        w.run("stat", "v.cop:/missing", code=world.NOT_FOUND)


def prints_files_and_refuses_what_is_none():
    with World() as w:
        w.write("a", b"A\n")
        w.write("b", bytes(range(256)) * 5000)
        w.run("cp", "a", "b", "v.cop:/")
        tap.equal(w.run("cat", "v.cop:/a", "v.cop:/b").out, w.read("a") + w.read("b"))
        w.run("cat", "v.cop:/", code=world.ERROR, says="is a directory; try: coppice ls v.cop:/\n")
        w.run("cat", "v.cop", code=world.ERROR, says="is a directory")
        done = w.run("cat", "v.cop:/a", "v.cop:/c", code=world.SOME_FAILED, says="not found")
        tap.equal(done.out, b"A\n")


def stops_printing_where_the_damage_begins():
    with World() as w:
        marked = b"this block will be damaged " * 200
        content = os.urandom(4096 * 3) + marked[:4096] + os.urandom(4096)
        w.write("file", content)
        w.run("cp", "file", "v.cop:/")
        w.damage(marked[:4096])
        done = w.run("cat", "v.cop:/file", code=world.INTEGRITY, says="bytes 12288-16383")
        tap.equal(done.out, content[:12288])
        done = w.run("check", "v.cop", code=world.INTEGRITY, says="problem")
        assert "/file" in done.text(), done.text()
        page = w.run("check", "--json", "v.cop", code=world.INTEGRITY, says="").json()
        assert page["problem_count"] >= 1
        tap.equal(page["problems"][0]["class"], "data")
        w.run("check", "--metadata", "v.cop")


def tells_of_groups_that_damage_has_closed():
    with World() as w:
        w.write("file", b"content")
        w.run("cp", "file", "v.cop:/")
        sound = w.run("df", "--json", "v.cop").json()
        tap.equal((sound["groups"], sound["closed_groups"], sound["closed_bytes"]), (8, 0, 0))
        tap.equal(w.run("info", "--json", "v.cop").json()["closed_groups"], 0)
        for slot in range(3):
            w.flip((7 + slot) * 4096 + 100)  # the top of the allocation tree
        closed = "8 of 8 allocation groups are closed by damage; try: coppice check v.cop"
        page = w.run("df", "--json", "v.cop", says=closed).json()
        tap.equal((page["closed_groups"], page["free_bytes"], page["available_bytes"]), (8, 0, 0))
        tap.equal(page["used_bytes"], page["size_bytes"])
        tap.equal(page["closed_bytes"], sound["free_bytes"] + sound["pending_bytes"])
        tap.equal(w.run("info", "--json", "v.cop", says=closed).json()["closed_groups"], 8)
        assert "8 closed by damage" in w.run("info", "v.cop", says=closed).text()
        w.run("cp", "file", "v.cop:/other", code=world.NO_SPACE, says="closed by damage")
        w.run("rm", "v.cop:/file", code=world.NO_SPACE, says="; try: coppice check v.cop")
        done = w.run("check", "v.cop", code=world.INTEGRITY, says="")
        assert "groups below it are closed" in done.text(), done.text()
        tap.equal(w.run("cat", "v.cop:/file").out, b"content")


def tells_space_before_and_after():
    with World() as w:
        empty = w.run("df", "--json", "v.cop").json()
        tap.equal(empty["size_bytes"], 64 * MIB)
        assert empty["available_bytes"] >= 0.85 * 64 * MIB
        assert set(empty) >= {"size_bytes", "used_bytes", "free_bytes", "available_bytes",
                              "pending_bytes"}
        w.write("file", os.urandom(8 * MIB))
        w.run("cp", "file", "v.cop:/")
        full = w.run("df", "--json", "v.cop").json()
        assert full["used_bytes"] >= empty["used_bytes"] + 8 * MIB
        w.run("rm", "v.cop:/file")
        after = w.run("df", "--json", "v.cop").json()
        tap.equal(after["pending_bytes"], 0)
        assert after["available_bytes"] >= empty["available_bytes"] - MIB // 8, (empty, after)
        assert "64M" in w.run("df", "-h", "v.cop").text()


def adds_up_what_directories_take():
    with World() as w:
        w.write("src/a/one", os.urandom(MIB))
        w.write("src/b/two", os.urandom(2 * MIB))
        os.link(w.path("src/a/one"), w.path("src/b/again"))
        w.run("cp", "-r", "src", "v.cop:/")
        page = w.run("du", "--json", "v.cop").json()
        sizes = {e["path"]: e["allocated_bytes"] for e in page["entries"]}
        tap.equal(set(sizes), {"/", "/src", "/src/a", "/src/b"})
        assert 3 * MIB <= sizes["/src"] < 3 * MIB + 100_000, sizes
        tap.equal(w.run("du", "-s", "v.cop:/src").lines()[0].split("\t")[1], "v.cop:/src")
        tap.equal(len(w.run("du", "-s", "v.cop:/src").lines()), 1)
        assert w.run("du", "-sh", "v.cop:/src").text().startswith("3.")


def says_what_any_file_is():
    with World() as w:
        page = w.run("info", "--json", "v.cop").json()
        tap.equal((page["is_volume"], page["volume_bytes"]), (True, 64 * MIB))
        w.write("text", b"hello\n")
        w.write("empty")
        w.write("elf", b"\x7fELF" + bytes(100))
        for name, what in (("text", "text"), ("empty", "empty"), ("elf", "ELF"), (".", "directory"),
                           ("/dev/null", "character device")):
            done = w.run("info", name, code=world.NOT_A_VOLUME, says="not a coppice volume")
            assert what in done.text(), done.text()
        w.run("info", "missing", code=world.NOT_FOUND)
        w.run("info", "text", "v.cop", code=world.SOME_FAILED, says="text: not a coppice volume")


def has_json_for_every_query():
    with World() as w:
        for words in (["info", "v.cop"], ["ls", "v.cop"], ["stat", "v.cop"], ["df", "v.cop"],
                      ["du", "v.cop"], ["check", "v.cop"], ["version"]):
            page = w.run(*words, "--json").json()
            tap.equal(page["schema"], f"coppice.{words[0]}/1")
            tap.equal(page["coppice_version"], "0.1.0")


def syncs_without_harm():
    with World() as w:
        w.run("sync", "v.cop")
        w.write("file")
        w.run("sync", "file", code=world.NOT_A_VOLUME)
        w.run("sync", "missing", code=world.NOT_FOUND)


def reads_beside_a_writer_which_is_alone():
    with World() as w:
        w.write("a", b"A")
        w.run("cp", "a", "v.cop:/")
        writer = w.start("cp", "-", "v.cop:/late", stdin=subprocess.PIPE)
        writer.stdin.write(b"x" * MIB)
        writer.stdin.flush()
        w.write("b", b"B")
        busy = None
        for _ in range(200):  # until the writer has opened the volume
            busy = subprocess.run([world.PROGRAM, "cp", "b", "v.cop:/b"], cwd=w.folder,
                                  capture_output=True, check=False)
            if busy.returncode != 0:
                break
        tap.equal(busy.returncode, world.BUSY)
        tap.equal(busy.stderr.decode(), "coppice: cp: v.cop:/b: in use by process "
                  f"{writer.pid}; try: ps -p {writer.pid}\n")
        tap.equal(w.cat("/a"), b"A")
        assert "late" not in w.names()
        w.run("check", "v.cop", code=world.BUSY, says=str(writer.pid))
        assert "in use or not closed properly" in w.run("info", "v.cop").text()
        writer.stdin.close()
        tap.equal(writer.wait(), 0)
        tap.equal(len(w.cat("/late")), MIB)


def reads_a_file_that_cannot_be_written():
    world.must_be_root()
    with World() as w:
        w.write("a", b"A")
        w.run("cp", "a", "v.cop:/")
        os.chmod(w.path("v.cop"), 0o444)
        os.chmod(w.folder, 0o755)
        who = {"user": 65534, "group": 65534}
        tap.equal(w.run("cat", "v.cop:/a", **who).out, b"A")
        w.run("sync", "v.cop", **who)
        with w.unchanged():
            w.run("rm", "v.cop:/a", code=world.NOT_PERMITTED, says="v.cop", **who)


def shows_what_opening_and_walking_costs():
    with World() as w:
        for number in range(50):
            w.write(f"src/{number}", b"x" * 5000)
        w.run("cp", "-r", "src", "v.cop:/")
        with w.unchanged():
            page = w.run("stats", "--json", "v.cop").json()
            text = w.run("stats", "v.cop").text()
        tap.equal(page["schema"], "coppice.stats/1")
        tap.equal((page["names"], page["directories"], page["objects"]), (51, 1, 52))
        tap.equal((page["content_bytes"], page["allocated_bytes"]), (250000, 50 * 8192))
        tap.equal(page["unreadable"], 0)
        assert page["opening"]["node_reads"] > 0 and page["opening"]["device_reads"] > 0, page
        assert page["walk"]["cache_hits"] > 50, page
        tap.equal(page["walk"]["data_read_bytes"], 0)  # names and attributes, no data
        tap.equal(page["opening"]["recoveries"], 0)
        tap.equal(page["opening"]["share_lookups"], 0)
        for title in ("opening it", "looking at every object", "nodes read", "objects",
                      "questions to the share tree"):
            assert title in text, title
        w.run("stats", "v.cop:/src", code=world.USAGE)
        w.run("stats", "none", code=world.NOT_FOUND)


world.run_tests(sys.modules[__name__])
