#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""domtrace's algebra against CPython's own: generated snapshots, through tools/to_tracemalloc.py, give the same rows in the same order.

Usage: tests/unit/algebra.py DRIVER [SNAPSHOTS]
DRIVER is the program of test_algebra.c, which starts this script without arguments of its own. Every snapshot comes from its number, so a failure names all it takes to see it again.
"""
import fnmatch
import json
import os
import random
import subprocess
import sys
import tempfile
import tracemalloc

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))
sys.dont_write_bytecode = True

import to_tracemalloc  # noqa: E402

SNAPSHOTS = 120
QUERIES = 8        # filter lists per snapshot and kind of question
PATTERNS = 20_000
SOURCES = [("libc", None), ("python", None), ("tracemalloc", 389047), ("tracemalloc", 424242), ("tracemalloc", 7)]
DOMAIN_NAMES = {"libc": "libc", "python": "python", 389047: "numpy", 424242: "pandas", 7: "tracemalloc:7"}
NAMES = ["a.py", "a.pyc", "b.py", "/srv/app.py", "/srv/app.pyc", "/srv/ä€𝄞.py", "<frozen importlib._bootstrap>", "<string>", "[x].py", "x-y.py",
         "x,y.py", "", "A.PY", ".pyc", "x.pycc", "~.py", "é", "\U0010ffff", "\ue000", "line\nbreak.py", "back\\slash.py", "^a", "!a"]
MODULES = [None, "/usr/lib/libc.so.6", "/usr/lib/libx.so", "", "[vdso]"]
PATTERN_PARTS = ["*", "?", "[a-z]", "[!a]", "[", "]", "[]", "[!]", "[]a]", "[!]a]", "a", ".py", ".pyc", "/srv/", "[z-a]", "[a-]", "[-a]", "[--0]",
                 "[a-c-e]", "[!z-a]", "[z-a!x]", "[^a]", "[\\]", "\\", "[&&]", "[a--b]", "ä", "[à-ü]", "𝄞", "x", ",", "^", "!", "[!-]", "[a-b-c]",
                 "[b-a-]", "[!!]", "[[]", "[*]", "[?]", "é", "\ue000"]


class Differs(Exception):
    pass


# ---- snapshots ---------------------------------------------------------------------------------------------------

def random_size(rng):
    return rng.choice([0, 1, 8, 8, 8, 16, 100, rng.randrange(1000), rng.randrange(2**20), 2**53 + 1, rng.randrange(2**58)])


def random_frames(rng):
    frames = []
    names = rng.sample(NAMES, rng.randrange(1, 7))
    for _ in range(rng.randrange(1, 14)):
        line = rng.choice([None, 1, 2, 2, 3, 10, 2**31 - 1])
        if rng.random() < 0.75:
            frames.append({"kind": "python", "file": rng.choice(names), "line": line, "function": rng.choice(["f", "g", None]), "first_line": 1})
        else:
            file = rng.choice([None, None, rng.choice(names)])
            frames.append({"kind": "native", "module": rng.choice(MODULES), "build_id": None, "address": rng.choice([0, 1, 2, 2**64 - 1]),
                           "function": rng.choice([None, "malloc"]), "function_offset": None, "file": file,
                           "line": line if file is not None else None, "inlined": False})
    return frames


def random_tracebacks(rng, frame_count):
    result = []
    for _ in range(rng.randrange(1, 20)):
        count = rng.choice([0, 1, 1, 2, 3, 5, 9])
        result.append({"frames": [rng.randrange(frame_count) for _ in range(count)], "total_frames": count + rng.randrange(3), "truncated": None})
    return result


def random_row(rng):
    blocks = rng.choice([0, 1, 1, 1, 2, 2, 3, 7, 30])
    size = random_size(rng) if blocks else 0
    allocations = blocks + rng.randrange(3)
    return {"blocks": blocks, "bytes": size, "allocations": allocations, "allocated_bytes": size + (allocations > blocks) * rng.randrange(99),
            "peak_bytes": size}


def random_document(rng, frames, tracebacks):
    sources = rng.sample(SOURCES, rng.randrange(1, len(SOURCES) + 1))
    traces, domains = [], []
    for index, (source, number) in enumerate(sources):
        rows = [dict(random_row(rng), domain=index, traceback=t) for t in range(len(tracebacks)) if rng.random() < 0.7]
        traces += rows
        sums = {key: sum(row[key] for row in rows) for key in ("blocks", "bytes", "allocations", "allocated_bytes")}
        domains.append({"process": rng.randrange(2), "name": DOMAIN_NAMES[number or source], "source": source, "id": number,
                        "live_blocks": sums["blocks"], "live_bytes": sums["bytes"], "peak_bytes": sums["bytes"],
                        "allocations": sums["allocations"], "allocated_bytes": sums["allocated_bytes"],
                        "frees": sums["allocations"] - sums["blocks"], "freed_bytes": sums["allocated_bytes"] - sums["bytes"]})
    rng.shuffle(traces)
    processes = [{"pid": 100 + i, "ppid": 1, "start_time_ns": i, "comm": "python3", "exe": None, "command": [], "python": None, "exited": False,
                  "from_start": True, "rss_bytes": 0} for i in range(2)]
    return {"format": "domtrace-snapshot", "version": 1, "tool": "domtrace 0.1.0", "sequence": 1, "label": "final",
            "time": "2026-01-31T12:00:00.123456789Z", "elapsed_ns": 1, "traceback_limit": 8, "complete": True, "losses": {}, "counters": {},
            "kernel": "6.12", "architecture": "x86_64", "processes": processes, "domains": domains, "traces": traces,
            "tracebacks": tracebacks, "frames": frames}


def random_pair(seed):
    """An old and a new snapshot with some tracebacks in common, whose numbers differ."""
    rng = random.Random(seed)
    frames = random_frames(rng)
    tracebacks = random_tracebacks(rng, len(frames))
    old = random_document(rng, frames, tracebacks)
    if rng.random() < 0.2:
        return old, random_document(rng, random_frames(rng), [{"frames": [0], "total_frames": 1, "truncated": None}])
    order = list(range(len(frames)))
    rng.shuffle(order)
    moved = [frames[i] for i in order]
    kept = [dict(row, frames=[order.index(i) for i in row["frames"]]) for row in tracebacks if rng.random() < 0.8]
    return old, random_document(rng, moved, (kept or [{"frames": [], "total_frames": 0, "truncated": None}]) +
                                random_tracebacks(rng, len(frames)))


# ---- filters -----------------------------------------------------------------------------------------------------

def random_pattern(rng):
    if rng.random() < 0.4:
        return rng.choice(["*", "*.py", "/srv/*", "a.py", "*.pyc", "?.py", "<*>", "*[[]x*", rng.choice(NAMES)])
    return "".join(rng.choice(PATTERN_PARTS) for _ in range(rng.randrange(1, 6)))


def random_filter(rng):
    """One of tracemalloc's filters, and the same as text."""
    inclusive = rng.random() < 0.6
    source, number = rng.choice(SOURCES)
    domain = to_tracemalloc.domain_number({"source": source, "id": number})
    domain_text = "domain=" + rng.choice([DOMAIN_NAMES[number or source]] + ([str(number)] if number else []))
    mark = "" if inclusive else "!"
    if rng.random() < 0.2:
        return tracemalloc.DomainFilter(inclusive, domain), mark + domain_text
    pattern = random_pattern(rng).replace("\t", "").replace("\n", "")
    if pattern == "":
        pattern = "*"
    terms = ["file=" + pattern.replace(",", ",,")]
    line, everywhere, with_domain = None, rng.random() < 0.4, rng.random() < 0.3
    if rng.random() < 0.4:
        line = rng.choice([0, 1, 2, 3, 10, 2**31 - 1, 2**64 - 1])
        terms.append(f"line={line}")
    if everywhere:
        terms.append("all")
    if with_domain:
        terms.append(domain_text)
    rng.shuffle(terms)
    return tracemalloc.Filter(inclusive, pattern, line, everywhere, domain if with_domain else None), mark + ",".join(terms)


