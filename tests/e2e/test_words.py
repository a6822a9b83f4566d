"""Help, completion, the manual page, addresses and bad input: what the program answers."""

import os
import re
import subprocess
import sys

import tap
import world
from world import World, MIB

MAN_PAGE = sys.argv[1] if len(sys.argv) > 1 else None
VERBS = ["init", "info", "cp", "ls", "cat", "stat", "mkdir", "rm", "mv", "df", "du", "sync",
         "check", "dump", "repair", "stats", "version", "help", "completion"]


def helps_without_arguments_and_exits_with_2():
    with World(None) as w:
        done = w.run(code=world.USAGE)
        for verb in VERBS:
            assert f"\n  {verb} " in done.text(), verb
        tap.equal(w.run("help").out, done.out)
        tap.equal(w.run("--help").out, done.out)


def helps_with_every_verb_by_examples():
    with World(None) as w:
        for verb in VERBS:
            text = w.run(verb, "--help").text()
            tap.equal(w.run("help", verb).text(), text)
            assert text.startswith(f"Usage: coppice {verb}"), verb
            assert "\nExamples:\n" in text and "--cache BYTES" in text, verb
            assert text.count("\n") <= 45 and max(map(len, text.splitlines())) <= 100, verb
        tap.equal(w.run("ls", "-h").text(), w.run("ls", "--help").text())


def asks_what_was_meant():
    with World(None) as w:
        for typed, meant in (("lss", "ls"), ("sl", "ls"), ("chek", "check"), ("inti", "init"),
                             ("mkdri", "mkdir"), ("copy", "cp"), ("list", "ls"), ("delete", "rm")):
            w.run(typed, code=world.USAGE, says=f'did you mean "{meant}"?')
            w.run("help", typed, code=world.USAGE, says=f'did you mean "{meant}"?')
        w.run("frobnicate", code=world.USAGE, says="no such verb; try: coppice help")
        w.run("--frob", code=world.USAGE, says="a verb comes first")


def says_how_a_place_in_a_volume_is_written():
    with World() as w:
        w.write("file", b"F")
        for typed in ("v.cop:a", "v.cop/a", "v.cop:a/b", "v.cop:"):
            w.run("ls", typed, code=None, says=f"; try: coppice ls v.cop:/{typed[6:]}\n")
        w.run("cp", "v.cop:a", "v.cop:/b", code=world.NOT_FOUND, says="; try: coppice cp v.cop:/a")
        for verb in ("cat", "mkdir", "rm"):
            w.run(verb, "a", code=None, says=f"; try: coppice {verb} VOLUME:/")
        with w.unchanged("file"):
            w.run("rm", "file", code=world.NOT_PERMITTED,
                  says="file: is not in a volume; try: coppice rm VOLUME:/PATH")
            w.run("rm", "v.cop", code=world.NOT_PERMITTED,
                  says="v.cop: the root of a volume cannot be removed; try: coppice rm VOLUME")
            w.run("mv", "file", "v.cop:/", code=world.NOT_A_VOLUME, says="mv moves within one")
        w.run("info", "v.cop:/a", code=world.USAGE, says="name it without a path")
        # Where the volume is missing, not the place: it is to be made for what goes into it alone.
        for words in (["ls", "none.cop:/a"], ["rm", "none.cop:/a"], ["cp", "none.cop:/a", "out"],
                      ["cp", "none.cop:/a", "v.cop:/"]):
            w.run(*words, code=world.NOT_FOUND,
                  says="none.cop:/a: there is no such volume: No such file or directory\n")
        for words in (["mkdir", "none.cop:/a"], ["cp", "file", "none.cop:/a"]):
            w.run(*words, code=world.NOT_FOUND,
                  says="directory; try: coppice init --size 64M none.cop\n")
        # A file of the host that is no volume is none because something is written behind it.
        done = w.run("cp", "file/x", "v.cop:/", code=world.ERROR, says="Not a directory")
        assert "try:" not in done.complaint(), done.complaint()


def refuses_misuse_with_the_way_to_help():
    with World() as w:
        for words in (["ls"], ["ls", "--frob", "v.cop"], ["ls", "-Q", "v.cop"], ["cp", "v.cop:/"],
                      ["init"], ["init", "--size"], ["init", "a", "b"], ["ls", "--json=x", "v.cop"],
                      ["ls", ""], ["ls", ":/x"], ["ls", "v@:/"], ["ls", "--cache", "1K", "v.cop"],
                      ["ls", "--cache", "lots", "v.cop"], ["cp", "a", "b"]):
            done = w.run(*words, code=world.USAGE, says=f"try: coppice {words[0]} --help")
            tap.equal(done.out, b"")
            assert done.complaint().startswith(f"coppice: {words[0]}: "), done.complaint()
        w.run("ls", "--cache", "8M", "v.cop")
        w.run("ls", "v.cop", "--cache=64MiB")


def says_errors_in_one_line_of_one_form():
    with World() as w:
        done = w.run("cat", "v.cop:/a\nb\x1b[31m", code=world.NOT_FOUND)
        tap.equal(done.err.count(b"\n"), 1)
        assert re.fullmatch(r"coppice: cat: v\.cop:/a\\nb\\e\[31m: .+\n", done.complaint())


