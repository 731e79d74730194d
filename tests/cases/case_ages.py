# SPDX-License-Identifier: BSD-2-Clause
"""Ages and size classes of live blocks, peaks and temporary blocks, by call site, compared with a program that keeps the same books; of
forked children, too, and at their ends; also while it frees what is read."""
import datetime
import json
import time

import snapshot_check
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


def size_rows(snapshot, pid):
    """{(site, upper bytes): [blocks, bytes]}, which are exact and the classes of the domain."""
    domain, rows = domain_rows(snapshot, pid, "libc")
    expect(domain["sizes_exact"], f"sizes of process {pid} are not exact: {domain}")
    sums = {}
    for frames, _, trace in rows:
        for upper, blocks, size in trace["sizes"]:
            row = sums.setdefault((frames[-1]["function"], upper), [0, 0])
            row[0] += blocks
            row[1] += size
    return sums


def compare_sizes(snapshot, pid, told):
    want = {(f"site_{site}", upper): [blocks, size] for site, upper, blocks, size in told["sizes"]}
    found = size_rows(snapshot, pid)
    fail_if([f"process {pid}, {key}: {found.get(key)} live blocks and bytes, not {want.get(key)}"
             for key in sorted(want.keys() | found.keys()) if want.get(key) != found.get(key)])


def compare_peaks(snapshot, pid, told):
    """What was live of each site at the peak, and how many of its blocks were temporary."""
    domain, rows = domain_rows(snapshot, pid, "libc")
    want = {f"site_{site}": pair for site, pair in enumerate(zip(told["at_peak"], told["temporary"]))}
    found = dict.fromkeys(want, (0, 0))
    for frames, _, trace in rows:
        site = frames[-1]["function"]
        found[site] = found[site][0] + trace["at_peak_bytes"], found[site][1] + trace["temporary"]
    expect((domain["peak_bytes"], domain["at_peak_exact"], found) == (told["peak"], True, want),
           f"process {pid} has a peak of {domain['peak_bytes']}, exact: {domain['at_peak_exact']}, with {found}; it was {told['peak']}, {want}")


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
        compare_sizes(snapshot, pid, truth)
        compare_peaks(snapshot, pid, truth)
        domain, _ = domain_rows(snapshot, pid, "libc")
        total = sum(row["old_blocks"] for row in want.values())
        expect(domain["old_blocks"] == total, f"old_blocks of process {pid} is {domain['old_blocks']}, not {total}")
    return True


