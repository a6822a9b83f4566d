"""cp: trees and files into a volume, out of it, and within it."""

import errno
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time

import tap
import world
from world import World, MIB

TIME_NS = 981_158_706_123_456_789


def _plant_tree(w, name="src"):
    """A tree with one of everything that a user can make."""
    top = w.path(name)
    w.write(f"{name}/empty")
    w.write(f"{name}/small", b"small\n")
    w.write(f"{name}/block", os.urandom(4096))
    w.write(f"{name}/big", os.urandom(3 * MIB + 5))
    w.write(f"{name}/dir/sub/deep", b"deep")
    w.write(f"{name}/dir/" + "n" * 255, b"long name")
    w.write(f"{name}/.hidden", b"dot")
    os.mkdir(f"{top}/emptydir")
    odd = os.path.join(os.fsencode(top), b"odd \xff\n\x1b name")
    with open(odd, "wb") as file:
        file.write(b"odd")
    os.symlink("../small", f"{top}/dir/link")
    os.symlink("nowhere", f"{top}/dangling")
    os.link(f"{top}/small", f"{top}/dir/hard")
    os.link(f"{top}/small", f"{top}/dir/sub/hard")
    os.mkfifo(f"{top}/fifo", 0o640)
    with open(f"{top}/sparse", "wb") as file:
        file.truncate(5 * MIB)
        file.seek(2 * MIB)
        file.write(b"data in the middle" * 1000)
    with open(f"{top}/hole", "wb") as file:
        file.truncate(1 << 40)
    os.chmod(f"{top}/block", 0o4751)
    os.chmod(f"{top}/emptydir", 0o3775)
    os.chmod(f"{top}/empty", 0o000 if os.geteuid() == 0 else 0o400)  # only root reads it then
    try:
        os.setxattr(f"{top}/small", "user.note", b"a\0b\xff")
        os.setxattr(f"{top}/dir", "user.empty", b"")
        os.setxattr(f"{top}/big", "user.large", b"x" * 2000)
    except OSError:
        pass  # the file system of the tests has none
    os.utime(f"{top}/small", ns=(TIME_NS + 5, TIME_NS))
    os.utime(f"{top}/dangling", ns=(TIME_NS, TIME_NS + 7), follow_symlinks=False)
    os.utime(f"{top}/dir/sub", ns=(TIME_NS, -1_000_000_001))
    os.utime(f"{top}/dir", ns=(TIME_NS, TIME_NS))
    return top


def brings_a_tree_in_and_out_with_everything():
    with World("128M") as w:
        _plant_tree(w)
        w.run("cp", "-r", "src", "v.cop:/")
        w.is_sound()
        w.run("cp", "-r", "v.cop:/src", "out")
        _same_without_hole(w, "src", "out")


def _same_without_hole(w, one, other):
    """The file of 1 TiB is compared by its holes, not by its bytes."""
    for top in (one, other):
        tap.equal(os.path.getsize(w.path(top, "hole")), 1 << 40)
        tap.equal(world.holes(w.path(top, "hole")), [])
    tap.equal(world.holes(w.path(other, "sparse")), world.holes(w.path(one, "sparse")))
    tap.equal(os.lstat(w.path(other)).st_mtime_ns, os.lstat(w.path(one)).st_mtime_ns)
    for top in (one, other):
        os.truncate(w.path(top, "hole"), 0)
        os.utime(w.path(top, "hole"), ns=(TIME_NS, TIME_NS))
        os.utime(w.path(top), ns=(TIME_NS, TIME_NS))
    world.same_trees(w.path(one), w.path(other))


