# SPDX-License-Identifier: BSD-2-Clause
"""Domains that a program declares by <domtrace/domain.h>: whole tables, their names, and what -d leaves of them."""
import os

from harness import IN_VM, Skip, expect
from tables import domain_rows, fail_if, losses

IDS = {"7": "pool", "8": "declared:8", "9": "declared:numpy", "20": "declared:20", "0": "declared:0"}
FIELDS = ("blocks", "bytes", "allocations", "allocated_bytes")
LONG = "ä" * 40  # 80 bytes: 31 characters are left of it


def ask(target, line):
    target.child.stdin.write(line.encode() + b"\n")
    target.child.stdin.flush()
    return target.told()


def place_of(frames):
    """The function that has the probe: the innermost frame."""
    return frames[-1]["function"] if frames and frames[-1]["kind"] == "native" else None


def compare_domain(snapshot, told, number, name, exact_peak):
    domain, rows = domain_rows(snapshot, told["pid"], "declared", int(number))
    places = dict(told["domains"][number])
    peak = places.pop("peak")
    if domain is None:
        return [] if not any(figures[2] for figures in places.values()) else [f"domain {number} is missing"]
    wrong = [] if domain["name"] == name else [f"domain {number} is named {domain['name']!r}, not {name!r}"]
    found = {}
    for frames, traceback, trace in rows:
        found[place_of(frames)] = [sum(pair) for pair in zip(found.get(place_of(frames), [0] * 4), (trace[field] for field in FIELDS))]
        if traceback["truncated"] or frames[0]["function"] not in ("_start", "clone3", "__clone3", "__GI___clone3"):
            wrong.append(f"domain {number}: a traceback from {frames[0]['function']} is {traceback['truncated'] or 'not whole'}")
        if place_of(frames) in places and frames[-2]["function"] != "operate":
            wrong.append(f"domain {number}: {place_of(frames)} is called by {frames[-2]['function']}")
    expected = {place: figures for place, figures in places.items() if figures[2]}
    if found != expected:
        wrong.append(f"domain {number}: {found}, not {expected}")
    sums = [sum(column) for column in zip(*expected.values())]
    for field, figure in zip(("live_blocks", "live_bytes", "allocations", "allocated_bytes"), sums):
        if domain[field] != figure:
            wrong.append(f"domain {number}: {field} is {domain[field]}, not {figure}")
    if exact_peak and domain["peak_bytes"] != peak:
        wrong.append(f"domain {number}: peak_bytes is {domain['peak_bytes']}, not {peak}")
    return wrong


def compare(snapshot, told, names, exact_peak=True):
    """All declared domains of the process are those of `names`, {number: name}, with all rows, and no others."""
    wrong = losses(snapshot)
    for number, name in names.items():
        if number in told["domains"]:
            wrong += compare_domain(snapshot, told, number, name, exact_peak)
    there = {str(domain["id"]) for domain in snapshot["domains"]
             if domain["source"] == "declared" and snapshot["processes"][domain["process"]]["pid"] == told["pid"]}
    wrong += [f"domain {number} should not be there" for number in there - names.keys()]
    return wrong


def every_way(place):
    """Steps, a name given late, threads, a library loaded later, names that are cut off and changed, layers, a clear."""
    target = place.start([place.workload("domains")])
    pid = target.told()["pid"]
    tracer = place.trace("-p", str(pid), "--stack", "native")
    names = dict(IDS)

    def check(line, exact_peak=True, **changed):
        told = ask(target, line)
        names.update({number[1:]: name for number, name in changed.items()})
        snapshot = tracer.snapshot()
        wrong = compare(snapshot, told, names, exact_peak)
        if snapshot["counters"].get("unmatched_frees", 0) != told["unmatched"]:
            wrong.append(f"unmatched_frees is {snapshot['counters'].get('unmatched_frees', 0)}, not {told['unmatched']}")
        fail_if([f"{line}: {sentence}" for sentence in wrong])
        return snapshot

    check("step 4000")
    check("name 8 " + LONG, _8="ä" * 31)
    check("step 1000")
    library = place.workload("libdomains_late.so")
    check(f"load {library}", _20="cache of the library")  # its constant for 8 loses against what was said
    check("step 4000")
    check("threads 3000", exact_peak=False)
    names.update({"30": "declared:30", "31": "declared:31"})
    snapshot = check("lay", exact_peak=False)
    process = next(process for process in snapshot["processes"] if process["pid"] == pid)
    libc, _ = domain_rows(snapshot, pid, "libc")
    expect(process["layers"]["exact"] and process["layers"]["claimed_bytes"] == 60000 and
           process["layers"]["libc_bytes"] == libc["live_bytes"], f"layers of {libc}: {process['layers']}")
    for number, inside in ((30, 60000), (31, 40000), (7, 0)):
        domain, _ = domain_rows(snapshot, pid, "declared", number)
        expect((domain["in_libc_bytes"], domain["outside_libc_bytes"]) == (inside, domain["live_bytes"] - inside), f"layers: {domain}")
    tracer.clear()
    for number in ("30", "31"):
        del names[number]
    ask(target, "clear")
    check("step 2000")
    last = ask(target, "name 9 " + "a\x01b")
    target.child.stdin.close()
    expect(target.wait() == 0, target.stderr())
    fail_if(compare(tracer.finish()[-1], last, names | {"9": "a\x01b"}))
    expect("a\x01b" not in tracer.output(), "the report has control characters")


