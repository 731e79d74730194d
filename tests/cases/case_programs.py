# SPDX-License-Identifier: BSD-2-Clause
"""Real programs: what is true of every snapshot is true of theirs, and they work on."""
import os
import shutil
import subprocess
import time

from harness import PYTHON, WORKLOADS, Skip, expect, scaled, seconds
from tables import domain_rows

REDIS = "/usr/bin/redis-check-rdb"      # Debian's redis-tools: the server's binary under another name
LOAD_SECONDS = scaled(130, 40)
REQUESTS = str(scaled(25000, 3000))


def redis(place, *words):
    done = subprocess.run(["redis-cli", "-s", place.path("socket"), *words], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=seconds(30), check=False)
    return done.stdout.decode().strip()


def start_redis(place):
    """It looks at its own name to know what it is."""
    for program in ("redis-cli", "redis-benchmark", REDIS):
        if not shutil.which(program):
            raise Skip(f"{program} is not installed (package redis-tools)")
    server = place.start(
        ["redis-server", "--port", "0", "--unixsocket", place.path("socket"), "--save", "", "--dir", place.directory],
        executable=REDIS)
    deadline = time.monotonic() + seconds(30)
    while redis(place, "PING") != "PONG":
        expect(server.child.poll() is None, f"redis-server ended: {server.lines} {server.stderr()}")
        expect(time.monotonic() < deadline, "redis-server does not answer")
        time.sleep(0.1)
    return server


def redis_server(place):
    server = start_redis(place)
    tracer = place.trace("-p", str(server.pid), "-i", "1")
    load = subprocess.run(
        ["redis-benchmark", "-s", place.path("socket"), "-q", "-n", REQUESTS, "-r", "5000", "-c", "20",
         "-t", "set,get,lpush,lpop,sadd,hset"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds(300), check=False)
    expect(load.returncode == 0, f"redis-benchmark failed: {load.stdout.decode()}")
    tracer.poll(lambda: len(tracer.snapshots()) >= 2, "two snapshots")
    snapshots = tracer.stop()
    last = snapshots[-1]
    domain, rows = domain_rows(last, server.pid, "libc")
    expect(domain and domain["allocations"] > 1000 and rows, f"redis-server under load shows only {domain}")
    expect(redis(place, "PING") == "PONG", "redis-server does not answer after the trace")
    redis(place, "SHUTDOWN", "NOSAVE")
    expect(server.wait() == 0, f"redis-server exited with {server.wait()}")


def numpy_load(place):
    target = place.start([PYTHON, os.path.join(WORKLOADS, "numpy_load.py"), str(LOAD_SECONDS)])
    pid = target.told()["pid"]
    tracer = place.trace("-p", str(pid), "-i", "1")
    told = target.told(limit=LOAD_SECONDS + 120)
    expect(told["right"], f"the program's result is wrong: {told}")
    snapshots = tracer.finish()
    expect(target.wait() == 0, f"the program exited with {target.wait()}")
    expect(len(snapshots) >= 3 and snapshots[-1]["label"] == "final", f"only {len(snapshots)} snapshots")
    for source, domain_id in (("libc", None), ("tracemalloc", 389047)):
        allocations = [(domain_rows(snapshot, pid, source, domain_id)[0] or {"allocations": 0})["allocations"]
                       for snapshot in snapshots]
        expect(allocations == sorted(allocations), f"allocations of {source} decrease: {allocations}")
        expect(allocations[-1] > 100, f"allocations of {source}: {allocations[-1]}")


def cases():
    yield "programs/redis-server under load", redis_server
    yield "programs/NumPy for a while", numpy_load
