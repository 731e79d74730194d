# SPDX-License-Identifier: BSD-2-Clause
"""Nanoseconds per call of user/simd's kernels, of NumPy, OpenBLAS and plain C, and of the fastest loops that only read and write."""
import json
import math
import os
import statistics
import subprocess

from lanes import Broken, document, spread

BLAS = "/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0"
# What is read and written at the least, in arrays, and the loops that do no more than that.
TRAFFIC = {
    "sum": ("read_", 1),
    "squares": ("read_", 1),
    "products": ("read_", 2),
    "multiply": ("merge_", 1),
    "multiply_new": ("merge_", 1),
}


def measure(bench, quick):
    blas = BLAS if os.path.exists(BLAS) else ""
    # NumPy's own BLAS is the same then, and one thread is compared with one thread.
    environment = {**os.environ, "LD_LIBRARY_PATH": os.path.dirname(blas), "OPENBLAS_NUM_THREADS": "1"}
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "simd_measure.py")
    argv = ["/usr/bin/python3", script, bench.program("bench_simd.so"), blas, "", "3" if quick else "21",
            "150000" if quick else "20000000"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"simd_measure.py: {done.stderr.strip()}")
    measured = json.loads(done.stdout)
    return measured["taken"], measured["paired"], bool(blas)


def fastest(taken, names):
    return min(names, key=lambda name: statistics.median(taken[name]))


def compare(taken, ours, theirs, times=1):
    """How many times as long ours takes as theirs: of the shortest times, of the medians, and of single rounds."""
    each = [a / (b * times) for a, b in zip(taken[ours], taken[theirs])]
    return {
        "to": theirs,
        "of_minima": round(min(taken[ours]) / (min(taken[theirs]) * times), 3),
        "of_medians": round(statistics.median(taken[ours]) / (statistics.median(taken[theirs]) * times), 3),
        "rounds": spread(each, 3),
    }


def interval(ratios):
    """The median, and the interval that holds it with at least 95 % by the sign test; with fewer than 6 rounds all of them, which is less."""
    ordered, count = sorted(ratios), len(ratios)
    outside = 0
    while 2 * sum(math.comb(count, k) for k in range(outside + 1)) <= 0.05 * 2 ** count:
        outside += 1
    low = max(outside - 1, 0)
    return {"median": round(statistics.median(ordered), 3), "low": round(ordered[low], 3), "high": round(ordered[count - 1 - low], 3)}


def row(taken, paired, where, verb):
    ours = f"{where} {verb}: dt"
    element_bytes = 4 if where.startswith("f32") else 8
    peers = [name for name in taken if name.startswith(f"{where} {verb}: ") and name != ours]
    prefix, times = TRAFFIC[verb]
    limit = fastest(taken, [name for name in taken if name.startswith(f"{where} limit: {prefix}")])
    return {
        "what": f"{where} {verb}",
        "ns": spread(taken[ours]),
        "gb_per_s_of_one_array": round(int(where.split()[1]) * element_bytes / min(taken[ours]), 1),
        "to_best_peer": compare(taken, ours, fastest(taken, peers)),
        "to_limit": compare(taken, ours, limit, times),
        "to_each": [{**compare(taken, ours, peer), "paired": interval(paired[peer])} for peer in peers],
    }


def run(bench, quick):
    taken, paired, has_blas = measure(bench, quick)
    places = list(dict.fromkeys(" ".join(name.split()[:2]) for name in taken))
    rows = [row(taken, paired, where, verb) for where in places for verb in TRAFFIC]
    absent = [] if has_blas else [f"OpenBLAS: there is no {BLAS}; tools/setup bench installs it"]
    return document("simd", "nanoseconds per call", taken, [], rows=rows, absent=absent)
