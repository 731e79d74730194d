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
import urllib.request

import counted
import processes
import servers
from harness import PYTHON, WORKLOADS, Place, Skip, expect, scaled, seconds
from tables import fail_if


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
    fail_if(wrong[:10])
    return {"processes"}


SCENARIOS = {
    "make -j2": build_project,
    "a Python web server with workers": web_server,
    "redis and postgres at once": redis_and_postgres,
    "a container on overlayfs with its own libc": overlay_container,
    "a container with musl": musl_container,
}


def run(place, scenario):
    """What libcount saw in each process; the programs that must be among them were."""
    preloaded = Preloaded(place)
    expected = scenario(preloaded)
    images = preloaded.images()
    names = {os.path.basename(image["exe"]) for image in images.values()} | {image["command"] for image in images.values()}
    missing = [name for name in expected if not any(seen.startswith(name) or name in seen for seen in names)]
    expect(not missing, f"libcount was not in {missing}, but in {sorted(names)}")
    return images


def without_domtrace(build, only=""):
    """What libcount saw in each."""
    for name, scenario in SCENARIOS.items():
        if not re.search(only, name):
            continue
        with Place(build) as place:
            images = run(place, scenario)
            total = sum(image["all"]["allocations"] for image in images.values())
            print(f"{name}: {len(images)} images of {len(counted.last_images(images))} processes, {total} allocations", flush=True)


if __name__ == "__main__":
    without_domtrace(*sys.argv[1:])
