# SPDX-License-Identifier: BSD-2-Clause
"""What a traceback costs: an event from stacks of many shapes against the same event with no stack at all; set-up; memory."""
import json
import os
import re
import signal
import subprocess
import time

from lanes import HERE, PYTHON, WAIT, Broken, Child, READY, document, rounds, spread

NATIVE = {
    "no stack": "1 1 nothing",
    "5 frames": "1 5 nothing",
    "17 frames": "1 17 nothing",
    "17 frames, the innermost changes": "1 17 inner",
    "17 frames, all change": "1 17 whole",
    "50 frames": "1 50 nothing",
    "200 frames": "1 200 nothing",
    "200 frames, all change": "1 200 whole",
    "2 threads, no stack": "2 1 nothing",
    "2 threads, 17 frames": "2 17 nothing",
}
PYTHON_WORKS = {"Track, no stack": "nothing", "Track, 10 Python frames": "track 10", "np.empty, 10 Python frames": "numpy 10"}
STACKS = ("auto", "python", "native", "mixed")
CHUNK_BYTES = 4 * 65536                 # DT_UNWIND_CHUNK_WORDS of wire.h


def native_lanes(bench):
    """Also the tracer."""
    made = {}
    for name in ("untraced", "bare", "domtrace"):
        place = bench.place()
        made[name] = bench.start(place, [bench.program("bench_unwind")])
        if name == "bare":
            bench.bare(place, made[name], "libc.so.6", "libc")
        elif name == "domtrace":
            tracer = bench.trace(place, made[name], "-d", "libc", "-l", "256")
    return made, tracer


def script(bench):
    return [os.path.join(HERE, "tracks.py"), bench.program("bench_track.so")]


def python_lanes(bench):
    """Also the tracers, for what they have named and hold."""
    made, tracers = {}, {}
    place = bench.place()
    made["bare"] = bench.python(place, *script(bench))
    bench.bare(place, made["bare"], os.path.basename(PYTHON), "tracemalloc")
    for stack in STACKS:
        place = bench.place()
        made[f"domtrace --stack {stack}"] = bench.python(place, *script(bench))
        tracers[stack] = bench.trace(place, made[f"domtrace --stack {stack}"], "-d", "numpy", "--stack", stack)
    return made, tracers


def measures_of(made, works, form):
    return {f"{name}, {work}": lambda child=child, command=form.format(command): child.ask(command)["ns"]
            for work, command in works.items() for name, child in made.items()}


def ratios_of(made):
    ratios = []
    for work in NATIVE:
        threads = "2 threads, " if work.startswith("2 threads") else ""
        if not work.endswith("no stack"):
            ratios.append((f"domtrace, {work}", f"domtrace, {threads}no stack"))
        ratios.append((f"domtrace, {work}", f"bare, {work}"))
    for name in made:
        if name != "bare":
            ratios.append((f"{name}, Track, 10 Python frames", f"{name}, Track, no stack"))
            ratios += [(f"{name}, {work}", f"bare, {work}") for work in PYTHON_WORKS]
    return ratios


def check(snapshot, depths):
    """What was measured was what is said: whole tracebacks of these depths."""
    reasons = {traceback["truncated"] for traceback in snapshot["tracebacks"]} - {None}
    missing = set(depths) - {traceback["total_frames"] for traceback in snapshot["tracebacks"]}
    if reasons or missing or not snapshot["complete"]:
        raise Broken(f"tracebacks are not whole: {reasons}; no traceback has {missing} frames; losses: {snapshot['losses']}")


# ---- tables and set-up ------------------------------------------------------------------------------------------------


