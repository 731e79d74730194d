#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Checks snapshots written by domtrace: against the schema, and against what FORMAT.md says always holds.

    snapshot_check.py FILE...           JSON Lines: one run after another, each with sequence numbers from 1 on
    snapshot_check.py --run FILE...     the files together are one run, in this order (written with %n)

As a module: check_snapshot(document), check_run(documents), load(path); each problem is a sentence in a list.
"""

import functools
import json
import pathlib
import re
import sys

import jsonschema

TOP = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = TOP / "user" / "snapshot" / "snapshot.schema.json"
COUNTERS = TOP / "include" / "domtrace" / "counters.def"
TRUNCATIONS = TOP / "include" / "domtrace" / "truncations.def"


@functools.lru_cache(maxsize=None)
def validator():
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@functools.lru_cache(maxsize=None)
def truncation_names():
    """The names of truncations.def, which are those in the schema."""
    names = re.findall(r"^DT_TRUNCATION\((\w+),", TRUNCATIONS.read_text(encoding="utf-8"), re.M)
    known = validator().schema["$defs"]["traceback"]["properties"]["truncated"]["enum"]
    if known != [None] + names + ["lost"]:
        raise RuntimeError(f"{SCHEMA} and {TRUNCATIONS} disagree: {known}, {names}")
    return names


@functools.lru_cache(maxsize=None)
def counter_names():
    """The names of counters.def: {"LOSS": [...], "COUNT": [...]}; those of truncations.def are among them."""
    names = {"LOSS": [], "COUNT": [f"truncated_{name}" for name in truncation_names()]}
    for name, kind in re.findall(r"^DT_COUNTER\((\w+), (\w+),", COUNTERS.read_text(encoding="utf-8"), re.M):
        names[kind].append(name)
    if not names["LOSS"] or not names["COUNT"]:
        raise RuntimeError(f"{COUNTERS}: no counters found; has its form changed?")
    return names


def unique_keys(pairs):
    """json keeps the last of two equal keys and says nothing; no reader could tell which one was meant."""
    document = dict(pairs)
    if len(document) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(n for n in names if names.count(n) > 1)!r} twice in one object")
    return document


def not_json(word):
    raise ValueError(f"{word} is not JSON")


def check_schema(document):
    problems = []
    for error in validator().iter_errors(document):
        where = "/".join(str(step) for step in error.absolute_path) or "document"
        problems.append(f"{where}: {error.message[:300]}")
    return problems


def check_counters(document):
    problems = []
    for field, kind in (("losses", "LOSS"), ("counters", "COUNT")):
        missing = [name for name in counter_names()[kind] if name not in document[field]]
        if missing:
            problems.append(f"{field}: without {', '.join(missing)}")
    if document["complete"] != (not any(document["losses"].values())):
        problems.append(f"complete is {document['complete']}, losses are {document['losses']}")
    return problems


def check_indexes(document):
    problems = []

    def check(where, index, table):
        if index >= len(document[table]):
            problems.append(f"{where} is {index}, but there are {len(document[table])} {table}")

    for i, domain in enumerate(document["domains"]):
        check(f"domains/{i}/process", domain["process"], "processes")
    for i, trace in enumerate(document["traces"]):
        check(f"traces/{i}/domain", trace["domain"], "domains")
        check(f"traces/{i}/traceback", trace["traceback"], "tracebacks")
    for i, traceback in enumerate(document["tracebacks"]):
        for k, index in enumerate(traceback["frames"]):
            check(f"tracebacks/{i}/frames/{k}", index, "frames")
        kept = len(traceback["frames"])
        if traceback["total_frames"] < kept:
            problems.append(f"tracebacks/{i} keeps {kept} frames of {traceback['total_frames']}")
    return problems


def check_limits(document):
    """Of each kind as many frames as the limit allows; an inlined one is no frame of the stack, and has one behind it."""
    problems = []
    for i, traceback in enumerate(document["tracebacks"]):
        frames = [document["frames"][index] for index in traceback["frames"]]
        inlined = [frame["kind"] == "native" and frame["inlined"] for frame in frames]
        for kind in ("native", "python"):
            kept = sum(frame["kind"] == kind and not inlined[k] for k, frame in enumerate(frames))
            if kept > document["traceback_limit"]:
                problems.append(f"tracebacks/{i} has {kept} {kind} frames, the limit is {document['traceback_limit']}")
        for k, frame in enumerate(frames):
            into = frames[k - 1] if k else None
            if inlined[k] and (not into or (into["kind"], into["module"]) != ("native", frame["module"])):
                problems.append(f"tracebacks/{i}/frames/{k} is inlined into nothing")
    return problems


def check_unique(document):
    """One row per process; per process and domain; per domain and traceback; each traceback and frame once."""
    keys = {
        "processes": lambda row: (row["pid"], row["start_time_ns"]),
        "domains": lambda row: (row["process"], row["source"], row["id"], row["name"]),
        "traces": lambda row: (row["domain"], row["traceback"]),
        "tracebacks": lambda row: (tuple(row["frames"]), row["total_frames"], row["truncated"]),
    }
    problems = []
    for table, key in keys.items():
        seen = {}
        for i, row in enumerate(document[table]):
            first = seen.setdefault(key(row), i)
            if first != i:
                problems.append(f"{table}/{first} and {table}/{i} are the same")
    return problems


def check_sums(document):
    """live = allocations - frees in every domain, and the traces of a domain add up to it."""
    problems = []
    figures = {"blocks": "live_blocks", "bytes": "live_bytes", "allocations": "allocations",
               "allocated_bytes": "allocated_bytes", "temporary": "temporary"}
    sums = [dict.fromkeys([*figures, "at_peak_bytes"], 0) for _ in document["domains"]]
    for trace in document["traces"]:
        for figure in [*figures, "at_peak_bytes"]:
            sums[trace["domain"]][figure] += trace[figure]
    for i, domain in enumerate(document["domains"]):
        where = f"domains/{i} ({domain['name']})"
        for live, come, gone in (("live_blocks", "allocations", "frees"), ("live_bytes", "allocated_bytes", "freed_bytes")):
            if domain[live] != domain[come] - domain[gone]:
                problems.append(f"{where}: {live} {domain[live]} is not {come} {domain[come]} - {gone} {domain[gone]}")
        for figure, field in figures.items():
            if sums[i][figure] != domain[field]:
                problems.append(f"{where}: {field} is {domain[field]}, its traces have {sums[i][figure]}")
        if domain["temporary"] > domain["frees"]:
            problems.append(f"{where}: of {domain['frees']} blocks that were freed {domain['temporary']} were temporary")
        if domain["at_peak_exact"] != (sums[i]["at_peak_bytes"] == domain["peak_bytes"]):
            problems.append(f"{where}: at_peak_exact is {domain['at_peak_exact']}, its traces had {sums[i]['at_peak_bytes']} bytes at the "
                            f"peak of {domain['peak_bytes']}")
        if domain["peak_bytes"] < domain["live_bytes"] and not document["losses"]["peaks_contended"]:
            problems.append(f"{where}: peak_bytes {domain['peak_bytes']} is below live_bytes {domain['live_bytes']}")
    return problems


def check_ages(document):
    """Old blocks are live ones, and those of the traces of a domain add up to its own; without ages nobody has any."""
    problems, sums, ages = [], [[0, 0] for _ in document["domains"]], document.get("ages")
    for i, trace in enumerate(document["traces"]):
        old = (trace.get("old_blocks"), trace.get("old_bytes"))
        if not ages:
            if old != (None, None):
                problems.append(f"traces/{i}: old blocks and bytes are {old}, nobody asked for ages")
            continue
        if old[0] > trace["blocks"] or old[1] > trace["bytes"] or (ages["age_ns"] is None and any(old)):
            problems.append(f"traces/{i}: old blocks and bytes are {old}, live ones {trace['blocks']}, {trace['bytes']}; ages are {ages}")
        sums[trace["domain"]] = [sum(both) for both in zip(sums[trace["domain"]], old)]
    for i, domain in enumerate(document["domains"]):
        old = [domain.get("old_blocks"), domain.get("old_bytes")]
        if old != (sums[i] if ages else [None, None]):
            problems.append(f"domains/{i} ({domain['name']}): old blocks and bytes are {old}, its traces have {sums[i]}; ages are {ages}")
    if ages and ages["age_ns"] is not None and ages["age_ns"] < ages["older_than_ns"]:
        problems.append(f"ages: {ages['age_ns']} ns are less than the {ages['older_than_ns']} asked for")
    return problems


def size_problems(where, sizes, blocks, size):
    """Classes are powers of two, in their order, not empty, have as many bytes as they can, and not more than there is."""
    problems, last = [], 0
    for upper, count, total in sizes:
        if upper & (upper - 1) or upper <= last:
            problems.append(f"{where}: {upper} behind {last} is no size class")
        if not (upper // 2 + 1) * count * (upper > 1) <= total <= upper * count:
            problems.append(f"{where}: {count} blocks of the class {upper} have {total} bytes")
        last = upper
    if sum(row[1] for row in sizes) > blocks or sum(row[2] for row in sizes) > size:
        problems.append(f"{where}: size classes have more than the {blocks} blocks of {size} bytes")
    return problems


def check_sizes(document):
    """Size classes of traces add up to those of their domains, and these, if they are exact, to what is live."""
    problems, sums = [], [{} for _ in document["domains"]]
    for i, trace in enumerate(document["traces"]):
        domain = document["domains"][trace["domain"]]
        if ("sizes" in trace) != ("sizes" in domain):
            problems.append(f"traces/{i}: it or its domain ({domain['name']}) has size classes, the other has not")
        problems += size_problems(f"traces/{i}", trace.get("sizes", []), trace["blocks"], trace["bytes"])
        for upper, blocks, size in trace.get("sizes", []):
            before = sums[trace["domain"]].get(upper, (0, 0))
            sums[trace["domain"]][upper] = before[0] + blocks, before[1] + size
    for i, domain in enumerate(document["domains"]):
        where, sizes = f"domains/{i} ({domain['name']})", domain.get("sizes", [])
        problems += size_problems(where, sizes, domain["live_blocks"], domain["live_bytes"])
        if sizes != [[upper, *both] for upper, both in sorted(sums[i].items())]:
            problems.append(f"{where}: its size classes are {sizes}, those of its traces {sums[i]}")
        exact = [sum(row[k] for row in sizes) for k in (1, 2)] == [domain["live_blocks"], domain["live_bytes"]]
        if "sizes" in domain and domain["sizes_exact"] != exact:
            problems.append(f"{where}: sizes_exact is {domain['sizes_exact']} of {sizes}, live are {domain['live_blocks']} blocks of "
                            f"{domain['live_bytes']} bytes")
    return problems


def check_layers(document):
    """The parts of what is resident, and those of what is live, add up; exact ones to what the domains have."""
    problems = []
    for i, process in enumerate(document["processes"]):
        memory, layers = process.get("memory"), process.get("layers")
        if memory:
            parts = sum(memory[f"{name}_bytes"] for name in ("heap", "anonymous_mapping", "file_mapping", "other_mapping"))
            if parts != memory["resident_bytes"]:
                problems.append(f"processes/{i}/memory: resident_bytes {memory['resident_bytes']}, its parts have {parts}")
            if memory["private_bytes"] > memory["resident_bytes"]:
                problems.append(f"processes/{i}/memory: more private than resident bytes")
        if layers and layers["claimed_bytes"] + layers["unclaimed_bytes"] != layers["libc_bytes"]:
            problems.append(f"processes/{i}/layers: what is claimed and what is not are not the whole: {layers}")
    for i, domain in enumerate(document["domains"]):
        layers = document["processes"][domain["process"]].get("layers")
        inside, outside = domain.get("in_libc_bytes"), domain.get("outside_libc_bytes")
        if (inside is None, outside is None) != ((not layers or domain["source"] == "libc"),) * 2:
            problems.append(f"domains/{i}: {inside} bytes in libc's blocks and {outside} outside, its process has the layers {layers}")
        elif layers and layers["exact"]:
            live = layers["libc_bytes"] if inside is None else inside + outside
            if live != domain["live_bytes"]:
                problems.append(f"domains/{i} ({domain['name']}): live_bytes {domain['live_bytes']}, its blocks have {live}")
    return problems


def check_snapshot(document):
    """All problems of one snapshot, as sentences; none: it is right."""
    problems = check_schema(document)
    if problems:
        return problems
    problems = check_counters(document) + check_indexes(document) + check_unique(document)
    # What indexes that lead nowhere stand for means nothing.
    return problems or check_limits(document) + check_sums(document) + check_layers(document) + check_ages(document) + check_sizes(document)


def check_run(documents):
    """All problems of the snapshots of one run, in the order in which they were written."""
    problems = []
    for i, document in enumerate(documents, 1):
        found = check_snapshot(document)
        problems += [f"snapshot {i}: {problem}" for problem in found]
        if not found and document["sequence"] != i:
            problems.append(f"snapshot {i}: sequence is {document['sequence']}")
    return problems


def load(path):
    """The snapshots of a file. ValueError: a line that is not whole, not UTF-8 or not JSON."""
    data = pathlib.Path(path).read_bytes()
    if not data:
        raise ValueError(f"{path}: empty")
    if not data.endswith(b"\n"):
        raise ValueError(f"{path}: the last line has no end")
    documents = []
    for i, line in enumerate(data[:-1].split(b"\n"), 1):
        try:
            documents.append(json.loads(line.decode("utf-8"), object_pairs_hook=unique_keys, parse_constant=not_json))
        except ValueError as error:
            raise ValueError(f"{path}:{i}: {error}") from error
    return documents


def split_runs(documents):
    """A file is appended to: each sequence number 1 begins another run."""
    runs = []
    for document in documents:
        if not runs or (isinstance(document, dict) and document.get("sequence") == 1):
            runs.append([])
        runs[-1].append(document)
    return runs


def check_files(paths, one_run):
    """(problems, number of snapshots)"""
    runs, problems, count = [], [], 0
    for path in paths:
        try:
            documents = load(path)
        except (OSError, ValueError) as error:
            problems.append(str(error))
            continue
        count += len(documents)
        if one_run and runs:
            runs[0][1].extend(documents)
        else:
            runs += [(path, run) for run in ([documents] if one_run else split_runs(documents))]
    for path, run in runs:
        problems += [f"{path}: {problem}" for problem in check_run(run)]
    return problems, count


def main(arguments):
    one_run = arguments[:1] == ["--run"]
    paths = arguments[1:] if one_run else arguments
    if not paths or paths[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    problems, count = check_files(paths, one_run)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"{count} snapshots in {len(paths)} files: all right")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
