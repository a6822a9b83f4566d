#!/usr/bin/env python3
"""Many small files and one large one, into a volume and out again, under a small memory limit.

usage: large.py COPPICE DIRECTORY [--files N] [--large BYTES] [--real BYTES] [--cache SIZE]

Prints, for each step, the seconds it took and the largest resident size of the program, and
compares every byte that comes back. Needs room in DIRECTORY for three times the real bytes.
"""

import argparse
import filecmp
import os
import random
import shutil
import subprocess
import sys
import time

MIB = 1 << 20


def make_small(root, count):
    """Files of 0 to 8 KiB, a thousand to a directory; the same for every run."""
    rng = random.Random(1)
    for i in range(count):
        directory = os.path.join(root, f"d{i // 1000}")
        if i % 1000 == 0:
            os.makedirs(directory)
        with open(os.path.join(directory, f"f{i}"), "wb") as file:
            file.write(rng.randbytes(rng.randrange(8192)))


def make_large(path, length, real):
    """A file whose real bytes lie in pieces of 64 MiB, evenly spread over its length."""
    rng = random.Random(2)
    pieces = max(1, real // (64 * MIB))
    with open(path, "wb") as file:
        for i in range(pieces):
            file.seek(length // pieces * i)
            for _ in range(64):
                file.write(rng.randbytes(MIB))
        file.truncate(length)


def run(title, command):
    begin = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begin
    print(f"{title:28} {seconds:8.1f} s   resident {usage.ru_maxrss / 1024:7.1f} MiB", flush=True)
    if status != 0:
        sys.exit(f"failed: {' '.join(command)}")


def same_trees(left, right):
    for directory, _, names in os.walk(left):
        other = os.path.join(right, os.path.relpath(directory, left))
        if sorted(os.listdir(directory)) != sorted(os.listdir(other)):
            return False
        for name in names:
            if not filecmp.cmp(os.path.join(directory, name), os.path.join(other, name), False):
                return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("coppice")
    parser.add_argument("directory")
    parser.add_argument("--files", type=int, default=100000)
    parser.add_argument("--large", type=int, default=20 << 30)
    parser.add_argument("--real", type=int, default=4 << 30)
    parser.add_argument("--cache", default="64M")
    args = parser.parse_args()

    work = os.path.join(args.directory, "coppice-large")
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    try:
        source = os.path.join(work, "in")
        back = os.path.join(work, "out")
        volume = os.path.join(work, "v.cop")
        make_small(os.path.join(source, "small"), args.files)
        make_large(os.path.join(source, "large"), args.large, args.real)
        cache = ["--cache", args.cache]
        run("init", [args.coppice, "init", "--size", str(args.real * 2 + (8 << 30)), volume])
        run("small files in", [args.coppice, "cp", *cache, "-r", source + "/small", volume + ":/"])
        run("large file in", [args.coppice, "cp", *cache, "-r", source + "/large", volume + ":/"])
        run("check", [args.coppice, "check", *cache, volume])
        os.mkdir(back)
        run("small files out", [args.coppice, "cp", *cache, "-r", volume + ":/small", back])
        run("large file out", [args.coppice, "cp", *cache, "-r", volume + ":/large", back])
        equal = same_trees(source, back)
        holes = os.stat(back + "/large").st_blocks * 512 < args.large
        print("every byte is the same" if equal else "DIFFERENT",
              "and the holes are holes" if holes else "and the holes were filled")
        run("remove", [args.coppice, "rm", *cache, "-r", volume + ":/small", volume + ":/large"])
        run("check", [args.coppice, "check", *cache, volume])
        return 0 if equal and holes else 1
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