def reads_addresses_as_the_grammar_says():
    with World() as w:
        w.write("sub/file", b"F")
        w.run("cp", "sub/file", "v.cop:/x:y")
        w.run("cp", "sub/file", "file:v.cop:/at@sign")
        tap.equal(w.names(), ["at@sign", "x:y"])
        tap.equal(w.run("ls", "file:v.cop").lines(), ["at@sign", "x:y"])
        tap.equal(w.run("ls", w.path("v.cop")).lines(), ["at@sign", "x:y"])
        tap.equal(w.run("ls", w.path("v.cop") + ":/").lines(), ["at@sign", "x:y"])
        tap.equal(w.run("ls", "v.cop@main:/").lines(), ["at@sign", "x:y"])
        w.run("ls", "v.cop@other:/", code=world.NOT_FOUND, says="v.cop@other:/")
        # A file of the host with a volume's characters in its name, by "./" or from the root.
        os.makedirs(w.path("a:"))
        w.write("a:/b@c", b"odd")
        w.run("cp", "./a:/b@c", "v.cop:/one")
        w.run("cp", w.path("a:/b@c"), "v.cop:/two")
        tap.equal(w.cat("/two"), b"odd")
        os.rename(w.path("v.cop"), w.path("v@1"))
        tap.equal(len(w.run("ls", "./v@1").lines()), 4)
        w.run("ls", "v@1", code=world.NOT_FOUND)
        os.rename(w.path("v@1"), w.path("-v"))
        tap.equal(len(w.run("ls", "--", "-v:/").lines()), 4)


def answers_bad_volumes_and_leaves_them_alone():
    with World() as w:
        w.write("text", b"no volume\n" * 1000)
        w.write("short", b"x")
        w.write("empty")
        w.write("cut", w.read("v.cop")[:MIB])
        for verb in (["ls"], ["df"], ["check"], ["rm", "-r"], ["mkdir"]):
            for name in ("text", "short", "empty"):
                place = name if verb[0] in ("ls", "df", "check") else f"{name}:/x"
                with w.unchanged(name):
                    w.run(*verb, place, code=world.NOT_A_VOLUME, says=f"coppice info {name}")
            place = "missing" if verb[0] in ("ls", "df", "check") else "missing:/x"
            w.run(*verb, place, code=world.NOT_FOUND, says=place)
            assert not os.path.exists(w.path("missing"))
        for words in (["ls", "cut"], ["mkdir", "cut:/x"], ["check", "cut"]):
            with w.unchanged("cut"):
                done = subprocess.run([world.PROGRAM, *words], cwd=w.folder, check=False,
                                      capture_output=True)
                assert done.returncode in (world.INTEGRITY, world.NOT_A_VOLUME), done
                assert b"cut" in done.stderr, done


def has_a_manual_page_that_is_up_to_date():
    if not MAN_PAGE:
        raise tap.Skip("no manual page was named")
    with World(None) as w, open(MAN_PAGE, "rb") as page:
        tap.equal(w.run("help", "--man").out, page.read())


def completes_verbs_options_and_paths_in_bash():
    with World() as w:
        w.write("src/inner/x")
        w.run("cp", "-r", "src", "v.cop:/")
        script = w.run("completion", "bash").text() + r'''
            compopt() { :; }
            complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _coppice;
                               printf '%s ' "${COMPREPLY[@]}"; echo; }
            complete_words coppice c
            complete_words coppice rm --re
            complete_words coppice help mk
            complete_words coppice ls v.cop : /s
            complete_words coppice ls v.cop : /src/in
            complete_words coppice ls v.c
        '''
        folder = os.path.dirname(os.path.realpath(world.PROGRAM))
        done = subprocess.run(["bash", "-c", script], cwd=w.folder, capture_output=True, text=True,
                              check=True, env={**os.environ,
                                               "PATH": folder + ":" + os.environ["PATH"]})
        tap.equal([set(line.split()) for line in done.stdout.splitlines()],
                  [{"cp", "cat", "check", "completion"}, {"--recursive"}, {"mkdir"}, {"/src"},
                   {"/src/inner"}, {"v.cop"}])


def prints_completion_for_every_verb_and_shell():
    with World(None) as w:
        for shell in ("bash", "zsh", "fish"):
            text = w.run("completion", shell).text()
            for word in VERBS + ["metadata-copies", "no-clobber"]:
                assert word in text, (shell, word)
        w.run("completion", "csh", code=world.USAGE)


def reports_what_cannot_be_written_to_its_output():
    if not os.path.exists("/dev/full"):
        raise tap.Skip("no /dev/full")
    with World() as w, open("/dev/full", "wb") as full:
        done = subprocess.run([world.PROGRAM, "info", "v.cop"], cwd=w.folder, stdout=full,
                              stderr=subprocess.PIPE, check=False)
        tap.equal(done.returncode, world.NO_SPACE)
        assert b"standard output" in done.stderr


world.run_tests(sys.modules[__name__])
