# SPDX-License-Identifier: BSD-2-Clause
"""
Each table of the kernel, made so small by --table that it overflows: what can be counted is exact all the same, what cannot is named
in `losses` and by nothing else, and the target does what it would have done.
"""
import signal

import case_python
from harness import IN_VM, Skip, expect, scaled
from row_bytes import ROW_BYTES
from tables import domain_rows, fail_if

BYTES_MIN = 16                          # of a block of place 0: alloc_full.c
DEPTH = 4                               # calls between a place and malloc: alloc_full.c


def table(name, rows):
    return ["--table", f"{name}={rows * ROW_BYTES[name]}"]


class Filler:
    """alloc_full under a tracer, step by step. What it is expected to have is kept by the case."""

    def __init__(self, place, options):
        self.target = place.start([place.workload("alloc_full")])
        self.pid = self.target.told()["pid"]
        self.tracer = place.trace("-p", str(self.pid), *options)
        self.books = None

    def tell(self, line):
        """Its books then; those of its child, if that answers."""
        self.target.child.stdin.write(f"{line}\n".encode())
        self.target.child.stdin.flush()
        self.books = self.target.told()
        return self.books

    def end(self):
        """The last snapshot, checked; the target ends as it would have."""
        last = self.tracer.stop()[-1]
        self.target.go()
        self.target.child.stdin.close()
        return last


def loss_faults(snapshot, **expected):
    """The losses are those, and complete says so."""
    found = {name: number for name, number in snapshot["losses"].items() if number}
    wrong = [] if found == expected else [f"losses are {found}, not {expected}"]
    return wrong + ([] if snapshot["complete"] == (not expected) else [f"complete is {snapshot['complete']}"])


def negative_faults(snapshot):
    """A number below 0 would be told as one near 2^64."""
    return [f"{name}/{i}: {field} is {number}" for name in ("domains", "traces") for i, row in enumerate(snapshot[name])
            for field, number in row.items() if isinstance(number, int) and not 0 <= number < 1 << 63]


def figure_faults(what, row, **expected):
    return [f"{what}: {name} is {row[name]}, not {number}" for name, number in expected.items() if row[name] != number]


def sizes(count, places):
    """The bytes of what `keep COUNT PLACES` allocates, in that order."""
    return [BYTES_MIN + i % places for i in range(count)]


def take(filler, **losses):
    """(snapshot, row of the libc domain, [(frames, traceback, trace)], what is wrong)"""
    snapshot = filler.tracer.snapshot()
    domain, rows = domain_rows(snapshot, filler.pid, "libc")
    wrong = loss_faults(snapshot, **losses) + negative_faults(snapshot)
    if domain is None:
        fail_if(wrong + ["no libc domain"])
    return snapshot, domain, rows, wrong


# ---- live --------------------------------------------------------------------------------------------------------


