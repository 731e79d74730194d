# SPDX-License-Identifier: BSD-2-Clause
"""
The domain python: CPython's own blocks, traceback by traceback, equal what tracemalloc knows of them in the same run.

tracemalloc's own books lie in blocks of this domain, too, which it leaves out: a copy of each traceback that it has seen, of
12 + 12 bytes a frame, and (from 3.9 on) 16 bytes for each block. They are told by the calls that they come from, all of whose blocks
are of just these sizes, and compared as well: one for each traceback of the run, one for each block.
"""
import functools
import os
import signal
import struct
import time

from case_python_versions import VERSIONS, interpreter_of
from harness import IN_VM, PYTHON, WORKLOADS, Skip, expect, scaled, seconds
from tables import domain_rows, fail_if, losses

SCRIPT = os.path.join(WORKLOADS, "python_truth.py")
FRAMES = 61  # a number that the workload finds again in tracemalloc's configuration
ROUNDS = str(scaled(2, 1))
OPTIONS = ("-d", "python", "-l", "256")
VERSIONS_IN_VM = ("3.8", "3.13")  # the same on every kernel, and minutes under emulation
INLINED = "are compiled into their callers"


# ---- tables ----------------------------------------------------------------------------------------------------------


def python_part(frames):
    return tuple((frame["file"], frame["line"]) for frame in frames if frame["kind"] == "python")


def caller(frames):
    """The innermost native frame: the place that called the allocator."""
    native = [frame for frame in frames if frame["kind"] == "native" and not frame.get("inlined")]
    return (native[-1]["module"], native[-1]["address"]) if native else None


def traceback_bytes(key):
    return 12 + 12 * len(key)


def rows_by_caller(rows):
    callers = {}
    for frames, traceback, trace in rows:
        callers.setdefault(caller(frames), []).append((python_part(frames), trace))
    return callers


def is_own(rows, size):
    """Did all blocks of a call have the size that tracemalloc's own have?"""
    return all(trace["allocated_bytes"] == trace["allocations"] * size(key) for key, trace in rows)


def add(table, key, blocks, size):
    sums = table.setdefault(key, [0, 0])
    sums[0] += blocks
    sums[1] += size


def split(rows, version):
    """(what the program has, how many tracebacks and blocks tracemalloc keeps books of)"""
    table, copies, books = {}, {}, 0
    for _, group in rows_by_caller(rows).items():
        if version >= [3, 9] and is_own(group, lambda _: 16):
            books += sum(trace["blocks"] for _, trace in group)
            continue
        own = len(group) > 100 and is_own(group, traceback_bytes)
        for key, trace in group:
            if trace["blocks"]:
                add(copies if own else table, key, trace["blocks"], trace["bytes"])
    return table, copies, books


def compare(snapshot, pid, told):
    domain, rows = domain_rows(snapshot, pid, "python")
    wrong = losses(snapshot)
    expect(domain, "there is no domain python")
    wrong += [f"truncated ({traceback['truncated']})" for _, traceback, _ in rows if traceback["truncated"]]
    table, copies, books = split(rows, told["version"])
    expected = {}
    for frames, blocks, size in told["rows"]:
        add(expected, tuple(map(tuple, frames)) if frames != [["<unknown>", 0]] else (), blocks, size)
    # In these lines, of the workload itself, tracemalloc begins and ends.
    lines = {(told["script"], line) for line in told["lines"]}
    table, expected = ({key: row for key, row in rows.items() if not key or key[-1] not in lines} for rows in (table, expected))
    for key in table.keys() | expected.keys():
        if table.get(key) != expected.get(key):
            text = " < ".join(f"{file}:{line}" for file, line in reversed(key))
            wrong.append(f"{text}: tracemalloc has {expected.get(key)}, domtrace has {table.get(key)}")
    wrong += [f"{len(key)} frames: {row[0]} copies of the traceback with {row[1]} bytes" for key, row in copies.items()
              if row != [1, traceback_bytes(key)]]
    wrong += [f"{key}: blocks, and no copy of the traceback" for key in expected if key and key not in copies]
    live = sum(row[0] for row in expected.values())
    expect(live > 1000, f"the workload has only {live} blocks")
    # The lines that were left out have at most one block each.
    if told["version"] >= [3, 9] and not live <= books <= live + len(lines):
        wrong.append(f"tracemalloc keeps books of {books} blocks, and there are {live}")
    fail_if([line[:500] for line in wrong[:20]])


