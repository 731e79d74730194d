# SPDX-License-Identifier: BSD-2-Clause
"""Runs random programs of many processes (tests/workload/processes) and compares their books with what others say of them.

Usage: processes.py PROGRAM [--libcount LIBRARY] [--preload LIBRARY] [--seeds FROM-TO] [--break NAME]
runs seeds against libcount alone, without domtrace; tests/cases/shrink.py makes a failing one small.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import counted

SUMS = ("allocations", "allocated_bytes", "frees", "freed_bytes")


def serve_words(program, directory, limit=60, broken="nothing", without=()):
    """What runs one program after the other, each to its end (tests/workload/processes/main.c)."""
    words = [program, "--serve", directory, "--limit", str(limit), "--break", broken]
    return words + [word for name in without for word in ("--without", name)]


def tell(program, books):
    return json.loads(subprocess.run([program, "--tell", books], stdout=subprocess.PIPE, check=True).stdout)


def answered(program, told, root=""):
    """(books, what is wrong with the run itself). `root`: of the server, where it is another one."""
    path = root + told["books"]
    books = tell(program, path)
    os.unlink(path)
    wrong = ["it hangs"] if told["hangs"] else []
    if told["full"]:
        wrong.append(f"more images than there is room for: {told['images']}")
    return books, wrong + [f"{image_text(image)} ended in a way that was not its program's"
                           for image in images(books) if not image["pid"] or image["end"] == "none"]


class Server:
    """`processes --serve`, preloaded."""

    def __init__(self, program, directory, preload, limit=60, broken="nothing", without=()):
        self.program = program
        self.counts = os.path.join(directory, "counts")
        os.mkdir(self.counts)
        self.child = subprocess.Popen(
            serve_words(program, directory, limit, broken, without), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "DT_COUNT": self.counts, "LD_PRELOAD": preload})
        self.child.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.wait()
        self.child.stdout.close()

    def run(self, line):
        """`line`: "seed NUMBER", "calm NUMBER" or "script FILE". (books, what is wrong with the run itself)"""
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline()
        if not answer:
            return {"images": []}, [f"the server ended with {self.child.wait()}"]
        return answered(self.program, json.loads(answer))


def images(books):
    return [image for image in books["images"] if image["start"] != "failed"]


def last_images(books):
    """Those that no exec has replaced: whose tables are there to the end."""
    return [image for image in images(books) if image["end"] != "exec"]


def image_text(image):
    return f"process {image['pid']}, image {image['sequence']} ({image['start']}, {image['end']})"


def sums(rows):
    return {name: sum(row[name] for row in rows) for name in SUMS}


def compare_counted(books, counts):
    """What is wrong between books and libcount's files: what the program itself called for, image by image."""
    wrong = []
    for image in images(books):
        count = counts.get((image["pid"], image["start_ticks"], image["sequence"]))
        if count is None:
            wrong.append(f"{image_text(image)}: libcount has not seen it")
            continue
        expected, found = sums(image["rows"]), {name: count["program"][name] for name in SUMS}
        if expected != found:
            wrong.append(f"{image_text(image)}: the books say {expected}, libcount {found}")
        if image["failed"] != count["failed"]:
            wrong.append(f"{image_text(image)}: {image['failed']} calls failed, for libcount {count['failed']}")
        if count["missed_frees"] or count["unmatched_frees"]:
            wrong.append(f"{image_text(image)}: libcount has {count['missed_frees']} missed, {count['unmatched_frees']} unmatched frees")
    return wrong


def check(server, line):
    """Runs one program against libcount: (books, what is wrong)."""
    for name in os.listdir(server.counts):
        os.unlink(os.path.join(server.counts, name))
    books, wrong = server.run(line)
    return books, wrong + compare_counted(books, counted.read_directory(server.counts))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--libcount", required=True)
    parser.add_argument("--preload", default="", help="an allocator, behind libcount")
    parser.add_argument("--seeds", default="1-100")
    parser.add_argument("--calm", action="store_true", help="no call is left by siglongjmp, which not every allocator bears")
    parser.add_argument("--script", help="a program's text instead of seeds")
    parser.add_argument("--break", dest="broken", default="nothing")
    parser.add_argument("--without", action="append", default=[], metavar="FUNCTION", help="the allocator does not have it")
    parser.add_argument("--limit", type=int, default=60)
    return parser.parse_args()


def main():
    options = parse()
    first, last = map(int, options.seeds.split("-"))
    lines = [f"script {options.script}"] if options.script else [
        f"{'calm' if options.calm else 'seed'} {seed}" for seed in range(first, last + 1)]
    preload = " ".join(filter(None, (options.libcount, options.preload)))
    failed, image_count, totals = 0, 0, dict.fromkeys(SUMS, 0)
    with tempfile.TemporaryDirectory() as directory, \
            Server(options.program, directory, preload, options.limit, options.broken, options.without) as server:
        for line in lines:
            books, wrong = check(server, line)
            image_count += len(books["images"])
            for image in books["images"]:
                for name, number in sums(image["rows"]).items():
                    totals[name] += number
            failed += bool(wrong)
            if wrong:
                print(f"{line}: " + "\n    ".join(wrong[:5]), flush=True)
    print(f"{len(lines)} programs, {failed} failed; {image_count} images: {totals}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