def brings_in_special_files_owners_and_acls():
    world.must_be_root()
    with World() as w:
        os.mkdir(w.path("src"))
        os.mknod(w.path("src/null"), 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(w.path("src/disk"), 0o660 | stat.S_IFBLK, os.makedev(259, 1 << 18))
        os.mknod(w.path("src/socket"), 0o755 | stat.S_IFSOCK)
        w.write("src/owned", b"x")
        os.chown(w.path("src/owned"), 12345, 54321)
        os.chmod(w.path("src/owned"), 0o6755)
        os.symlink("x", w.path("src/link"))
        os.chown(w.path("src/link"), 1, 2, follow_symlinks=False)
        w.write("src/acl/file", b"y")
        if subprocess.run(["setfacl", "-m", "u:1:rw,d:u:2:r", w.path("src/acl")],
                          check=False).returncode == 0:
            subprocess.run(["setfacl", "-m", "u:3:rwx", w.path("src/acl/file")], check=True)
        w.run("cp", "-a", "src", "v.cop:/new")
        w.run("cp", "-r", "v.cop:/new", "out")
        world.same_trees(w.path("src"), w.path("out"))
        tap.equal(w.stat("/new/disk")["device_major"], 259)
        tap.equal(w.stat("/new/disk")["device_minor"], 1 << 18)


def takes_away_acls_that_a_destination_would_give():
    world.must_be_root()
    with World() as w:
        w.write("src/file", b"y")
        os.mkdir(w.path("src/dir"))
        os.mkdir(w.path("into"))
        if subprocess.run(["setfacl", "-m", "d:u:2:rwx", w.path("into")],
                          check=False).returncode != 0:
            raise tap.Skip("no setfacl, or no ACLs here")
        w.run("cp", "-r", "src", "v.cop:/")
        w.run("cp", "-r", "v.cop:/src", "into/")
        world.same_trees(w.path("src"), w.path("into/src"))


def copies_within_a_volume_and_between_two():
    with World("128M") as w:
        _plant_tree(w)
        w.run("init", "--size", "128M", "other.cop")
        w.run("cp", "-r", "src", "v.cop:/")
        w.run("cp", "-r", "v.cop:/src", "v.cop:/again")
        w.run("cp", "-r", "v.cop:/again", "other.cop:/third")
        w.is_sound()
        w.run("check", "other.cop")
        w.run("cp", "-r", "other.cop:/third", "out")
        _same_without_hole(w, "src", "out")


def copies_through_standard_input_and_output():
    with World() as w:
        content = os.urandom(2 * MIB + 1)
        w.run("cp", "-", "v.cop:/file", input=content)
        tap.equal(w.run("cp", "v.cop:/file", "-").out, content)
        tap.equal(w.cat("/file"), content)
        w.run("cp", "-", "v.cop:/", code=world.ERROR, input=b"x", says="needs a name")
        w.write("sparse")
        os.truncate(w.path("sparse"), 3 * MIB)
        w.run("cp", "sparse", "v.cop:/")
        tap.equal(w.run("cp", "v.cop:/sparse", "-").out, bytes(3 * MIB))
        w.run("cp", "v.cop:/sparse", "/dev/null")
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def puts_sources_where_cp_puts_them():
    with World() as w:
        w.write("a", b"A")
        w.write("b", b"B")
        w.write("dir/c", b"C")
        w.run("cp", "a", "v.cop:/new")
        tap.equal(w.names(), ["new"])
        w.run("cp", "a", "b", "v.cop:/")
        tap.equal(w.names(), ["a", "b", "new"])
        w.run("cp", "a", "b", "v.cop:/new", code=world.ERROR, says="directory")
        w.run("cp", "-r", "dir", "v.cop:/dir")
        tap.equal(w.names("/dir"), ["c"])
        w.run("cp", "-r", "dir", "v.cop:/dir")
        tap.equal(w.names("/dir"), ["c", "dir"])
        w.run("cp", "-r", "dir/.", "v.cop:/flat")
        tap.equal(w.names("/flat"), ["c"])
        w.run("cp", "-r", "dir/", "v.cop:/slash/")
        tap.equal(w.names("/slash"), ["c"])
        w.run("cp", "a", "v.cop:/nowhere/", code=world.ERROR, says="not a directory")
        w.run("cp", "a", "v.cop:/no/where", code=world.NOT_FOUND)
        w.run("cp", "a", "v.cop:/a/b", code=world.ERROR)
        w.run("cp", "a/", "v.cop:/x", code=world.ERROR, says="Not a directory")
        w.run("cp", "v.cop:/a/", "x", code=world.ERROR, says="not a directory")


def puts_what_comes_out_where_cp_puts_it():
    with World() as w:
        w.write("dir/c", b"C")
        w.run("cp", "-r", "dir", "v.cop:/")
        os.mkdir(w.path("into"))
        w.run("cp", "v.cop:/dir/c", "into")
        w.run("cp", "v.cop:/dir/c", "into/renamed")
        w.run("cp", "-r", "v.cop:/dir", "into")
        w.run("cp", "-r", "v.cop:/dir", "fresh")
        w.run("cp", "-r", "v.cop:/", "whole")
        w.run("cp", "-r", "v.cop:/.", "into")
        tap.equal(sorted(os.listdir(w.path("into"))), ["c", "dir", "renamed"])
        tap.equal(os.listdir(w.path("fresh")), ["c"])
        tap.equal(os.listdir(w.path("whole")), ["dir"])
        w.run("cp", "v.cop:/dir/c", "no/where", code=world.NOT_FOUND)
        w.run("cp", "v.cop:/dir/c", "file/", code=world.ERROR)


def leaves_directories_out_without_r():
    with World() as w:
        w.write("dir/c", b"C")
        w.write("a", b"A")
        w.run("cp", "dir", "v.cop:/", code=world.ERROR, says="try: coppice cp -r")
        w.run("cp", "dir", "a", "v.cop:/", code=world.SOME_FAILED, says="dir: is a directory")
        tap.equal(w.names(), ["a"])
        w.run("cp", "v.cop:/", "out", code=world.ERROR, says="is a directory")


def follows_symlinks_only_without_r():
    with World() as w:
        w.write("file", b"F")
        os.symlink("file", w.path("link"))
        w.run("cp", "link", "v.cop:/followed")
        w.run("cp", "-r", "link", "v.cop:/kept")
        tap.equal(w.stat("/followed")["kind"], "file")
        tap.equal(w.stat("/kept")["kind"], "symlink")
        w.run("cp", "file", "v.cop:/")
        w.run("cp", "-r", "link", "v.cop:/link")
        w.run("cp", "v.cop:/link", "out")
        assert not os.path.islink(w.path("out"))
        # As cp does, a file is written through a symlink at the destination.
        w.write("other", b"O")
        w.run("cp", "other", "v.cop:/link")
        tap.equal(w.cat("/file"), b"O")
        tap.equal(w.stat("/link")["kind"], "symlink")
        w.run("cp", "v.cop:/file", "link")
        assert os.path.islink(w.path("link"))
        tap.equal(w.read("file"), b"O")


def copies_one_file_as_a_new_one_of_who_copies():
    with World() as w:
        w.write("file", b"F")
        os.chmod(w.path("file"), 0o4777)
        os.utime(w.path("file"), ns=(TIME_NS, TIME_NS))
        w.run("cp", "file", "v.cop:/plain", umask=0o027)
        w.run("cp", "-p", "file", "v.cop:/kept", umask=0o027)
        plain, kept = w.stat("/plain"), w.stat("/kept")
        tap.equal(plain["mode"], 0o750)
        assert plain["modified_ns"] > TIME_NS
        tap.equal((kept["mode"], kept["modified_ns"]), (0o4777, TIME_NS))
        w.run("cp", "v.cop:/kept", "out", umask=0o077)
        tap.equal(stat.S_IMODE(os.stat(w.path("out")).st_mode), 0o700)
        # What exists keeps its mode.
        os.chmod(w.path("out"), 0o640)
        w.run("cp", "v.cop:/kept", "out")
        tap.equal(stat.S_IMODE(os.stat(w.path("out")).st_mode), 0o640)


def replaces_or_leaves_what_exists():
    with World() as w:
        w.write("file", b"new")
        w.write("old", b"old")
        os.utime(w.path("old"), ns=(TIME_NS, TIME_NS))
        w.run("cp", "-p", "old", "v.cop:/file")
        w.run("cp", "-n", "file", "v.cop:/file")
        tap.equal(w.cat("/file"), b"old")
        w.run("cp", "-p", "--update", "file", "v.cop:/file")
        tap.equal(w.cat("/file"), b"new")
        w.run("cp", "-u", "old", "v.cop:/file")
        tap.equal(w.cat("/file"), b"new")
        w.run("cp", "old", "v.cop:/file")
        tap.equal(w.cat("/file"), b"old")
        w.write("out", b"there")
        w.run("cp", "-n", "v.cop:/file", "out")
        tap.equal(w.read("out"), b"there")
        w.run("cp", "-r", "v.cop:/file", "out")
        tap.equal(w.read("out"), b"old")
        tap.equal(w.names(), ["file"])
        w.is_sound()


def merges_directories_and_keeps_links_on_update():
    with World() as w:
        w.write("src/a", b"1")
        os.link(w.path("src/a"), w.path("src/b"))
        w.run("cp", "-r", "src", "v.cop:/")
        w.write("src/c", b"3")
        w.run("cp", "-r", "-n", "src", "v.cop:/")
        tap.equal(w.names("/src"), ["a", "b", "c"])
        w.run("rm", "v.cop:/src/b")
        w.run("cp", "-r", "--update", "src", "v.cop:/")
        tap.equal(w.stat("/src/a")["id"], w.stat("/src/b")["id"])
        w.run("cp", "-r", "src", "v.cop:/")
        tap.equal(w.stat("/src/a")["links"], 2)
        w.run("cp", "-r", "v.cop:/src", "out")
        w.run("cp", "-r", "v.cop:/src/.", "out")
        tap.equal(os.stat(w.path("out/a")).st_ino, os.stat(w.path("out/b")).st_ino)
        w.is_sound()


def refuses_files_and_directories_in_each_others_way():
    with World() as w:
        w.write("file", b"F")
        w.write("src/x/y", b"Y")
        w.run("mkdir", "-p", "v.cop:/d/file")
        w.run("cp", "file", "v.cop:/d", code=world.ERROR, says="a directory is in the way")
        w.run("cp", "file", "v.cop:/d/x")
        w.run("cp", "-r", "src/x", "v.cop:/d", code=world.ERROR, says="a file is in the way")
        os.mkdir(w.path("out"))
        w.write("out/x")
        w.run("cp", "-r", "src", "v.cop:/")
        w.run("cp", "-r", "v.cop:/src/x", "out", code=world.ERROR, says="a file is in the way")


def refuses_to_copy_a_directory_into_itself():
    with World() as w:
        w.run("mkdir", "-p", "v.cop:/a/b")
        w.run("cp", "-r", "v.cop:/a", "v.cop:/a/b", code=world.ERROR, says="into itself")
        w.run("cp", "-r", "v.cop:/a", "v.cop:/a/new", code=world.ERROR, says="into itself")
        w.run("cp", "-r", "v.cop:/", "v.cop:/a", code=world.ERROR, says="into itself")
        w.write("f", b"x")
        w.run("cp", "f", "v.cop:/")
        w.run("cp", "v.cop:/f", "v.cop:/f", code=world.ERROR, says="the same file")
        tap.equal(w.names("/a"), ["b"])


def leaves_the_volume_itself_out():
    with World() as w:
        w.write("src/file", b"F")
        os.rename(w.path("v.cop"), w.path("src/v.cop"))
        w.run("cp", "-r", "src", "src/v.cop:/", says="is the volume itself, left out")
        tap.equal(w.run("ls", "src/v.cop:/src").lines(), ["file"])
        w.run("cp", "src/file", "src/v.cop:/v.cop")
        with w.unchanged("src/v.cop"):
            w.run("cp", "-r", "src/v.cop:/v.cop", "src/", code=world.BUSY, says="volume itself")


def refuses_to_overwrite_a_volume_named_without_a_path():
    with World() as w:
        w.write("file", b"F")
        w.run("cp", "file", "v.cop:/")
        with w.unchanged():
            w.run("cp", "v.cop:/file", "v.cop", code=world.USAGE, says="would be overwritten")
            w.run("cp", "file", "v.cop", code=world.USAGE,
                  says="none of the operands is in a volume; a place in one is VOLUME:/PATH; "
                       "try: coppice cp ... v.cop:/\n")
            w.run("cp", "v.cop", "out", code=world.USAGE, says="; try: coppice cp v.cop:/ ...\n")
            for typed in ("v.cop:file", "v.cop/file"):
                w.run("cp", "file", typed, code=world.USAGE,
                      says="; try: coppice cp ... v.cop:/file\n")


def stores_paths_of_a_thousand_levels():
    with World() as w:
        levels, name = 1000, "level-of-the-tree"
        top = os.open(w.folder, os.O_RDONLY)
        at = os.dup(top)
        for _ in range(levels):
            os.mkdir(name, dir_fd=at)
            below = os.open(name, os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = below
        with os.fdopen(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=at), "wb") as file:
            file.write(b"leaf")
        os.link("leaf", "twin", src_dir_fd=at, dst_dir_fd=at)
        os.close(at)
        # Few descriptors must be enough, however deep it goes.
        limit = ["sh", "-c", 'ulimit -n 400; exec "$@"', "sh"]
        for words in (["cp", "-r", name, "v.cop:/"], ["cp", "-r", f"v.cop:/{name}", "out"]):
            subprocess.run(limit + [world.PROGRAM, *words], cwd=w.folder, check=True)
        w.is_sound()
        deep = "/" + "/".join([name] * levels)
        tap.equal(w.names(deep), ["leaf", "twin"])
        tap.equal(w.stat(deep + "/leaf")["links"], 2)
        tap.equal(w.cat(deep + "/twin"), b"leaf")
        at = os.open("out", os.O_RDONLY, dir_fd=top)
        for _ in range(levels - 1):
            below = os.open(name, os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = below
        tap.equal(sorted(os.listdir(at)), ["leaf", "twin"])
        tap.equal(os.stat("leaf", dir_fd=at).st_ino, os.stat("twin", dir_fd=at).st_ino)
        os.close(at)
        os.close(top)
        # The host's paths as operands may be as long.
        w.run("cp", os.path.join("out", *[name] * (levels - 1), "leaf"), "v.cop:/from-deep")
        tap.equal(w.cat("/from-deep"), b"leaf")
        w.run("cp", "v.cop:/from-deep", os.path.join("out", *[name] * (levels - 1), "back"))
        w.run("rm", "-r", f"v.cop:/{name}")
        tap.equal(w.names(), ["from-deep"])


def links_many_names_of_one_file():
    with World() as w:
        w.write("src/first", b"one")
        for number in range(3000):
            os.link(w.path("src/first"), w.path(f"src/{number}"))
        w.run("cp", "-r", "src", "v.cop:/")
        tap.equal(w.stat("/src/77")["links"], 3001)
        w.run("cp", "-r", "v.cop:/src", "out")
        tap.equal(os.stat(w.path("out/99")).st_nlink, 3001)
        w.is_sound()


def _marked():
    """A block that is nowhere else, and what follows it."""
    return b"this block will be damaged ".ljust(4096, b".") + b"and this one not"


def leaves_out_what_is_damaged_and_names_its_bytes():
    with World() as w:
        good, marked = os.urandom(20_000), _marked()
        w.write("src/good", good)
        w.write("src/bad", os.urandom(8192) + marked + os.urandom(9000))
        w.write("src/worse/last", b"after it")
        w.run("cp", "-r", "src", "v.cop:/")
        w.damage(marked[:4096])
        done = w.run("cp", "-r", "v.cop:/src", "out", code=world.SOME_FAILED,
                     says="v.cop:/src/bad: bytes 8192-12287: ")
        assert "try: coppice check v.cop" in done.complaint()
        assert re.search(r"12287: data at block \d+: damaged: ", done.complaint()), \
            done.complaint()
        tap.equal(sorted(os.listdir(w.path("out"))), ["good", "worse"])
        tap.equal(w.read("out/good"), good)
        tap.equal(w.read("out/worse/last"), b"after it")
        w.run("cp", "v.cop:/src/bad", "alone", code=world.INTEGRITY, says="bytes 8192-12287")
        assert not os.path.exists(w.path("alone"))
        w.run("cp", "--partial", "v.cop:/src/bad", "alone", code=world.INTEGRITY,
              says="v.cop:/src/bad: what can be read of it is in alone.partial\n")
        want = w.read("src/bad")
        tap.equal(w.read("alone.partial"), want[:8192] + bytes(4096) + want[12288:])
        assert not os.path.exists(w.path("alone"))
        # Within the volume, nothing of the copy is left.
        w.run("cp", "v.cop:/src/bad", "v.cop:/again", code=world.INTEGRITY)
        tap.equal(w.names(), ["src"])
        tap.equal([n for n in os.listdir(w.folder) if n.startswith(".")], [])


def names_files_of_the_host_that_cannot_be_read():
    world.must_be_root()
    with World() as w:
        w.write("src/closed", b"x")
        w.write("src/open", b"y")
        os.chmod(w.path("src/closed"), 0)
        for name in ("", "src", "v.cop"):
            os.chown(w.path(name), 65534, 65534)
        os.chmod(w.folder, 0o755)
        w.run("cp", "-r", "src", "v.cop:/", code=world.SOME_FAILED, user=65534, group=65534,
              says="src/closed: cannot be opened: Permission denied")
        tap.equal(w.names("/src"), ["open"])


def gives_to_who_is_not_root_what_can_be_given():
    world.must_be_root()
    with World() as w:
        w.write("src/file", b"x")
        os.chown(w.path("src/file"), 1, 1)
        os.chmod(w.path("src/file"), 0o6755)
        w.run("cp", "-r", "src", "v.cop:/")
        os.chown(w.folder, 65534, 65534)
        w.run("cp", "-r", "v.cop:/src", "out", user=65534, group=65534)
        st = os.stat(w.path("out/file"))
        tap.equal((st.st_uid, stat.S_IMODE(st.st_mode)), (65534, 0o755))


def fills_a_volume_and_says_so():
    with World("8M") as w:
        w.write("src/a", os.urandom(MIB))
        w.write("src/big", os.urandom(16 * MIB))
        w.run("cp", "src/a", "v.cop:/")
        w.run("cp", "src/big", "v.cop:/", code=world.NO_SPACE, says="try: coppice df v.cop")
        tap.equal(w.names(), ["a"])
        w.run("cp", "-r", "src", "v.cop:/", code=world.NO_SPACE)
        assert "big" not in w.run("ls", "-R", "v.cop").lines()
        w.is_sound()
        w.run("rm", "-r", "v.cop:/a", "v.cop:/src")
        w.run("cp", "src/a", "v.cop:/")


def says_when_the_host_is_full():
    world.must_be_root()
    with World() as w:
        w.write("src/a", os.urandom(MIB))
        w.write("src/big", os.urandom(8 * MIB))
        w.run("cp", "-r", "src", "v.cop:/")
        os.mkdir(w.path("small"))
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6M", "none", w.path("small")],
                          check=False, capture_output=True).returncode != 0:
            raise tap.Skip("cannot mount a tmpfs")
        try:
            _says_that_it_is_the_host(w, "small/src/big", "cp", "-r", "v.cop:/src", "small/")
            assert "big" not in os.listdir(w.path("small/src"))
            # So it is when a sparse volume cannot grow into the size that it was given.
            shutil.rmtree(w.path("small/src"))
            w.run("init", "--size", "64M", "small/v")
            _says_that_it_is_the_host(w, "small/v", "cp", "src/big", "small/v:/")
            tap.equal(w.run("ls", "small/v").lines(), [])
            _says_that_it_is_the_host(w, "small/v", "cp", "-r", "src", "small/v:/src")
            assert "sound" in w.run("check", "small/v").text()
            # When there is no room for what every volume begins with.
            _fill(w.path("small/filler"))
            for words in ((), ("--preallocate",)):
                _says_that_it_is_the_host(w, "small/w", "init", "--size", "8M", *words, "small/w")
            # And when the file of a volume has holes in what is written in place.
            os.unlink(w.path("small/v"))
            os.unlink(w.path("small/filler"))
            w.run("init", "--size", "64M", "v")
            subprocess.run(["cp", "--sparse=always", w.path("v"), w.path("small/v")], check=True)
            _fill(w.path("small/filler"))
            _says_that_it_is_the_host(w, "small/v", "mkdir", "small/v:/new")
            _says_that_it_is_the_host(w, "small/v", "cp", "-r", "src", "small/v:/")
            os.unlink(w.path("small/filler"))
            w.run("mkdir", "small/v:/new")
            assert "sound" in w.run("check", "small/v").text()
        finally:
            subprocess.run(["umount", w.path("small")], check=True)


def _says_that_it_is_the_host(w, place, *words):
    """From its first line on; and never that a volume is full."""
    for line in w.run(*words, code=world.NO_SPACE).complaint().splitlines():
        full = os.path.realpath(w.path("small"))
        assert f": the host's file system {full} is full, free space there (" in line, line
        assert line.endswith(f"; try: df -h {place}"), line
        assert "volume is full" not in line and "on the volume" not in line, line


def _fill(path):
    with open(path, "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError as error:
            tap.equal(error.errno, errno.ENOSPC)


def keeps_its_word_on_a_full_host():
    """What ended well is there; what could not be done is not."""
    world.must_be_root()
    with World() as w:
        os.mkdir(w.path("small"))
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8M", "none", w.path("small")],
                          check=False, capture_output=True).returncode != 0:
            raise tap.Skip("cannot mount a tmpfs")
        try:
            w.run("init", "--size", "64M", "small/v")
            w.write("src/little", b"x" * 100)
            for name in range(12):
                w.write(f"old/{name}", os.urandom(50000))
            # Often enough that every block which is written in place has been written.
            w.run("cp", "-r", "old", "small/v:/")
            for name in range(4):
                w.run("mkdir", f"small/v:/{name}")
                w.run("rm", "-r", f"small/v:/{name}")
            _fill(w.path("small/filler"))
            _change_on_a_full_host(w)
            os.unlink(w.path("small/filler"))
            w.run("cp", "src/little", "small/v:/last")
            assert "sound" in w.run("check", "small/v").text()
        finally:
            subprocess.run(["umount", w.path("small")], check=True)


def _change_on_a_full_host(w):
    done = 0
    for name in range(12):
        copied = w.run("cp", "src/little", f"small/v:/new{name}", code=None)
        assert copied.code in (world.FINE, world.NO_SPACE)
        has_it = f"new{name}" in w.run("ls", "small/v").lines()
        tap.equal(has_it, copied.code == world.FINE)
        if has_it:
            tap.equal(w.run("cat", f"small/v:/new{name}").out, b"x" * 100)
        removed = w.run("rm", f"small/v:/old/{name}", code=None)
        assert removed.code in (world.FINE, world.NO_SPACE)
        has_it = str(name) in w.run("ls", "small/v:/old").lines()
        tap.equal(has_it, removed.code != world.FINE)
        done += copied.code == world.FINE
        assert "sound" in w.run("check", "small/v").text()
    assert done > 0


def finishes_what_is_done_when_interrupted():
    with World() as w:
        for number in range(2000):
            w.write(f"src/{number:04}{'x' * 200}", b"y")
        # A full pipe holds the copy back until the signal has come.
        process = w.start("cp", "-r", "-v", "src", "v.cop:/", stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL)
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        tap.equal(process.wait(), world.INTERRUPTED)
        process.stdout.close()
        stored = len(w.names("/src"))
        assert 0 < stored < 2000, stored
        tap.equal(w.stat("/src")["modified_ns"], os.stat(w.path("src")).st_mtime_ns)
        w.is_sound()


def leaves_nothing_of_a_file_that_was_interrupted():
    """Whether its end comes right behind the signal, as when the writer is interrupted, too, or
    never: then the wait for it ends."""
    with World() as w:
        for comes_to_its_end in (True, False):
            process = w.start("cp", "-", "v.cop:/file", stdin=subprocess.PIPE,
                              stderr=subprocess.PIPE)
            process.stdin.write(b"x" * (2 * MIB))  # more than a pipe holds: it has begun to read
            process.stdin.flush()
            process.send_signal(signal.SIGTERM)
            if comes_to_its_end:
                process.stdin.close()
            tap.equal(process.stderr.read(), b"coppice: cp: interrupted; "
                      b"what was done until then is kept\n")
            tap.equal(process.wait(), world.INTERRUPTED)
            process.stdin.close()
            process.stderr.close()
            tap.equal(w.names(), [])
            w.is_sound()


def goes_on_when_the_signal_is_to_be_ignored():
    with World() as w:
        ignores = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
        process = subprocess.Popen(ignores + [world.PROGRAM, "cp", "-", "v.cop:/file"],
                                   cwd=w.folder, stdin=subprocess.PIPE)
        process.stdin.write(b"x" * MIB)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        process.stdin.close()
        tap.equal(process.wait(), 0)
        tap.equal(len(w.cat("/file")), MIB)


def survives_a_kill_in_the_middle():
    """A full pipe holds the copy back. Whether its thread has come to write the newest changes is
    left open, but the journal cannot hold more of these names than fit in it."""
    journal_bytes, name_bytes, count, told = 256 << 10, 204, 3000, 2500
    with World(None) as w:
        w.run("init", "--size", "64M", "--journal", str(journal_bytes), "v.cop")
        for number in range(count):
            w.write(f"src/{number:04}".ljust(name_bytes + 4, "x"), b"y" * number)
        process = w.start("cp", "-r", "-v", "src", "v.cop:/", stdout=subprocess.PIPE)
        for _ in range(told):
            process.stdout.readline()
        process.kill()
        process.stdout.close()
        process.wait()
        w.wait_until_free()
        w.is_sound()
        names = w.names("/src")
        assert told - journal_bytes // name_bytes <= len(names) < count, len(names)
        w.run("cp", "-r", "v.cop:/src", "out")
        for name in names:
            tap.equal(w.read(f"out/{name}"), b"y" * int(name[:4]))


def shows_progress_on_a_terminal_only():
    with World() as w:
        controller, terminal = os.openpty()
        process = w.start("cp", "-", "v.cop:/file", stdin=subprocess.PIPE, stderr=terminal,
                          env={**os.environ, "TERM": "xterm"})
        os.close(terminal)
        deadline = time.monotonic() + 30
        os.set_blocking(controller, False)
        seen = b""
        wanted = (b"cp: ", b"/s", b"\033[K")
        while not all(part in seen for part in wanted) and time.monotonic() < deadline:
            process.stdin.write(b"x" * (1 << 18))
            process.stdin.flush()
            try:
                seen += os.read(controller, 4096)
            except BlockingIOError:
                time.sleep(0.02)
        process.stdin.close()
        tap.equal(process.wait(), 0)
        assert all(part in seen for part in wanted), seen
        os.close(controller)


world.run_tests(sys.modules[__name__])
