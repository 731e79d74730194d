#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The privileged cases: domtrace end to end on programs that know what it must find.

Usage: run.py --build DIRECTORY [--list] [--only REGEX] [--every-case] [-v]
In a guest (DOMTRACE_VM=1) those run that guests.py selects, but --only picks from all of them and --every-case runs them all.
"""
import argparse
import os
import re
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import case_ages
import case_allocators
import case_bad_input
import case_ctl
import case_documents
import case_domains
import case_hostile
import case_layers
import case_libc
import case_library
import case_markers
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
import case_simd
import case_soak
import case_tables
import case_unwind
import case_verifier
import guests
from harness import IN_VM, Failure, Place, Skip

MODULES = (case_ages, case_allocators, case_bad_input, case_ctl, case_documents, case_domains, case_libc, case_library, case_markers, case_names, case_numpy, case_python, case_python_domain, case_python_versions, case_signals, case_simd, case_processes, case_programs,
           case_oracle, case_real_programs, case_layers, case_unwind, case_verifier, case_tables, case_soak, case_hostile)
DECLARED = 286  # cases in all: one that got lost would otherwise go unnoticed
DECLARED_IN_GUESTS = 97  # of them


def run_case(build, name, function):
    """("PASS" | "FAIL" | "SKIP", why)"""
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
    parser.add_argument("--only", type=re.compile, help="names that match this expression")
    parser.add_argument("--every-case", action="store_true", help="in a guest, too")
    parser.add_argument("-v", "--verbose", action="store_true", help="how long each case took")
    return parser.parse_args()


def choose(options, every, in_guests):
    """(the cases to run, a word on those of a guest that are not)"""
    if options.only:
        return [case for case in every if options.only.search(case[0])], []
    if not IN_VM or options.every_case:
        return every, []
    chosen = guests.without_repeats(in_guests)
    remarks = [f"{len(in_guests)} of {len(every)} cases depend on the kernel; the others are left to the machine's own, as they run the same "
               "BPF programs on more binaries, or never come to the kernel (--every-case runs them, too)"]
    if len(chosen) < len(in_guests):
        remarks.append(f"{len(in_guests) - len(chosen)} of these are others' runs again on Linux {os.uname().release}, as to do without "
                       f"{' or '.join(guests.missing_features())} changes nothing where there is none")
    return chosen, remarks


def wrong_numbers(every, in_guests):
    names = {name for name, _ in every}
    if not len(every) == len(names) == DECLARED:
        yield f"{len(every)} cases of {len(names)} names are there, {DECLARED} are declared"
    if len(in_guests) != DECLARED_IN_GUESTS:
        yield f"{len(in_guests)} cases are for guests, {DECLARED_IN_GUESTS} are declared"


def run_all(build, cases, verbose):
    counts = {"PASS": 0, "FAIL": 0, "SKIP": 0}
    for name, function in cases:
        begin = time.monotonic()
        result, why = run_case(build, name, function)
        counts[result] += 1
        took = f" ({time.monotonic() - begin:.1f} s)" if verbose else ""
        print(f"{result} {name}{took}" + (": " + why.replace("\n", "\n    ") if why else ""), flush=True)
    return counts


def main():
    options = parse()
    cases_of = {module.__name__: list(module.cases()) for module in MODULES}
    every = [case for cases in cases_of.values() for case in cases]
    in_guests, wrong = guests.select(cases_of)
    chosen, remarks = choose(options, every, in_guests)
    if options.list:
        print("\n".join(name for name, _ in chosen))
        return 0
    for remark in remarks:
        print(remark, flush=True)
    counts = run_all(options.build, chosen, options.verbose)
    for fault in [*wrong, *wrong_numbers(every, in_guests)]:
        print(f"FAIL run.py: {fault}")
        counts["FAIL"] += 1
    print(f"{counts['PASS']} passed, {counts['FAIL']} failed, {counts['SKIP']} skipped")
    return 1 if counts["FAIL"] or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
