# SPDX-License-Identifier: BSD-2-Clause
"""Many processes at once, system-wide: each one's last table equals the books that it kept itself, or what libcount wrote in it.

Only in a guest: a system-wide trace puts probes into every process of the machine.
"""
import os
import re
import shutil
import subprocess
import sys
import urllib.request

import counted
import processes
import servers
import traced
from harness import IN_VM, PYTHON, WORKLOADS, Place, Skip, expect, scaled, seconds
from tables import fail_if

SEEDS = scaled(500, 40)                 # of each way to allocate
TOLD_MOST = 12                          # sentences about what is wrong

LIBRARIES = "/usr/lib/x86_64-linux-gnu"
# word: what kind of programs (processes.py); in those of "seed" calls are left by siglongjmp, which not every allocator bears, and
# which loses a block that nobody has been told of. preload: an allocator; count: also libcount, before it. without: what it has not.
ALLOCATORS = {
    "glibc": {"program": "processes", "word": "calm"},
    "glibc, counted": {"program": "processes", "word": "calm", "count": "libcount.so"},
    "glibc, static": {"program": "processes_static", "word": "calm"},
    "musl": {"program": "processes_musl", "word": "calm"},
    "musl, counted": {"program": "processes_musl", "word": "calm", "count": "libcount_musl.so"},
    "musl, static": {"program": "processes_musl_static", "word": "calm"},
    "jemalloc": {"program": "processes", "word": "calm", "preload": "libjemalloc.so.2", "without": ("pvalloc",)},
    "jemalloc, counted": {"program": "processes", "word": "calm", "preload": "libjemalloc.so.2", "without": ("pvalloc",),
                          "count": "libcount.so"},
    "tcmalloc": {"program": "processes", "word": "calm", "preload": "libtcmalloc_minimal.so.4"},
    "glibc, faults": {"program": "processes", "word": "seed"},
    "mimalloc": {"program": "processes", "word": "calm", "preload": "libmimalloc.so.2"},
}


def system_wide():
    if not IN_VM:
        raise Skip("a system-wide trace puts probes into every process: only in a guest (tests/vm/boot)")


def fail_if_any(wrong):
    more = len(wrong) - TOLD_MOST
    fail_if(wrong[:TOLD_MOST] + ([f"and {more} more"] if more > 0 else []))


class Preloaded:
    """A place whose processes have libcount in them."""

    def __init__(self, place, library="libcount.so"):
        self.place = place
        self.counts = place.path("counts")
        self.variables = {"DT_COUNT": self.counts, "LD_PRELOAD": place.workload(library)}
        os.mkdir(self.counts)
        os.chmod(self.counts, 0o1777)
        os.chmod(place.directory, 0o711)

    def __getattr__(self, name):
        return getattr(self.place, name)

    def environment(self, options):
        return {**(options.pop("env", None) or os.environ), **self.variables}

    def start(self, argv, **options):
        return self.place.start(argv, env=self.environment(options), **options)

    def run_command(self, argv, limit=300, **options):
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              timeout=seconds(limit), env=self.environment(options), **options)
        expect(done.returncode == 0, f"{' '.join(argv)} failed: {done.stdout.decode(errors='replace')[-2000:]}")
        return done.stdout.decode(errors="replace")

    def images(self):
        return counted.read_directory(self.counts)


# ---- random programs ---------------------------------------------------------------------------------------------


class Random:
    """Random programs with one allocator: what they booked, and what libcount saw."""

    def __init__(self, place, spec):
        self.spec = spec
        self.program = place.workload(spec["program"])
        preload = [place.workload(spec["count"])] if spec.get("count") else []
        if spec.get("preload"):
            path = os.path.join(LIBRARIES, spec["preload"])
            if not os.path.exists(path):
                raise Skip(f"{path} is not installed")
            preload.append(path)
        self.directory = place.path(f"random-{len(place.processes)}")
        self.counts = os.path.join(self.directory, "counts")
        os.makedirs(self.counts)
        words = processes.serve_words(self.program, self.directory, seconds(60), without=spec.get("without", ()))
        self.server = place.start(words, env={**os.environ, "DT_COUNT": self.counts, "LD_PRELOAD": " ".join(preload)})
        self.pid = self.server.told()["pid"]
        self.books = []                 # [(line, books)]

    def run(self, seeds, wrong):
        for seed in seeds:
            line = f"{self.spec['word']} {seed}"
            self.server.child.stdin.write(f"{line}\n".encode())
            self.server.child.stdin.flush()
            books, faults = processes.answered(self.program, self.server.told())
            wrong += [f"{line}: {fault}" for fault in faults]
            self.books.append((line, books))

    def keys(self):
        """The processes that there were: (pid, start)."""
        return {(image["pid"], image["start_ticks"]) for _, books in self.books for image in processes.images(books)}

    def abandoned(self):
        """How many calls were left: domtrace notices one when its thread makes another call."""
        return sum(image["abandoned"] for _, books in self.books for image in processes.images(books))

    def compare(self, found, wrong):
        counts = counted.read_directory(self.counts)
        for line, books in self.books:
            wrong += [f"{line}: {fault}" for fault in traced.compare_books(books, found)]
            if counts:
                wrong += [f"{line}: {fault}" for fault in processes.compare_counted(books, counts)]
        if counts:
            ours = {key: image for key, image in counts.items() if key[0] != self.pid}
            wrong += traced.compare_counts(ours, found)


