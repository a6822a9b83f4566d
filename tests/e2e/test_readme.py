"""What the README and the help of each verb show is what happens."""

import os
import re
import shutil
import subprocess
import sys

import tap
import world
from world import World

README, DOCS = sys.argv[1:]


def _shell(w, command, code=world.FINE):
    """Runs a line as a person types it, with the program in the path."""
    folder = os.path.dirname(os.path.realpath(world.PROGRAM))
    done = subprocess.run(["bash", "-c", command], cwd=w.folder, check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, "PATH": folder + ":" + os.environ["PATH"],
                               "HOME": w.folder})
    assert done.returncode == code, (command, done.returncode, done.stdout)
    return done.stdout


def _without_figures(text):
    """Figures change with every page of the documents: any one is as good as another."""
    return [re.sub(r"[\d.]+[KMG%]?(?=\s|$)", "#", re.sub(r" +", " ", line)).strip()
            for line in text.splitlines()]


def does_what_the_readme_shows():
    with open(README, encoding="utf-8") as file:
        session = re.search(r"## A session\n.*?```console\n(.*?)```", file.read(), re.S)
    steps = re.split(r"(?m)^\$ ", session[1])[1:]
    assert len(steps) >= 10, steps
    with World(None) as w:
        shutil.copytree(DOCS, w.path("docs"))
        for step in steps:
            command, _, shown = step.partition("\n")
            tap.equal(_without_figures(_shell(w, command)), _without_figures(shown))


def _prepare(w, makes_volumes):
    """What the examples speak of; an example that makes a volume makes the first one."""
    w.write("photos/2020/a.jpg", b"a picture")
    w.write("disk", bytes(16 * world.MIB))
    os.makedirs(w.path(".config/fish/completions"))
    if makes_volumes:
        return
    for name in ("vol.cop", "other.cop"):
        w.run("init", "--size", "64M", name)
    w.run("init", "disk")
    w.run("mkdir", "-p", "vol.cop:/a/x", "vol.cop:/old/deep", "vol.cop:/etc")
    w.run("cp", "-r", "photos", "vol.cop:/")
    for name in ("etc/motd", "old.txt", "old/deep/file"):
        w.run("cp", "-", f"vol.cop:/{name}", input=b"text\n")


def _examples(text):
    for line in re.search(r"\nExamples:\n((?:  .*\n)+)", text)[1].splitlines():
        if not line.startswith("  #"):
            line = line.replace("/dev/sdb1", "disk").replace("/tmp/", "")
            yield line.replace("/usr/include", "photos").replace(":/include", ":/photos")


def runs_every_example_of_the_help():
    count = 0
    with World(None) as w:
        listed = re.search(r"\nVerbs:\n(.*?)\n\n", w.run("help").text(), re.S)[1]
        verbs = re.findall(r"(?m)^  ([a-z]+) ", listed)
    for words in (["help"], *(["help", verb] for verb in verbs)):
        with World(None) as w:
            _prepare(w, makes_volumes=words in (["help"], ["help", "init"]))
            for line in _examples(w.run(*words).text()):
                _shell(w, line)
                count += 1
            w.run("check", "vol.cop")
    assert count >= 30, count


world.run_tests(sys.modules[__name__])
