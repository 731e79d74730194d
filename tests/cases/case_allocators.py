# SPDX-License-Identifier: BSD-2-Clause
"""
Allocators: the same program bound to each of them in each way; its whole libc table equals what it tells of itself.

The programs are built by tests/workload/allocators/CMakeLists.txt.
"""
import os

import case_libc
from harness import Skip, expect
from tables import FIELDS, called, compare_libc, compare_totals, domain_rows, fail_if, frames_text, losses, matches, row_text

LIBRARIES = "/usr/lib/x86_64-linux-gnu"
JEMALLOC = f"{LIBRARIES}/libjemalloc.so.2"
TCMALLOC = f"{LIBRARIES}/libtcmalloc_minimal.so.4"
MIMALLOC = f"{LIBRARIES}/libmimalloc.so.2"

# program: of build/tests/workload/allocators. preload: a library that takes the allocator's place. options: of domtrace.
# The operators are refused memory, too; failed: how many calls a function that is traced answered with a null pointer for that;
# rethrown: exceptions that an operator caught from the new handler, or from another operator, and replaced or dropped.
# threads: its variant with threads is run as well. launch: started by domtrace.
C_PROGRAMS = {
    "glibc": {"program": "glibc", "threads": True},
    "glibc, static": {"program": "glibc_static", "threads": True},
    "glibc, static, from its start": {"program": "glibc_static", "launch": True},
    "musl": {"program": "musl", "threads": True},
    "musl, static": {"program": "musl_static", "threads": True},
    "musl, static, from its start": {"program": "musl_static", "launch": True},
    "jemalloc": {"program": "jemalloc", "threads": True},
    "jemalloc, static": {"program": "jemalloc_static", "threads": True},
    "jemalloc, preloaded": {"program": "plain", "preload": JEMALLOC, "threads": True},
    "jemalloc, preloaded, from its start": {"program": "plain", "preload": JEMALLOC, "launch": True},
    "tcmalloc": {"program": "tcmalloc"},
    "tcmalloc, static": {"program": "tcmalloc_static", "threads": True},
    "tcmalloc, all static": {"program": "tcmalloc_all_static"},
    "tcmalloc, preloaded": {"program": "plain_tcmalloc", "preload": TCMALLOC, "threads": True},
    "tcmalloc, its own names": {"program": "tcmalloc_own", "threads": True},
    "mimalloc": {"program": "mimalloc", "threads": True},
    "mimalloc, preloaded": {"program": "plain", "preload": MIMALLOC, "threads": True},
    "mimalloc, preloaded, from its start": {"program": "plain", "preload": MIMALLOC, "launch": True},
    "mimalloc, its own names": {"program": "mimalloc_own", "threads": True},
    "another's, under jemalloc's names": {"program": "pool_je"},
    "another's, hidden, under Rust's names": {"program": "pool_rjem"},
    "another's, named": {"program": "pool", "options": ["--allocator", "libpool.so:pool_"], "threads": True},
    "another's, named, from its start": {"program": "pool", "options": ["--allocator", "*/libpool.*:pool_"], "launch": True},
}

CXX_PROGRAMS = {
    "glibc": {"program": "operators", "failed": 27, "rethrown": 8, "arguments": ["--libstdc++"]},
    "glibc, static": {"program": "operators_static", "failed": 27, "rethrown": 8, "arguments": ["--libstdc++"]},
    "jemalloc": {"program": "operators_jemalloc", "failed": 17, "rethrown": 2},
    "jemalloc, static": {"program": "operators_jemalloc_static", "failed": 17, "rethrown": 2},
    "jemalloc, from its start": {"program": "operators_jemalloc", "failed": 17, "rethrown": 2, "launch": True},
    "jemalloc, preloaded": {"program": "operators", "preload": JEMALLOC, "failed": 17, "rethrown": 2},
    "tcmalloc": {"program": "operators_tcmalloc", "failed": 8},
    "tcmalloc, all static": {"program": "operators_tcmalloc_static", "failed": 8},
    "tcmalloc, preloaded": {"program": "operators", "preload": TCMALLOC, "failed": 8},
    "mimalloc": {"program": "operators_mimalloc", "arguments": ["--no-throw"]},
    "mimalloc, preloaded": {"program": "operators", "preload": MIMALLOC, "arguments": ["--no-throw"]},
}


def argv_of(place, spec, arguments):
    path = os.path.join(place.build, "tests", "workload", "allocators", spec["program"])
    if not os.path.exists(path):
        raise Skip(f"{spec['program']} is not built: its library or its compiler is missing")
    preload = spec.get("preload")
    if preload and not os.path.exists(preload):
        raise Skip(f"there is no {preload}")
    return (["/usr/bin/env", f"LD_PRELOAD={preload}"] if preload else []) + [path, *spec.get("arguments", ()), *arguments]


WRAPPERS = ("operator new", "mi_new_", "mi_reallocarr")  # they may be made of functions that are traced themselves


def written(frames):
    """Frames up to the call that the program wrote, functions of C++ without their arguments."""
    frames = called(frames)
    while frames and (frames[-1]["function"] or "").startswith(WRAPPERS):
        frames = frames[:-1]
    return [{**frame, "function": (frame["function"] or "").split("(")[0]} for frame in frames]


def without_start(domain, actual):
    """The domain's row and traces without what was allocated before main() began."""
    before = [trace for frames, _, trace in actual if all(frame["function"] != "main" for frame in frames)]
    blocks, size, allocations, allocated = (sum(trace[field] for trace in before) for field in FIELDS)
    domain = {**domain, "live_blocks": domain["live_blocks"] - blocks, "live_bytes": domain["live_bytes"] - size,
              "allocations": domain["allocations"] - allocations, "allocated_bytes": domain["allocated_bytes"] - allocated,
              "frees": domain["frees"] - (allocations - blocks), "freed_bytes": domain["freed_bytes"] - (allocated - size)}
    return domain, [row for row in actual if row[2] not in before]


