"""Small trees, each with one thing wrong: scripts/tidy must name it, and nothing else."""

import os
import subprocess
import sys
import tempfile

import tap

TIDY = sys.argv[1]

HEADER = "include/coppice.h"
GOOD = {
    HEADER: "/* Opens. */\nCOP_API int cop_open(const char *device);\n",
    "src/base/num.h": "int plain(void);\n",
    "src/base/num.c": '#include "base/num.h"\n\nint\nplain(void)\n{\n\treturn 1;\n}\n',
    "src/tree/tree.h": "int tree_size(void);\n",
    "src/tree/node.c": '#include "tree/tree.h"\n\n#include "base/num.h"\n\n'
                       "int\ntree_size(void)\n{\n\treturn plain();\n}\n",
    "src/space/space.c": '#include "tree/tree.h"\n\n#include <stdint.h>\n\n'
                         "int\ncop_open(const char *device)\n{\n\treturn tree_size();\n}\n",
    "tests/unit/base/test_num.c": '#include "base/num.h"\n',
    "tests/unit/tree/test_node.c": '#include "tree/tree.h"\n',
    "tests/unit/space/test_space.c": "int main(void);\n",
    "docs/format.md": "# The format\n",
}

TABLE = """/*
 *   offset  bytes  field
 *        0      8  magic   "x" and a zero byte
 *        8      4  count   of what follows,
 *                          from 1
 *       12      n  rest    the bytes
 *
 * Prose.
 */
"""
ROWS = """Defined in `src/tree/node_format.h`.

| offset | bytes | field | meaning |
|---|---|---|---|
| 0 | 8 | magic | "x" and a zero byte |
| 8 | 4 | count | of what follows, from 1 |
| 12 | n | rest | the bytes |
"""


def plant(root, files):
    for path, text in files.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)


def findings(changes):
    """What tidy says of the good tree with `changes` made to it."""
    with tempfile.TemporaryDirectory() as root:
        plant(root, {**GOOD, **changes})
        done = subprocess.run([sys.executable, TIDY, "--root", root], capture_output=True,
                              text=True, check=False)
        lines = done.stdout.splitlines()
        tap.equal((done.returncode, lines), (1 if lines else 0, lines))
        return lines


def expect(changes, *wanted):
    """Exactly these findings, each given by its rule and a part of its text."""
    lines = findings(changes)
    for rule, part in wanted:
        if not any(f": {rule}: " in line and part in line for line in lines):
            raise AssertionError(f"no '{rule}' with '{part}' in {lines}")
    tap.equal((len(lines), lines), (len(wanted), lines))


def add(path, text):
    return {path: GOOD[path] + text}


def accepts_a_tree_that_keeps_the_rules():
    expect({})


def refuses_an_include_of_a_floor_above():
    expect({"src/tree/node.c": GOOD["src/tree/node.c"].replace("base/num.h", "space/space.h")},
           ("include", 'tree is below space and may not include "space/space.h"'))


def refuses_an_include_by_a_path_that_goes_up():
    expect({"src/tree/node.c": GOOD["src/tree/node.c"].replace('"base/num.h"', '"../base/num.h"')},
           ("include", "goes up"))


def refuses_a_module_that_has_no_floor():
    expect({"src/attic/attic.h": "int attic_size(void);\n"}, ("include", "no floor"))


def refuses_the_inside_of_another_module():
    expect({"src/tree/tree_internal.h": "struct x;\n",
            "tests/unit/tree/test_node.c": '#include "tree/tree_internal.h"\n',
            "src/space/space.c": GOOD["src/space/space.c"].replace("tree/tree.h",
                                                                   "tree/tree_internal.h")},
           ("internal", "belongs to tree alone"))


def keeps_the_oracle_apart_from_the_product():
    expect({"tests/support/oracle.c": '#include "base/num.h"\n#include "tree/tree.h"\n'},
           ("internal", 'tests/support may not include "tree/tree.h"'))


def refuses_a_public_name_that_is_not_in_the_header():
    expect(add("src/space/space.c", "\nint\ncop_extra(void)\n{\n\treturn 0;\n}\n"),
           ("names", "cop_extra is not in coppice.h"))


