# SPDX-License-Identifier: BSD-2-Clause
"""An independent oracle: a bcc program counts the same calls in the same run, and the totals are equal."""
import importlib.util
import os
import platform

from harness import HERE, PYTHON, Skip, expect, scaled
from tables import domain_rows

WORKLOADS = {
    "family": ["alloc_family"],
    "random": ["alloc_random", "--seed", "21", "--ops", str(scaled(100000, 10000))],
    "threads": ["alloc_threads", "--ops", str(scaled(3000, 500))],
}
IN_DOMAIN = ("allocations", "allocated_bytes", "frees", "freed_bytes")
IN_COUNTERS = ("failed_allocations", "unmatched_frees")


def require_bcc():
    if not importlib.util.find_spec("bcc"):
        raise Skip("bcc is not installed (package python3-bpfcc)")
    if "BCC_KERNEL_SOURCE" not in os.environ and not os.path.isdir(f"/lib/modules/{platform.release()}/build"):
        raise Skip("no kernel headers for bcc: set BCC_KERNEL_SOURCE (tests/vm/fetch headers 6.1)")


def compare_totals(snapshot, pid, totals):
    domain, _ = domain_rows(snapshot, pid, "libc")
    found = {name: domain[name] for name in IN_DOMAIN}
    found.update({name: snapshot["counters"][name] for name in IN_COUNTERS})
    # An address that is handed out twice without a free between: domtrace books a free of the old block, bcc does not look.
    missed = snapshot["counters"]["missed_frees"]
    found["frees"] -= missed
    if missed:
        found.pop("freed_bytes"), totals.pop("freed_bytes")
    expect(found == totals, f"domtrace counts {found}, bcc counts {totals}")


def oracle(place, argv):
    require_bcc()
    target = place.start([place.workload(argv[0]), *argv[1:]])
    pid = target.told()["pid"]
    bcc = place.start([PYTHON, os.path.join(HERE, "oracle_bcc.py"), str(pid)])
    bcc.told()
    tracer = place.trace("-p", str(pid))
    target.go()
    truth = target.told(limit=600)
    snapshot = tracer.snapshot()
    bcc.go()
    totals = bcc.told()
    compare_totals(snapshot, pid, totals)
    expect(totals["allocations"] == truth["total"]["allocations"], f"bcc counts {totals}, the workload {truth['total']}")
    tracer.stop()
    bcc.go()
    target.go()
    expect(target.wait() == 0, "the target did not end well")


def cases():
    for name, argv in WORKLOADS.items():
        yield f"oracle/{name}", lambda place, argv=argv: oracle(place, argv)
