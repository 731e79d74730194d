# SPDX-License-Identifier: BSD-2-Clause
"""Drives a workload and a tracer side by side. Every wait is bounded, and only processes started here are signalled."""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import snapshot_check

READY = "domtrace: ready; Ctrl-C ends the trace"
CLEARED = "domtrace: traces cleared"
HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
WORKLOADS = os.path.join(PROJECT, "tests", "workload")
PAGE = os.path.join(os.path.dirname(PROJECT), "shared", "mission", "numpy-memory-allocation.md") # beside the project, where that is so
PYTHON = "/usr/bin/python3"
IN_VM = os.environ.get("DOMTRACE_VM") == "1"


class Failure(Exception):
    """What a case expected and did not get, as text for a person."""


class Skip(Exception):
    """Why a case cannot be run here."""


def scaled(number, in_vm):
    """One figure for the machine itself, another for a VM under software emulation."""
    return in_vm if IN_VM else number


def seconds(limit):
    """A time-out. Generous: it only bounds how long a failure takes."""
    return limit * scaled(1, 10)


def expect(condition, sentence):
    if not condition:
        raise Failure(sentence)


class Place:
    """Where one case works: the build, a directory of its own, and the processes it has to end."""

    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.directory = tempfile.mkdtemp(prefix="domtrace-case-")
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.directory, name)

    @property
    def domtrace(self):
        return os.path.join(self.build, "user", "domtrace")

    def page_script(self):
        """The script of NumPy's page, as a file."""
        if not os.path.exists(PAGE):
            raise Skip(f"{PAGE} is not there")
        with open(PAGE, encoding="utf-8") as file:
            source = re.search(r"^```python\n(.*?)^```", file.read(), re.DOTALL | re.MULTILINE)[1]
        path = self.path("page.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(source)
        return path

    def workload(self, name):
        path = os.path.join(self.build, "tests", "workload", name)
        expect(os.path.exists(path), f"{path} is not built")
        return path

    def start(self, argv, **options):
        process = Process(argv, self.path(f"stderr-{len(self.processes)}"), **options)
        self.processes.append(process)
        return process

    def trace(self, *arguments, output="snapshots", target=None):
        """domtrace with `arguments`, ready; or, when it does not become so, a failure with what it said."""
        path = self.path(output)
        tracer = Tracer([self.domtrace, "-o", path, *arguments], self.path(f"stderr-{len(self.processes)}"), path)
        self.processes.append(tracer)
        tracer.target = target
        tracer.wait_ready()
        return tracer

    def run(self, *arguments, **options):
        """domtrace with `arguments`, to its end: (status, standard output, standard error)."""
        done = subprocess.run(
            [self.domtrace, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds(60), check=False,
            **options)
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


class Process:
    """A child with pipes. Its standard error goes to a file, so that it can never block on it."""

    def __init__(self, argv, stderr_path, **options):
        self.argv = argv
        self.stderr_path = stderr_path
        with open(stderr_path, "wb") as stderr:
            self.child = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, **options)
        self.pid = self.child.pid
        self.other_output = []
        self.ended = threading.Event()
        self.output_lock = threading.Condition()
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.child.stdout:
            with self.output_lock:
                self.lines.append(line.decode(errors="replace"))
                self.output_lock.notify_all()
        with self.output_lock:
            self.ended.set()
            self.output_lock.notify_all()

    def __str__(self):
        return " ".join(map(os.path.basename, self.argv[:1])) + " " + " ".join(self.argv[1:])

    def stderr(self):
        with open(self.stderr_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def told(self, limit=300):
        """The next line of JSON on its standard output; other lines are kept in `other_output`."""
        deadline = time.monotonic() + seconds(limit)
        with self.output_lock:
            while True:
                while self.lines:
                    line = self.lines.pop(0)
                    if line.startswith("{"):
                        return json.loads(line)
                    self.other_output.append(line)
                if self.ended.is_set():
                    raise Failure(f"{self} ended without telling: {self.stderr()}")
                if not self.output_lock.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    raise Failure(f"{self} told nothing for {seconds(limit)} seconds")

    def output(self):
        """All other lines, once it has ended."""
        self.reader.join(seconds(60))
        return "".join(self.other_output + self.lines)

    def go(self):
        try:
            self.child.stdin.write(b"go\n")
            self.child.stdin.flush()
        except BrokenPipeError as error:
            raise Failure(f"{self} is gone: {self.stderr()}") from error

    def signal(self, number):
        if self.child.poll() is None:
            self.child.send_signal(number)

    def wait(self, limit=60):
        try:
            return self.child.wait(seconds(limit))
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{self} did not end within {seconds(limit)} seconds: {self.stderr()}") from error

    def close(self):
        """The end of its input ends a workload, also one that domtrace has started and that outlives it."""
        try:
            self.child.stdin.close()
        except BrokenPipeError:
            pass
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        self.reader.join(seconds(10))
        if not self.reader.is_alive():
            self.child.stdout.close()


class Tracer(Process):
    def __init__(self, argv, stderr_path, path):
        super().__init__(argv, stderr_path)
        self.path = path

    def poll(self, done, what, limit=120):
        deadline = time.monotonic() + seconds(limit)
        while not (result := done()):
            ended = self.child.poll()
            if ended is not None and not (result := done()):
                raise Failure(f"{self} ended with {ended} before {what}: {self.stderr()}")
            if result:
                return result
            expect(time.monotonic() < deadline, f"{self}: no {what} within {seconds(limit)} seconds: {self.stderr()}")
            time.sleep(0.02)
        return result

    def wait_ready(self):
        self.poll(lambda: READY in self.stderr().splitlines(), "being ready")

    def snapshots(self):
        """Those that are whole in the file by now."""
        if not os.path.exists(self.path):
            return []
        with open(self.path, "rb") as file:
            text = file.read()
        return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]

    def snapshot(self):
        """One on demand. The target must stand still if its table is to be compared."""
        before = len(self.snapshots())
        self.signal(signal.SIGUSR1)
        taken = self.poll(lambda: self.snapshots()[before:], "snapshot on SIGUSR1")
        expect(taken[-1]["label"] == "signal", f"the snapshot on SIGUSR1 is labelled {taken[-1]['label']}")
        return taken[-1]

    def clear(self):
        """Returns when it is done; whether it was, the next table tells."""
        before = self.stderr().count(CLEARED)
        self.signal(signal.SIGUSR2)
        self.poll(lambda: self.stderr().count(CLEARED) > before, "answer to SIGUSR2")

    def stop(self):
        """Ctrl-C. Returns all snapshots, checked; the last one is the final one."""
        self.signal(signal.SIGINT)
        return self.finish()

    def finish(self, status=0):
        ended = self.wait()
        expect(ended == status, f"{self} exited with {ended} instead of {status}: {self.stderr()}")
        return checked(self.path)


def checked(*paths, one_run=False):
    """The snapshots of files after their schema and invariants were checked."""
    problems, count = snapshot_check.check_files(paths, one_run)
    expect(not problems, "not valid: " + "\n".join(problems))
    expect(count, "no snapshot was written")
    return [snapshot for path in paths for snapshot in snapshot_check.load(path)]
