"""What the built programs and libraries show to the outside, and the header.

usage: test_symbols.py HEADER PLANTS SHARED_LIBRARY PROGRAM_OR_LIBRARY...
"""

import os
import re
import subprocess
import sys

import tap

HEADER, PLANTS, LIBRARY = sys.argv[1:4]
BINARIES = sys.argv[3:]


def exported():
    text = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], capture_output=True, text=True,
                          check=True).stdout
    return {line.split()[-1].split("@")[0] for line in text.splitlines() if line.strip()}


def declared():
    with open(HEADER, encoding="utf-8") as file:
        code = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
    return set(re.findall(r"^COP_API\b[^;]*?\b(cop_\w+)\s*\(", code, re.MULTILINE))


def exports_nothing_that_the_header_does_not_declare():
    tap.equal(sorted(exported() - declared()), [])


def exports_all_that_the_header_declares():
    tap.equal(sorted(declared() - exported()), [])


def holds_planted_bugs_only_where_they_were_asked_for():
    for binary in BINARIES:
        with open(binary, "rb") as file:
            found = b"COP_PLANT" in file.read()
        names = subprocess.run(["nm", binary], capture_output=True, text=True, check=True).stdout
        found = found or bool(re.search(r"\bplanted\b", names))
        tap.equal((binary, found), (binary, PLANTS == "true"))


def compiles_as_cpp():
    """With clang, whose C++ needs no package of its own."""
    program = """
        #include "coppice.h"
        int main() { cop_attr attr = COP_INIT(attr); cop_new made = COP_INIT(made);
                     return attr.size_bytes == made.size_bytes; }"""
    done = subprocess.run(["clang", "-x", "c++", "-std=c++17", "-Wall", "-Werror",
                           "-fsyntax-only", "-I", os.path.dirname(HEADER), "-"],
                          input=program, capture_output=True, text=True, check=False)
    tap.equal((done.returncode, done.stderr), (0, ""))


tap.run([
    exports_nothing_that_the_header_does_not_declare,
    exports_all_that_the_header_declares,
    holds_planted_bugs_only_where_they_were_asked_for,
    compiles_as_cpp,
])
