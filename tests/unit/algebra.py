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

SNAPSHOTS = 700
QUERIES = 8        # filter lists per snapshot and kind of question
PATTERNS = 20_000
SOURCES = [("libc", None), ("python", None), ("tracemalloc", 389047), ("tracemalloc", 424242), ("tracemalloc", 7)]
DOMAIN_NAMES = {"libc": "libc", "python": "python", 389047: "numpy", 424242: "pandas", 7: "tracemalloc:7"}
NAMES = ["a.py", "a.pyc", "b.py", "/srv/app.py", "/srv/app.pyc", "/srv/ä€𝄞.py", "<frozen importlib._bootstrap>", "<string>", "[x].py", "x-y.py",
         "x,y.py", "", "A.PY", ".pyc", "x.pycc", "~.py", "é", "\U0010ffff", "\ue000", "line\nbreak.py", "back\\slash.py", "^a", "!a",
         os.path.abspath(__file__)]
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


# ---- blocks: filters by size and age ----------------------------------------------------------------------------

OLDER_THAN = 60 * 10**9


def size_class(size):
    return 1 << max(size - 1, 0).bit_length()


def sizes_of(blocks):
    """[upper_bytes, blocks, bytes] of each class, the smallest first."""
    sums = {}
    for size, _ in blocks:
        row = sums.setdefault(size_class(size), [0, 0])
        row[0] += 1
        row[1] += size
    return [[upper, *row] for upper, row in sorted(sums.items())]


def block_figures(blocks):
    return {"old_blocks": sum(old for _, old in blocks), "old_bytes": sum(size for size, old in blocks if old), "sizes": sizes_of(blocks)}


def random_blocks(rng):
    """(size, whether it is old) of each live block; often they are all young, or all old, or of one class."""
    count = rng.choice([0, 1, 1, 2, 3, 8, 30])
    largest, old = rng.choice([1, 16, 16, 17, 100, 5000, 2**40]), rng.choice([0, 0, 0.5, 0.5, 1])
    return [(rng.randrange(largest + 1), rng.random() < old) for _ in range(count)]


def document_of_blocks(document, rng):
    """The same snapshot of other blocks, with their sizes and ages, and (domain, traceback, its blocks) of each trace."""
    books = [(row["domain"], row["traceback"], random_blocks(rng)) for row in document["traces"]]
    traces = []
    for row, (_, _, blocks) in zip(document["traces"], books):
        size, gone = sum(size for size, _ in blocks), rng.randrange(3)
        traces.append(dict(row, blocks=len(blocks), bytes=size, allocations=len(blocks) + gone, allocated_bytes=size + gone * 7,
                           peak_bytes=size + 1, **block_figures(blocks)))
    domains = []
    for index, domain in enumerate(document["domains"]):
        rows = [row for row in traces if row["domain"] == index]
        blocks = [block for number, _, some in books if number == index for block in some]
        sums = {name: sum(row[name] for row in rows) for name in ("blocks", "bytes", "allocations", "allocated_bytes")}
        domains.append(dict(domain, live_blocks=sums["blocks"], live_bytes=sums["bytes"], peak_bytes=sums["bytes"] + 1,
                            allocations=sums["allocations"], allocated_bytes=sums["allocated_bytes"], frees=sums["allocations"] - sums["blocks"],
                            freed_bytes=sums["allocated_bytes"] - sums["bytes"], sizes_exact=True, **block_figures(blocks)))
    ages = {"older_than_ns": OLDER_THAN, "age_ns": OLDER_THAN + rng.randrange(10**9), "exact": True}
    return dict(document, traces=traces, domains=domains, ages=ages), books


def random_block_filter(rng, kinds):
    """(a filter of tracemalloc, what it wants of a block, the same as text)"""
    known, text = random_filter(rng)
    if rng.random() < 0.6:
        known, text = tracemalloc.Filter(known.inclusive, "*"), ("" if known.inclusive else "!") + "file=*"
    tests = []
    for kind in kinds:
        if rng.random() < 0.4:
            continue
        if kind == "age":
            old = rng.random() < 0.5
            tests.append(lambda size, is_old, old=old: is_old == old)
            text += ",age>=60s" if old else ",age<1m"
        else:
            bound, above = 1 << rng.choice([0, 1, 4, 5, 10, 39, 63]), rng.random() < 0.5
            tests.append(lambda size, is_old, bound=bound, above=above: (size > bound) == above)
            text += f",size{'>' if above else '<='}{bound}"
    return known, tests, text


def passes(filters, trace, block):
    def wanted(known, tests):
        return known._match(trace) == known.inclusive and all(test(*block) for test in tests)
    chosen = [wanted(*some) for some in filters if some[0].inclusive]
    return (not chosen or any(chosen)) and not any(wanted(*some) for some in filters if not some[0].inclusive)


def is_told(filters, trace, blocks):
    """Whether sizes by class, and ages, tell of a traceback what passes."""
    cells = {(size_class(size), old): passes(filters, trace, (size, old)) for size, old in blocks}
    # Where there are both, what is wanted of the classes that either has must be one thing of all, or not depend on age.
    if len({old for _, old in cells}) < 2:
        return True
    every = {(upper, old): passes(filters, trace, (upper, old)) for upper in {upper for upper, _ in cells} for old in (False, True)}
    by_size = all(every[upper, False] == every[upper, True] for upper, _ in every)
    by_age = all(len({kept for (_, old), kept in every.items() if old == is_old}) == 1 for is_old in (False, True))
    return by_size or by_age