# ---- runs ------------------------------------------------------------------------------------------------------------


def workload(python):
    return [python, "-X", "utf8", SCRIPT, str(FRAMES), ROUNDS]


def wait_for(target, gate):
    told = target.told()
    expect(told["gate"] == gate, f"the workload is at {told['gate']}, not at {gate}")
    return told


@functools.lru_cache(maxsize=None)
def untraced_result(place_class, build, python):
    with place_class(build) as place:
        target = place.start(workload(python))
        wait_for(target, "start")
        target.go()
        wait_for(target, "end")
        target.go()
        return wait_for(target, "told")["result"]


def run(place, python, *options, launch=False):
    """One run, its tables compared. Its result is that of a run that nobody traces."""
    if launch:
        target = tracer = place.trace(*OPTIONS, *options, "--", *workload(python))
        pid = wait_for(target, "start")["pid"]
        tracer.clear()
    else:
        target = place.start(workload(python))
        pid = wait_for(target, "start")["pid"]
        tracer = place.trace("-p", str(pid), *OPTIONS, *options)
    target.go()
    wait_for(target, "end")
    snapshot = tracer.snapshot()
    target.go()
    told = wait_for(target, "told")
    compare(snapshot, pid, told)
    result = untraced_result(type(place), place.build, python)
    expect(told["result"] == result, f"the workload's result is {told['result']}, not {result}")
    target.go()
    expect(target.wait() == 0, target.stderr())
    tracer.finish()


def version(number, place):
    if IN_VM and number not in VERSIONS_IN_VM:
        raise Skip("under emulation only " + " and ".join(VERSIONS_IN_VM))
    run(place, interpreter_of(number))


def version_command(number, place):
    if IN_VM and number not in VERSIONS_IN_VM[1:]:
        raise Skip("under emulation only " + VERSIONS_IN_VM[1])
    run(place, interpreter_of(number), launch=True)


def command(place):
    run(place, PYTHON, launch=True)


# ---- tables of allocators in the process ---------------------------------------------------------------------------


def wait_until_it_reads(pid):
    """It has told where it is a moment before it stands still."""
    deadline = time.monotonic() + seconds(20)
    while True:
        with open(f"/proc/{pid}/syscall", encoding="ascii") as file:
            if file.read().startswith("0 "):  # read()
                return
        expect(time.monotonic() < deadline, f"process {pid} does not come to read its input")
        time.sleep(0.01)


def memory(pid):
    """All that the program's file has in writable memory: {address: bytes}"""
    wait_until_it_reads(pid)
    parts = {}
    path = os.path.realpath(f"/proc/{pid}/exe")
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb") as file:
        for line in maps:
            words = line.split()
            if len(words) > 5 and words[5] == path and words[1].startswith("rw"):
                start, end = (int(word, 16) for word in words[0].split("-"))
                file.seek(start)
                parts[start] = file.read(end - start)
    expect(parts, f"{path} has no writable memory")
    return parts


def changed_words(before, after):
    """[(address, old, new)] of aligned words"""
    expect(before.keys() == after.keys(), "the mappings have changed")
    changed = []
    for start, old in before.items():
        new = after[start]
        changed += [(start + at, *struct.unpack_from("<Q", old, at), *struct.unpack_from("<Q", new, at))
                    for at in range(0, len(old) - 7, 8) if old[at:at + 8] != new[at:at + 8]]
    return changed


def refusal(place):
    """Without --patch-python a process whose calls are inlined is refused, and nothing in it changes."""
    target = place.start(workload(PYTHON))
    pid = wait_for(target, "start")["pid"]
    before = memory(pid)
    status, output, errors = place.run("-p", str(pid), *OPTIONS)
    expect(status == 1 and not output, f"exit status {status}: {errors}")
    lines = errors.splitlines()
    expect(len(lines) == 1 and INLINED in lines[0] and "--patch-python" in lines[0], errors)
    expect(not changed_words(before, memory(pid)), "its memory has changed")
    target.go()
    wait_for(target, "end")


