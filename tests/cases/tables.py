# SPDX-License-Identifier: BSD-2-Clause
"""Compares the tables of a snapshot with what a workload tells of itself: whole tables, no row more or less."""
import functools
import os

from harness import Failure

FIELDS = ("blocks", "bytes", "allocations", "allocated_bytes")
FIELDS_OF_ONE_THREAD = FIELDS + ("at_peak_bytes", "temporary")


def domain_rows(snapshot, pid, source, domain_id=None):
    """(domain row or None, [(frames, traceback, trace)])"""
    for index, domain in enumerate(snapshot["domains"]):
        process = snapshot["processes"][domain["process"]]
        if process["pid"] == pid and domain["source"] == source and domain["id"] == domain_id:
            break
    else:
        return None, []
    rows = []
    for trace in snapshot["traces"]:
        if trace["domain"] == index:
            traceback = snapshot["tracebacks"][trace["traceback"]]
            rows.append(([snapshot["frames"][i] for i in traceback["frames"]], traceback, trace))
    return domain, rows


def losses(snapshot):
    """Sentences about everything that was lost."""
    wrong = [f"losses.{name} is {number}" for name, number in snapshot["losses"].items() if number]
    return wrong if snapshot["complete"] and not wrong else wrong + ["the snapshot is not complete"]


def frame_text(frame):
    if frame["kind"] == "python":
        return f"{frame['file']}:{frame['line']} {frame['function']}"
    return f"{frame['function']}+{frame['function_offset']} ({os.path.basename(frame['module'] or '?')})"


def frames_text(frames):
    return " < ".join(frame_text(frame) for frame in reversed(frames)) or "(no frames)"


def fail_if(wrong):
    if wrong:
        raise Failure("\n".join(wrong))


# ---- libc ------------------------------------------------------------------------------------------------------


def matches(row, frames):
    """Whether a row of the truth speaks of a traceback: its innermost two frames, or the innermost one's module."""
    if not frames or frames[-1]["kind"] != "native":
        return False
    if row["module"]:
        return os.path.basename(frames[-1]["module"] or "") == row["module"]
    if frames[-1]["function"] not in row["function"].split("|"):
        return False
    return row["caller"] is None or (len(frames) > 1 and frames[-2]["function"] == row["caller"])


def row_text(row):
    return f"{row['module'] or row['function']} < {row['caller'] or '?'}"


LIBC = "libc.so.6"                      # its functions between a program's and the outermost one have no names
BEHIND_MAIN = (LIBC, LIBC, "_start")    # __libc_start_call_main, __libc_start_main
BEHIND_THREAD = (LIBC, LIBC)            # start_thread, clone3


def called(frames):
    """Without what was inlined: frames that a call made."""
    return [frame for frame in frames if not frame.get("inlined")]


def outer_frames(frames):
    """Callers by name, those of the C library by its name, innermost first."""
    return tuple(LIBC if os.path.basename(frame["module"] or "") == LIBC else frame["function"] for frame in reversed(frames))


def chain_faults(frames, traceback, behind):
    """What is wrong with a native traceback as a whole. `behind`: functions outside of the innermost two; None: not known."""
    callers = outer_frames(called(frames))
    if traceback["truncated"] or traceback["total_frames"] != len(frames):
        why = f"truncated ({traceback['truncated']}), {len(frames)} of {traceback['total_frames']} frames"
    elif behind is None:
        why = "" if callers[-3:] == BEHIND_MAIN or callers[-2:] == BEHIND_THREAD else "the outermost frames are not those of a thread"
    else:
        end = BEHIND_MAIN if behind[-1:] == ("main",) else BEHIND_THREAD
        why = "" if callers[2:] == tuple(behind) + end else f"not called by {' < '.join(behind + end)}"
    return [f"{why}: {frames_text(frames)}"] if why else []


def compare_rows(expected, actual, foreign, behind, fields):
    sums = [dict.fromkeys(fields, 0) for _ in expected]
    wrong = []
    for frames, traceback, trace in actual:
        found = [i for i, row in enumerate(expected) if matches(row, called(frames))]
        wrong += chain_faults(frames, traceback, behind.get(expected[found[0]]["caller"], behind.get(None)) if found else None)
        if found:
            for field in fields:
                sums[found[0]][field] += trace[field]
        elif not frames or os.path.basename(frames[-1].get("module") or "") not in foreign:
            wrong.append(f"a row too many: {frames_text(frames)}: {trace} {traceback['truncated'] or ''}")
    for row, total in zip(expected, sums):
        wrong += [f"{row_text(row)}: {field} is {total[field]}, not {row[field]}"
                  for field in fields if total[field] != row[field]]
    return wrong


