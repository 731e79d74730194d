# SPDX-License-Identifier: BSD-2-Clause
"""NumPy as it behaves in each release: this machine's on every path of its own, the others' calls replayed."""
import os
import subprocess

from harness import PYTHON, WORKLOADS, expect
from tables import FIELDS, compare_domains, compare_numpy, domain_rows, fail_if, losses

TALLY = ("allocations", "allocated_bytes", "frees", "freed_bytes")


def wait_for(target, gate):
    told = target.told()
    expect(told["gate"] == gate, f"the workload is at {told['gate']}, not at {gate}")
    return told


def releases(place, frames, *options):
    """The calls of each release, in three threads; `frames`: tracemalloc is on. With libc traced, its frees are unmatched, too."""
    script = os.path.join(WORKLOADS, "numpy_releases.py")
    target = place.start([PYTHON, script, place.workload("libnumpy_calls.so"), *([str(frames)] if frames else [])])
    pid = wait_for(target, "start")["pid"]
    tracer = place.trace("-p", str(pid), *options)

    def compare(snapshot, truth):
        if "libc" in options:
            truth["unmatched_frees"] = snapshot["counters"]["unmatched_frees"]
        compare_domains(snapshot, pid, truth)

    target.go()
    truth = wait_for(target, "middle")
    compare(tracer.snapshot(), truth)
    target.go()
    truth = wait_for(target, "end")
    compare(tracer.snapshot(), truth)
    target.go()
    compare(tracer.finish()[-1], truth)
    expect(target.wait() == 0, target.stderr())


def paths_truth(place, frames):
    """What tracemalloc has at each gate when nobody else looks."""
    target = place.start([PYTHON, os.path.join(WORKLOADS, "numpy_paths.py"), place.workload("libnumpy_calls.so"), str(frames)])
    tables = []
    for gate in ("start", "kept", "freed"):
        tables.append(wait_for(target, gate)["rows"])
        target.go()
    wait_for(target, "clear")
    target.go()
    wait_for(target, "handler")
    target.go()
    target.told()
    expect(target.wait() == 0, target.stderr())
    return tables[1:]


def paths(place, frames):
    """Every path of NumPy's; then with a memory handler that keeps books itself, to the end of the process."""
    expected = None if frames else paths_truth(place, 64)
    target = place.start([PYTHON, os.path.join(WORKLOADS, "numpy_paths.py"), place.workload("libnumpy_calls.so"), str(frames)])
    pid = wait_for(target, "start")["pid"]
    tracer = place.trace("-p", str(pid), "-d", "numpy")
    for i, gate in enumerate(("kept", "freed")):
        target.go()
        rows = wait_for(target, gate)["rows"]
        compare_numpy(tracer.snapshot(), pid, expected[i] if expected else rows)
    target.go()
    wait_for(target, "clear")
    tracer.clear()
    target.go()
    compare_tally(tracer.snapshot, pid, wait_for(target, "handler"))
    target.go()
    compare_tally(lambda: tracer.finish()[-1], pid, target.told())
    expect(target.wait() == 0, target.stderr())


def compare_tally(take, pid, truth):
    """The totals of the domain are what the handler counted itself."""
    snapshot = take()
    domain, _ = domain_rows(snapshot, pid, "tracemalloc", 389047)
    truth = dict({name: truth[name] for name in TALLY}, live_blocks=truth["allocations"] - truth["frees"],
                 live_bytes=truth["allocated_bytes"] - truth["freed_bytes"])
    fail_if(losses(snapshot) + [f"{name} of numpy is {domain[name]}, the handler says {number}"
                                for name, number in truth.items() if domain[name] != number])


def sizes(place):
    """Size classes of NumPy's blocks by line, as tracemalloc has them; those of libc add up beside them."""
    script = os.path.join(WORKLOADS, "numpy_sizes.py")
    target = place.start([PYTHON, script])
    pid = target.told()["pid"]
    tracer = place.trace("-p", str(pid), "-d", "numpy", "-d", "libc", "--sizes")
    for _ in range(2):
        target.go()
        want = {(line, upper): (blocks, size) for line, upper, blocks, size in target.told()["sizes"]}
        snapshot, found = tracer.snapshot(), {}
        domain, rows = domain_rows(snapshot, pid, "tracemalloc", 389047)
        for frames, _, trace in rows:
            line = [frame["line"] for frame in frames if frame["file"] == script][-1]
            for upper, blocks, size in trace["sizes"]:
                before = found.get((line, upper), (0, 0))
                found[line, upper] = before[0] + blocks, before[1] + size
        fail_if(losses(snapshot) + [f"line {key[0]}, up to {key[1]} bytes: {found.get(key)} blocks and bytes, tracemalloc has {want.get(key)}"
                                    for key in sorted(want.keys() | found.keys()) if want.get(key) != found.get(key)])
        expect(len(want) > 30 and domain["sizes_exact"], f"{len(want)} classes of lines were compared, of the domain {domain}")
        expect(domain_rows(snapshot, pid, "libc")[0]["sizes_exact"], "sizes of libc are not exact")
    target.go()
    tracer.finish()
    expect(target.wait() == 0, target.stderr())