def patched(place, *signals):
    """Only the pointers are changed, each to an address a few bytes before; at the end all is as it was."""
    target = place.start(workload(PYTHON))
    pid = wait_for(target, "start")["pid"]
    before = memory(pid)
    tracer = place.trace("-p", str(pid), *OPTIONS, "--patch-python")
    changed = changed_words(before, memory(pid))
    expect(len(changed) == 12, f"{len(changed)} words have changed")
    far = [f"{address:#x}: {old:#x} became {new:#x}" for address, old, new in changed if not 0 < old - new < 16]
    expect(not far, "\n".join(far))
    for number in signals:
        tracer.signal(number)
    tracer.wait()
    expect(not changed_words(before, memory(pid)), "its memory is not as it was before")
    target.go()
    wait_for(target, "end")
    target.go()
    told = wait_for(target, "told")
    result = untraced_result(type(place), place.build, PYTHON)
    expect(told["result"] == result, f"the workload's result is {told['result']}, not {result}")
    target.go()
    expect(target.wait() == 0, target.stderr())


def killed(place):
    """domtrace killed: the process goes on, and another one traces it."""
    target = place.start(workload(PYTHON))
    pid = wait_for(target, "start")["pid"]
    first = place.trace("-p", str(pid), *OPTIONS, "--patch-python", output="first")
    first.signal(signal.SIGKILL)
    first.wait()
    tracer = place.trace("-p", str(pid), *OPTIONS, "--patch-python")
    target.go()
    wait_for(target, "end")
    snapshot = tracer.snapshot()
    target.go()
    told = wait_for(target, "told")
    compare(snapshot, pid, told)
    tracer.stop()
    target.go()
    expect(target.wait() == 0, target.stderr())


def both_domains(place):
    """Calls of libc in calls of CPython are in both domains: a large block is one block in each."""
    script = "import os\nos.read(0, 3)\nkept = [bytes(100000 + i) for i in range(50)]\nos.write(1, b'{}\\n')\nos.read(0, 3)\n"
    target = place.start([PYTHON, "-c", script])
    tracer = place.trace("-p", str(target.pid), "-d", "python", "-d", "libc", "--patch-python")
    target.go()
    target.told()
    snapshot = tracer.snapshot()
    fail_if(losses(snapshot))
    large = sum(100000 + i + 33 for i in range(50))  # with the head of the object
    for source in ("python", "libc"):
        _, rows = domain_rows(snapshot, target.pid, source)
        found = [(trace["blocks"], trace["bytes"]) for frames, _, trace in rows if trace["bytes"] >= large]
        expect(found == [(50, large)], f"{source}: {found}, and not 50 blocks with {large} bytes")
    tracer.stop()


def other_allocators(place):
    """PYTHONMALLOC sets the tables anew: said, and the snapshot is not complete."""
    tracer = place.trace("-d", "python", "--", "/usr/bin/env", "PYTHONMALLOC=pymalloc", *workload(PYTHON))
    wait_for(tracer, "start")
    snapshot = tracer.snapshot()
    expect(snapshot["losses"]["python_unseen"] and not snapshot["complete"], f"{snapshot['losses']}")
    for _ in range(3):
        tracer.go()
    tracer.finish()


def cases():
    every = [("python_domain_command", command), ("python_domain_refusal", refusal),
             ("python_domain_patched", lambda place: run(place, PYTHON, "--patch-python")),
             ("python_domain_undone_sigint", lambda place: patched(place, signal.SIGINT)),
             ("python_domain_undone_sigterm", lambda place: patched(place, signal.SIGTERM)),
             ("python_domain_killed", killed), ("python_domain_and_libc", both_domains),
             ("python_domain_other_allocators", other_allocators)]
    every += [(f"python_domain_{number}", functools.partial(version, number)) for number in VERSIONS]
    every += [(f"python_domain_command_{number}", functools.partial(version_command, number)) for number in VERSIONS]
    return every
