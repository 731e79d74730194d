#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Turns a snapshot that domtrace wrote into one of tracemalloc's.

Usage: tools/to_tracemalloc.py [--stack all|python|native] [--blocks-max N] FILE[#NUMBER] PICKLE
       >>> from to_tracemalloc import load; load("app.json").statistics("lineno")

PICKLE is what tracemalloc.Snapshot.load() reads. Without a number it is the file's last snapshot. "-" is standard input.

tracemalloc has a trace for each live block, and frames that are a file name and a line number. So
* a row of domtrace's becomes as many traces as it has live blocks; their sizes add up to its bytes, but which of them had which size
  nobody knows, and they are made as equal as can be;
* a native frame without a source line is its module, with the address in it for the line; one without a module is "<unknown>";
* a traceback without frames is one frame, ("<unknown>", 0), as in tracemalloc;
* tracemalloc's domains keep their numbers; Python's own is 0, as in tracemalloc; libc's is -1, which no domain of tracemalloc has.
Processes are not told apart.
"""
import argparse
import gzip
import json
import subprocess
import sys
import tracemalloc

UNKNOWN = "<unknown>"
LIBC_DOMAIN = -1
BLOCKS_MAX = 20_000_000  # a trace takes about 100 bytes


class NoSnapshot(Exception):
    """Why there is none, as a sentence."""


def open_lines(path):
    """A file object with the bytes of the lines of a file, whatever compressed it."""
    if path == "-":
        return sys.stdin.buffer
    with open(path, "rb") as file:
        magic = file.read(4)
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(path, "rb")
    if magic == b"\x28\xb5\x2f\xfd":
        return subprocess.Popen(["zstd", "-dcq", "--", path], stdout=subprocess.PIPE).stdout  # pylint: disable=consider-using-with
    return open(path, "rb")


def read_document(path, number=None):
    """The JSON of the number-th whole snapshot of a file, or of the last one."""
    found, count = None, 0
    with open_lines(path) as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                break  # whoever wrote it was interrupted
            found, count = line, count + 1
            if count == number:
                break
    if found is None or (number is not None and count < number):
        raise NoSnapshot(f"{path}: there is no whole snapshot {number or ''}".rstrip())
    document = json.loads(found)
    if document.get("format") != "domtrace-snapshot" or document.get("version") != 1:
        raise NoSnapshot(f"{path}: it is no snapshot of domtrace, or not of version 1")
    return document


def domain_number(domain):
    return {"libc": LIBC_DOMAIN, "python": 0}.get(domain["source"], domain["id"])


def place(frame):
    if frame.get("file") is not None:
        return frame["file"], frame.get("line") or 0
    return (UNKNOWN if frame.get("module") is None else frame["module"]), frame.get("address", 0)


def tracebacks_of(document, stack="all"):
    """(frames with the most recent one first, how many there were) of each traceback."""
    places = [place(frame) for frame in document["frames"]]
    wanted = [stack in ("all", frame["kind"]) for frame in document["frames"]]
    result = []
    for row in document["tracebacks"]:
        frames = tuple(places[i] for i in reversed(row["frames"]) if wanted[i])
        dropped = len(row["frames"]) - len(frames)
        result.append((frames or ((UNKNOWN, 0),), row["total_frames"] - dropped))
    return result


def sizes(count, total):
    """`count` whole numbers, as equal as can be, that add up to `total`."""
    size, more = divmod(total, count)
    return [size + 1] * more + [size] * (count - more)


def convert(document, stack="all", blocks_max=BLOCKS_MAX):
    """The tracemalloc.Snapshot of a document."""
    blocks = sum(trace["blocks"] for trace in document["traces"])
    if blocks > blocks_max:
        raise NoSnapshot(f"there are {blocks} live blocks, and each would become a trace: --blocks-max allows {blocks_max}")
    domains = [domain_number(domain) for domain in document["domains"]]
    tracebacks = tracebacks_of(document, stack)
    traces = []
    for row in document["traces"]:
        domain, (frames, total) = domains[row["domain"]], tracebacks[row["traceback"]]
        if row["blocks"]:
            traces.extend((domain, size, frames, total) for size in sizes(row["blocks"], row["bytes"]))
    return tracemalloc.Snapshot(traces, document["traceback_limit"])


def load(path, number=None, stack="all", blocks_max=BLOCKS_MAX):
    """The tracemalloc.Snapshot of a file."""
    return convert(read_document(path, number), stack, blocks_max)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stack", choices=("all", "python", "native"), default="all", help="frames of this kind only")
    parser.add_argument("--blocks-max", type=int, default=BLOCKS_MAX, help="refuse snapshots with more live blocks")
    parser.add_argument("file", metavar="FILE[#NUMBER]")
    parser.add_argument("pickle", metavar="PICKLE")
    options = parser.parse_args()
    path, mark, number = options.file.rpartition("#")
    if not mark or not number.isdigit():
        path, number = options.file, None
    try:
        load(path, number and int(number), options.stack, options.blocks_max).dump(options.pickle)
    except (NoSnapshot, OSError, ValueError, KeyError) as error:
        print(f"to_tracemalloc.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