def live(place):
    rows, count, places, moved = 4096, 10000, 8, 3000
    filler = Filler(place, ["-d", "libc", *table("live", rows)])
    lost, kept = count - rows, sizes(count, places)[:rows]
    books = filler.tell(f"keep {count} {places}")
    _, domain, _, wrong = take(filler, live_full=lost)
    wrong += figure_faults("full", domain, allocations=count, allocated_bytes=books["allocated_bytes"], frees=lost, live_blocks=rows,
                           live_bytes=sum(kept), peak_bytes=sum(kept))
    # How many of those find room that others leave is the allocator's business: each allocation without room is one free more.
    books = filler.tell(f"move {moved}")
    snapshot = filler.tracer.snapshot()
    domain, _ = domain_rows(snapshot, filler.pid, "libc")
    lost = snapshot["losses"]["live_full"]
    wrong += loss_faults(snapshot, live_full=lost) + negative_faults(snapshot)
    unmatched = snapshot["counters"]["unmatched_frees"]
    wrong += figure_faults("moved", domain, allocations=books["allocations"], allocated_bytes=books["allocated_bytes"],
                           frees=books["frees"] - unmatched + lost)
    # Of all that is freed then, what was lost is what is not known; and there is room again.
    books = filler.tell(f"free {count}")
    snapshot, domain, _, faults = take(filler, live_full=lost)
    wrong += faults + figure_faults("freed", domain, frees=books["frees"], live_blocks=0, live_bytes=0, freed_bytes=books["allocated_bytes"])
    wrong += figure_faults("freed", snapshot["counters"], unmatched_frees=lost, missed_frees=0)
    books = filler.tell(f"keep {rows // 2} 1")
    _, domain, _, faults = take(filler, live_full=lost)
    wrong += faults + figure_faults("room again", domain, live_blocks=rows // 2, live_bytes=rows // 2 * BYTES_MIN)
    wrong += figure_faults("at the end", filler.end()["domains"][0], allocations=books["allocations"], allocated_bytes=books["allocated_bytes"])
    fail_if(wrong)


def live_grown(place):
    """The first map of live blocks has 262,144 rows (wire.h); the next one comes before it is full, and then that is full, too."""
    rows, first, second = 300000, 240000, 100000
    filler = Filler(place, ["-d", "libc", *table("live", rows)])
    filler.tell(f"keep {first} 1")
    _, domain, _, wrong = take(filler)
    wrong += figure_faults("before", domain, live_blocks=first)
    filler.tell(f"keep {second} 1")
    _, domain, _, faults = take(filler, live_full=first + second - rows)
    wrong += faults + figure_faults("full", domain, allocations=first + second, live_blocks=rows, live_bytes=rows * BYTES_MIN)
    filler.tell(f"free {first + second}")
    snapshot, domain, _, faults = take(filler, live_full=first + second - rows)
    wrong += faults + figure_faults("freed", domain, allocations=first + second, frees=first + second, live_blocks=0, live_bytes=0)
    wrong += figure_faults("freed", snapshot["counters"], unmatched_frees=first + second - rows)
    filler.end()
    fail_if(wrong)


# ---- traces, events ----------------------------------------------------------------------------------------------


def place_of(row):
    """The number of the place that a row of `keep` is of."""
    return row["allocated_bytes"] // row["allocations"] - BYTES_MIN


def split_rows(rows):
    """({place: row}, the row without a traceback or None, what is wrong)"""
    found, lost, wrong = {}, None, []
    for frames, traceback, row in rows:
        if traceback["truncated"] == "lost":
            wrong += ["two rows without a traceback"] if lost or frames else []
            lost = row
            continue
        number = place_of(row)
        wrong += [f"two rows of place {number}"] if number in found else []
        wrong += [f"place {number}: its traceback is cut: {traceback['truncated']}"] if traceback["truncated"] else []
        calls = [frame["function"] for frame in frames if not frame["inlined"]]
        wrong += [] if calls.count("keep_from") == DEPTH + 1 else [f"place {number} is called by {calls}"]
        found[number] = row
    return found, lost, wrong


def places_faults(rows, places, each, kept):
    """Every place has its own row of `each` blocks, or is in the one without a traceback. `kept`: so many have one; None: some."""
    found, lost, wrong = split_rows(rows)
    for number, row in found.items():
        size = BYTES_MIN + number
        wrong += figure_faults(f"place {number}", row, allocations=each, allocated_bytes=each * size, blocks=each, bytes=each * size)
    missing = set(range(places)) - set(found)
    if kept is not None and len(found) != kept or not missing or not found:
        wrong.append(f"{len(found)} of {places} places have a row, not {kept}")
    if lost is None:
        return wrong + ["no row without a traceback"]
    size = sum(BYTES_MIN + number for number in missing)
    return wrong + figure_faults("without a traceback", lost, allocations=each * len(missing), allocated_bytes=each * size,
                                 blocks=each * len(missing), bytes=each * size)


def traces(place):
    rows, places, each = 20, 100, 30
    filler = Filler(place, ["-d", "libc", *table("traces", rows)])
    books = filler.tell(f"keep {places * each} {places}")
    _, domain, found, wrong = take(filler, traces_full=(places - rows) * each)
    wrong += figure_faults("full", domain, allocations=books["allocations"], allocated_bytes=books["allocated_bytes"], frees=0,
                           live_bytes=books["allocated_bytes"], peak_bytes=books["allocated_bytes"])
    wrong += places_faults(found, places, each, rows)
    books = filler.tell(f"free {places * each}")
    _, domain, found, faults = take(filler, traces_full=(places - rows) * each)
    wrong += faults + figure_faults("freed", domain, frees=books["frees"], freed_bytes=books["freed_bytes"], live_blocks=0, live_bytes=0)
    wrong += [f"a row is left: {row}" for _, _, row in found if row["blocks"] or row["bytes"]]
    filler.tracer.clear()               # … which makes room
    filler.tell(f"keep {each * rows} {rows}")
    _, domain, found, faults = take(filler)
    wrong += faults + [f"cleared: {number} rows" for number in {len(found)} - {rows}]
    filler.end()
    fail_if(wrong)


def events(place):
    """domtrace stands still: what is sent to it waits, until there is no room."""
    places, each = 256, 40
    filler = Filler(place, ["-d", "libc", "--table", "events=64K"])
    filler.tracer.signal(signal.SIGSTOP)
    rounds = 6                          # the places of each are others: they are called from another depth
    books = filler.tell(f"deep {rounds} {each * places} {places}")
    filler.tracer.signal(signal.SIGCONT)
    snapshot = filler.tracer.snapshot()
    domain, rows = domain_rows(snapshot, filler.pid, "libc")
    lost = [row for _, traceback, row in rows if traceback["truncated"] == "lost"]
    whole = [row for _, traceback, row in rows if not traceback["truncated"]]
    wrong = negative_faults(snapshot)
    expect(len(lost) == 1 and whole, f"{len(lost)} rows without a traceback, {len(whole)} with one")
    wrong += loss_faults(snapshot, tracebacks_lost=lost[0]["allocations"])
    wrong += figure_faults("full", domain, allocations=rounds * each * places, allocated_bytes=books["allocated_bytes"],
                           live_bytes=books["allocated_bytes"], peak_bytes=books["allocated_bytes"])
    wrong += [f"a row of {row['allocations']} allocations" for row in whole if row["allocations"] != each]
    wrong += figure_faults("without a traceback", lost[0], allocations=(rounds * places - len(whole)) * each,
                           blocks=lost[0]["allocations"], bytes=lost[0]["allocated_bytes"])
    filler.end()
    fail_if(wrong)


# ---- totals ------------------------------------------------------------------------------------------------------


def totals(place):
    """A domain takes two rows; of an odd number one is left over."""
    rows, domains, each = 21, 40, 25
    known, lost = rows // 2, (domains - rows // 2) * each
    filler = Filler(place, ["-d", "!libc", *table("totals", rows)])
    filler.tell(f"track {domains} {each}")
    snapshot = filler.tracer.snapshot()
    wrong = loss_faults(snapshot, domains_full=lost) + negative_faults(snapshot)
    ids = sorted(domain["id"] for domain in snapshot["domains"])
    wrong += [] if ids == list(range(1, known + 1)) else [f"the domains are {ids}"]
    for domain in snapshot["domains"]:
        wrong += figure_faults(f"domain {domain['id']}", domain, allocations=each, allocated_bytes=each * BYTES_MIN, live_blocks=each,
                               live_bytes=each * BYTES_MIN)
    filler.tell(f"untrack {domains} {each}")
    snapshot = filler.tracer.snapshot()
    wrong += loss_faults(snapshot, domains_full=lost) + negative_faults(snapshot)
    wrong += figure_faults("freed", snapshot["counters"], unmatched_frees=lost)
    for domain in snapshot["domains"]:
        wrong += figure_faults(f"domain {domain['id']}", domain, allocations=each, frees=each, live_blocks=0, live_bytes=0)
    filler.end()
    fail_if(wrong)


# ---- codes -------------------------------------------------------------------------------------------------------


def codes(place):
    """What has no room there is sent again and again: nothing is lost."""
    case_python.both_sections(place, 64, [*scaled([], ["-d", "numpy"]), *table("codes", 1)])


# ---- children ----------------------------------------------------------------------------------------------------


def in_guest():
    if not IN_VM:
        raise Skip("--children puts probes into every process that has the files: only in a guest (tests/vm/boot)")


def child_domain(snapshot, pid):
    domain, rows = domain_rows(snapshot, pid, "libc")
    expect(domain is not None, f"no libc domain of process {pid}")
    return domain, rows


def past(place):
    """The parent's blocks go, and others come in their places; what its child inherited there is not known then."""
    in_guest()
    rows, count = 100, 400
    filler = Filler(place, ["-d", "libc", "--children", *table("past", rows)])
    filler.tell(f"keep {count} 1")
    child = filler.tell("fork")
    filler.tracer.snapshot()            # what the child inherited has been read
    filler.tell(f"free {count}")
    parent = filler.tell(f"keep {count} 1")     # the same addresses
    books = filler.tell(f"act {count}")
    snapshot = filler.tracer.snapshot()
    wrong = loss_faults(snapshot, past_full=count - rows) + negative_faults(snapshot)
    wrong += figure_faults("parent", child_domain(snapshot, parent["pid"])[0], allocations=2 * count, frees=count, live_blocks=count,
                           live_bytes=count * BYTES_MIN)
    wrong += figure_faults("child", child_domain(snapshot, child["pid"])[0], allocations=count, allocated_bytes=books["allocated_bytes"],
                           frees=rows, live_blocks=count - rows)
    wrong += figure_faults("all", snapshot["counters"], unmatched_frees=count - rows)
    filler.end()
    fail_if(wrong)


def inherited_traces(place):
    """A child frees what it inherited, and its rows have no room: its domain is exact, and no row is below 0."""
    in_guest()
    rows, places, each = 30, 20, 10
    count, freed = places * each, places * each - 7
    filler = Filler(place, ["-d", "libc", "--children", *table("traces", rows)])
    filler.tell(f"keep {count} {places}")
    child = filler.tell("fork")
    books = filler.tell(f"act {freed}")
    snapshot = filler.tracer.snapshot()
    domain, found = child_domain(snapshot, child["pid"])
    wrong = [] if snapshot["losses"]["traces_full"] else ["the table of traces was not full"]
    wrong += loss_faults(snapshot, traces_full=snapshot["losses"]["traces_full"]) + negative_faults(snapshot)
    wrong += figure_faults("child", domain, allocations=count, allocated_bytes=child["allocated_bytes"], frees=freed,
                           freed_bytes=books["freed_bytes"], live_blocks=count - freed)
    wrong += [f"a row of more than was inherited: {row}" for _, traceback, row in found
              if traceback["truncated"] != "lost" and row["allocations"] != each]
    books = filler.tell(f"act {count - freed}")
    domain, found = child_domain(filler.tracer.snapshot(), child["pid"])
    wrong += figure_faults("child at the end", domain, frees=count, freed_bytes=child["allocated_bytes"], live_blocks=0, live_bytes=0)
    wrong += [f"a row is left: {row}" for _, _, row in found if row["blocks"] or row["bytes"]]
    wrong += loss_faults(filler.end(), traces_full=count - (rows - places) * each)
    fail_if(wrong)


def inherited_live(place):
    """A child frees what it inherited, and there is no room to note it: none is booked, as it could be twice, and the loss is named."""
    in_guest()
    rows, count = 300, 400
    filler = Filler(place, ["-d", "libc", "--children", *table("live", rows)])
    filler.tell(f"keep {count} 1")
    child = filler.tell("fork")
    filler.tell("act 50")
    snapshot = filler.tracer.snapshot()
    wrong = negative_faults(snapshot) + loss_faults(snapshot, live_full=count - rows)
    # The last 100 have no row: the child has not inherited them, as far as anybody knows.
    wrong += figure_faults("child", child_domain(snapshot, child["pid"])[0], allocations=rows, frees=0, live_blocks=rows)
    filler.tell(f"act {count - 50 - 100}")
    snapshot = filler.tracer.snapshot()
    freed = count - 50 - 100 - 50
    wrong += negative_faults(snapshot) + loss_faults(snapshot, live_full=count - rows, inherited_unknown=freed)
    wrong += figure_faults("child later", child_domain(snapshot, child["pid"])[0], allocations=rows, frees=0, live_blocks=rows)
    filler.end()
    fail_if(wrong)


def cases():
    yield "tables/live", live
    yield "tables/live, grown", live_grown
    yield "tables/traces", traces
    yield "tables/totals", totals
    yield "tables/events", events
    yield "tables/codes", codes
    yield "tables/past", past
    yield "tables/traces of an heir", inherited_traces
    yield "tables/live of an heir", inherited_live