def compare_filters(place, snapshot, pid):
    """What the report makes of the tracer's file: of each site the blocks up to a size, above it, as old as was asked for, and younger."""
    rows, sizes = site_rows(snapshot, pid), size_rows(snapshot, pid)
    classes = sorted({upper for _, upper in sizes})
    expect(len(classes) > 2, f"there are only the classes {classes}")
    bound, seconds = classes[len(classes) // 2 - 1], snapshot["ages"]["older_than_ns"] / SECOND
    wants = {
        f"size<={bound}": {site: [sum(row[i] for key, row in sizes.items() if key[0] == site and key[1] <= bound) for i in (0, 1)] for site in rows},
        f"size>{bound}": {site: [sum(row[i] for key, row in sizes.items() if key[0] == site and key[1] > bound) for i in (0, 1)] for site in rows},
        f"age>={seconds}s": {site: [row["old_blocks"], row["old_bytes"]] for site, row in rows.items()},
        f"age<{seconds}s": {site: [row["blocks"] - row["old_blocks"], row["bytes"] - row["old_bytes"]] for site, row in rows.items()},
    }
    for term, want in wants.items():
        status, text, errors = place.run("report", f"{place.path('snapshots')}#{snapshot['sequence']}", "--filter", term,
                                         "--group-by", "function", "--format", "json")
        expect(status == 0, f"report --filter {term} says {errors}")
        found = {row["function"]: [row["blocks"], row["bytes"]] for row in json.loads(text)["rows"]}
        want = {site: figures for site, figures in want.items() if figures[0]}
        expect(want and found == want, f"--filter {term}: the report has {found}, the snapshot {want}")


def merged(place, snapshots):
    """What export makes of lines of the tracer's file together: all rows of all of them, and the ages that hold for all."""
    path = place.path("snapshots")
    status, text, errors = place.run("export", "--to", "json", *(f"{path}#{snapshot['sequence']}" for snapshot in snapshots))
    expect(status == 0 and not errors, f"export says {errors}")
    whole = json.loads(text)
    fail_if(snapshot_check.check_snapshot(whole))
    ages = [snapshot["ages"] for snapshot in snapshots]
    instants = {row["age_ns"] for row in ages}
    want = {"older_than_ns": ages[0]["older_than_ns"], "age_ns": min(instants), "exact": len(instants) == 1 and all(row["exact"] for row in ages)}
    expect(whole["ages"] == want, f"ages of all are {whole['ages']}, not {want}")
    for table in ("domains", "traces"):
        figures = [sorted(json.dumps([{key: value for key, value in row.items() if key not in ("process", "domain", "traceback")}
                                      for row in document[table]][i], sort_keys=True) for i in range(len(document[table])))
                   for document in (whole, *snapshots)]
        expect(figures[0] == sorted(sum(figures[1:], [])), f"{table} of all are not those of each: {figures}")
    return whole


def compare_ends(place, target, tracer, told):
    """All ends when nothing is young any more; what each had then is in the last snapshots, and in what is made of them together."""
    time.sleep(OLDER_THAN + GAP)
    target.child.stdin.close()
    ends = [snapshot for snapshot in tracer.finish() if snapshot["label"] in ("exit", "final")]
    ends = [snapshot for snapshot in ends if snapshot["domains"]]
    labels = {process["pid"]: snapshot["label"] for snapshot in ends for process in snapshot["processes"]}
    expect(labels == {pid: "final" if pid == target.pid else "exit" for pid in told},
           f"processes ended in snapshots {labels}; {sorted(told)} were traced")
    for snapshot in [*ends, merged(place, ends)]:
        fail_if(losses(snapshot))
        expect(snapshot["ages"]["age_ns"], f"snapshot {snapshot['sequence']} knows no ages")
        for process in snapshot["processes"]:
            pid = process["pid"]
            want = live_rows(true_rows(told[pid], {row[1] for row in told[pid]["live"]}))
            found = live_rows(site_rows(snapshot, pid))
            expect(want == found, f"at its end process {pid} has {found}, not {want}")
            compare_sizes(snapshot, pid, told[pid])
            compare_peaks(snapshot, pid, told[pid])


def phases_of(place, forks):
    """Phases of one process, or of some that are forked one from another; after each a snapshot that must be right."""
    if forks and not IN_VM:
        raise Skip("what follows forks attaches to every process of the machine: only in a guest")
    options = ["--children"] if forks else []
    target = place.start([place.workload("alloc_ages")])
    pids = [target.told()["pid"]]
    tracer = place.trace("-p", str(pids[0]), "--older-than", f"{OLDER_THAN}s", "--sizes", *options, target=target)
    told, phases, used, seen = {}, {pids[0]: {}}, 0, set()
    for i in range(12):
        if forks and i in (3, 6):
            pids.append(ask(target, "f")["pid"])
            parent = told[pids[-2]]
            live = [sum(row[3] for row in parent["live"] if row[0] == site) for site in range(len(parent["at_peak"]))]
            told[pids[-1]] = dict(parent, peak=sum(live), at_peak=live, temporary=[0] * len(live))
            phases[pids[-1]] = dict(phases[pids[-2]])
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
                if 0 < snapshot["domains"][0]["old_blocks"] < snapshot["domains"][0]["live_blocks"]:
                    last = snapshot
                seen.add(sum(domain["old_blocks"] for domain in snapshot["domains"]))
                break
            time.sleep(GAP / 3)
    expect(used >= 8 and len(seen) >= 5, f"{used} snapshots were compared, with {len(seen)} numbers of old blocks")
    if not forks:
        compare_filters(place, last, pids[0])
    compare_ends(place, target, tracer, told)


def realloc_at_work(place):
    """Whatever a realloc has in its hands at the moment: each class is right, as only one block can be missing."""
    target = place.start([place.workload("alloc_ages")])
    pid = target.told()["pid"]
    tracer = place.trace("-p", str(pid), "--sizes", "-i", str(scaled(0.02, 0.3)), target=target)
    ask(target, f"r {scaled(300000, 200000)}")
    snapshots = [snapshot for snapshot in tracer.stop() if snapshot["domains"]]
    for snapshot in snapshots:
        expect(all(blocks == 1 for blocks, _ in size_rows(snapshot, pid).values()), f"snapshot {snapshot['sequence']} has {snapshot['domains']}")
    busy = sum(domain["live_blocks"] for snapshot in snapshots for domain in snapshot["domains"])
    expect(busy >= 3, f"{busy} snapshots were taken at work")


def while_they_go(place):
    """Old blocks are freed, and their addresses taken by others, as fast as can be, while they are read: site_old has old ones alone."""
    target = place.start([place.workload("alloc_ages")])
    pid = target.told()["pid"]
    age = scaled(0.3, 2)
    tracer = place.trace("-p", str(pid), "--older-than", f"{age}s", "--sizes", "-i", str(scaled(0.05, 0.3)), target=target)
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
        if not domain_rows(snapshot, pid, "libc")[0]["sizes_exact"]:
            wrong.append(f"snapshot {snapshot['sequence']} has sizes that are not exact")
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
    yield "ages/sizes while a realloc goes on", realloc_at_work
    yield "ages/forked children", lambda place: phases_of(place, True)
