# SPDX-License-Identifier: BSD-2-Clause
"""Ages: which live blocks are old, by call site, compared with a program that knows when it allocated each; also while it frees them."""
import datetime
import time

from harness import IN_VM, Skip, expect, scaled
from tables import domain_rows, fail_if, losses

SECOND = 10**9
OLDER_THAN = scaled(0.5, 4)             # seconds
GAP = scaled(0.25, 2)                   # between phases: more than steps are apart
LATE = scaled(0.1, 1) * SECOND          # an instant so near to a phase is not used: the clocks are read one after the other
CHURNED = scaled(100000, 25000)


def ask(process, line):
    process.child.stdin.write(line.encode() + b"\n")
    process.child.stdin.flush()
    return process.told()


def time_ns(snapshot):
    """CLOCK_REALTIME."""
    seconds, fraction = snapshot["time"].rstrip("Z").split(".")
    moment = datetime.datetime.fromisoformat(seconds).replace(tzinfo=datetime.timezone.utc)
    return int(moment.timestamp()) * SECOND + int(fraction)


def site_rows(snapshot, pid):
    """{site: {figure: sum}} of what functions of the workload allocated; whose else there is, is wrong."""
    sums, wrong = {}, []
    for frames, _, trace in domain_rows(snapshot, pid, "libc")[1]:
        site = frames[-1]["function"] if frames else None
        if not site or not site.startswith("site_"):
            wrong.append(f"a row too many: {site}: {trace}")
            continue
        row = sums.setdefault(site, dict.fromkeys(("blocks", "bytes", "old_blocks", "old_bytes"), 0))
        for figure in row:
            row[figure] += trace[figure]
    fail_if(wrong)
    return sums


def true_rows(told, old):
    """The same from what a process told: `old`, phases whose blocks are."""
    sums = {}
    for site, phase, blocks, size in told["live"]:
        row = sums.setdefault(f"site_{site}", dict.fromkeys(("blocks", "bytes", "old_blocks", "old_bytes"), 0))
        row["blocks"] += blocks
        row["bytes"] += size
        if phase in old:
            row["old_blocks"] += blocks
            row["old_bytes"] += size
    return sums


def live_rows(rows):
    return {site: row for site, row in rows.items() if row["blocks"]}


def compare(snapshot, told, phases):
    """Whether the instant lay between phases; then all tables must be right. `phases`: {number: (begin, end)} of each process."""
    ages = snapshot["ages"]
    instant = time_ns(snapshot) - (ages["age_ns"] or 0)
    if any(begin - LATE < instant < end + LATE for spans in phases.values() for begin, end in spans.values()):
        return False
    for pid, truth in told.items():
        spans = phases[pid]
        old = {number for number, (_, end) in spans.items() if ages["age_ns"] and end < instant}
        want, found = live_rows(true_rows(truth, old)), live_rows(site_rows(snapshot, pid))
        if want != found:
            fail_if([f"process {pid}, phases {sorted(old)} of {sorted(spans)} old: {site} is {found.get(site)}, not {want.get(site)}"
                     for site in want.keys() | found.keys() if want.get(site) != found.get(site)])
        domain, _ = domain_rows(snapshot, pid, "libc")
        total = sum(row["old_blocks"] for row in want.values())
        expect(domain["old_blocks"] == total, f"old_blocks of process {pid} is {domain['old_blocks']}, not {total}")
    return True


def phases_of(place, forks):
    """Phases of one process, or of some that are forked one from another; after each a snapshot that must be right."""
    if forks and not IN_VM:
        raise Skip("what follows forks attaches to every process of the machine: only in a guest")
    options = ["--children"] if forks else []
    target = place.start([place.workload("alloc_ages")])
    pids = [target.told()["pid"]]
    tracer = place.trace("-p", str(pids[0]), "--older-than", f"{OLDER_THAN}s", *options, target=target)
    told, phases, used, seen = {}, {pids[0]: {}}, 0, set()
    for i in range(12):
        if forks and i in (3, 6):
            pids.append(ask(target, "f")["pid"])
            told[pids[-1]], phases[pids[-1]] = told[pids[-2]], dict(phases[pids[-2]])
        for number, pid in enumerate(pids):
            if i and (i + number) % 3 == 2:     # not all of them each time
                continue
            told[pid] = ask(target, str(number))
            expect(told[pid]["pid"] == pid, f"process {pid} was asked, {told[pid]['pid']} has answered")
            phases[pid][told[pid]["phase"]] = told[pid]["begin"], told[pid]["end"]
        time.sleep(GAP)
        for _ in range(3):
            snapshot = tracer.snapshot()
            fail_if(losses(snapshot))
            expect(snapshot["ages"]["exact"], f"ages are {snapshot['ages']}")
            if compare(snapshot, told, phases):
                used += 1
                seen.add(sum(domain["old_blocks"] for domain in snapshot["domains"]))
                break
            time.sleep(GAP / 3)
    expect(used >= 8 and len(seen) >= 5, f"{used} snapshots were compared, with {len(seen)} numbers of old blocks")
    tracer.stop()


def while_they_go(place):
    """Old blocks are freed, and their addresses taken by others, as fast as can be, while they are read: site_old has old ones alone."""
    target = place.start([place.workload("alloc_ages")])
    pid = target.told()["pid"]
    age = scaled(0.3, 2)
    tracer = place.trace("-p", str(pid), "--older-than", f"{age}s", "-i", str(scaled(0.05, 0.3)), target=target)
    ask(target, f"o {CHURNED}")
    time.sleep(age + scaled(0.5, 2))
    begin = time.time_ns()
    ask(target, "c")
    time.sleep(scaled(0.2, 2))
    wrong, between = [], 0
    for snapshot in tracer.stop():
        old = site_rows(snapshot, pid).get("site_old") if domain_rows(snapshot, pid, "libc")[0] else None
        if not old or time_ns(snapshot) < begin or not old["blocks"]:
            continue
        between += old["blocks"] < CHURNED
        wrong += losses(snapshot)
        if not snapshot["ages"]["exact"]:
            wrong.append(f"snapshot {snapshot['sequence']} is not exact")
        if (old["old_blocks"], old["old_bytes"]) != (old["blocks"], old["bytes"]):
            wrong.append(f"snapshot {snapshot['sequence']}: {old}")
        if snapshot["ages"]["age_ns"] is None:
            wrong.append(f"snapshot {snapshot['sequence']} knows no instant")
    fail_if(wrong)
    expect(between >= 2, f"{between} snapshots were taken while the old blocks went")


def cases():
    yield "ages/phases", lambda place: phases_of(place, False)
    yield "ages/while they go", while_they_go
    yield "ages/forked children", lambda place: phases_of(place, True)
