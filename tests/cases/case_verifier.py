# SPDX-License-Identifier: BSD-2-Clause
"""What the kernel's verifier has to look at in each program stays within its budget, kernel by kernel.

The record says what was measured when it was written; the budget is twice as much, and never more than half of what
the kernel allows. A program that outgrows it gets its loops looked at, or a new record: this case prints the numbers.
"""
import json
import os
import platform
import re

import jited
from harness import IN_VM, PROJECT, Skip
from tables import fail_if

RECORD = os.path.join(PROJECT, "tests", "data", "verifier_budget.json")
PRIVATE_STACKS_SINCE = (6, 13)
HALF_OF_LIMIT = 500000                  # of BPF_COMPLEXITY_LIMIT_INSNS (include/linux/bpf.h)


def processed(place, options, stacks):
    """{program: instructions} of what domtrace loads, and whether it uses uprobe sessions. `stacks`: each one's, see jited.py."""
    target = place.start([place.workload("alloc_random"), "--ops", "1"])
    tracer = place.trace("-vv", "-p", str(target.told()["pid"]), *options, output=f"snapshots-{len(place.processes)}")
    said = tracer.stderr()
    stacks.update(jited.programs_of(tracer.child.pid))
    target.go()
    target.told()
    target.go()
    tracer.finish()
    found = re.findall(r"verifier, (\w+): processed (\d+) insns", said)
    return {name: int(count) for name, count in found}, "feature session: used" in said


def stack_faults(stacks, found):
    """Uprobes' programs with a private stack; and whether one would have been noticed."""
    makes, release = jited.makes_private_stacks(), tuple(map(int, platform.release().split(".")[:2]))
    if makes is None:
        raise Skip("the kernel does not show what its JIT makes (kernel.kptr_restrict)")
    print(f"verifier, Linux {'.'.join(map(str, release))}: programs have private stacks: {makes}", flush=True)
    wrong = [f"{name} has a private stack: two threads on a CPU share it" for name, private in sorted(stacks.items()) if private]
    wrong += [f"{name} was not looked at" for name in sorted(found.keys() - stacks.keys()) if not name.startswith("process_")]
    wrong += ["a guarded program has a private stack"] if jited.makes_private_stacks(guarded=True) else []
    return wrong + (["no private stack is recognised"] if release >= PRIVATE_STACKS_SINCE and not makes else [])


def verifier(place):
    series = ".".join(platform.release().split(".")[:2])
    with open(RECORD, encoding="utf-8") as file:
        record = json.load(file).get(series)
    # What follows forks, execs and exits attaches to every process: in guests alone.
    stacks = {}
    found, sessions = processed(place, ["--children"] if IN_VM else [], stacks)
    if sessions:
        found.update(processed(place, ["--without", "session"], stacks)[0])
    for name, count in sorted(found.items()):
        known = (record or {}).get(name, {"budget": "?", "measured": "?"})
        print(f"verifier, Linux {series}, {name}: {count} instructions; budget {known['budget']}, recorded {known['measured']}", flush=True)
    if record is None:
        raise Skip(f"{RECORD} has no record of Linux {series}")
    wrong = [f"{name} takes {count} instructions, more than its budget of {record[name]['budget']}"
             for name, count in found.items() if name in record and count > record[name]["budget"]]
    wrong += [f"{name}: its budget is more than {HALF_OF_LIMIT}" for name in record if record[name]["budget"] > HALF_OF_LIMIT]
    wrong += [f"{name} is not in the record" for name in found.keys() - record.keys()]
    wrong += [f"{name} is in the record and was not loaded" for name in record.keys() - found.keys()]
    fail_if(wrong + stack_faults(stacks, found))


def cases():
    yield "verifier/instructions of each program", verifier