def compare_totals(domain, truth, exact_peak):
    wrong = []
    for name, number in truth["total"].items():
        if name == "peak_bytes" and not exact_peak:
            low, high = truth["total"]["live_bytes"], truth["total"]["allocated_bytes"]
            if not low <= domain[name] <= high:
                wrong.append(f"peak_bytes of the domain is {domain[name]}, outside {low} to {high}")
        elif domain[name] != number:
            wrong.append(f"{name} of the domain is {domain[name]}, not {number}")
    return wrong


def compare_libc(snapshot, pid, truth, exact_peak=True, foreign=(), behind=None, one_thread=False):
    """
    The libc table of `pid` equals `truth`; of `one_thread`: also what was live at the peak, and what was temporary. `foreign`: modules whose own rows are left out of it, with the totals. `behind`:
    {caller of a row, or None for all others: the functions that called that one, innermost first}.
    """
    domain, actual = domain_rows(snapshot, pid, "libc")
    if domain is None:
        raise Failure(f"no libc domain of process {pid}")
    wrong = losses(snapshot) + compare_rows(truth["rows"], actual, foreign, behind or {}, FIELDS_OF_ONE_THREAD if one_thread else FIELDS)
    if one_thread and not domain["at_peak_exact"]:
        wrong.append("at_peak_exact is false, and there was one thread")
    if not foreign:
        wrong += compare_totals(domain, truth, exact_peak)
        wrong += [f"counters.{name} is {snapshot['counters'].get(name)}, not {number}"
                  for name, number in truth["counters"].items() if snapshot["counters"].get(name) != number]
    fail_if(wrong)


# ---- Python ----------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def functions_of_lines(path):
    """Which code objects have an instruction on a line: {line: {names}}; None when the source cannot be had."""
    try:
        with open(path, "rb") as file:
            todo = [compile(file.read(), path, "exec")]
    except (OSError, SyntaxError, ValueError):
        return None
    names = {}
    while todo:
        code = todo.pop()
        for _, _, line in code.co_lines():
            names.setdefault(line, set()).add(code.co_qualname)
        todo += [constant for constant in code.co_consts if hasattr(constant, "co_lines")]
    return names


def function_is_possible(frame):
    names = functions_of_lines(frame["file"])
    if names is None:
        return bool(frame["function"])
    return frame["function"] in names.get(frame["line"], ())


NUMPY_CALLS = ("_multiarray_umath.",)   # what calls PyTraceMalloc_Track for NumPy
CTYPES_CALLS = ("libffi.so", "libnumpy_calls.so") # and for a script that does so through ctypes
NATIVE_FRAMES = 16                      # more than there are between Python code and NumPy's allocator
NATIVE_MODULES = ("python3.", "libc.so", "_multiarray_umath.", "_umath_", "_ctypes.", "libffi.so", "libnumpy_calls.so")


def native_end_faults(native, traceback, callers):
    """What is wrong with the native frames between the innermost Python frame and the allocator, outermost first."""
    modules = [os.path.basename(frame["module"] or "?") for frame in native]
    wrong = [f"truncated ({traceback['truncated']})"] if traceback["truncated"] else []
    if not modules or not modules[-1].startswith(callers):
        wrong.append(f"not called from {' or '.join(callers)}")
    wrong += [f"a call from {module}" for module in modules if not module.startswith(NATIVE_MODULES)]
    wrong += ["an eval loop without its Python frame" for frame in native if frame["function"] == "_PyEval_EvalFrameDefault"]
    return [f"{what}: {frames_text(native)}" for what in wrong]


def split_python(frames, traceback, stack, callers):
    """(Python frames, how many there were on the stack, what is wrong): `--stack auto` ends with native frames, `python` has none."""
    count = sum(frame["kind"] == "python" for frame in frames)
    python, native = frames[:count], frames[count:]
    if any(frame["kind"] != "python" for frame in python):
        return python, 0, [f"native frames among Python frames: {frames_text(frames)}"]
    if stack == "auto":
        return python, traceback["total_frames"] - len(native), native_end_faults(native, traceback, callers)
    return python, traceback["total_frames"], [f"not only Python frames: {frames_text(frames)}"] if native else []


