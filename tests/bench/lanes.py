# SPDX-License-Identifier: BSD-2-Clause
"""Lanes: programs that work in turn, each alone with its own tracer, and what is said of their times.

A lane is a workload and, perhaps, a tracer attached to it. All lanes are set up before the first measure; then they
work one after the other, round by round, so that what disturbs the machine disturbs them alike. Each lane has copies
of the probed files of its own: a probe belongs to a file, and every tracer of a file takes part in each hit of it,
whichever process it is meant for.
"""
import datetime
import json
import os
import platform
import re
import select
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

READY = "domtrace: ready"
LIBC = "/lib/x86_64-linux-gnu/libc.so.6"
PYTHON = "/usr/bin/python3.11"
HERE = os.path.dirname(os.path.abspath(__file__))
WAIT = 60  # seconds that any answer may take


class Broken(Exception):
    """Why no measure can be taken, as a sentence for a person."""


class Child:
    """A program with pipes that answers lines with lines."""

    def __init__(self, argv, errors, **options):
        self.argv = argv
        with open(errors, "wb") as stderr:
            self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, **options)
        self.errors = errors
        self.pid = self.process.pid

    def stderr(self):
        with open(self.errors, encoding="utf-8", errors="replace") as file:
            return file.read()

    def line(self):
        if not select.select([self.process.stdout], [], [], WAIT)[0]:
            raise Broken(f"{self.argv[0]} said nothing for {WAIT} seconds: {self.stderr()}")
        line = self.process.stdout.readline().decode()
        if not line:
            raise Broken(f"{self.argv[0]} ended: {self.stderr()}")
        return line

    def tell(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, command):
        self.tell(command)
        answer = json.loads(self.line())
        if "error" in answer:
            raise Broken(f"{self.argv[0]}: {command}: {answer['error']}")
        return answer

    def close(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Tracer(Child):
    """domtrace on one process, ready. `file` takes its snapshots."""

    def __init__(self, domtrace, pid, directory, *options):
        self.file = os.path.join(directory, "snapshots")
        self.size = 0
        super().__init__([domtrace, "-o", self.file, "-p", str(pid), *options], os.path.join(directory, "domtrace.stderr"))
        os.set_blocking(self.process.stdout.fileno(), False)
        deadline = time.monotonic() + WAIT
        while READY not in self.stderr():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Broken(f"domtrace did not become ready: {self.stderr()}")
            time.sleep(0.02)

    def signal(self):
        self.process.send_signal(signal.SIGUSR1)

    def lines(self):
        """What has been added to the file since the last time, as whole lines; its reports are thrown away."""
        while self.process.stdout.read(65536):
            pass
        if not os.path.exists(self.file):
            return []
        with open(self.file, "rb") as file:
            file.seek(self.size)
            text = file.read()
        text = text[:text.rfind(b"\n") + 1]
        self.size += len(text)
        return text.splitlines()

    def snapshot(self):
        """(milliseconds from the signal to the line being in the file, the snapshot)"""
        self.lines()
        begin = time.monotonic()
        self.signal()
        while True:
            if os.path.exists(self.file) and os.stat(self.file).st_size > self.size:
                lines = self.lines()
                if lines:
                    return (time.monotonic() - begin) * 1e3, json.loads(lines[0])
            if self.process.poll() is not None or time.monotonic() - begin > WAIT:
                raise Broken(f"domtrace took no snapshot: {self.stderr()}")
            time.sleep(0.0005)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        os.set_blocking(self.process.stdout.fileno(), True)
        self.process.stdout.read()
        super().close()


class Bench:
    """The lanes of one benchmark, and the directory they live in."""

    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.directory = tempfile.mkdtemp(prefix="domtrace-bench-")
        self.children = []
        self.count = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in reversed(self.children):
            child.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def domtrace(self):
        return os.path.join(self.build, "user", "domtrace")

    def program(self, name):
        return os.path.join(self.build, "tests", "bench", name)

    def place(self):
        self.count += 1
        path = os.path.join(self.directory, str(self.count))
        os.mkdir(path)
        shutil.copy(LIBC, path)
        return path

    def start(self, place, argv, **variables):
        """A workload with a libc of its own; it has said its pid."""
        child = Child(argv, os.path.join(place, "stderr"), env={**os.environ, "LD_LIBRARY_PATH": place, **variables})
        self.children.append(child)
        child.line()
        return child

    def churn(self, place):
        return self.start(place, [self.program("bench_churn")])

    def python(self, place, *argv):
        """A script in an interpreter of its own."""
        interpreter = shutil.copy(PYTHON, place)
        return self.start(place, [interpreter, *argv], PYTHONHOME="/usr")

    def trace(self, place, child, *options):
        tracer = Tracer(self.domtrace, child.pid, place, *options)
        self.children.append(tracer)
        return tracer

    def bare(self, place, child, file, source, *options):
        argv = [self.program("bench_bare"), str(child.pid), os.path.join(place, file), source, *options]
        prober = Child(argv, os.path.join(place, "bare.stderr"))
        self.children.append(prober)
        if prober.line() != "ready\n":
            raise Broken(f"bench_bare did not become ready: {prober.stderr()}")
        return prober


# ---- measures -----------------------------------------------------------------------------------------------------


def spread(values, digits=1):
    return {
        "min": round(min(values), digits),
        "median": round(statistics.median(values), digits),
        "max": round(max(values), digits),
    }


def rounds(count, measures):
    """measures: {name: function that measures once}. Returns {name: [value of each round]}; a first round warms up."""
    taken = {name: [] for name in measures}
    for number in range(count + 1):
        for name, measure in measures.items():
            value = measure()
            if number:
                taken[name].append(value)
    return taken


def ratio(taken, of, to):
    """Of medians; its spread is that of the ratios of single rounds."""
    each = [a / b for a, b in zip(taken[of], taken[to])]
    medians = statistics.median(taken[of]) / statistics.median(taken[to])
    return {"of": of, "to": to, "ratio": round(medians, 3), "rounds": spread(each, 3)}


def descriptors(pid):
    """{name: value} of each descriptor's fdinfo. One that is closed meanwhile is none."""
    for number in os.listdir(f"/proc/{pid}/fdinfo"):
        try:
            with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii", errors="replace") as file:
                yield dict(re.findall(r"^(\w+):\s*(\S+)$", file.read(), re.MULTILINE))
        except FileNotFoundError:
            pass


def document(bench, unit, taken, ratios, **more):
    return {
        "bench": bench,
        "machine": {"cpu": cpu_name(), "cpus": os.cpu_count(), "kernel": platform.release()},
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "unit": unit,
        "measures": [{"name": name, **spread(values), "rounds": [round(v, 1) for v in values]} for name, values in taken.items()],
        "ratios": [ratio(taken, of, to) for of, to in ratios],
        **more,
    }


def cpu_name():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return "unknown"
