# SPDX-License-Identifier: BSD-2-Clause
"""tracemalloc's domains: the tables equal tracemalloc's own, row by row, whole tracebacks."""
import os

from harness import PAGE, PYTHON, WORKLOADS, Skip, expect, scaled
from tables import compare_domains, compare_numpy, domain_rows, losses

# tracemalloc itself allocates for each of a script's objects: under emulation all of libc would take minutes.
NUMPY_ALONE = scaled([], ["-d", "numpy"])
SCRIPT = os.path.join(WORKLOADS, "numpy_truth.py")


def wait_for(target, gate):
    told = target.told()
    expect(told["gate"] == gate, f"the workload is at {told['gate']}, not at {gate}")
    return told


def untraced_rows(place, frames):
    """The tables that tracemalloc tells when nobody else looks."""
    target = place.start([PYTHON, SCRIPT, str(frames)])
    tables = {}
    for gate in ("start", "section1", "clear", "section2"):
        tables[gate] = wait_for(target, gate).get("rows")
        target.go()
    expect(target.wait() == 0, target.stderr())
    return tables


def both_sections(place, frames, options=(), expected=None, launch=False, stack=None):
    """tracemalloc on with `frames`, or off (0) and then `expected` in its place. stack: None leaves --stack at its default."""
    argv = [PYTHON, SCRIPT, str(frames)]
    options = [*options, *(["-l", str(frames)] if frames else []), *(["--stack", stack] if stack else [])]
    if launch:
        target = tracer = place.trace(*options, "--", *argv)
        pid = wait_for(target, "start")["pid"]
        tracer.clear()
    else:
        target = place.start(argv)
        pid = wait_for(target, "start")["pid"]
        tracer = place.trace("-p", str(pid), *options)
    for gate in ("section1", "section2"):
        target.go()
        rows = wait_for(target, gate)["rows"]
        snapshot = tracer.snapshot()
        compare_numpy(snapshot, pid, rows if frames else expected[gate], stack or "auto", frames or 64)
        if gate == "section1":
            target.go()
            wait_for(target, "clear")
            tracer.clear()
    target.go()
    tracer.finish()
    expect(target.wait() == 0, target.stderr())
    return snapshot


def numpy_off(place):
    both_sections(place, 0, expected=untraced_rows(place, 64))


def numpy_alone(place):
    """-d numpy: the same table, and nothing else in the snapshot."""
    snapshot = both_sections(place, 64, ["-d", "numpy"])
    names = {domain["name"] for domain in snapshot["domains"]}
    expect(names == {"numpy"}, f"-d numpy gives the domains {names}")


def numpy_excluded(place):
    target = place.start([PYTHON, SCRIPT, "0"])
    pid = wait_for(target, "start")["pid"]
    tracer = place.trace("-p", str(pid), "-d", "!389047")
    target.go()
    wait_for(target, "section1")
    snapshot = tracer.snapshot()
    names = {domain["name"] for domain in snapshot["domains"]}
    expect(names == {"libc"}, f"-d '!389047' gives the domains {names}")
    libc, _ = domain_rows(snapshot, pid, "libc")
    expect(libc["live_bytes"] >= 1200000, "the array of 1200000 bytes is not in the libc domain")
    expect(not losses(snapshot), f"{losses(snapshot)}")
    tracer.stop()


def page(place, frames=None):
    """The page's own example, unmodified. It leaves tracemalloc at one frame; `frames` overrides that."""
    if not os.path.exists(PAGE):
        raise Skip(f"{PAGE} is not there")
    arguments = [str(frames)] if frames else []
    target = place.start([PYTHON, os.path.join(WORKLOADS, "page_truth.py"), PAGE, *arguments])
    pid = wait_for(target, "start")["pid"]
    tracer = place.trace("-p", str(pid), "-l", str(frames or 1), *NUMPY_ALONE)
    target.go()
    compare_numpy(tracer_at(tracer, target, "snapshot"), pid, target.rows, limit=frames or 1)
    target.go()
    wait_for(target, "clear")
    tracer.clear()
    target.go()
    compare_numpy(tracer_at(tracer, target, "snapshot"), pid, target.rows, limit=frames or 1)
    target.go()
    wait_for(target, "end")
    target.go()
    tracer.finish()
    expect(target.wait() == 0, target.stderr())


def tracer_at(tracer, target, gate):
    target.rows = wait_for(target, gate)["rows"]
    return tracer.snapshot()


def domains(place, stack):
    """Any domain number through ctypes; libc is left out, so that unmatched_frees is the script's alone."""
    target = place.start([PYTHON, os.path.join(WORKLOADS, "tracemalloc_domains.py")])
    pid = wait_for(target, "start")["pid"]
    tracer = place.trace("-p", str(pid), "-d", "!libc", "--stack", stack)
    target.go()
    truth = wait_for(target, "end")
    compare_domains(tracer.snapshot(), pid, truth, stack)
    target.go()
    compare_domains(tracer.finish()[-1], pid, truth, stack)
    expect(target.wait() == 0, target.stderr())


def example(place):
    """The script of the demo under `domtrace -- python3 …`: the report shows its lines, the JSON its arrays."""
    tracer = place.trace("--sort", "allocated", "--", PYTHON, os.path.join(WORKLOADS, "numpy_example.py"))
    snapshot = tracer.finish()[-1]
    expect(snapshot["label"] == "final", f"the last snapshot is labelled {snapshot['label']}")
    expect(not losses(snapshot), f"{losses(snapshot)}")
    report = tracer.output()
    for line in ("zeros = np.zeros((ROWS, COLUMNS))", "numpy_example.py", "memory block", "in make_tables"):
        expect(line in report, f"the report does not show {line!r}:\n{report}")
    wide = [line for line in report.splitlines() if len(line) > 80 and "File" not in line]
    expect(not wide, f"lines of the report are wider than 80 columns: {wide}")
    expect("\x1b" not in report, "the report is coloured, but not on a terminal")


def cases():
    yield "numpy/tracemalloc on, 64 frames", lambda place: both_sections(place, 64)
    yield "numpy/tracemalloc on, 64 frames, Python's alone", lambda place: both_sections(place, 64, NUMPY_ALONE, stack="python")
    yield "numpy/tracemalloc on, 3 frames", lambda place: both_sections(place, 3, NUMPY_ALONE)
    yield "numpy/tracemalloc on, 3 frames, Python's alone", lambda place: both_sections(place, 3, NUMPY_ALONE, stack="python")
    yield "numpy/tracemalloc on, 1 frame", lambda place: both_sections(place, 1, NUMPY_ALONE, stack="python")
    yield "numpy/tracemalloc on, from its start", lambda place: both_sections(place, 64, NUMPY_ALONE, launch=True)
    yield "numpy/tracemalloc off", numpy_off
    yield "numpy/that domain alone", numpy_alone
    yield "numpy/that domain left out", numpy_excluded
    yield "numpy/the page's script", page
    yield "numpy/the page's script, 16 frames", lambda place: page(place, 16)
    yield "tracemalloc/domains", lambda place: domains(place, "auto")
    yield "tracemalloc/domains, Python's frames alone", lambda place: domains(place, "python")
    yield "python/example", example
