# SPDX-License-Identifier: BSD-2-Clause
"""The examples of README.md and of the manual pages, run as they stand there."""
import glob
import json
import os
import re
import shlex
import signal
import subprocess

from case_ctl import Room
from harness import IN_VM, READY, Skip, expect, seconds

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SCRIPT = "import numpy as np\nblocks = [np.ones(1000) for _ in range(10)]\n"

# Run by tools/check itself, or about installing: not examples of how to trace.
SET_UP = re.compile(r"sudo (\./tools/(demo|check)|cmake --install)")

# They attach to every process of the machine.
SYSTEM_WIDE = re.compile(r"--(all|children)\b")

# What stands in for the words around an example: the shell they are typed into is root's already; the servers that they
# name are a process of ours; and no other domtrace than ours is ever signalled.
SHELL = """
set -eu
sudo() {{ "$@"; }}
pgrep() {{ echo {target}; }}
pkill() {{ [ "$*" = "-USR1 -x domtrace" ] && kill -USR1 {tracer}; }}
domtrace() {{ {command} "$@"; }}
PATH=/usr/bin:$PATH
PID={target}
CGROUP=/sys/fs/cgroup
cd {directory}
"""


def readme_lines():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        blocks = re.findall(r"^```(?:sh)?\n(.*?)^```$", file.read(), re.M | re.S)
    return [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines()]


def readme_examples():
    return [line for line in readme_lines() if line.startswith("sudo ") and not SET_UP.match(line)]


def manual_lines():
    for page in sorted(glob.glob(os.path.join(ROOT, "user", "cli", "domtrace*.1"))):
        with open(page, encoding="utf-8") as file:
            yield from re.findall(r"^\.Dl (.*)$", file.read(), re.M)


def manual_examples():
    return [line for line in manual_lines() if line.startswith("sudo ")]


def file_examples():
    return [line for line in [*manual_lines(), *readme_lines()] if line.startswith("domtrace ")]


def tell_sizes_and_ages(snapshot):
    """As though all blocks of a traceback had the same size, or nearly so, and those of every other one were a minute old."""
    for domain in snapshot["domains"]:
        domain.update(sizes=[], sizes_exact=True, old_blocks=0, old_bytes=0)
    for number, trace in enumerate(snapshot["traces"]):
        upper = 1 << max(-(-trace["bytes"] // max(trace["blocks"], 1)) - 1, 0).bit_length()
        old = number % 2
        trace.update(sizes=[[upper, trace["blocks"], trace["bytes"]]] if trace["blocks"] else [], old_blocks=old * trace["blocks"],
                     old_bytes=old * trace["bytes"])
        domain = snapshot["domains"][trace["domain"]]
        domain["old_blocks"] += trace["old_blocks"]
        domain["old_bytes"] += trace["old_bytes"]
        for upper, blocks, size in trace["sizes"]:
            same = next((row for row in domain["sizes"] if row[0] == upper), None)
            if same:
                same[1:] = [same[1] + blocks, same[2] + size]
            else:
                domain["sizes"] = sorted(domain["sizes"] + [[upper, blocks, size]])
    return dict(snapshot, ages={"older_than_ns": 60 * 10**9, "age_ns": 60 * 10**9, "exact": True})


def run_file_examples(place):
    """Examples that only read app.json or trace.jsonl, which have two snapshots here. They trace nothing."""
    with open(os.path.join(ROOT, "tests", "data", "snapshot_sample.json"), encoding="utf-8") as file:
        snapshot = tell_sizes_and_ages(json.load(file))
    for name in ("app.json", "trace.jsonl"):
        with open(place.path(name), "w", encoding="utf-8") as file:
            for sequence in (1, 2):
                file.write(json.dumps(dict(snapshot, sequence=sequence)) + "\n")
    lines = file_examples()
    expect(len(lines) == 7, f"{len(lines)} examples were found instead of 7")
    for line in lines:
        example = place.start(shell(place, 0, 0, line))
        expect(example.wait() == 0, f"'{line}' failed: {example.stderr()}")
        told = [message for message in example.stderr().splitlines() if "filtered by" not in message]
        expect(not told, f"'{line}' says {told}")
        found = re.search(r"\s>(\S+)$", line)
        expect(os.path.getsize(place.path(found[1])) if found else example.output(), f"'{line}' printed nothing")
    report_without_privilege(place)


def report_without_privilege(place):
    """A user with no capability, who also may not get any, sees of standard input what root sees of the file."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    said = []
    for before in ([], nobody):
        with open(place.path("app.json"), "rb") as file:
            done = subprocess.run([*before, place.domtrace, "report", "-", "--group-by", "traceback", "--format", "json"], stdin=file,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds(60), check=False)
        expect(done.returncode == 0 and not done.stderr, f"report of standard input: {done.returncode}, {done.stderr}")
        said.append(done.stdout)
    expect(said[0] == said[1] and json.loads(said[0])["rows"], f"nobody sees {said[1]!r}, root {said[0]!r}")


def shell(place, target, tracer, command):
    text = SHELL.format(target=target, tracer=tracer, command=shlex.quote(place.domtrace), directory=shlex.quote(place.directory))
    return ["/bin/bash", "-c", text + command]


def run_example(place, line):
    """Runs one example; those that trace until Ctrl-C get a Ctrl-C once they are ready."""
    target = place.start([place.workload("alloc_family")])
    pid = target.told()["pid"]
    traces = not re.search(r"domtrace (doctor|sites)", line)
    if line.startswith("sudo pkill"):
        tracer = place.trace("-p", str(pid))
        example = place.start(shell(place, pid, tracer.pid, line))
        expect(example.wait() == 0, f"'{line}' failed: {example.stderr()}")
        tracer.poll(tracer.snapshots, "snapshot that the example asks for")
        tracer.stop()
        return
    if line.startswith("sudo domtrace ctl"):
        room = Room(place)  # there the one that is asked is the only one
        room.trace("-p", str(pid), output=f"asked-{pid}")
        example = place.start([*room.enter, *shell(place, pid, 0, line)])
        expect(example.wait() == 0 and example.output(), f"'{line}' failed: {example.stderr()}")
        return
    # exec: the signal must reach domtrace, not a shell that waits for it
    example = place.start(shell(place, pid, 0, line.replace("sudo domtrace", f"exec {shlex.quote(place.domtrace)}", 1)))
    if traces and " -- " not in line and not re.search(r" -(c|t) ", line):
        while READY not in example.stderr().splitlines():
            expect(not example.ended.wait(0.05), f"'{line}' ended: {example.stderr()}")
        example.signal(signal.SIGINT)
    status = example.wait(120)
    expect(status == 0, f"'{line}' exited with {status}: {example.stderr()}")
    expect(example.output(), f"'{line}' printed nothing")


def examples(find, count, system_wide=False):
    def run(place):
        if system_wide and not IN_VM:
            raise Skip("attaches to every process, so only in guests")
        with open(place.path("script.py"), "w", encoding="utf-8") as file:
            file.write(SCRIPT)
        lines = [line for line in find() if bool(SYSTEM_WIDE.search(line)) == system_wide]
        expect(len(lines) == count, f"{len(lines)} examples were found instead of {count}")
        for line in lines:
            run_example(place, line)
    return run


def cases():
    return [
        ("documents/README", examples(readme_examples, 13)),
        ("documents/README, system-wide", examples(readme_examples, 2, system_wide=True)),
        ("documents/manual", examples(manual_examples, 13)),
        ("documents/manual, files", run_file_examples),
    ]
