#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Makes a failing program of tests/workload/processes as small as it gets, and prints it.

Usage: shrink.py PROGRAM --libcount LIBRARY [--preload LIBRARY] [--break NAME] [--repeat N] seed NUMBER | calm NUMBER | script FILE
compares with libcount, as processes.py does; `smallest` is for those who compare with something else.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import processes

SMALLER = {"bytes": ("16", "1"), "detail": ("16", "1"), "flag": ("1",)}
WORDS = {"allocate": ("function", "slot", "bytes", "detail"), "resize": ("function", "slot", "bytes", "detail"), "free": ("slot",),
         "refused": ("function",), "fault": ("bytes",), "timer": ("bytes",), "end": ("how",)}


class Node:
    def __init__(self, words, body=()):
        self.words = words
        self.body = list(body)

    def lines(self, depth=0):
        yield "\t" * depth + " ".join(self.words)
        for node in self.body:
            yield from node.lines(depth + 1)


def parse(text):
    """The nodes of a program, those of one level in a list."""
    root = Node([])
    levels = [root.body]
    for line in text.splitlines():
        if line.strip():
            depth = len(line) - len(line.lstrip("\t"))
            node = Node(line.split())
            levels[depth].append(node)
            levels[depth + 1:] = [node.body]
    return root.body


def render(nodes):
    return "".join(line + "\n" for node in nodes for line in node.lines())


def lists(nodes):
    """Every list of siblings, the outermost first."""
    yield nodes
    for node in nodes:
        if node.body:
            yield from lists(node.body)


class Shrinker:
    """`fails`: whether a program's text still fails."""

    def __init__(self, text, fails):
        self.nodes = parse(text)
        self.fails = fails
        self.tries = 0

    def still_fails(self):
        self.tries += 1
        return self.fails(render(self.nodes))

    def without(self, siblings, begin, count, instead=()):
        """Takes nodes out, for good if it fails without them."""
        removed = siblings[begin:begin + count]
        siblings[begin:begin + count] = instead
        if self.still_fails():
            return True
        siblings[begin:begin + len(instead)] = removed
        return False

    def remove(self):
        """From halves of a list down to single actions, the outermost lists first."""
        done = False
        todo = [self.nodes]
        while todo:
            siblings = todo.pop(0)
            size = len(siblings)
            while size:
                begin = 0
                while begin < len(siblings):
                    if self.without(siblings, begin, size):
                        done = True
                    else:
                        begin += size
                size //= 2
            todo += [node.body for node in siblings if node.body]
        return done

    def hoist(self):
        """A body instead of the action that has it."""
        done = False
        for siblings in list(lists(self.nodes)):
            for index, node in enumerate(list(siblings)):
                if node.body and index < len(siblings) and siblings[index] is node:
                    done |= self.without(siblings, index, 1, node.body)
        return done

    def simplify(self):
        done = False
        for siblings in list(lists(self.nodes)):
            for node in siblings:
                names = WORDS.get(node.words[0], ("flag",))
                for index, name in enumerate(names[:len(node.words) - 1], 1):
                    done |= self.replace(node, index, SMALLER.get(name, ()))
        return done

    def replace(self, node, index, values):
        """The first of `values` with which it still fails; a number that is not larger already is left."""
        before = node.words[index]
        for value in values:
            if before.isdigit() and int(before) > int(value) or before == "0" and values == SMALLER["flag"]:
                node.words[index] = value
                if self.still_fails():
                    return True
                node.words[index] = before
        return False

    def smallest(self):
        while self.remove() | self.hoist() | self.simplify():
            pass
        return render(self.nodes)


def smallest(text, fails):
    """The smallest program that could be made of `text` for which fails(text) is true; None: not even the whole one does."""
    shrinker = Shrinker(text, fails)
    return shrinker.smallest() if shrinker.still_fails() else None


def program_text(program, words):
    if words[0] == "script":
        with open(words[1], encoding="ascii") as file:
            return file.read()
    option = "--print" if words[0] == "seed" else "--print-calm"
    return subprocess.run([program, option, words[1]], stdout=subprocess.PIPE, text=True, check=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--libcount", required=True)
    parser.add_argument("--preload", default="")
    parser.add_argument("--break", dest="broken", default="nothing")
    parser.add_argument("--repeat", type=int, default=1, help="a program that fails once in so many runs, fails")
    parser.add_argument("--without", action="append", default=[], metavar="FUNCTION", help="the allocator does not have it")
    parser.add_argument("--limit", type=int, default=5)
    parser.add_argument("what", nargs=2, metavar="WORD")
    options = parser.parse_args()
    preload = " ".join(filter(None, (options.libcount, options.preload)))
    with tempfile.TemporaryDirectory() as directory, \
            processes.Server(options.program, directory, preload, options.limit, options.broken,
                              options.without) as server:
        script = os.path.join(directory, "script")
        last = []

        def fails(text):
            with open(script, "w", encoding="ascii") as file:
                file.write(text)
            for _ in range(options.repeat):
                _, wrong = processes.check(server, f"script {script}")
                if wrong:
                    last[:] = wrong
                    return True
            return False

        text = smallest(program_text(options.program, options.what), fails)
    if text is None:
        print("it does not fail")
        return 2
    print("\n".join(last) + "\n\n" + text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