def refuses_a_name_without_its_module():
    expect({**add("src/tree/node.c", "\nint\nheight(void)\n{\n\treturn 0;\n}\n"),
            **add("src/tree/tree.h", "int height(void);\n"),
            **add("src/space/space.c", "\nstatic int x = height();\n")},
           ("names", "height does not begin with its module or unit"))


def refuses_what_nobody_declares_and_is_not_static():
    expect(add("src/tree/node.c", "\nint\nnode_lonely(void)\n{\n\treturn 0;\n}\n"),
           ("names", "make it static"))


def refuses_what_nobody_uses():
    expect({**add("src/tree/node.c", "\nint\nnode_lonely(void)\n{\n\treturn 0;\n}\n"),
            **add("src/tree/tree.h", "int node_lonely(void);\n")},
           ("names", "node_lonely is used by nobody"))


def keeps_what_an_internal_header_declares_within_its_module():
    inside = {**add("src/tree/node.c", "\nint\nbatch(void)\n{\n\treturn 0;\n}\n"),
              "src/tree/tree_internal.h": "int batch(void);\n",
              "src/tree/tree.c": "static int x = batch();\n",
              "tests/unit/tree/test_tree.c": "int x = batch();\n"}
    expect(inside)
    expect({**inside, **add("src/space/space.c", "\nstatic int x = batch();\n")},
           ("names", "batch belongs to tree alone"))


def refuses_a_name_of_one_module_in_another():
    expect({**add("src/tree/node.c", "\nint\ntree__inner(void)\n{\n\treturn 0;\n}\n"),
            **add("src/space/space.c", "\nstatic int x = tree__inner();\n")},
           ("names", "tree__inner belongs to tree alone"))


def refuses_the_double_underscore_of_a_stranger():
    expect({**add("src/tree/node.c", "\nint\nspace__x(void)\n{\n\treturn 0;\n}\n"),
            "tests/unit/tree/test_node.c": "int x = space__x();\n"},
           ("names", "neither this module nor a unit of it"))


def compares_format_tables():
    with_table = {"src/tree/node_format.h": TABLE}
    expect({**with_table, "docs/format.md": ROWS})
    expect(with_table, ("format", "table 1 is not in docs/format.md"))
    expect({**with_table, "docs/format.md": ROWS.replace("| 8 | 4 |", "| 8 | 2 |")},
           ("format", "docs/format.md lacks the row 8 | 4 | count"),
           ("format", "src/tree/node_format.h lacks the row 8 | 2 | count"))
    expect({**with_table, "docs/format.md": ROWS.replace("from 1", "from 0")},
           ("format", "docs/format.md lacks the row 8 | 4"),
           ("format", "src/tree/node_format.h lacks the row 8 | 4"))
    expect({"docs/format.md": ROWS}, ("format", "src/tree/node_format.h has no table 1"))


def reads_further_tables_under_the_same_heading():
    second = TABLE.replace(" * Prose.\n", " * If flagged\n *\n *        0      4  key   of it\n"
                           " *       64         tail, to the end\n *\n * Prose.\n")
    rows = ROWS + """
Defined in `src/tree/node_format.h`, table 2.

| offset | bytes | field | meaning |
|---|---|---|---|
| 0 | 4 | key | of it |
| 64 |  | tail, to the end |  |
"""
    expect({"src/tree/node_format.h": second, "docs/format.md": rows})
    expect({"src/tree/node_format.h": second, "docs/format.md": ROWS},
           ("format", "table 2 is not in docs/format.md"))


def refuses_a_table_whose_fields_overlap():
    expect({"src/tree/node_format.h": TABLE.replace("       8      4", "       4      4"),
            "docs/format.md": ROWS.replace("| 8 | 4 |", "| 4 | 4 |")},
           ("format", "count begins before 8"))


def refuses_a_table_that_was_reflowed_into_prose():
    expect({"src/tree/node_format.h": TABLE.replace(" *\n * Prose", " * Prose"),
            "docs/format.md": ROWS}, ("format", "runs into prose"))


