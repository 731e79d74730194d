#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A NumPy program that works for a while: numpy_load.py SECONDS. Prints {"pid": …} first and a checked result last."""
import json
import os
import sys
import threading
import time

import numpy as np


class Store:
    """A bounded table of arrays of changing sizes: some live long, most do not."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.arrays = {}

    def step(self, number):
        size = int(self.random.integers(1, 4000))
        array = self.random.random(size)
        self.arrays[number % 97] = array * 2.0
        if number % 5 == 0:
            self.arrays[number % 97] = np.concatenate([array, array])
        return float(np.sum(array)) / size


def work(seed, until, results):
    store, mean, number = Store(seed), 0.0, 0
    while time.monotonic() < until:
        mean += store.step(number)
        number += 1
    results[seed] = mean / max(number, 1)


def main():
    until = time.monotonic() + float(sys.argv[1])
    results = {}
    print(json.dumps({"pid": os.getpid()}), flush=True)
    threads = [threading.Thread(target=work, args=(seed, until, results)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    work(0, until, results)
    for thread in threads:
        thread.join()
    right = len(results) == 3 and all(0.4 < mean < 0.6 for mean in results.values())
    print(json.dumps({"right": right, "means": results}), flush=True)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
