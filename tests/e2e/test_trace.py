"""What the kernel is asked for while cop_sync() runs, as strace sees it.

The worker says on standard error when it calls cop_sync() and when that has returned. In between,
the batch must have been written, and made durable after that: by fdatasync(), or by the write
itself (RWF_DSYNC). A call counts when it has ended; strace tells calls in the order of their ends.
"""

import os
import re
import subprocess
import sys

import tap
import world
from world import World

WORKER = os.environ["WORKER"]
ROUNDS = 4
CALLS = "write,pwrite64,pwritev,pwritev2,fdatasync,fsync,io_uring_setup,io_uring_enter"
WRITES = {"pwrite64", "pwritev", "pwritev2"}
BATCH = "copj"  # the magic of a batch; it stands behind the checksum

LINE = re.compile(r"^(\d+) +(\w+)\((.*)$")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
RESULT = re.compile(r"\) += (-?\d+)")


class Call:
    """A system call: where in the trace it began and ended, and what it returned."""

    def __init__(self, name, text, began):
        self.name, self.text, self.began = name, text, began
        self.ended = self.result = None

    def end(self, text, at):
        found = RESULT.search(text)
        assert found, text
        self.text += text
        self.ended, self.result = at, int(found.group(1))


def _calls(path):
    calls = []
    running = {}
    with open(path, encoding="utf-8", errors="replace") as lines:
        for at, line in enumerate(lines):
            match = RESUMED.match(line)
            if match:
                running.pop(match.group(1)).end(match.group(3), at)
                continue
            match = LINE.match(line)
            if not match:
                continue  # a thread or a signal
            pid, name, rest = match.groups()
            call = Call(name, rest, at)
            calls.append(call)
            if "<unfinished ...>" in rest:
                running[pid] = call
            else:
                call.end(rest, at)
    assert not running, "a call has no end"
    return calls


def _trace(w, *words):
    """The calls of a program that is run on v.cop."""
    refused = None
    try:
        done = subprocess.run(["strace", "-o", "/dev/null", "true"], check=False,
                              capture_output=True)
        if done.returncode != 0:
            refused = done.stderr.decode().strip() or "strace failed"
    except FileNotFoundError:
        refused = "there is no strace"
    if refused:
        raise tap.Skip(f"ptrace is refused here: {refused}")
    trace = w.path("trace")
    # What looks for leaks at the end is a tracer itself, and there can be only one.
    options = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    subprocess.run(["strace", "-f", "-s", "64", "-e", f"trace={CALLS}", "-o", trace, *words],
                   cwd=w.folder, check=True, capture_output=True,
                   env={**os.environ, "ASAN_OPTIONS": options})
    return _calls(trace)


def _marker(calls, text):
    found = [call for call in calls if call.name == "write" and f'"{text}\\n"' in call.text]
    tap.equal(len(found), 1)
    return found[0]


def _during(calls, what, round_):
    """The calls on the volume between the two markers of one sync, and all those before its end."""
    begins = _marker(calls, f"{what} begins {round_}")
    durable = _marker(calls, f"{what} durable {round_}")
    volume = [call for call in calls if call.name not in ("write", "io_uring_setup")]
    for call in volume:
        assert call.ended < durable.began or call.began > durable.ended, \
            f"{call.name} was under way when cop_sync() returned"
    return [call for call in volume if begins.ended < call.began < durable.began]


def _is_durable_write(call):
    return call.name == "pwritev2" and "RWF_DSYNC" in call.text


def _succeeded(calls):
    for call in calls:
        assert call.result >= 0, f"{call.name} failed"


def _one_flush_after(calls, writes):
    """Of all these calls the last is a flush, and it began when the writes had ended."""
    flushes = [call for call in calls if call.name in ("fdatasync", "fsync")]
    tap.equal(len(flushes), 1)
    assert flushes[0] is calls[-1], "something was written after the flush"
    assert writes, "nothing was written"
    for call in writes:
        assert call.ended < flushes[0].began, "the flush did not wait for the write"


def writes_and_flushes_before_a_sync_returns():
    with World("16M") as w:
        calls = _trace(w, WORKER, "trace", "v.cop", "pool")
        for round_ in range(ROUNDS):
            during = _during(calls, "data", round_)
            _succeeded(during)
            writes = [call for call in during if call.name in WRITES]
            assert any(BATCH in call.text for call in writes), "no batch was written"
            _one_flush_after(during, writes)


def makes_a_batch_durable_by_one_write_when_it_names_no_data():
    with World("16M") as w:
        calls = _trace(w, WORKER, "trace", "v.cop", "pool")
        for round_ in range(ROUNDS):
            during = _during(calls, "names", round_)
            _succeeded(during)
            tap.equal([call.name for call in during], ["pwritev2"])
            assert _is_durable_write(during[0]) and BATCH in during[0].text


def asks_for_nothing_when_all_is_durable():
    with World("16M") as w:
        for engine in ("pool", "ring"):
            calls = _trace(w, WORKER, "trace", "v.cop", engine)
            for round_ in range(ROUNDS):
                tap.equal([call.name for call in _during(calls, "nothing", round_)], [])
            w.run("rm", "v.cop:/file")


def does_the_same_with_io_uring():
    """One request alone does not go through the ring. What is in it no trace shows: but that it was
    entered, and that the flush began after that."""
    with World("16M") as w:
        calls = _trace(w, WORKER, "trace", "v.cop", "ring")
        if not any(c.name == "io_uring_setup" and c.result >= 0 for c in calls):
            raise tap.Skip("io_uring is refused here")
        for round_ in range(ROUNDS):
            during = _during(calls, "names", round_)
            _succeeded(during)
            tap.equal([call.name for call in during], ["pwritev2"])
            assert _is_durable_write(during[0]) and BATCH in during[0].text
            during = _during(calls, "data", round_)
            _succeeded(during)
            writes = [call for call in during if call.name in (*WRITES, "io_uring_enter")]
            assert any(BATCH in call.text for call in writes), "no batch was written"
            _one_flush_after(during, writes)


def a_command_ends_with_a_flush_unless_it_is_told_not_to():
    with World("16M") as w:
        for number, words in enumerate((["mkdir"], ["mkdir", "--no-sync"])):
            calls = _trace(w, world.PROGRAM, *words, f"v.cop:/{number}")
            volume = [call for call in calls if call.name not in ("write", "io_uring_setup")]
            _succeeded(volume)
            flushes = [call for call in volume if call.name == "fdatasync"]
            # What the superblock points to comes before the superblock in any case.
            assert len(flushes) >= 2
            if "--no-sync" in words:
                assert volume[-1].began > flushes[-1].ended, "the last flush was not left out"
            else:
                assert volume[-1] is flushes[-1], "something was written after the last flush"


world.run_tests(sys.modules[__name__])
