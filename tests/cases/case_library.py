# SPDX-License-Identifier: BSD-2-Clause
"""
libdomtrace as others have it: installed to a prefix of its own, found there by pkg-config and by CMake, shared and static; what programs
on it print is compared as a whole. tests/library has the programs.
"""
import json
import os
import re
import shlex
import signal
import subprocess
import time

from harness import PROJECT, PYTHON, expect, seconds

LIBRARY = os.path.join(PROJECT, "tests", "library")
ALLOCATION = re.compile(r"blocks\[i\] = malloc")


def run(argv, **options):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds(300), check=False,
                          **options)
    expect(done.returncode == 0, f"{' '.join(argv)} failed: {done.stdout.decode(errors='replace')}")
    return done.stdout.decode()


class Installed:
    """An installed tree, and what is built against it."""

    def __init__(self, place):
        self.place = place
        self.prefix = place.path("prefix")
        run(["cmake", "--install", place.build, "--prefix", self.prefix])
        found = [root for root, _, files in os.walk(self.prefix) if "domtrace.pc" in files]
        expect(len(found) == 1, f"{len(found)} files domtrace.pc are installed")
        self.lib = os.path.dirname(found[0])
        self.environment = dict(os.environ, PKG_CONFIG_PATH=found[0])

    def flags(self, *options):
        return shlex.split(run(["pkg-config", *options, "domtrace"], env=self.environment))

    def path(self, name):
        return os.path.join(self.lib, name)

    def build_shared(self, name):
        program = self.place.path(name)
        run(["cc", "-Wall", "-Wextra", "-Werror", "-O1", "-o", program, os.path.join(LIBRARY, name + ".c"), *self.flags("--cflags", "--libs"),
             f"-Wl,-rpath,{self.lib}", "-pthread"])
        expect("libdomtrace.so.0" in run(["ldd", program]), f"{name} is not linked with libdomtrace.so.0")
        return program

    def build_static(self, name):
        """The archive by its name: where both are, the linker takes the shared one."""
        program = self.place.path(name + "-static")
        libs = [self.path("libdomtrace.a") if word == "-ldomtrace" else word for word in self.flags("--static", "--libs")]
        run(["cc", "-Wall", "-Wextra", "-Werror", "-O1", "-o", program, os.path.join(LIBRARY, name + ".c"), *self.flags("--cflags"), *libs])
        expect("libdomtrace" not in run(["ldd", program]), f"{name} is linked with a shared libdomtrace")
        return program

    def build_by_cmake(self, name):
        source = self.place.path("cmake")
        os.mkdir(source)
        with open(os.path.join(source, "CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write("cmake_minimum_required(VERSION 3.18)\nproject(user LANGUAGES C)\nfind_package(domtrace 0.1 REQUIRED)\n"
                       f"add_executable(by_shared {LIBRARY}/{name}.c)\ntarget_link_libraries(by_shared domtrace::domtrace)\n"
                       f"add_executable(by_static {LIBRARY}/{name}.c)\ntarget_link_libraries(by_static domtrace::domtrace_static)\n")
        build = os.path.join(source, "build")
        run(["cmake", "-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}"])
        run(["cmake", "--build", build])
        return [os.path.join(build, "by_shared"), os.path.join(build, "by_static")]


def exports(place):
    """What the shared library exports, and the archive, is what the headers declare, as the compiler reads them."""
    installed = Installed(place)
    include = os.path.join(installed.prefix, "include", "domtrace")
    declared = set()
    for header in ("domtrace.h", "snapshot.h"):
        told = place.path(header + ".declarations")
        run(["cc", "-fsyntax-only", "-xc", os.path.join(include, header), "-I", os.path.dirname(include), "-aux-info", told])
        with open(told, encoding="utf-8") as file:
            declared |= {re.search(r"(\w+) \(", line)[1] for line in file if "/domtrace/" in line.split("*/")[0]}
    dynamic = run(["nm", "-D", "--defined-only", installed.path("libdomtrace.so.0")]).splitlines()
    shared = {line.split()[2] for line in dynamic if line.split()[1] != "A"}
    archive = {line.split()[2] for line in run(["nm", "-g", "--defined-only", installed.path("libdomtrace.a")]).splitlines() if len(line.split()) == 3}
    expect(len(declared) > 50, f"only {len(declared)} declarations were found")
    expect(shared == {name + "@@DOMTRACE_0" for name in declared}, f"exported and not declared, or the other way round: {sorted(shared ^ {name + '@@DOMTRACE_0' for name in declared})}")
    expect(archive == declared, f"in the archive and not declared, or the other way round: {sorted(archive ^ declared)}")
    # Side by side with the other library, whose names it has nothing to do with.
    both = place.path("both")
    run(["cc", "-o", both, os.path.join(LIBRARY, "top.c"), *installed.flags("--cflags"), "-Wl,--whole-archive", installed.path("libdomtrace.a"),
         installed.path("libdomtrace_simd.a"), "-Wl,--no-whole-archive", *[word for word in installed.flags("--static", "--libs") if word != "-ldomtrace"]])


def example(place):
    """The example, built in four ways: the same words of the same program, which are all that it allocated."""
    installed = Installed(place)
    source = os.path.join(LIBRARY, "blocks.c")
    blocks = place.path("blocks")
    run(["cc", "-g", "-O1", "-fno-builtin", "-o", blocks, source])
    with open(source, encoding="utf-8") as file:
        line = 1 + [bool(ALLOCATION.search(text)) for text in file].index(True)
    for program in [installed.build_shared("top"), installed.build_static("top"), *installed.build_by_cmake("top")]:
        target = place.start([blocks])
        pid = target.told()["pid"]
        tracer = place.start([program, str(pid), "5"])
        wait_for(tracer, "top: ready")
        target.go()
        target.told()
        expect(tracer.wait() == 0, f"{program} failed: {tracer.stderr()}")
        expected = f"      3000 bytes in      3 blocks  work at {source}:{line}\n"
        expect(tracer.output() == expected, f"{program} printed {tracer.output()!r} instead of {expected!r}")
        target.go()
        expect(target.wait() == 0, target.stderr())


def wait_for(process, line):
    deadline = time.monotonic() + seconds(120)
    while line not in process.stderr().splitlines():
        expect(not process.ended.is_set(), f"{process} ended: {process.stderr()}")
        expect(time.monotonic() < deadline, f"{process} did not say '{line}': {process.stderr()}")
        time.sleep(0.05)


def follow_page(place, argv):
    """What a tracer of the sections prints: a line of its input says that one has been run."""
    target = place.start([PYTHON, os.path.join(LIBRARY, "sections.py")], env=dict(os.environ, PYTHONHASHSEED="0"))
    wait_for_line(target, "start")
    tracer = place.start([*argv(target.pid)], env=dict(os.environ, DOMTRACE=place.domtrace))
    wait_for(tracer, "page: ready")
    for step in ("page: cleared", None):
        target.signal(signal.SIGUSR1)
        wait_for_line(target, "snapshot")
        tracer.go()
        if step:
            wait_for(tracer, step)
    expect(tracer.wait() == 0, f"{tracer} failed: {tracer.stderr()}")
    target.signal(signal.SIGUSR1)
    expect(target.wait() == 0, target.stderr())
    return tracer.output()


def wait_for_line(process, line):
    deadline = time.monotonic() + seconds(120)
    with process.output_lock:
        while line + "\n" not in process.lines:
            expect(not process.ended.is_set(), f"{process} ended: {process.stderr()}")
            expect(time.monotonic() < deadline, f"{process} did not print '{line}': {process.stderr()}")
            process.output_lock.wait(0.5)
        process.lines.remove(line + "\n")


def blocks_in(rows):
    return sum(map(int, re.findall(r"^(\d+) memory blocks", rows, re.MULTILINE)))


def page(place):
    """
    The example of NumPy's page on the library, and as a shell script: the same output, byte for byte, but for the sentence of the error
    after stop, which each has from whom it asked. Its first section is what tracemalloc prints in the process, and its second what
    tracemalloc sees there if nothing but the sections runs (inside.py). The page as it stands has more rows in the second: between the
    sections it runs tracemalloc's own Python code, which takes what lay in the interpreter's free lists, so that objects of np.sum()'s
    call (dictionaries and tuples of its arguments) are new blocks there, and are none where they come from those lists.
    """
    script = place.page_script()
    program = Installed(place).build_shared("page")
    by_library = follow_page(place, lambda pid: [program, str(pid)])
    by_command = follow_page(place, lambda pid: ["/bin/bash", os.path.join(LIBRARY, "page.sh"), str(pid), place.directory])
    told, library_error = by_library.split("Exception :  ")
    told_by_command, command_error = by_command.split("Exception :  ")
    expect(told == told_by_command, f"the program printed {by_library!r}, the script {by_command!r}")
    expect(library_error == "no snapshot can be taken: tracing has been stopped\n", f"the program's error is {library_error!r}")
    expect(re.fullmatch(r"domtrace: process \d+ is no domtrace of this user that traces \(any more\)\n", command_error), f"the script's error is {command_error!r}")
    first, second = "================ SNAPSHOT 1 =================\n", "\n================ SNAPSHOT 2 =================\n"
    own = run([PYTHON, script])
    expect(told.startswith(first) and told.split(second)[0] == own.split(second)[0], f"{told!r} does not begin as {own!r}")
    rest = told.split(second)[1]
    rows, end = rest.split("\n============================================\n")
    inside, taken = (run([PYTHON, os.path.join(LIBRARY, "inside.py"), *words], env=dict(os.environ, PYTHONHASHSEED="0"))
                     for words in ([], ["taken"]))
    expect(rows == inside and "    c = np.sum(a*a)\n" in inside, f"section 2 is {rows!r}, and {inside!r} in the process")
    # That it is the free lists: without what lay in them, there are more blocks inside, too.
    whole = own.split(second)[1].split("\n====")[0]
    expect(min(blocks_in(whole), blocks_in(taken)) > blocks_in(inside), f"section 2 of the page as it stands is {whole!r}, and {taken!r}")
    expect(end == "\nTracing Status :  False\n\nTrying to Take Snapshot After Tracing is Stopped.\n", f"the end is {end!r}")


def share(place):
    """Two sessions in one process, threads that share one, peaks that are reset, the block around an address."""
    program = Installed(place).build_shared("share")
    blocks = place.path("blocks")
    run(["cc", "-g", "-O1", "-fno-builtin", "-o", blocks, os.path.join(LIBRARY, "blocks.c")])
    targets = [place.start([blocks]) for _ in range(2)]
    pids = [target.told()["pid"] for target in targets]
    tracer = place.start([program, *map(str, pids)])
    wait_for(tracer, "share: ready")
    for target in targets:
        target.go()
    addresses = [target.told()["address"] for target in targets]
    tracer.child.stdin.write(f"{addresses[0]}\n".encode())
    tracer.child.stdin.flush()
    expect(tracer.wait() == 0, f"{tracer} failed: {tracer.stderr()}")
    told = json.loads(tracer.output())
    figures = {"processes": 1, "domains": 1, "domain": "libc", "complete": True, "live_bytes": 3000, "live_blocks": 3, "peak_bytes": 10000,
               "allocations": 10, "current": 3000, "peak_after_reset": 3000}
    expected = [dict(figures, pid=pid) for pid in pids] + [
        {"failures": 0, "asked": [10, 10, 10], "around": 1000, "error": "", "around_1": 0, "error_1": os.strerror(2), "limit": 64,
         "kernel": True, "process": True}]
    expect(told == expected, f"{told} instead of {expected}")
    for target in targets:
        target.go()
        expect(target.wait() == 0, target.stderr())


def markers(place):
    """Snapshots at a program's own markers and at a function of it, by a program that asks for nothing else."""
    program, workload = Installed(place).build_shared("marked"), place.workload("alloc_markers")
    for label, options, places in (("marker:0:{:04}", [], []), ("marker:line_reached", ["--call"], [f"{workload}:line_reached"])):
        target = place.start([workload, "--rounds", "6", *options])
        tracer = place.start([program, str(target.told()["pid"]), *places])
        wait_for(tracer, "marked: ready")
        target.go()
        rounds = target.told()["threads"][0]["rounds"]
        target.go()
        expect(target.wait() == 0, target.stderr())
        expect(tracer.wait() == 0, f"{tracer} failed: {tracer.stderr()}")
        told = [json.loads(line) for line in tracer.output().splitlines()]
        want = [{"label": label.format(i), "sequence": i + 1, "live_bytes": sum(row[1] for row in rows)} for i, rows in enumerate(rounds)]
        expect(told[:-1] == want and told[-1]["label"] == "final", f"{told}, not {want}")


def traced_memory(place):
    """Of each domain and of both together, as the program's books have it, also after its peaks were reset."""
    target = place.start([place.workload("simd_example"), "--rows", "30", "--columns", "50", "--rounds", "2"])
    program = Installed(place).build_shared("memory")
    tracer = place.start([program, str(target.told()["pid"]), "libc", "simd"])
    wait_for(tracer, "memory: ready")

    def expect_told(command, peaks):
        """`peaks`: of both since they were reset; None: the books' own."""
        tracer.child.stdin.write(command + b"\n")
        tracer.child.stdin.flush()
        lives = [truth["total"]["live_bytes"] for truth in truths]
        peaks = peaks or [truth["total"]["peak_bytes"] for truth in truths]
        want = {"libc": [lives[0], peaks[0], True], "simd": [lives[1], peaks[1], True], "all": [sum(lives), sum(peaks), False]}
        found = tracer.told()
        expect(found == want, f"after '{command.decode()}' it is told {found}, not {want}")

    for number in range(4):
        target.go()
        truths = [target.told(), target.told()]
        expect_told(b"tell", None)
    expect(all(truth["total"]["peak_bytes"] > truth["total"]["live_bytes"] > 0 for truth in truths), f"the books have {truths}")
    expect_told(b"reset", [truth["total"]["live_bytes"] for truth in truths])
    before = [truth["total"]["live_bytes"] for truth in truths]
    target.go()
    truths = [target.told(), target.told()]     # all is freed
    expect_told(b"tell", before)
    target.go()
    expect(target.wait() == 0, target.stderr())
    tracer.child.stdin.close()
    expect(tracer.wait() == 0, tracer.stderr())


def cases():
    return [
        ("library/exports", exports),
        ("library/example", example),
        ("library/the page's example", page),
        ("library/sessions and threads", share),
        ("library/traced memory", traced_memory),
        ("library/markers", markers),
    ]