def check_blocks(driver, path, document, books, rng):
    domains, tracebacks = [to_tracemalloc.domain_number(domain) for domain in document["domains"]], to_tracemalloc.tracebacks_of(document)
    chosen = [random_block_filter(rng, rng.choice([["size"], ["age"], ["size", "size"], ["size", "age"]])) for _ in range(rng.randrange(1, 4))]
    filters, texts = [some[:2] for some in chosen], [some[2] for some in chosen]
    left, told, asked = [], True, any(tests for _, tests in filters)
    for domain, traceback, blocks in books:
        frames, total = tracebacks[traceback]
        trace = (domains[domain], 0, frames, total)
        told = told and is_told(filters, trace, blocks)
        left += [(domains[domain], size, frames, total) for size, old in blocks if passes(filters, trace, (size, old))]
    for key_type, cumulative in key_types():
        answer = driver.ask("statistics", key_type, str(int(cumulative)), "live", path, *texts)
        if (answer == "refused") == told:
            raise Differs(f"blocks {path} {texts}: domtrace {'refuses' if told else 'answers'} what it {'knows' if told else 'does not know'}")
        if not told:
            continue
        found = [(frames_of(key_type, row), row["bytes"], row["blocks"]) for row in answer["rows"]]
        expected = [(tuple(s.traceback._frames), s.size, s.count) for s in tracemalloc.Snapshot(left, 1).statistics(key_type, cumulative)]
        check(f"blocks {key_type} {cumulative} {path} {texts}", found, expected)
        if asked and any((row["allocations"], row["allocated_bytes"]) != (row["blocks"], row["bytes"]) for row in answer["rows"]):
            raise Differs(f"blocks {path} {texts}: more than what is live")
    return told


def check_documents_of_blocks(driver, directory, count):
    """How many questions were answered, and refused."""
    path, told, refused = os.path.join(directory, "blocks.json"), 0, 0
    for seed in range(count):
        rng = random.Random(seed)
        document, books = document_of_blocks(random_pair(seed)[1], rng)
        with open(path, "w", encoding="utf-8") as file:
            file.write(json.dumps(document) + "\n")
        try:
            for _ in range(QUERIES):
                answered = check_blocks(driver, path, document, books, rng)
                told += answered
                refused += not answered
        except Differs as error:
            raise Differs(f"blocks of seed {seed}: {error}") from error
    return told, refused


def check_format(driver, path, snapshot, filters, texts, rng):
    """The lines that Traceback.format() makes, with source where it is."""
    limit, first = rng.choice([None, None, 1, 2, 3, 100, -1, -2, -100]), rng.random() < 0.5
    found = driver.ask("format", str(limit or 0), str(int(first)), path, *texts)
    expected = [s.traceback.format(limit, first) for s in snapshot.filter_traces(filters).statistics("traceback")]
    check(f"format {limit} {first} {path} {texts}", found, expected)
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
                checked += check_format(driver, paths[1], snapshots[1], filters, texts, rng)
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


def run_tool(*arguments, **options):
    tool = os.path.join(HERE, "..", "..", "tools", "to_tracemalloc.py")
    done = subprocess.run([sys.executable, "-B", tool, *arguments], capture_output=True, check=False, **options)
    return done.returncode, done.stderr.decode()


def check_tool(directory):
    """tools/to_tracemalloc.py as a command: tracemalloc itself reads the pickle, whichever snapshot and frames were asked for."""
    path, pickle = os.path.join(directory, "two.json"), os.path.join(directory, "pickle")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(document) + "\n" for document in random_pair(1))
    with open(path, "rb") as file:
        text = file.read()
    for name, number, stack in ((path, None, "all"), (path + "#1", 1, "python"), (path + "#2", 2, "native"), ("-", None, "all")):
        status, said = run_tool("--stack", stack, name, pickle, input=text)
        check(f"to_tracemalloc.py {name}, status and message", (status, said), (0, ""))
        found, expected = tracemalloc.Snapshot.load(pickle), to_tracemalloc.load(path, number, stack)
        check(f"the traces of {name}", (found.traces._traces, found.traceback_limit), (expected.traces._traces, expected.traceback_limit))
    for arguments in ((path + "#3",), (os.path.join(directory, "missing.json"),), ("--blocks-max", "1", path)):
        status, said = run_tool(*arguments, pickle)
        check(f"to_tracemalloc.py {arguments}", (status, said.count("\n"), said.startswith("to_tracemalloc.py: ")), (1, 1, True))


def main():
    count = int(sys.argv[2]) if len(sys.argv) > 2 else SNAPSHOTS
    driver = Driver(sys.argv[1])
    try:
        with tempfile.TemporaryDirectory(prefix="domtrace-algebra-") as directory:
            patterns = check_patterns(driver, PATTERNS)
            checked = check_snapshots(driver, directory, count)
            check_tool(directory)
            told, refused = check_documents_of_blocks(driver, directory, count)
        driver.close()
    except Differs as error:
        print(f"FAIL: {error}")
        return 1
    expected = count * QUERIES * (2 * len(key_types()) + 2)
    print(f"{checked} questions about {2 * count} snapshots and {patterns} about patterns have the same answers as "
          f"Python {sys.version.split()[0]} gives; {told} filters by size and age leave the blocks that they should, {refused} are refused rightly")
    return 0 if checked == expected and told > refused > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
