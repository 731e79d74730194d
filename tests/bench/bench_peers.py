# SPDX-License-Identifier: BSD-2-Clause
"""Nanoseconds per malloc and free under domtrace and under a peer that attaches from outside: bcc's memleak."""
import os
import platform
import select
import shutil
import signal
import time

from lanes import WAIT, Broken, Child, document, rounds

MEMLEAK = "memleak-bpfcc"
HEADERS = "/var/cache/domtrace/headers-6.1"  # where tests/vm/fetch keeps them; any kernel's do for a program that reads registers only
WORKS = {"1 thread, 1 frame": (1, 1), "1 thread, 8 frames": (1, 8), "2 threads, 8 frames": (2, 8)}


def absent():
    """Why there is no memleak, or None."""
    if not shutil.which(MEMLEAK):
        return f"memleak: there is no {MEMLEAK}; tools/setup bench installs it"
    if not os.path.isdir(f"/lib/modules/{platform.release()}/build") and not os.path.isdir(headers()):
        return f"memleak: no kernel headers for bcc in {headers()}; `tests/vm/fetch headers 6.1` fetches some"
    return None


def headers():
    return os.environ.get("BCC_KERNEL_SOURCE", HEADERS)


class Memleak(Child):
    """On one process and its own copy of libc; it prints nothing before the next hour, so what it costs is its programs."""

    def __init__(self, place, pid):
        argv = [shutil.which(MEMLEAK), "-p", str(pid), "-O", os.path.join(place, "libc.so.6"), "3600"]
        variables = {"PYTHONUNBUFFERED": "1"}
        if not os.path.isdir(f"/lib/modules/{platform.release()}/build"):
            variables["BCC_KERNEL_SOURCE"] = headers()
        super().__init__(argv, os.path.join(place, "memleak.stderr"), env={**os.environ, **variables})
        if "Attaching" not in self.line():
            raise Broken(f"memleak did not begin: {self.stderr()}")

    def wait_for_probes(self, child):
        """It does not say when all are attached: a pair costs a uprobe's time then, and no longer changes."""
        deadline = time.monotonic() + WAIT
        before = 0.0
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Broken(f"memleak ended: {self.stderr()}")
            now = child.ask("pairs 1 1 50")["ns"]
            if now > 1000 and abs(now - before) < now / 10:
                return
            before = now
            select.select([], [], [], 0.2)
        raise Broken("memleak attached nothing that can be measured")

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        super().close()


def lanes(bench, has_memleak):
    """{name: workload}"""
    made = {"untraced": bench.churn(bench.place())}
    place = bench.place()
    made["domtrace"] = bench.churn(place)
    bench.trace(place, made["domtrace"], "-d", "libc")
    if has_memleak:
        place = bench.place()
        made["memleak"] = bench.churn(place)
        memleak = Memleak(place, made["memleak"].pid)
        bench.children.append(memleak)
        memleak.wait_for_probes(made["memleak"])
    return made


def run(bench, quick):
    missing = absent()
    made = lanes(bench, not missing)
    milliseconds = 20 if quick else 100
    measures, ratios = {}, []
    for work, (threads, frames) in WORKS.items():
        for name, child in made.items():
            command = f"pairs {threads} {frames} {milliseconds}"
            measures[f"{name}, {work}"] = lambda child=child, command=command: child.ask(command)["ns"]
        if not missing:
            ratios.append((f"domtrace, {work}", f"memleak, {work}"))
    taken = rounds(3 if quick else 15, measures)
    return document("peers", "nanoseconds per malloc and free, of each thread", taken, ratios, absent=[missing] if missing else [])
