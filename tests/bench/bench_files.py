# SPDX-License-Identifier: BSD-2-Clause
"""Files of snapshots: domtrace report and diff, against Python's own tracemalloc on the same data through tools/to_tracemalloc.py."""
import json
import multiprocessing
import os
import random
import subprocess
import time

from lanes import HERE, Broken, document, rounds

TOOLS = os.path.join(HERE, "..", "..", "tools")
PYTHON = "/usr/bin/python3"

# What a person would write who has only tracemalloc; its rows are counted, so that both are known to have done the same.
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import to_tracemalloc
files, key_type, cumulative = sys.argv[4:], sys.argv[2], sys.argv[3] == "1"
snapshots = [to_tracemalloc.load(path) for path in files]
if len(snapshots) == 1:
    rows = snapshots[0].statistics(key_type, cumulative)
else:
    rows = snapshots[1].compare_to(snapshots[0], key_type, cumulative)
print(len(rows), rows[0].size, rows[0].count)
"""


def tracebacks_text(rng, count, depth, places):
    for _ in range(count):
        frames = [rng.randrange(places) for _ in range(depth)]
        yield json.dumps({"frames": frames, "total_frames": depth, "truncated": None}, separators=(",", ":"))


def domain_of(number, rows):
    sums = [sum(column) for column in zip(*rows)]
    return {"process": 0, "name": f"tracemalloc:{number + 1}", "source": "tracemalloc", "id": number + 1, "live_blocks": sums[0],
            "live_bytes": sums[1], "peak_bytes": sums[1], "allocations": sums[2], "allocated_bytes": sums[3],
            "frees": sums[2] - sums[0], "freed_bytes": sums[3] - sums[1]}


def traces_text(domain, rows):
    for traceback, (blocks, size, allocations, allocated) in enumerate(rows):
        yield (f'{{"domain":{domain},"traceback":{traceback},"blocks":{blocks},"bytes":{size},"allocations":{allocations},'
               f'"allocated_bytes":{allocated},"peak_bytes":{size}}}')


def random_rows(rng, count):
    for _ in range(count):
        size, more = rng.randrange(16, 100000), rng.randrange(3)
        yield 1, size, 1 + more, size + more * rng.randrange(16, 1000)


def write_snapshot(path, traces, tracebacks, depth, sequence):
    """Each traceback in so many domains; two such snapshots differ in their sizes and in nothing else."""
    places = 20000
    frames = [{"kind": "python", "file": f"/usr/lib/python3/dist-packages/package_{i % 200}/module_{i % 977}.py", "line": 1 + i // 10,
               "function": f"function_{i % 5000}", "first_line": 1} for i in range(places)]
    rows = [list(random_rows(random.Random(sequence * 1000 + domain), tracebacks)) for domain in range(traces // tracebacks)]
    head = {"format": "domtrace-snapshot", "version": 1, "tool": "domtrace 0.1.0", "sequence": sequence, "label": "interval",
            "time": f"2026-01-31T12:00:0{sequence}.123456789Z", "elapsed_ns": sequence * 10**9, "traceback_limit": depth, "complete": True,
            "losses": {}, "counters": {}, "kernel": "6.12.0", "architecture": "x86_64",
            "processes": [{"pid": 4242, "ppid": 1, "start_time_ns": 123, "comm": "python3", "exe": PYTHON, "command": ["python3"],
                           "python": "3.11.2", "exited": False, "from_start": True, "rss_bytes": 0}],
            "domains": [domain_of(number, some) for number, some in enumerate(rows)]}
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(head, separators=(",", ":"))[:-1] + ',"traces":[')
        file.write(",".join(row for domain, some in enumerate(rows) for row in traces_text(domain, some)))
        file.write('],"tracebacks":[' + ",".join(tracebacks_text(random.Random(1), tracebacks, depth, places)))
        file.write('],"frames":' + json.dumps(frames, separators=(",", ":")) + "}\n")


def apart(function, *arguments):
    """In a process of its own: a child's largest resident size begins with that of the process that started it."""
    child = multiprocessing.Process(target=function, args=arguments)
    child.start()
    child.join()
    if child.exitcode:
        raise Broken(f"{function.__name__} failed")


class Runs:
    """Programs that are run to their end, in processor time, with what else is known of each."""

    def __init__(self):
        self.about = {}

    def run(self, name, argv):
        begin = time.monotonic()
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as child:
            output = child.stdout.read()
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise Broken(f"{argv[0]} failed with {child.returncode}")
        self.about[name] = {"wall_ms": round((time.monotonic() - begin) * 1e3), "rss_mib": round(usage.ru_maxrss / 1024),
                            "output": output.decode()}
        return (usage.ru_utime + usage.ru_stime) * 1e3


def commands(domtrace, files):
    """{name: (domtrace's command, Python's)}"""
    def pair(key, cumulative, *names):
        some = [files[name] for name in names]
        words = [domtrace, "report" if len(names) == 1 else "diff", *some, "--group-by", key, "--format", "json", "--top", "1"]
        return (words + (["--cumulative"] if cumulative else []), [PYTHON, "-c", SCRIPT, TOOLS, key, str(int(cumulative)), *some])
    return {
        "report by traceback": pair("traceback", False, "old"),
        "report by lineno, cumulative": pair("lineno", True, "old"),
        "diff by traceback": pair("traceback", False, "old", "new"),
    }


def check_same(runs, name):
    """The first row and the number of rows are the same."""
    answer = json.loads(runs.about[f"domtrace {name}"].pop("output"))
    row = answer["rows"][0]
    expected = runs.about[f"tracemalloc {name}"].pop("output").split()
    if [str(answer["row_count"]), str(row["bytes"]), str(row["blocks"])] != expected:
        raise Broken(f"{name}: domtrace and tracemalloc do not agree")


def run(bench, quick):
    traces, tracebacks = (20000, 2000) if quick else (1000000, 100000)
    files = {name: os.path.join(bench.directory, name + ".json") for name in ("old", "new", "tenth")}
    apart(write_snapshot, files["old"], traces, tracebacks, 30, 1)
    apart(write_snapshot, files["new"], traces, tracebacks, 30, 2)
    apart(write_snapshot, files["tenth"], traces // 10, tracebacks // 10, 30, 1)
    runs, measures, ratios = Runs(), {}, []
    for name, pair in commands(bench.domtrace, files).items():
        for who, argv in zip(("domtrace", "tracemalloc"), pair):
            measures[f"{who} {name}"] = lambda what=f"{who} {name}", argv=argv: runs.run(what, argv)
        ratios.append((f"tracemalloc {name}", f"domtrace {name}"))
    tenth = commands(bench.domtrace, {"old": files["tenth"], "new": files["tenth"]})["report by traceback"][0]
    measures["domtrace report by traceback, a tenth"] = lambda: runs.run("domtrace report by traceback, a tenth", tenth)
    ratios.append(("domtrace report by traceback", "domtrace report by traceback, a tenth"))
    taken = rounds(1 if quick else 3, measures)
    for name in commands(bench.domtrace, files):
        check_same(runs, name)
    runs.about["domtrace report by traceback, a tenth"].pop("output")
    sizes = {name: os.stat(path).st_size for name, path in files.items()}
    return document("files", "milliseconds of processor time", taken, ratios, traces=traces, tracebacks=tracebacks, frames_each=30,
                    file_bytes=sizes, runs=runs.about)
