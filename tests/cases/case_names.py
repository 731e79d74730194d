# SPDX-License-Identifier: BSD-2-Clause
"""Names of native frames: of files that are gone, of code of no file, from debug files of all kinds of places, for people and raw.

The sources of workload/names mark the line of each call; what is expected of a traceback is all its frames from main on.
"""
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

from harness import WORKLOADS, Skip, expect, seconds

SOURCES = os.path.join(WORKLOADS, "names")
INLINED, UNLOADED, CXX, REMOVED, JITTED = range(100001, 100006)

# Frames: function, source file (None: no lines are known), mark in it, inlined.
LIBRARY = [("names_library", "library.c", "names_library", False), ("library_middle", "library.c", "library_middle", True),
           ("library_inner", "library.c", "library_inner", True)]
READABLE = ["names_shapes", "shapes::Shape::operator[](unsigned long)",
            "shapes::Shape::operator[](unsigned long)::{lambda(unsigned long)#1}::operator()(unsigned long) const",
            "shapes::(anonymous namespace)::Pile<char, 3>::grow(unsigned long)"]
RAW = ["names_shapes", "_ZN6shapes5ShapeixEm", "_ZZN6shapes5ShapeixEmENKUlmE_clEm", "_ZN6shapes12_GLOBAL__N_14PileIcLi3EE4growEm"]
MARKS = ["names_shapes", "index", "lambda", "grow"]


def called(mark, frames):
    return [("main", "main.c", mark, False), ("call", "main.c", "call", False)] + frames


def expected(shapes):
    return {
        INLINED: [("main", "main.c", "main_inlined", False), ("main_outer", "main.c", "main_outer", False),
                  ("main_inner", "main.c", "main_inner", True)],
        UNLOADED: called("main_unloaded", LIBRARY),
        CXX: called("main_cxx", [(name, "shapes.cc", mark, False) for name, mark in zip(shapes, MARKS)]),
        REMOVED: called("main_removed", LIBRARY),
        JITTED: called("main_jitted", [("JIT:*jitted /srv/app.js:1", None, None, False)]),
    }


def find_line(name, mark):
    with open(os.path.join(SOURCES, name), encoding="utf-8") as file:
        lines = [number for number, line in enumerate(file, 1) if re.search(rf"@{mark}\b", line)]
    expect(len(lines) == 1, f"{name} has the mark {mark} {len(lines)} times")
    return lines[0]


def with_lines(frames):
    return [(function, file and "/names/" + file, file and find_line(file, mark), inlined) for function, file, mark, inlined in frames]


def without_lines(frames):
    return [(function, None, None, False) for function, _, _, inlined in frames if not inlined]


def shown(snapshot, size):
    """The frames from main on of the one traceback with a live block of this size."""
    rows = [trace for trace in snapshot["traces"] if trace["bytes"] == size and trace["blocks"] == 1]
    expect(len(rows) == 1, f"{len(rows)} tracebacks have one block of {size} bytes")
    traceback = snapshot["tracebacks"][rows[0]["traceback"]]
    expect(traceback["truncated"] is None, f"the traceback of {size} bytes is truncated: {traceback['truncated']}")
    expect(traceback["total_frames"] == len(traceback["frames"]), f"{traceback['total_frames']} frames, not all of them kept")
    frames = [snapshot["frames"][i] for i in traceback["frames"]]
    while frames and frames[0]["function"] != "main":
        frames.pop(0)
    return [(frame["function"], frame["file"] and os.path.normpath(frame["file"]), frame["line"], frame["inlined"]) for frame in frames]


def compare(snapshot, wanted):
    wrong = []
    for size, frames in wanted.items():
        got = shown(snapshot, size)
        if got != frames:
            wrong.append(f"{size} bytes: {got} instead of {frames}")
    expect(not wrong, "\n".join(wrong))


def files(place):
    """The workload and its arguments, in the directory of the case, where it may remove them."""
    copies = {}
    for name, copy in (("names_main", "program"), ("names_library.so", "library.so"), ("names_shapes.so", "shapes.so"),
                       ("names_library.so", "removed.so")):
        copies[copy] = place.path(copy)
        shutil.copy(place.workload(name), copies[copy])
    return copies


def arguments(directory, removed):
    return [os.path.join(directory, name) for name in ("program", "library.so", "shapes.so", "removed.so")] + [removed]


def run(command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options)
    expect(done.returncode == 0, f"{command} failed: {done.stdout.decode(errors='replace')}")


def finish(tracer, target):
    """Lets the workload allocate and end; the final snapshot comes after that."""
    target.go()
    target.told()
    target.go()
    if target is not tracer:
        expect(target.wait() == 0, f"the workload exited with {target.wait()}: {target.stderr()}")
    return tracer.finish()[-1]


def remove_map(pid):
    try:
        os.unlink(f"/tmp/perf-{pid}.map")
    except FileNotFoundError:
        pass