def compare(snapshot, pid, truth, exact_peak, launch):
    domain, actual = domain_rows(snapshot, pid, "libc")
    expect(domain is not None, f"no libc domain of process {pid}")
    if launch:
        domain, actual = without_start(domain, actual)
    sums = [dict.fromkeys(FIELDS, 0) for _ in truth["rows"]]
    wrong = losses(snapshot)
    for frames, traceback, trace in actual:
        inner = written(frames)
        found = [i for i, row in enumerate(truth["rows"]) if matches(row, inner)]
        for field in FIELDS if len(found) == 1 else ():
            sums[found[0]][field] += trace[field]
        if len(found) != 1 or traceback["truncated"]:
            wrong.append(f"{len(found)} rows for {frames_text(frames)}: {trace} {traceback['truncated'] or ''}")
    for row, total in zip(truth["rows"], sums):
        wrong += [f"{row_text(row)}: {field} is {total[field]}, not {row[field]}"
                  for field in FIELDS if total[field] != row[field]]
    wrong += compare_totals(domain, truth, exact_peak)
    wrong += [f"counters.{name} is {snapshot['counters'].get(name)}, not {number}"
              for name, number in truth["counters"].items() if snapshot["counters"].get(name) != number]
    fail_if(wrong)


def adjust(truth, spec):
    """What the program cannot know of its operators: how often they were refused memory, and exceptions that they made of others."""
    truth["counters"]["failed_allocations"] += spec.get("failed", 0)
    for row in truth["rows"]:
        if row["function"] == "__cxa_allocate_exception":
            size = row["allocated_bytes"] // row["allocations"]
            for target in (row, truth["total"]):
                target["allocations"] += spec.get("rethrown", 0)
                target["allocated_bytes"] += spec.get("rethrown", 0) * size
            truth["total"]["frees"] += spec.get("rethrown", 0)
            truth["total"]["freed_bytes"] += spec.get("rethrown", 0) * size


def run(place, spec, arguments=()):
    launch = spec.get("launch")
    argv = argv_of(place, spec, [*arguments, *(["--from-start"] if launch else [])])
    if launch:
        target = tracer = place.trace(*spec.get("options", ()), "--", *argv)
        pid = target.told()["pid"]
    else:
        target = place.start(argv)
        pid = target.told()["pid"]
        tracer = place.trace("-p", str(pid), *spec.get("options", ()))
    target.go()
    truth = target.told(limit=600)
    adjust(truth, spec)
    exact_peak = not arguments and not launch
    compare(tracer.snapshot(), pid, truth, exact_peak, launch)
    target.go()
    last = tracer.finish()[-1]
    expect(target.wait() == 0, f"{target} exited with {target.wait()}: {target.stderr()}")
    compare(last, pid, truth, exact_peak, launch)


def heaps(place, program):
    """Blocks that are dropped with their heap: listed as live on, and the snapshot is not complete and says why, until they are forgotten."""
    target = place.start(argv_of(place, {"program": program}, []))
    pid = target.told()["pid"]
    tracer = place.trace("-p", str(pid))
    target.go()
    truth = target.told()
    snapshot = tracer.snapshot()
    expect(not snapshot["complete"] and snapshot["losses"].pop("heaps_dropped") == truth["facts"]["dropped"],
           f"heaps were dropped {truth['facts']['dropped']} times: complete {snapshot['complete']}, {snapshot['losses']}")
    compare_libc({**snapshot, "complete": True}, pid, truth)
    tracer.clear()
    fail_if(losses(tracer.snapshot()))
    target.go()
    tracer.finish()


def stripped(place):
    """A static program without symbols cannot be traced, and that is what is said."""
    target = place.start(argv_of(place, {"program": "glibc_static_stripped"}, []))
    status, _, said = place.run("-p", str(target.told()["pid"]))
    expect(status == 1 and "linked statically and stripped of its symbols" in said, f"exit status {status}: {said}")


def unknown(place):
    """--allocator with a file that has none of the functions, and one that is not there: both are said."""
    target = place.start(argv_of(place, {"program": "glibc"}, []))
    tracer = place.trace("-p", str(target.told()["pid"]), "--allocator", "libc.so.6:other_", "--allocator", "libnone.so")
    tracer.stop()
    for sentence in ("libc.so.6 is named as an allocator, but has no symbol other_malloc", "no process mapped a file that 'libnone.so' stands for"):
        expect(sentence in tracer.stderr(), f"'{sentence}' is not said: {tracer.stderr()}")


def cases():
    for name, spec in C_PROGRAMS.items():
        yield f"allocators/{name}", lambda place, spec=spec: run(place, spec)
        if spec.get("threads"):
            yield f"allocators/{name}, threads", lambda place, spec=spec: run(place, spec, ["--threads"])
    for name, spec in CXX_PROGRAMS.items():
        yield f"allocators/operators, {name}", lambda place, spec=spec: run(place, spec)
    for names in case_libc.COMBINATIONS[1:]:
        options = [word for name in names for word in ("--without", name)]
        spec = {**CXX_PROGRAMS["jemalloc"], "options": options}
        yield f"allocators/operators, jemalloc, without {' and '.join(names)}", lambda place, spec=spec: run(place, spec)
    for program in "heaps_mimalloc", "heaps_jemalloc", "heaps_jemalloc_static":
        yield f"allocators/{program}", lambda place, program=program: heaps(place, program)
    yield "allocators/a stripped one", stripped
    yield "allocators/an unknown one", unknown
