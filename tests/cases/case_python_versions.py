# SPDX-License-Identifier: BSD-2-Clause
"""Every CPython of this machine: each traceback equals what the interpreter itself says, frame by frame."""
import functools
import glob
import os

from harness import IN_VM, PYTHON, WORKLOADS, Skip, expect, scaled
from tables import domain_rows, fail_if, frames_text, losses

SCRIPT = os.path.join(WORKLOADS, "python_frames.py")
REPEATS = str(scaled(200, 20))
DOMAIN = 777001
VERSIONS = ("3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
# Naming the native frames of one takes minutes under emulation, and is the same on every kernel.
LIBC_IN_VM = ("3.8", "3.12")


def pyenv_root():
    """Where pyenv keeps its versions. In a guest HOME is not that of its user."""
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    return root if os.path.isdir(os.path.join(root, "versions")) else os.path.expanduser("~root/.pyenv")


def interpreter_of(version):
    pattern = os.path.join(pyenv_root(), "versions", version + ".*", "bin", "python3")
    for path in sorted(glob.glob(pattern)):
        return path
    raise Skip(f"there is no {pattern}")


# ---- what is expected ------------------------------------------------------------------------------------------------


def expected_table(told):
    table = {}
    for row in told["rows"]:
        sums = table.setdefault(tuple(map(tuple, row["frames"])), [0, 0])
        sums[0] += row["blocks"]
        sums[1] += row["bytes"]
    return table


def python_part(frames):
    return tuple((frame["file"], frame["line"], frame["function"]) for frame in frames if frame["kind"] == "python")


def is_eval(frame):
    return frame["kind"] == "native" and (frame["function"] or "").startswith("_PyEval_EvalFrameDefault")


def compare(snapshot, pid, told, check):
    """The tables are equal; `check` says what is wrong with the frames of one row, of which the Python part is right."""
    domain, rows = domain_rows(snapshot, pid, "tracemalloc", DOMAIN)
    expected, table, wrong = expected_table(told), {}, losses(snapshot)
    expect(domain, f"no domain {DOMAIN} of process {pid}")
    labels = {tuple(map(tuple, row["frames"])): row["label"] for row in told["rows"]}
    for frames, traceback, trace in rows:
        if traceback["truncated"] or traceback["total_frames"] != len(frames):
            wrong.append(f"truncated ({traceback['truncated']}), {len(frames)} of {traceback['total_frames']}: {frames_text(frames)}")
        key = python_part(frames)
        sums = table.setdefault(key, [0, 0])
        sums[0] += trace["blocks"]
        sums[1] += trace["bytes"]
        if key in expected:
            wrong += [f"{fault}: {frames_text(frames)}" for fault in check(frames, labels[key])]
    for key in expected.keys() | table.keys():
        if expected.get(key) != table.get(key):
            text = " < ".join(f"{file}:{line} {function}" for file, line, function in reversed(key))
            wrong.append(f"{text}: python has {expected.get(key)}, domtrace has {table.get(key)}")
    fail_if([line[:2000] for line in wrong[:20]])


def only_python(frames, _):
    return [] if all(frame["kind"] == "python" for frame in frames) else ["not only Python frames"]


def auto_frames(frames, _):
    """Python frames, then the native ones that they have called."""
    kinds = "".join(frame["kind"][0] for frame in frames)
    faults = [] if kinds == "p" * kinds.count("p") + "n" * kinds.count("n") else ["the native frames are not innermost"]
    return faults + ([] if kinds.endswith("n") else ["no native frames"])


def mixed_frames(has_groups, frames, label):
    """Python frames between the native ones: nothing is missing at either end, and calls through C are seen between them."""
    kinds = "".join(frame["kind"][0] for frame in frames)
    faults = []
    if not kinds.startswith("n") or not kinds.endswith("n"):
        faults.append("native frames are missing at an end")
    if label != "interpreter" and any(map(is_eval, frames)):
        faults.append("a call of the eval loop is among the native frames")
    inner = kinds.rstrip("n")  # up to t()
    if label == "callback" and has_groups and not inner.endswith("npp"):
        faults.append("no native frames between a function and the C function that calls it back")
    if label == "plain" and has_groups and not inner.endswith("pp"):
        faults.append("native frames between functions that one call of the eval loop runs")
    if not has_groups and "pp" in kinds:
        faults.append("no native frames between functions that have a call of the eval loop each")
    return faults


def compare_native_thread(snapshot, pid, told):
    """A thread without Python in a process with it."""
    _, rows = domain_rows(snapshot, pid, "libc")
    found = [(frames, traceback) for frames, traceback, trace in rows if trace["allocated_bytes"] == told["native_bytes"]]
    expect(len(found) == 1, f"{len(found)} rows of libc with {told['native_bytes']} bytes")
    frames, traceback = found[0]
    expect(frames and not traceback["truncated"] and all(frame["kind"] == "native" for frame in frames),
           f"the thread without Python: {frames_text(frames)} {traceback['truncated']}")


# ---- runs ------------------------------------------------------------------------------------------------------------


def wait_for(target, gate):
    told = target.told()
    expect(told["gate"] == gate, f"the workload is at {told['gate']}, not at {gate}")
    return told


def run(place, python, stack, check, launch=False, libc=True):
    # up to 3.10 each call has some native frames, too, of which 256 are kept
    argv = [python, "-X", "utf8", SCRIPT, REPEATS, "60" if stack == "mixed" else "180"]
    options = ["--stack", stack, "-l", "256", "-d", str(DOMAIN), *(["-d", "libc"] if libc else [])]
    if launch:
        target = tracer = place.trace(*options, "--", *argv)
        pid = wait_for(target, "start")["pid"]
        tracer.clear()  # by then it knows the libraries that Python has loaded
    else:
        target = place.start(argv)
        pid = wait_for(target, "start")["pid"]
        tracer = place.trace("-p", str(pid), *options)
    target.go()
    told = wait_for(target, "end")
    snapshot = tracer.snapshot()
    compare(snapshot, pid, told, functools.partial(check, told["version"] >= [3, 11]) if check is mixed_frames else check)
    if libc:
        compare_native_thread(snapshot, pid, told)
    target.go()
    tracer.finish()
    expect(target.wait() == 0, target.stderr())
    expect("native" not in tracer.stderr(), f"domtrace says: {tracer.stderr()}")


def mixed(place, version):
    """Under emulation most of them without the allocations of the interpreter itself, which take minutes each."""
    run(place, interpreter_of(version), "mixed", mixed_frames, libc=not IN_VM or version in LIBC_IN_VM)


def not_supported(place, version):
    """A version whose frames are not understood is named, and traced natively."""
    argv = [interpreter_of(version), "-c", "import gates; gates.gate(gate='start'); block = bytearray(7654321); gates.gate(gate='end')"]
    target = place.start(argv, env={**os.environ, "PYTHONPATH": WORKLOADS})
    wait_for(target, "start")
    tracer = place.trace("-p", str(target.pid))
    target.go()
    wait_for(target, "end")
    snapshot = tracer.snapshot()
    kinds = {frame["kind"] for frame in snapshot["frames"]}
    expect(kinds == {"native"}, f"frames of {kinds}")
    said = f"process {target.pid} runs CPython {version}."
    expect(said in tracer.stderr() and "whose frames domtrace does not understand" in tracer.stderr(), tracer.stderr())
    target.go()
    tracer.finish()
    expect(target.wait() == 0, target.stderr())


def cases():
    for version in VERSIONS:
        yield f"python {version}/python frames", lambda place, v=version: run(place, interpreter_of(v), "python", only_python)
        yield f"python {version}/mixed frames", lambda place, v=version: mixed(place, v)
    yield "python of the system/python frames", lambda place: run(place, PYTHON, "python", only_python)
    yield "python of the system/mixed frames", lambda place: run(place, PYTHON, "mixed", mixed_frames)
    yield "python of the system/from its start", lambda place: run(place, PYTHON, "auto", auto_frames, launch=True)
    yield "python 3.13/from its start", lambda place: run(place, interpreter_of("3.13"), "auto", auto_frames, launch=True)
    yield "python 3.6/not supported", lambda place: not_supported(place, "3.6")
