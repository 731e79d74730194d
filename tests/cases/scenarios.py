# SPDX-License-Identifier: BSD-2-Clause
"""Real programs of many processes, with libcount in each of them.

Usage: scenarios.py BUILD [REGEX]
runs them without domtrace: shows that they work, and that libcount is where it has to be, before anything is compared with it.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import counted
import processes
import servers
from harness import PYTHON, WORKLOADS, Place, Skip, expect, scaled, seconds
from tables import fail_if


class Seen:
    """
    programs: where libcount has to have been. is_first: whether an image is the first one of a file that never ran before the trace,
    which domtrace may not have seen from its start.
    """

    def __init__(self, programs, is_first=lambda image: False):
        self.programs = programs
        self.is_first = is_first
        self.images = {}


class Preloaded:
    """A directory in a place, whose processes have libcount in them."""

    def __init__(self, place):
        self.place = place
        self.directory = tempfile.mkdtemp(prefix="scenario-", dir=place.directory)
        self.counts = self.path("counts")
        self.variables = {"DT_COUNT": self.counts, "LD_PRELOAD": place.workload("libcount.so")}
        os.mkdir(self.counts)
        os.chmod(self.counts, 0o1777)
        for directory in (place.directory, self.directory):
            os.chmod(directory, 0o711)

    def path(self, name):
        return os.path.join(self.directory, name)

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


MAKEFILE = """
all: program
	./program && echo built
program: main.o part.o last.o
	gcc -o $@ main.o part.o last.o
%.o: %.c
	gcc -O0 -c -o $@ $<
%.o: %.s
	gcc -c -o $@ $<
"""
SOURCES = {                             # a run of cc1 allocates 5,000 times for the smallest file
    "Makefile": MAKEFILE,
    "main.c": """
int puts(const char *text);
void *malloc(unsigned long bytes);
int part(int number), last(int number);
int main(void)
{
	return malloc(100) && puts(part(1) + last(2) == 5 ? "right" : "wrong") >= 0 ? 0 : 1;
}
""",
    "part.c": "int part(int number)\n{\n\treturn number + 1;\n}\n",
    "last.s": ".globl last\nlast:\n\tleal 1(%rdi), %eax\n\tret\n.section .note.GNU-stack,\"\",@progbits\n",
}


def build_project(place):
    """make, sh, gcc, cc1, as, collect2, ld, and what was built."""
    for tool in ("make", "gcc"):
        servers.program(tool, tool)
    directory = place.path("project")
    os.mkdir(directory)
    for name, text in SOURCES.items():
        with open(os.path.join(directory, name), "w", encoding="ascii") as file:
            file.write(text)
    output = place.run_command(["make", "-rj2", "-C", directory], limit=120)
    expect("right" in output, f"the program that was built says {output}")
    return Seen({"make", "sh", "gcc", "cc1", "as", "collect2", "ld", "program"})


WORKERS = 3


def web_server(place):
    server = place.start([PYTHON, os.path.join(WORKLOADS, "web_workers.py"), str(WORKERS)])
    port = server.told()["port"]
    answers = []
    paths = [f"/blob/{i * 7}" for i in range(scaled(200, 9))] + WORKERS * ["/stop"]
    for path in paths:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=seconds(30)) as answer:
            answers.append(answer.read())
    expect(all(answers) and server.told()["codes"] == WORKERS * [0], "a worker did not end well")
    expect(server.wait() == 0, f"the web server exited with {server.wait()}")
    return Seen({"python3"})


def has_turned(load):
    """One turn is enough."""
    if load.turns:
        load.done.set()
    return load.turns


def redis_and_postgres(place):
    redis = servers.Redis(place)
    try:
        postgres = servers.Postgres(place)
        loads = [servers.Load(server.turn) for server in (redis, postgres)]
        for load in loads:
            load.start()
        servers.wait_until(lambda: all([has_turned(load) for load in loads]), "a turn of each", limit=120)
        for load in loads:
            load.stop()
        postgres.session.child.stdin.close()
        postgres.session.wait()
        postgres.stop()
    finally:
        redis.stop()
    return Seen({"redis-", "postgres", "psql"})  # Debian's redis-server is redis-check-rdb under another name


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
inside="chroot {tmpfs}/root /usr/bin/env DT_COUNT=/mnt/counts LD_PRELOAD=/mnt/libcount.so"
$inside /bin/sleep {first}
exec $inside /bin/bash -c '{script}'
"""
FIRST_SECONDS = scaled(1, 5)            # so long runs the first process of a new libc, for domtrace to know it
CONTAINER_SCRIPT = """
set -e
for i in 1 2 3; do ls -l /etc/security | sort -k5 -n | tail -n 3 >/dev/null; done
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
    script = CONTAINER.format(tmpfs=tmpfs, directory=place.directory, own=own, library=place.workload("libcount.so"), first=FIRST_SECONDS,
                              script=CONTAINER_SCRIPT.replace("'", ""))
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=seconds(120), check=False)
    expect(done.returncode == 0, f"the container failed: {done.stdout.decode(errors='replace')}")
    return Seen({"bash", "ls", "sort", "tail", "python3"}, lambda image: image["command"] == "sleep")


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
    pid = server.told()["pid"]
    time.sleep(FIRST_SECONDS)
    wrong = []
    for seed in range(1, scaled(50, 4)):
        server.child.stdin.write(f"calm {seed}\n".encode())
        server.child.stdin.flush()
        books, faults = processes.answered(place.workload("processes_musl"), server.told(), root)
        wrong += [f"calm {seed}: {fault}" for fault in faults]
    server.child.stdin.close()
    expect(server.wait() == 0, f"the server in the container exited with {server.wait()}: {server.stderr()}")
    for name in os.listdir(f"{root}/books/counts"):
        shutil.copy(f"{root}/books/counts/{name}", place.counts)
    fail_if(wrong[:10])
    return Seen({"processes"}, lambda image: image["pid"] == pid)


# name: (what it does, what it needs before the trace; None: nothing)
SCENARIOS = {
    "make -j2": (build_project, None),
    "a Python web server with workers": (web_server, None),
    "redis and postgres at once": (redis_and_postgres, servers.make_cluster),
    "a container on overlayfs with its own libc": (overlay_container, None),
    "a container with musl": (musl_container, None),
}


class Scenario:
    """One of them, in a directory of its own, ready to be run."""

    def __init__(self, place, name):
        self.name = name
        self.scenario, prepare = SCENARIOS[name]
        self.place = Preloaded(place)
        if prepare:
            prepare(self.place)

    def run(self):
        """What libcount saw in each process (Seen); the programs that must be among them were."""
        seen = self.scenario(self.place)
        seen.images = self.place.images()
        names = {os.path.basename(image["exe"]) for image in seen.images.values()} | {image["command"] for image in seen.images.values()}
        missing = [name for name in seen.programs if not any(other.startswith(name) or name in other for other in names)]
        expect(not missing, f"libcount was not in {missing}, but in {sorted(names)}")
        return seen


def without_domtrace(build, only=""):
    """What libcount saw in each."""
    for name in SCENARIOS:
        if not re.search(only, name):
            continue
        with Place(build) as place:
            images = Scenario(place, name).run().images
            total = sum(image["all"]["allocations"] for image in images.values())
            print(f"{name}: {len(images)} images of {len(counted.last_images(images))} processes, {total} allocations", flush=True)


if __name__ == "__main__":
    without_domtrace(*sys.argv[1:])