def random_filters(rng):
    pairs = [random_filter(rng) for _ in range(rng.choice([0, 0, 1, 1, 2, 4]))]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


# ---- questions ---------------------------------------------------------------------------------------------------

class Driver:
    def __init__(self, path):
        self.process = subprocess.Popen([path, "driver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # pylint: disable=consider-using-with

    def ask(self, *words):
        self.process.stdin.write("\t".join(words).encode() + b"\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer.strip():
            raise Differs(f"no answer to {words}")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        if self.process.wait(60):
            raise Differs(f"the driver ended with {self.process.returncode}")


def frames_of(key_type, row):
    """The frames of a row's key as tracemalloc has them, the oldest first."""
    key = row[key_type]
    if key_type == "filename":
        return ((key, 0),)
    return tuple(tuple(frame) for frame in key) if key_type == "traceback" else (tuple(key),)


def check(what, found, expected):
    if found != expected:
        for index, (one, other) in enumerate(zip(found, expected)):
            if one != other:
                raise Differs(f"{what}: row {index}: domtrace has {one}, tracemalloc {other}")
        raise Differs(f"{what}: domtrace has {len(found)} rows, tracemalloc {len(expected)}")


def key_types():
    return [("traceback", False), ("lineno", False), ("filename", False), ("lineno", True), ("filename", True)]


def check_statistics(driver, path, snapshot, filters, texts):
    for key_type, cumulative in key_types():
        answer = driver.ask("statistics", key_type, str(int(cumulative)), "live", path, *texts)
        found = [(frames_of(key_type, row), row["bytes"], row["blocks"]) for row in answer["rows"]]
        expected = [(tuple(s.traceback._frames), s.size, s.count)
                    for s in snapshot.filter_traces(filters).statistics(key_type, cumulative)]
        check(f"statistics {key_type} {cumulative} {path} {texts}", found, expected)
    return len(key_types())


def check_compare(driver, paths, snapshots, filters, texts):
    old, new = (snapshot.filter_traces(filters) for snapshot in snapshots)
    for key_type, cumulative in key_types():
        answer = driver.ask("compare", key_type, str(int(cumulative)), "live", *paths, *texts)
        found = [(frames_of(key_type, row), row["bytes"], row["bytes_diff"], row["blocks"], row["blocks_diff"]) for row in answer["rows"]]
        expected = [(tuple(s.traceback._frames), s.size, s.size_diff, s.count, s.count_diff)
                    for s in new.compare_to(old, key_type, cumulative)]
        check(f"compare {key_type} {cumulative} {paths} {texts}", found, expected)
    return len(key_types())


def check_filter(driver, path, snapshot, filters, texts):
    found = to_tracemalloc.convert(driver.ask("filter", path, *texts))
    check(f"filter {path} {texts}", found.traces._traces, snapshot.filter_traces(filters).traces._traces)
    return 1


def check_snapshots(driver, directory, count):
    checked = 0
    for seed in range(count):
        paths = [os.path.join(directory, name) for name in ("old.json", "new.json")]
        documents = random_pair(seed)
        for path, document in zip(paths, documents):
            with open(path, "w", encoding="utf-8") as file:
                file.write(json.dumps(document, ensure_ascii=seed % 2 == 0) + "\n")
        snapshots = [to_tracemalloc.load(path) for path in paths]
        rng = random.Random(-seed - 1)
        try:
            for _ in range(QUERIES):
                filters, texts = random_filters(rng)
                checked += check_statistics(driver, paths[1], snapshots[1], filters, texts)
                checked += check_compare(driver, paths, snapshots, filters, texts)
                checked += check_filter(driver, paths[1], snapshots[1], filters, texts)
        except Differs as error:
            raise Differs(f"snapshots of seed {seed}: {error}") from error
    return checked


def check_patterns(driver, count):
    rng = random.Random(0)
    for _ in range(count):
        pattern = random_pattern(rng)
        name = rng.choice(NAMES) if rng.random() < 0.5 else "".join(rng.choice("aäxz-!]^[\\&b.py𝄞") for _ in range(rng.randrange(5)))
        if "\n" in pattern + name:
            continue
        if driver.ask("match", pattern, name) != int(fnmatch.fnmatchcase(name, pattern)):
            raise Differs(f"pattern {pattern!r}, name {name!r}: fnmatch says {fnmatch.fnmatchcase(name, pattern)}")
    return count


def main():
    count = int(sys.argv[2]) if len(sys.argv) > 2 else SNAPSHOTS
    driver = Driver(sys.argv[1])
    try:
        with tempfile.TemporaryDirectory(prefix="domtrace-algebra-") as directory:
            patterns = check_patterns(driver, PATTERNS)
            checked = check_snapshots(driver, directory, count)
        driver.close()
    except Differs as error:
        print(f"FAIL: {error}")
        return 1
    expected = count * QUERIES * (2 * len(key_types()) + 1)
    print(f"{checked} questions about {2 * count} snapshots and {patterns} about patterns have the same answers as "
          f"Python {sys.version.split()[0]} gives")
    return 0 if checked == expected else 1


if __name__ == "__main__":
    sys.exit(main())
