#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The two sections of NumPy's page on memory allocation, looked at in one of two ways:

  numpy_sections.py --tracemalloc       by tracemalloc, from inside: it prints NumPy's rows at the end of each section
  numpy_sections.py --markers LIBRARY   from outside: nothing but a marker at the same two places, by DT_SNAPSHOT of libmarker.so

For the second, domtrace prints the same rows: domtrace -d numpy -- python3 numpy_sections.py --markers …
"""
import ctypes
import sys
import tracemalloc

import numpy as np

NX = 300
NY = 500


def print_rows(label):
    """As the page does."""
    numpy_alone = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
    print(f"{label}:")
    for stat in tracemalloc.take_snapshot().filter_traces([numpy_alone]).statistics("lineno"):
        print(f"  {stat.count} memory blocks: {stat.size / 1024:.1f} KiB, line {stat.traceback[0].lineno}")


def looker():
    """What is called at the end of a section."""
    if sys.argv[1:] == ["--tracemalloc"]:
        tracemalloc.start()
        return print_rows
    if sys.argv[1:2] == ["--markers"] and len(sys.argv) == 3:
        marker = ctypes.CDLL(sys.argv[2]).marker
        return lambda label: marker(label.encode())
    sys.exit(__doc__)


def main():
    look = looker()
    a = np.zeros((NX, NY))
    b = [i**2 for i in range(NX * NY)]
    look("section 1")
    c = np.sum(a * a)
    d = a * a
    look("section 2")
    del b, c, d


if __name__ == "__main__":
    main()
