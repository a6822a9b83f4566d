#!/usr/bin/env python3
"""Lists the functions of a public header as a macro over their names.

usage: functions.py HEADER OUT
"""

import re
import sys


def functions(text):
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    text = re.sub(r"^#.*(?:\\\n.*)*$", "", text, flags=re.M)
    names = re.findall(r"\bCOP_API\b[^;]*?\b(cop_[a-z0-9_]+)\s*\(", text)
    return sorted(set(names))


def main():
    header, out = sys.argv[1:]
    with open(header, encoding="utf-8") as file:
        names = functions(file.read())
    assert len(names) > 40, "the header is not understood"
    with open(out, "w", encoding="utf-8") as file:
        file.write("#define COP_FUNCTIONS(X)")
        for name in names:
            file.write(f" \\\n\tX({name})")
        file.write("\n")


main()