def writes_the_tables_into_the_page():
    with tempfile.TemporaryDirectory() as root:
        plant(root, {**GOOD, "src/tree/node_format.h": TABLE})
        command = [sys.executable, TIDY, "--root", root]
        subprocess.run(command + ["--write-format"], check=True)
        subprocess.run(command, check=True)
        with open(os.path.join(root, "docs/format.md"), encoding="utf-8") as file:
            if ROWS not in file.read():
                raise AssertionError("the rows are not in the page")


def refuses_forbidden_calls():
    for call, why in (("strcpy(a, b)", "no bound"), ("sprintf(a, b)", "no bound"),
                      ("alloca(9)", "stack"), ("gettimeofday(a, b)", "clock"),
                      ("clock_gettime(0, a)", "handle"), ("getrandom(a, 1, 0)", "handle"),
                      ("printf(a)", "prints nothing"), ("exit(1)", "does not end")):
        expect(add("src/space/space.c", f"\nstatic int x = {call};\n"), ("calls", why))


def allows_the_clock_in_base_and_printing_in_a_front():
    expect({**add("src/base/num.c", "\nstatic int x = clock_gettime(0, 0);\n"),
            "src/front/cli/say.c": "static int x = printf(0);\n",
            "tests/unit/front/test_say.c": "int main(void);\n"})


def is_not_misled_by_comments_and_strings():
    expect(add("src/space/space.c",
               '\n/* strcpy(a, b) */\nstatic const char *x = "sprintf(a) // b";\n'))


def measures_lines_with_tabs_of_eight():
    expect(add("src/space/space.c", "\n\t/* " + "x" * 84 + " */\n"))
    expect(add("src/space/space.c", "\n\t\t/* " + "x" * 84 + " */\n"),
           ("form", "longer than 100 columns"))


def refuses_what_does_not_belong_in_the_tree():
    for word in ("TODO", "FIXME", "XXX"):
        expect(add("src/space/space.c", f"\n/* {word}: later */\n"), ("form", "finish it"))
    expect({"docs/notes.md": "as in /work/wt\n"}, ("form", "a path of one machine"))
    expect({"docs/notes.md": "a line  \n"}, ("form", "blanks"))
    expect(add("src/space/space.c", "\n// a comment\n"), ("form", "comments are"))


def wants_a_test_for_every_source_file():
    expect({"src/space/bitmap.c": "static int x;\n"},
           ("tests", "has no tests/unit/space/test_bitmap.c"))
    expect({"src/space/bits.h": "static inline int\nbits_one(void)\n{\n\treturn 1;\n}\n"},
           ("tests", "has no tests/unit/space/test_bits.c"))


def wants_a_comment_for_every_public_function():
    expect(add(HEADER, "\nCOP_API void cop_close(void);\n"), ("document", "cop_close"))
    expect(add(HEADER, "/* ---- A part ---- */\n\nCOP_API void cop_close(void);\n"),
           ("document", "cop_close"))
    expect(add(HEADER, "COP_API void cop_close(void);\n"))  # in the group of cop_open()


tap.run([
    accepts_a_tree_that_keeps_the_rules,
    refuses_an_include_of_a_floor_above,
    refuses_an_include_by_a_path_that_goes_up,
    refuses_a_module_that_has_no_floor,
    refuses_the_inside_of_another_module,
    keeps_the_oracle_apart_from_the_product,
    refuses_a_public_name_that_is_not_in_the_header,
    refuses_a_name_without_its_module,
    refuses_what_nobody_declares_and_is_not_static,
    refuses_what_nobody_uses,
    keeps_what_an_internal_header_declares_within_its_module,
    refuses_a_name_of_one_module_in_another,
    refuses_the_double_underscore_of_a_stranger,
    compares_format_tables,
    reads_further_tables_under_the_same_heading,
    refuses_a_table_whose_fields_overlap,
    refuses_a_table_that_was_reflowed_into_prose,
    writes_the_tables_into_the_page,
    refuses_forbidden_calls,
    allows_the_clock_in_base_and_printing_in_a_front,
    is_not_misled_by_comments_and_strings,
    measures_lines_with_tabs_of_eight,
    refuses_what_does_not_belong_in_the_tree,
    wants_a_test_for_every_source_file,
    wants_a_comment_for_every_public_function,
])