def mapped_files(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
        found = re.findall(r"^\S+ r-xp .*?(/\S+)$", file.read(), re.MULTILINE)
    return sorted({path for path in found if os.path.exists(path)})


def tables(bench, python, tracer):
    """What the rows of the unwind tables of one python3 + numpy process take."""
    told = subprocess.run([bench.program("bench_tables"), *mapped_files(python.pid)], stdout=subprocess.PIPE, check=True)
    files = [json.loads(line) for line in told.stdout.splitlines()]
    with open(f"/proc/{tracer.pid}/smaps", encoding="utf-8", errors="replace") as file:
        sizes = re.findall(r"anon_inode:bpf-map\nSize: +(\d+) kB\n(?:.*\n)*?Rss: +(\d+) kB", file.read())
    chunks = [int(used) * 1024 for size, used in sizes if int(size) * 1024 == CHUNK_BYTES]
    rows = sum(file["rows"] for file in files)
    return {
        "files": len(files), "rows": rows, "read_ms": round(sum(file["ms"] for file in files), 1),
        "chunk_bytes": len(chunks) * CHUNK_BYTES, "used_bytes": sum(chunks),
        "used_bytes_per_row": round(sum(chunks) / rows, 2),
    }


def cpu_ms(pid):
    """Processor time of a process and of the one that looks names up for it, each of one thread (/proc/PID/schedstat)."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        pids = [pid, *file.read().split()]
    total = 0
    for one in pids:
        with open(f"/proc/{one}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e6


def ready(bench, pids):
    """From the start of domtrace to its being ready for some processes: {"wall_ms", "cpu_ms"}."""
    errors = os.path.join(bench.directory, "setup.stderr")
    begin = time.monotonic()
    child = Child([bench.domtrace, "-o", os.path.join(bench.directory, "setup"), "-p", ",".join(map(str, pids))], errors)
    try:
        while READY not in child.stderr():
            if child.process.poll() is not None or time.monotonic() - begin > WAIT:
                raise Broken(f"domtrace did not become ready: {child.stderr()}")
            time.sleep(0.001)
        return {"wall_ms": (time.monotonic() - begin) * 1e3, "cpu_ms": cpu_ms(child.pid)}
    finally:
        if child.process.poll() is None:
            child.process.send_signal(signal.SIGINT)
        child.process.communicate()


def more(taken, to, of, clock):
    return spread([b[clock] - a[clock] for a, b in zip(taken[to], taken[of])])


def setup(bench, count):
    """Of a small C program; how much more with a python3 + numpy process; and with a second one of the same files."""
    place = bench.place()
    small = bench.start(place, [bench.program("bench_unwind")]).pid
    first, second = (bench.start(place, [PYTHON, *script(bench)]).pid for _ in range(2))
    taken = rounds(count, {
        "small": lambda: ready(bench, [small]),
        "one": lambda: ready(bench, [small, first]),
        "two": lambda: ready(bench, [small, first, second]),
    })
    return {clock: {
        "small_process": spread([value[clock] for value in taken["small"]]),
        "python": more(taken, "small", "one", clock),
        "second_python": more(taken, "one", "two", clock),
    } for clock in ("wall_ms", "cpu_ms")}


def naming(bench, seconds):
    """Processor time of domtrace from being ready to a first snapshot, for each thing that it then names for the first time."""
    place = bench.place()
    child = bench.start(place, [PYTHON, os.path.join(HERE, "..", "workload", "numpy_mix.py")])
    tracer = bench.trace(place, child, "--stack", "native")
    begin = cpu_ms(tracer.pid)
    time.sleep(seconds)
    _, snapshot = tracer.snapshot()
    named = cpu_ms(tracer.pid)
    tracer.snapshot()
    spent = named - begin - (cpu_ms(tracer.pid) - named)
    frames, tracebacks = len(snapshot["frames"]), len(snapshot["tracebacks"])
    return {"frames": frames, "tracebacks": tracebacks, "cpu_ms": round(spent, 1),
            "us_per_frame": round(spent * 1e3 / frames, 1), "us_per_traceback": round(spent * 1e3 / tracebacks, 1)}


def run(bench, quick):
    milliseconds, count = (20, 3) if quick else (100, 15)
    (natives, native_tracer), (pythons, tracers) = native_lanes(bench), python_lanes(bench)
    taken = rounds(count, {
        **measures_of(natives, NATIVE, "pairs {} " + str(milliseconds)),
        **measures_of(pythons, PYTHON_WORKS, "{} " + str(milliseconds)),
    })
    check(native_tracer.snapshot()[1], {int(command.split()[1]) for command in NATIVE.values()})
    check(tracers["python"].snapshot()[1], {1, 10})
    more = {
        "tables": tables(bench, pythons["domtrace --stack native"], tracers["native"]),
        "naming": naming(bench, 1 if quick else 5),
        "setup": setup(bench, count),
    }
    return document("unwind", "nanoseconds per block made and freed, of each thread", taken, ratios_of(pythons), **more)
