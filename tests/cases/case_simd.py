# SPDX-License-Identifier: BSD-2-Clause
"""The companion library's workload: both domains, whole, at both of its markers."""
from harness import expect
from tables import FIELDS, compare_rows, compare_totals, domain_rows, fail_if, losses

SIMD = 0x53494d44                       # DT_ARRAY_DOMAIN of <domtrace/array.h>
SHAPE = ("--rows", "30", "--columns", "50")


def compare_domain(snapshot, pid, source, number, truth, exact_peak):
    domain, rows = domain_rows(snapshot, pid, source, number)
    if domain is None:
        return [f"there is no domain {source} {number}"]
    return compare_rows(truth["rows"], rows, (), {}, FIELDS) + compare_totals(domain, truth, exact_peak)


def compare(snapshot, pid, libc, simd, exact_peak):
    """`libc`, `simd`: what the workload has told of its two domains."""
    wrong = losses(snapshot)
    wrong += compare_domain(snapshot, pid, "libc", None, libc, exact_peak)
    wrong += compare_domain(snapshot, pid, "declared", SIMD, simd, exact_peak)
    names = {domain["name"] for domain in snapshot["domains"]}
    if names != {"libc", "simd"}:
        wrong.append(f"the domains are {sorted(names)}")
    for name in libc["counters"]:
        number = libc["counters"][name] + simd["counters"][name]
        if snapshot["counters"].get(name) != number:
            wrong.append(f"counters.{name} is {snapshot['counters'].get(name)}, not {number}")
    fail_if([f"{snapshot['label']}: {sentence}" for sentence in wrong])


def sections(place, rounds, threads, clear, launch):
    argv = [place.workload("simd_example"), *SHAPE, "--rounds", str(rounds), "--threads", str(threads), *(["--clear"] if clear else [])]
    if launch:
        # Reports go to the pipe that the program writes to: short ones go there at once, and lie beside its lines, not in them.
        tracer = target = place.trace("--stack", "native", "--top", "1", "--", *argv)
        pid = target.told()["pid"]
        tracer.clear()
    else:
        target = place.start(argv)
        pid = target.told()["pid"]
        tracer = place.trace("-p", str(pid), "--stack", "native")
    for number in range(2 * rounds):
        target.go()
        libc, simd = target.told(), target.told()
        snapshot = tracer.poll(lambda: tracer.snapshots()[number:], "snapshot at a marker")[0]
        label = f"marker:section {number % 2 + 1}"
        expect(snapshot["label"] == label, f"a snapshot is labelled {snapshot['label']}, not {label}")
        compare(snapshot, pid, libc, simd, threads == 1)
        if clear and not number % 2:
            tracer.clear()
    target.go()
    libc, simd = target.told(), target.told()
    expect(libc["facts"]["total"] == 4 * 30 * 50, f"the sum is {libc['facts']['total']}")
    compare(tracer.snapshot(), pid, libc, simd, threads == 1)
    target.go()
    last = tracer.finish()[-1]
    expect(target.wait() == 0, target.stderr())
    expect(last["label"] == "final", f"the last snapshot is labelled {last['label']}")


def cases():
    yield "simd/both sections, cleared between", lambda place: sections(place, 2, 1, True, False)
    yield "simd/both sections from its start, eight threads", lambda place: sections(place, 3, 8, False, True)
