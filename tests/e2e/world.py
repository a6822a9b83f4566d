"""What the tests of the program share: a folder with a volume, and trees that are compared."""

import contextlib
import fcntl
import inspect
import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time

import tap

PROGRAM = os.environ["COPPICE"]
MIB = 1 << 20

# What a command says of a mistake: "coppice: VERB: OBJECT: what is wrong; try: COMMAND".
FINE, ERROR, USAGE, SOME_FAILED, INTEGRITY, NOT_FOUND, BUSY, NO_SPACE, NOT_PERMITTED, \
    NOT_A_VOLUME = range(10)
INTERRUPTED = 130


class Done:
    """How a command ended."""

    def __init__(self, words, code, out, err):
        self.words, self.code, self.out, self.err = words, code, out, err

    def text(self):
        return self.out.decode()

    def lines(self):
        return self.text().splitlines()

    def json(self):
        return json.loads(self.out)

    def complaint(self):
        return self.err.decode(errors="surrogateescape")


class World:
    """A folder of its own, with the volume v.cop in it unless `size` is None."""

    def __init__(self, size="64M"):
        self.folder = tempfile.mkdtemp(prefix="coppice-e2e-")
        self.size = size

    def __enter__(self):
        if self.size:
            self.run("init", "--size", self.size, "v.cop")
        return self

    def __exit__(self, *_):
        remove_deep(self.folder)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def run(self, *words, code=FINE, input=b"", says=None, **more):
        """Runs the program here; it must end with `code`, None for any, and say `says` if that is
        given."""
        program = self.program_of_all() if "user" in more else PROGRAM
        done = subprocess.run([program, *words], cwd=self.folder, input=input, check=False,
                              capture_output=True, **more)
        result = Done(words, done.returncode, done.stdout, done.stderr)
        if code is not None and done.returncode != code:
            raise AssertionError(f"{words} ended with {done.returncode}, not {code}: "
                                 f"{done.stderr.decode(errors='replace')}")
        if code == FINE and says is None:
            tap.equal(result.err, b"")
        if says is not None and says not in result.complaint():
            raise AssertionError(f"{words} said {result.complaint()!r}, not {says!r}")
        return result

    def program_of_all(self):
        """A copy that any user can run: the build may lie in somebody's home."""
        copy = self.path(".program")
        if not os.path.exists(copy):
            os.chmod(self.folder, 0o755)
            shutil.copy(PROGRAM, copy)
        return copy

    def start(self, *words, **more):
        return subprocess.Popen([PROGRAM, *words], cwd=self.folder, **more)

    def write(self, name, content=b""):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def cat(self, name):
        return self.run("cat", f"v.cop:{name}").out

    def names(self, name="/"):
        return self.run("ls", f"v.cop:{name}").lines()

    def stat(self, name):
        return self.run("stat", "--json", f"v.cop:{name}").json()

    def is_sound(self):
        done = self.run("check", "v.cop")
        assert "sound" in done.text(), done.text()

    def wait_until_free(self):
        """The kernel lets go of a killed process' files when its last requests have ended."""
        deadline = time.monotonic() + 60
        while subprocess.run([PROGRAM, "sync", "v.cop"], cwd=self.folder, check=False,
                             capture_output=True).returncode == BUSY:
            assert time.monotonic() < deadline, "the volume is still busy"

    def wait_until_unlocked(self, name="v.cop"):
        """The same, without a command that opens it."""
        deadline = time.monotonic() + 60
        with open(self.path(name), "rb") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    assert time.monotonic() < deadline, "the volume is still locked"
                    time.sleep(0.002)

    @contextlib.contextmanager
    def unchanged(self, name="v.cop"):
        """What happens inside leaves every byte of the file as it was."""
        before = self.read(name)
        yield
        assert self.read(name) == before, f"{name} was changed"

    def damage(self, content, name="v.cop"):
        """Flips a bit of the only block of the volume that begins with `content`."""
        image = self.read(name)
        at = image.find(content)
        assert at >= 0, "the content is not in the volume"
        assert image.find(content, at + 1) < 0, "the content is there twice"
        self.flip(at + 7, name)

    def flip(self, at, name="v.cop"):
        """Flips a bit of one byte of the volume."""
        with open(self.path(name), "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1]))


def run_tests(module):
    """Every function of the module that is defined there and has no argument is a test."""
    # A shell has what it runs in the background ignore it, and so would the programs of the tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tests = [f for n, f in vars(module).items() if inspect.isfunction(f)
             and f.__module__ == module.__name__ and not n.startswith("_")
             and not inspect.signature(f).parameters]
    tap.run(tests)


def remove_deep(folder):
    """Removes a tree of any depth and any modes."""
    if os.geteuid() != 0:
        subprocess.run(["chmod", "-R", "u+rwx", folder], check=False)
    if subprocess.run(["rm", "-rf", folder], check=False).returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)


def must_be_root():
    if os.geteuid() != 0:
        raise tap.Skip("needs root")


# ---- Trees of the host --------------------------------------------------------------------------

def holes(path):
    """The ranges of data in a file, as the file system tells them."""
    ranges = []
    with open(path, "rb") as file:
        end = os.fstat(file.fileno()).st_size
        at = 0
        while at < end:
            try:
                begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            ranges.append((begin, at))
    return ranges


def attributes(path):
    try:
        return {n: os.getxattr(path, n, follow_symlinks=False)
                for n in os.listxattr(path, follow_symlinks=False)}
    except OSError:
        return {}


def describe(path, times=True):
    """All of a file that a copy must preserve."""
    st = os.lstat(path)
    what = {"mode": oct(st.st_mode), "owner": (st.st_uid, st.st_gid), "xattrs": attributes(path)}
    if times:
        what["mtime"] = st.st_mtime_ns
    if stat.S_ISREG(st.st_mode):
        what["size"] = st.st_size
        what["links"] = st.st_nlink
        with open(path, "rb") as file:
            what["content"] = hash(file.read())
    elif stat.S_ISLNK(st.st_mode):
        what["target"] = os.readlink(path)
    elif stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
        what["device"] = st.st_rdev
    return what


def describe_tree(top, times=True):
    found = {".": describe(top, times)}
    groups = {}
    for folder, folders, files in os.walk(os.fsencode(top)):
        for name in folders + files:
            path = os.path.join(folder, name)
            key = os.path.relpath(path, os.fsencode(top))
            found[key] = describe(path, times)
            st = os.lstat(path)
            if st.st_nlink > 1 and not stat.S_ISDIR(st.st_mode):
                groups.setdefault(st.st_ino, []).append(key)
    for group in groups.values():
        for key in group:
            found[key]["linked"] = sorted(group)
    return found


def same_trees(one, other, times=True):
    first, second = describe_tree(one, times), describe_tree(other, times)
    for key in sorted(set(first) | set(second), key=str):
        if first.get(key) != second.get(key):
            raise AssertionError(f"{key!r}: {first.get(key)!r} became {second.get(key)!r}")