def rows_of_script(snapshot, script):
    """Live blocks and bytes, and allocations and their bytes, of NumPy's domain by line of a script, but for what its imports keep."""
    rows = {}
    for frames, _, trace in domain_rows(snapshot, snapshot["processes"][0]["pid"], "tracemalloc", 389047)[1]:
        lines = [frame["line"] for frame in frames if frame["kind"] == "python" and frame["file"] == script]
        if not any(frame["kind"] == "python" and frame["function"] == "_find_and_load" for frame in frames):
            before = rows.get(lines[-1], (0, 0, 0, 0))
            rows[lines[-1]] = tuple(map(sum, zip(before, (trace[field] for field in FIELDS))))
    return rows


def page(place):
    """The page's own script, unchanged: it prints what it prints alone, and what it has when it takes its snapshots is known outside, too."""
    script, printed = place.page_script(), place.path("printed")
    lines = open(script, encoding="utf-8").read().splitlines()
    zeros, squares = lines.index("a = np.zeros((nx,ny))") + 1, lines.index("c = np.sum(a*a)") + 1
    alone = subprocess.run([PYTHON, script], stdout=subprocess.PIPE, check=True).stdout.decode()
    # What _tracemalloc calls six times for the traces of each snapshot (CPython 3.11, Modules/_tracemalloc.c).
    tracer = place.trace("-d", "numpy", "--snapshot-at", f"{os.path.realpath(PYTHON)}:_Py_hashtable_foreach", "--",
                         "/bin/sh", "-c", 'exec "$0" "$1" >"$2"', PYTHON, script, printed)
    snapshots = tracer.finish()
    with open(printed, encoding="utf-8") as file:
        expect(file.read() == alone, "the script printed something else than without a trace")
    labels = [snapshot["label"] for snapshot in snapshots]
    expect(labels == ["marker:_Py_hashtable_foreach"] * 12 + ["final"], f"the snapshots are labelled {labels}")
    first, ended = {zeros: (1, 1200000, 1, 1200000)}, {squares: (0, 0, 2, 1200008)}
    want = [first] * 6 + [first | ended] * 6 + [ended | {zeros: (0, 0, 1, 1200000)}]
    found = [rows_of_script(snapshot, script) for snapshot in snapshots]
    fail_if([f"snapshot {i}: {rows}, not {want[i]}" for i, rows in enumerate(found) if rows != want[i]] +
            [sentence for snapshot in snapshots for sentence in losses(snapshot)])
    blocks, size = first[zeros][:2]
    expect(f"SNAPSHOT 1 =================\n{blocks} memory blocks: {size / 1024:.1f} KiB\n    {lines[zeros - 1]}\n" in alone, f"the script printed {alone!r}")


def sections_inside(script):
    """What tracemalloc prints inside: {label: its rows, as they are printed}."""
    told, rows = subprocess.run([PYTHON, script, "--tracemalloc"], stdout=subprocess.PIPE, check=True).stdout.decode(), {}
    for line in told.splitlines():
        if line.startswith(" "):
            rows[label].append(line.strip())
        else:
            label = line.rstrip(":")
            rows[label] = []
    return rows


def sections(place):
    """The demo's script: what tracemalloc has inside at the end of each section, and domtrace outside at a marker there, with tracemalloc off."""
    script = os.path.join(WORKLOADS, "numpy_sections.py")
    inside = sections_inside(script)
    tracer = place.trace("-d", "numpy", "--", PYTHON, script, "--markers", place.workload("libmarker.so"))
    snapshots = tracer.finish()
    labels = [snapshot["label"] for snapshot in snapshots]
    expect(labels == [*(f"marker:{label}" for label in inside), "final"], f"the snapshots are labelled {labels}, inside are {list(inside)}")
    wrong = []
    for (label, want), snapshot in zip(inside.items(), snapshots):
        rows = sorted(f"{blocks} memory blocks: {size / 1024:.1f} KiB, line {line}"
                      for line, (blocks, size, _, _) in rows_of_script(snapshot, script).items() if blocks)
        wrong += losses(snapshot) + ([f"{label}: {rows}, inside {want}"] if rows != sorted(want) or not want else [])
    fail_if(wrong)


def cases():
    yield "numpy/both sections, inside and outside", sections
    yield "numpy/the page's own script", page
    yield "numpy/size classes", sizes
    yield "numpy/the calls of each release", lambda place: releases(place, 0, "-d", "numpy")
    yield "numpy/the calls of each release, libc traced", lambda place: releases(place, 0, "-d", "numpy", "-d", "libc")
    yield "numpy/the calls of each release, tracemalloc on", lambda place: releases(place, 64, "-d", "numpy")
    yield "numpy/every path, tracemalloc off", lambda place: paths(place, 0)
    yield "numpy/every path, tracemalloc on", lambda place: paths(place, 64)