def random_programs(place, options, allocators, seeds=SEEDS, follow=False):
    """One trace, many programs under it, one after the other. `follow`: -p SERVER --children instead of all processes."""
    system_wide()
    runs = [(name, Random(place, ALLOCATORS[name])) for name in allocators]
    where = ["-p", ",".join(str(run.pid) for _, run in runs), "--children"] if follow else ["--all"]
    tracer = place.trace(*where, *options)
    wrong = []
    for number, (_, run) in enumerate(runs):
        run.run(range(1 + number * seeds, 1 + (number + 1) * seeds), wrong)
    snapshots = tracer.stop()
    found = traced.last_tables(snapshots, {key for _, run in runs for key in run.keys()})
    wrong += traced.loss_faults(snapshots, sum(run.abandoned() for _, run in runs))
    for name, run in runs:
        faults = []
        run.compare(found, faults)
        wrong += [f"{name}: {fault}" for fault in faults]
    fail_if_any(wrong)


def random_command(place):
    """The server is started by domtrace itself, so that it is seen from its start, too."""
    system_wide()
    program = place.workload("processes")
    tracer = place.trace("--children", "--", *processes.serve_words(program, place.directory, seconds(60)))
    tracer.told()
    wrong, every = [], []
    for seed in range(1, SEEDS // 4):
        tracer.child.stdin.write(f"calm {seed}\n".encode())
        tracer.child.stdin.flush()
        books, faults = processes.answered(program, tracer.told())
        every.append((seed, books))
        wrong += [f"calm {seed}: {fault}" for fault in faults]
    tracer.child.stdin.close()
    snapshots = tracer.finish()
    found = traced.last_tables(snapshots)
    wrong += traced.loss_faults(snapshots)
    wrong += [f"calm {seed}: {fault}" for seed, books in every for fault in traced.compare_books(books, found)]
    fail_if_any(wrong)


def narrowed(place, options, traced_run, other_run):
    """Of two servers, alike but in what `options` tell apart, only the processes of one are in the tables."""
    tracer = place.trace("--all", *options)
    wrong = []
    for run in (traced_run, other_run):
        run.run(range(1, 1 + SEEDS // 10), wrong)
    snapshots = tracer.stop()
    found = traced.last_tables(snapshots)
    wrong += traced.loss_faults(snapshots)
    traced_run.compare(found, wrong)
    wrong += [f"process {pid} should not be in the tables" for pid, start in other_run.keys() if (pid, start) in found]
    fail_if_any(wrong)


def narrowed_by_exe(place):
    system_wide()
    narrowed(place, ["--exe", place.workload("processes")], Random(place, ALLOCATORS["glibc"]), Random(place, ALLOCATORS["musl"]))


def narrowed_by_comm(place):
    """Linux cuts names after 15 bytes (proc(5), comm)."""
    system_wide()
    narrowed(place, ["--comm", "processes_musl"], Random(place, ALLOCATORS["musl"]), Random(place, ALLOCATORS["glibc"]))


def narrowed_by_cgroup(place):
    system_wide()
    group = f"/sys/fs/cgroup/domtrace-{os.getpid()}"
    try:
        os.mkdir(group)
    except OSError as error:
        raise Skip(f"no cgroup can be made: {error}") from error
    inside, outside = Random(place, ALLOCATORS["glibc"]), Random(place, ALLOCATORS["glibc"])
    try:
        with open(f"{group}/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(inside.pid))
        narrowed(place, ["--cgroup", group], inside, outside)
    finally:
        inside.server.close()
        os.rmdir(group)


# ---- real programs, counted --------------------------------------------------------------------------------------

SOURCES = 6
MAKEFILE = """
OBJECTS = {objects}
all: program
	./program
program: main.o libparts.a
	gcc -o $@ main.o libparts.a
libparts.a: $(OBJECTS)
	ar rcs $@ $(OBJECTS)
%.o: %.c parts.h
	gcc -O1 -Wall -c -o $@ $<
"""


def build_project(place):
    """make -j2: make, gcc, cc1, as, collect2, ld, ar, sh, and what was built."""
    for tool in ("make", "gcc"):
        servers.program(tool, tool)
    directory = place.path("project")
    os.mkdir(directory)
    files = {
        "Makefile": MAKEFILE.format(objects=" ".join(f"part{i}.o" for i in range(SOURCES))),
        "parts.h": "#include <stdlib.h>\n#include <string.h>\n" + "".join(f"char *part{i}(int n);\n" for i in range(SOURCES)),
        "main.c": '#include <stdio.h>\n#include "parts.h"\nint main(void)\n{\n' + "".join(
            f"\tchar *p{i} = part{i}(100);\n\tputs(p{i});\n\tfree(p{i});\n" for i in range(SOURCES)) + "\treturn 0;\n}\n",
    }
    for i in range(SOURCES):
        files[f"part{i}.c"] = (f'#include "parts.h"\nchar *part{i}(int n)\n{{\n\tchar *text = calloc(n + 1, 1);\n\tif (text)\n'
                               f"\t\tmemset(text, 'a' + {i}, n);\n\treturn text;\n}}\n")
    for name, text in files.items():
        with open(os.path.join(directory, name), "w", encoding="ascii") as file:
            file.write(text)
    output = place.run_command(["make", "-j2", "-C", directory], limit=120)
    expect(100 * "f" in output, f"the program that was built says {output}")
    return {"make", "gcc", "cc1", "as", "ld", "program"}


WORKERS = 3


def web_server(place):
    server = place.start([PYTHON, os.path.join(WORKLOADS, "web_workers.py"), str(WORKERS)])
    port = server.told()["port"]
    answers = []
    paths = [f"/blob/{i * 7}" for i in range(scaled(200, 30))] + WORKERS * ["/stop"]
    for path in paths:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=seconds(30)) as answer:
            answers.append(answer.read())
    expect(all(answers) and server.told()["codes"] == WORKERS * [0], "a worker did not end well")
    expect(server.wait() == 0, f"the web server exited with {server.wait()}")
    return {"python3"}


def redis_and_postgres(place):
    redis = servers.Redis(place)
    try:
        postgres = servers.Postgres(place)
        loads = [servers.Load(server.turn) for server in (redis, postgres)]
        for load in loads:
            load.start()
        servers.wait_until(lambda: all(load.turns for load in loads), "a turn of each", limit=120)
        for load in loads:
            load.stop()
        postgres.session.child.stdin.close()
        postgres.session.wait()
        postgres.stop()
    finally:
        redis.stop()
    return {"redis-", "postgres", "psql"}  # Debian's redis-server is redis-check-rdb under another name


# In a mount namespace of its own, with a C library of its own: the file is copied up, so it is another inode than the machine's.
CONTAINER = """
set -e
mount -t tmpfs none {tmpfs}
mkdir {tmpfs}/upper {tmpfs}/work {tmpfs}/root
mount -t overlay overlay -o lowerdir=/,upperdir={tmpfs}/upper,workdir={tmpfs}/work {tmpfs}/root
mount -t proc proc {tmpfs}/root/proc
mount --bind /dev {tmpfs}/root/dev
mount --bind {directory} {tmpfs}/root/mnt
for file in {own}; do
	cp --remove-destination $file {tmpfs}/root$file.own
	mv {tmpfs}/root$file.own {tmpfs}/root$file
done
cp {library} {tmpfs}/root/mnt/libcount.so
exec chroot {tmpfs}/root /usr/bin/env DT_COUNT=/mnt/counts LD_PRELOAD=/mnt/libcount.so /bin/bash -c '{script}'
"""
CONTAINER_SCRIPT = """
set -e
for i in 1 2 3; do ls -l /usr/bin | sort -k5 -n | tail -n 3 >/dev/null; done
(sort </etc/passwd; exec true)
/usr/bin/python3 -c "import json, os; pid = os.fork(); d = [json.dumps({str(i): i}) for i in range(1000)]; pid and os.wait()"
"""
OWN_FILES = ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6")


def overlay_container(place):
    with open("/proc/filesystems", encoding="ascii") as file:
        if "overlay" not in file.read().split():
            raise Skip("this kernel has no overlayfs (tests/vm/boot loads the module)")
    tmpfs = place.path("tmpfs")
    os.mkdir(tmpfs)
    own = " ".join(os.path.realpath(path) for path in OWN_FILES)
    script = CONTAINER.format(tmpfs=tmpfs, directory=place.directory, own=own, library=place.workload("libcount.so"),
                              script=CONTAINER_SCRIPT.replace("'", ""))
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=seconds(120), check=False)
    expect(done.returncode == 0, f"the container failed: {done.stdout.decode(errors='replace')}")
    return {"bash", "ls", "sort", "tail", "python3"}


MUSL_LOADER = "/lib/ld-musl-x86_64.so.1"


def musl_container(place):
    """A root of its own with nothing but musl, a program and libcount."""
    if not os.path.exists(MUSL_LOADER):
        raise Skip("musl is not installed (package musl)")
    root = place.path("root")
    for directory in ("lib", "bin", "books/counts", "proc"):
        os.makedirs(os.path.join(root, directory))
    shutil.copy(os.path.realpath(MUSL_LOADER), root + MUSL_LOADER)
    shutil.copy(servers.program("busybox", "busybox-static"), f"{root}/bin/env")    # it looks at its own name
    shutil.copy(place.workload("processes_musl"), f"{root}/bin/processes")
    shutil.copy(place.workload("libcount_musl.so"), f"{root}/lib/libcount.so")
    words = processes.serve_words("/bin/processes", "/books", seconds(60))
    # What is in the container gets libcount; the shell and chroot that lead there are the machine's own.
    script = f'mount -t proc proc {root}/proc && exec chroot {root} /bin/env "$@"'
    server = place.place.start(["unshare", "-m", "sh", "-c", script, "sh", "DT_COUNT=/books/counts", "LD_PRELOAD=/lib/libcount.so", *words])
    server.told()
    wrong = []
    for seed in range(1, scaled(50, 10)):
        server.child.stdin.write(f"calm {seed}\n".encode())
        server.child.stdin.flush()
        books, faults = processes.answered(place.workload("processes_musl"), server.told(), root)
        images = counted.read_directory(f"{root}/books/counts")
        wrong += [f"calm {seed}: {fault}" for fault in faults + processes.compare_counted(books, images)]
    server.child.stdin.close()
    expect(server.wait() == 0, f"the server in the container exited with {server.wait()}: {server.stderr()}")
    for name in os.listdir(f"{root}/books/counts"):
        shutil.copy(f"{root}/books/counts/{name}", place.counts)
    fail_if_any(wrong)
    return {"processes"}


SCENARIOS = {
    "make -j2": build_project,
    "a Python web server with workers": web_server,
    "redis and postgres at once": redis_and_postgres,
    "a container on overlayfs with its own libc": overlay_container,
    "a container with musl": musl_container,
}


def run_scenario(place, scenario):
    """What libcount saw in each process; the programs that must be among them were."""
    preloaded = Preloaded(place)
    expected = scenario(preloaded)
    images = preloaded.images()
    names = {os.path.basename(image["exe"]) for image in images.values()} | {image["command"] for image in images.values()}
    missing = [name for name in expected if not any(seen.startswith(name) or name in seen for seen in names)]
    expect(not missing, f"libcount was not in {missing}, but in {sorted(names)}")
    return images


def scenario_traced(place, scenario):
    system_wide()
    tracer = place.trace("--all", output="trace")
    images = run_scenario(place, scenario)
    snapshots = tracer.stop()
    found = traced.last_tables(snapshots, {key[:2] for key in images})
    fail_if_any(traced.loss_faults(snapshots) + traced.compare_counts(images, found))


def cases():
    yield "processes/random, system-wide, every allocator", lambda place: random_programs(
        place, [], [name for name, spec in ALLOCATORS.items() if spec["word"] == "calm"])
    yield "processes/random, calls left by siglongjmp", lambda place: random_programs(place, [], ["glibc, faults"])
    yield "processes/random, system-wide, without any feature", lambda place: random_programs(
        place, ["--without", "session", "--without", "multi", "--without", "cheap-sites"], ("glibc", "musl"), SEEDS // 10)
    yield "processes/random, -p --children", lambda place: random_programs(place, [], ("glibc", "glibc, counted"), SEEDS // 4, True)
    yield "processes/random, COMMAND --children", random_command
    yield "processes/narrowed by --exe", narrowed_by_exe
    yield "processes/narrowed by --comm", narrowed_by_comm
    yield "processes/narrowed by --cgroup", narrowed_by_cgroup
    for name, scenario in SCENARIOS.items():
        yield f"processes/{name}", lambda place, scenario=scenario: scenario_traced(place, scenario)


def without_domtrace(build, only=""):
    """The scenarios and a few programs against libcount alone: shows that the tests are right before they judge anybody."""
    for name, scenario in SCENARIOS.items():
        if not re.search(only, name):
            continue
        with Place(build) as place:
            images = run_scenario(place, scenario)
            total = sum(image["all"]["allocations"] for image in images.values())
            print(f"{name}: {len(images)} images of {len(counted.last_images(images))} processes, {total} allocations", flush=True)


if __name__ == "__main__":
    without_domtrace(*sys.argv[1:])