def chosen(place):
    """-d: only one, all but one, and what nobody declares."""
    target = place.start([place.workload("domains")])
    pid = target.told()["pid"]
    only = place.trace("-p", str(pid), "-d", "pool", "-d", "named late", output="only")
    ask(target, "step 2000")
    told = ask(target, "name 8 named late")
    fail_if(compare(only.snapshot(), told, {"7": "pool", "8": "named late"}))
    expect({domain["name"] for domain in only.snapshot()["domains"]} == {"pool", "named late"}, "libc was not asked for")
    without = place.trace("-p", str(pid), "-d", "!pool", "-d", "!nobody's", output="without")
    before, after = told, ask(target, "step 2000")
    fail_if(compare(only.snapshot(), after, {"7": "pool", "8": "named late"}))
    found = {domain["name"]: domain["allocations"] for domain in without.snapshot()["domains"] if domain["source"] == "declared"}
    expected = {name: sum(after["domains"][number][key][2] - before["domains"][number][key][2] for key in ("track_here", "track_there"))
                for number, name in IDS.items() if number != "7"}
    expect(found == expected, f"all but pool, attached late, with what is a constant of the file named: {found}, not {expected}")
    target.child.stdin.close()
    expect(target.wait() == 0, target.stderr())
    only.finish()
    without.finish()
    said = without.stderr()
    expect(said.count("no process has declared a domain") == 1 and "'nobody's'" in said and
           "no process has declared" not in only.stderr(), f"said: {said}\n{only.stderr()}")
    status, text, error = place.run("report", os.path.join(place.directory, "only"), "-d", "named late")
    expect(status == 0 and "named late: 2 tracebacks" in text and "No live blocks in pool." in text, f"report: {text}{error}")


def forked(place):
    """A child has the blocks and the names of its parent, and what it names itself is its own. So have programs that end at once."""
    if not IN_VM:
        raise Skip("following children attaches to every process: only in a guest")
    target = place.start([place.workload("domains")])
    pid = target.told()["pid"]
    tracer = place.trace("-p", str(pid), "--children", "--stack", "native")
    ask(target, "step 1500")
    ask(target, "name 8 before the fork")
    child = ask(target, "fork 800")
    parent = ask(target, "name 8 behind the fork")
    names = IDS | {"8": "behind the fork"}
    snapshot = tracer.snapshot()
    fail_if(compare(snapshot, parent, names) + compare(snapshot, child, names | {"8": "before the fork", "9": "the child's own"}))
    brief = [ask(target, "run 300") for _ in range(6)]
    target.child.stdin.close()
    expect(target.wait() == 0, target.stderr())
    ends = {process["pid"]: snapshot for snapshot in tracer.finish() if snapshot["label"] == "exit" for process in snapshot["processes"]}
    for told in brief:
        fail_if(compare(ends[told["pid"]], told, IDS | {"8": "said by a brief one"}))


def met(place):
    """While the program of one thread's event waits for a page, another thread of its CPU has an event: bpf/stack.bpf.h.

    Not by perf events, whose probes on kernels before 6.10 hold a lock of the CPU while their program runs (kernel/trace/trace_uprobe.c:
    prepare_uprobe_buffer()): there nothing waits for a page.
    """
    if "attach        single" in place.run("doctor")[1]:
        raise Skip("no program waits for a page on this kernel: it has no uprobe_multi")
    target = place.start([place.workload("domains_meet")])
    pid = target.told()["pid"]
    tracer = place.trace("-p", str(pid), "--stack", "native")
    target.go()
    target.told()
    snapshot = tracer.snapshot()
    found = {domain["id"]: domain["name"] for domain in snapshot["domains"] if domain["source"] == "declared"}
    expected = {40: "came late", 41: "came first"}
    fail_if(losses(snapshot) + ([] if found == expected else [f"the domains are named {found}, not {expected}"]))
    target.go()
    expect(target.wait() == 0, target.stderr())
    tracer.finish()


def cases():
    yield "domains/every way", every_way
    yield "domains/chosen by name", chosen
    yield "domains/forked children", forked
    yield "domains/two threads of a CPU", met