def python_table(rows, stack, wrong):
    """
    Live rows of a snapshot as {((file, line)…, number of frames on the stack): [blocks, bytes]}, as tracemalloc sees them: it
    knows no native frames, so rows that differ in nothing else are one.
    """
    table = {}
    for frames, traceback, trace in rows:
        if not trace["blocks"] and not trace["bytes"]:
            continue
        python, total, faults = split_python(frames, traceback, stack, NUMPY_CALLS)
        wrong += faults
        if traceback["truncated"]:
            wrong.append(f"truncated ({traceback['truncated']}): {frames_text(frames)}")
        wrong += [f"no function {frame['function']} on {frame['file']}:{frame['line']}"
                  for frame in python if not function_is_possible(frame)]
        sums = table.setdefault((tuple((frame["file"], frame["line"]) for frame in python), total), [0, 0])
        sums[0] += trace["blocks"]
        sums[1] += trace["bytes"]
    return table


def without_totals(table):
    """Where native frames were cut off, too, nobody can tell how many of those that are missing were Python's."""
    merged = {}
    for (frames, _), numbers in table.items():
        sums = merged.setdefault((frames, None), [0, 0])
        for i, number in enumerate(numbers):
            sums[i] += number
    return merged


def compare_numpy(snapshot, pid, truth_rows, stack="auto", limit=64):
    """The numpy table of `pid`, traced with --stack and --limit, equals the rows that tracemalloc told, whole tracebacks."""
    domain, actual = domain_rows(snapshot, pid, "tracemalloc", 389047)
    wrong = losses(snapshot)
    table = python_table(actual, stack, wrong)
    truth = {}
    for row in truth_rows:
        truth[tuple(map(tuple, row["frames"])), row["total_frames"]] = [row["blocks"], row["bytes"]]
    if stack == "auto" and limit < NATIVE_FRAMES:
        table, truth = without_totals(table), without_totals(truth)
    for key in truth.keys() | table.keys():
        if truth.get(key) != table.get(key):
            text = " < ".join(f"{file}:{line}" for file, line in reversed(key[0]))
            wrong.append(f"{text} (of {key[1]}): tracemalloc has {truth.get(key)}, domtrace has {table.get(key)}")
    if domain is None and truth:
        wrong.append("no numpy domain")
    elif domain is not None and domain["name"] != "numpy":
        wrong.append(f"domain 389047 is named {domain['name']}")
    fail_if(wrong)


DOMAIN_NAMES = {389047: "numpy", 424242: "pandas"}


def compare_domains(snapshot, pid, truth, stack="auto"):
    """Every tracemalloc domain of `pid`, traced with --stack, with totals and exact rows (file, line and function)."""
    wrong = losses(snapshot)
    expected = {}
    for row in truth["rows"]:
        expected[row["domain"], tuple(map(tuple, row["frames"]))] = {field: row[field] for field in FIELDS}
    table = {}
    for domain_id in {domain["id"] for domain in snapshot["domains"] if domain["source"] == "tracemalloc"} | {row["domain"] for row in truth["rows"]}:
        domain, actual = domain_rows(snapshot, pid, "tracemalloc", domain_id)
        totals = truth["totals"].get(str(domain_id))
        if domain is None or totals is None:
            wrong.append(f"domain {domain_id}: expected {totals}, found {domain}")
            continue
        name = DOMAIN_NAMES.get(domain_id, f"tracemalloc:{domain_id}")
        if domain["name"] != name:
            wrong.append(f"domain {domain_id} is named {domain['name']}, not {name}")
        wrong += [f"domain {domain_id}: {key} is {domain[key]}, not {number}"
                  for key, number in totals.items() if domain[key] != number]
        for frames, traceback, trace in actual:
            python, total, faults = split_python(frames, traceback, stack, CTYPES_CALLS)
            wrong += faults if total == len(python) else [f"{len(python)} of {total} Python frames: {frames_text(frames)}"]
            key = domain_id, tuple((frame["file"], frame["line"], frame["function"]) for frame in python)
            sums = table.setdefault(key, dict.fromkeys(FIELDS, 0))
            for field in FIELDS:
                sums[field] += trace[field]
    wrong += [f"{key}: expected {expected.get(key)}, found {table.get(key)}"
              for key in expected.keys() | table.keys() if expected.get(key) != table.get(key)]
    if snapshot["counters"]["unmatched_frees"] != truth["unmatched_frees"]:
        wrong.append(f"unmatched_frees is {snapshot['counters']['unmatched_frees']}, not {truth['unmatched_frees']}")
    fail_if(wrong)
