#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The privileged cases: domtrace end to end on programs that know what it must find.

Usage: run.py --build DIRECTORY [--list] [--only REGEX] [-v]
"""
import argparse
import os
import re
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import case_allocators
import case_bad_input
import case_documents
import case_hostile
import case_layers
import case_libc
import case_names
import case_numpy
import case_oracle
import case_programs
import case_processes
import case_python
import case_python_domain
import case_python_versions
import case_real_programs
import case_signals
import case_soak
import case_tables
import case_unwind
import case_verifier
from harness import IN_VM, Failure, Place, Skip

MODULES = (case_allocators, case_bad_input, case_documents, case_libc, case_names, case_numpy, case_python, case_python_domain, case_python_versions, case_signals, case_processes, case_programs,
           case_oracle, case_real_programs, case_layers, case_unwind, case_verifier, case_tables, case_soak, case_hostile)
DECLARED = 250  # cases in all: one that got lost would otherwise go unnoticed


# Under emulation each of these takes up to a minute, and what differs between them does not depend on the kernel: a few stand for all.
STAND_INS = {
    "allocators/": ("glibc, threads", "glibc, static, from its start", "musl, static", "jemalloc, preloaded, from its start", "tcmalloc, static",
                    "mimalloc, its own names", "another's, named", "operators, jemalloc, preloaded", "operators, tcmalloc, all static"),
    "python_domain_": ("command", "undone_sigterm"),
}


def stands_back(name):
    """Those that stand for a case that is not run here; None: it is run."""
    for group, names in STAND_INS.items():
        if IN_VM and name.startswith(group) and name[len(group):] not in names:
            return names
    return None


def run_case(build, name, function):
    """("PASS" | "FAIL" | "SKIP", why)"""
    if stands_back(name):
        return "SKIP", f"under emulation others stand for it: {'; '.join(stands_back(name))}"
    try:
        with Place(build) as place:
            function(place)
    except Skip as skip:
        return "SKIP", str(skip)
    except Failure as failure:
        return "FAIL", str(failure)
    except Exception:  # a fault of the harness is a failure of its case, not the end of the others
        return "FAIL", traceback.format_exc().strip()
    return "PASS", ""


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help="the directory that cmake built in")
    parser.add_argument("--list", action="store_true", help="only print the names")
    parser.add_argument("--only", type=re.compile, default=re.compile(""), help="names that match this expression")
    parser.add_argument("-v", "--verbose", action="store_true", help="how long each case took")
    return parser.parse_args()


def main():
    options = parse()
    every = [case for module in MODULES for case in module.cases()]
    chosen = [(name, function) for name, function in every if options.only.search(name)]
    if options.list:
        print("\n".join(name for name, _ in chosen))
        return 0
    counts = {"PASS": 0, "FAIL": 0, "SKIP": 0}
    for name, function in chosen:
        begin = time.monotonic()
        result, why = run_case(options.build, name, function)
        counts[result] += 1
        took = f" ({time.monotonic() - begin:.1f} s)" if options.verbose else ""
        print(f"{result} {name}{took}" + (": " + why.replace("\n", "\n    ") if why else ""), flush=True)
    if len(every) != DECLARED or sum(counts.values()) != len(chosen) or len({name for name, _ in every}) != DECLARED:
        print(f"FAIL run.py: {len(every)} cases are there, {DECLARED} are declared")
        counts["FAIL"] += 1
    print(f"{counts['PASS']} passed, {counts['FAIL']} failed, {counts['SKIP']} skipped")
    return 1 if counts["FAIL"] or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