def gone(place):
    """Everything is gone when names are last asked for: libraries, their files, the program's own file, the process."""
    program = files(place)["program"]
    tracer = place.trace("--stack", "native", "--", *arguments(place.directory, program))
    pid = tracer.told()["pid"]
    try:
        last = finish(tracer, tracer)
    finally:
        remove_map(pid)
    expect(last["processes"][0]["exited"], "the final snapshot says that the process still runs")
    expect(not os.path.exists(program) and not os.path.exists(place.path("removed.so")), "the workload has not removed its files")
    compare(last, {size: with_lines(frames) for size, frames in expected(READABLE).items()})
    expect("go without" not in tracer.stderr(), f"domtrace says: {tracer.stderr()}")


def split(place):
    """Takes the debug information out of the files: into .debug beside them, by name and check sum."""
    os.mkdir(place.path(".debug"))
    for name in ("program", "library.so", "shapes.so", "removed.so"):
        path, debug = place.path(name), place.path(os.path.join(".debug", name + ".debug"))
        run(["objcopy", "--only-keep-debug", path, debug])
        run(["objcopy", "--strip-all", "--remove-section=.note.gnu.build-id", f"--add-gnu-debuglink={debug}", path])


def namespace(place):
    """A container's file system: program, libraries and debug files are in a mount namespace where we have nothing at that path."""
    files(place)
    split(place)
    inside = place.path("inside")
    os.mkdir(inside)
    script = 'mount -t tmpfs tmpfs "$0" && cp -a "$1"/program "$1"/*.so "$1"/.debug "$0" && exec "$2" "$3" "$4" "$5" -'
    target = place.start(["unshare", "-m", "--propagation", "private", "sh", "-c", script, inside, place.directory,
                          *arguments(inside, "-")[:4]])
    try:
        pid = target.told()["pid"]
    except Exception as failure:
        raise Skip(f"mount namespaces cannot be made here: {target.stderr()}") from failure
    expect(not os.listdir(inside), "the files are not in a namespace of their own")
    tracer = place.trace("--stack", "native", "--raw-names", "-p", str(pid))
    try:
        last = finish(tracer, target)
    finally:
        remove_map(pid)
    compare(last, {size: with_lines(frames) for size, frames in expected(RAW).items()})


def build_id(path):
    notes = subprocess.run(["readelf", "-n", path], stdout=subprocess.PIPE, check=True).stdout.decode()
    return re.search(r"Build ID: ([0-9a-f]+)", notes).group(1)


def start_server(place, directory, wanted):
    """debuginfod on this machine, which knows the files of a directory."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = place.start(["debuginfod", "-p", str(port), "-d", ":memory:", "-t", "1", "-F", directory])
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + seconds(60)
    for path in wanted:
        while True:
            try:
                with urllib.request.urlopen(f"{url}/buildid/{build_id(path)}/debuginfo", timeout=seconds(10)) as answer:
                    answer.read()
                break
            except (urllib.error.URLError, OSError):
                expect(server.child.poll() is None, f"debuginfod ended: {server.stderr()}")
                expect(time.monotonic() < deadline, f"debuginfod does not find {path}: {server.stderr()}")
                time.sleep(0.2)
    return url


def servers(place):
    """Stripped files, whose debug files only a server has: asked when, and only when, --debuginfod is given."""
    for program in ("debuginfod", "readelf"):
        if not shutil.which(program):
            raise Skip(f"{program} is not installed")
    files(place)
    served = place.path("served")
    os.mkdir(served)
    for name in ("program", "library.so", "shapes.so"):
        run(["objcopy", "--only-keep-debug", place.path(name), os.path.join(served, name + ".debug")])
    for name in ("program", "library.so", "shapes.so", "removed.so"):
        run(["strip", place.path(name)])
    url = start_server(place, served, [place.path(name) for name in ("program", "library.so", "shapes.so")])
    os.environ.update(DEBUGINFOD_URLS=url, DEBUGINFOD_CACHE_PATH=place.path("cache"))
    try:
        for options in (["--debuginfod"], []):
            shutil.copy(place.path("library.so"), place.path("removed.so"))
            tracer = place.trace("--stack", "native", *options, "--", *arguments(place.directory, "-"), output=f"snapshots{len(options)}")
            pid = tracer.told()["pid"]
            try:
                last = finish(tracer, tracer)
            finally:
                remove_map(pid)
            if options:
                compare(last, {size: with_lines(frames) for size, frames in expected(READABLE).items()})
                continue
            expect(not [frame for frame in last["frames"] if (frame["file"] or "").startswith("/names/")],
                   "there are lines that only the server knows")
    finally:
        del os.environ["DEBUGINFOD_URLS"], os.environ["DEBUGINFOD_CACHE_PATH"]


def cases():
    yield "names/all is gone", gone
    yield "names/another mount namespace, raw", namespace
    yield "names/debuginfod", servers
