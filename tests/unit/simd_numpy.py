#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What NumPy computes of numbers in memory, for test_simd_numpy.c, which starts this script and reads its standard output.

Each question is a line, "TYPE OPERATION COUNT ROOM X STRIDE Y STRIDE PRODUCT STRIDE" (in elements; X, Y and PRODUCT are indices), then a
memory of ROOM elements, what the memory is after the operation, and the 8 bytes of a sum. The last line is "end QUESTIONS".
"""
import itertools
import random
import sys

try:
    import numpy as np
    from numpy.lib.stride_tricks import as_strided
except ImportError:
    print("there is no NumPy for /usr/bin/python3 (python3-numpy)", file=sys.stderr)
    sys.exit(77)

TYPES = {"f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64}
STRIDES = (1, 2, 3, -1, -2, -7, 9, 0)
GAP = 17                                # elements around each operand: nothing is written there, and they begin at any of them
KINDS = ("any", "some edges", "edges", "small", "one edge")
# x, y and what the product lies over; a number has a stride of 0.
LAYOUTS = (("array", "array", None), ("array", "x", None), ("array", "number", None), ("number", "array", None),
           ("array", "array", "x"), ("array", "array", "y"), ("array", "x", "x"), ("array", "number", "x"), ("number", "array", "y"))
OPERATIONS = {                          # and the layouts that differ for it
    "sum": LAYOUTS[:1],
    "sum_of_products": LAYOUTS[:4],
    "multiply": LAYOUTS,
}


def random_values(dice, dtype, count, kind):
    """`kind`: any bits, those at the edges of the type alone or among others, or small numbers."""
    values = np.frombuffer(dice.randbytes(count * dtype().itemsize), dtype).copy()
    if kind == "small":
        return np.array([dice.randrange(-9, 10) for _ in range(count)], dtype)
    if np.issubdtype(dtype, np.integer):
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        edges = [least, least + 1, -1, 0, 1, 2, most - 1, most]
    else:
        most, least = np.finfo(dtype).max, np.nextafter(dtype(0), dtype(1))
        edges = [most, -most, least, -least, np.inf, -np.inf, np.nan, 0.0, -0.0, 1.0, np.finfo(dtype).tiny]
    if kind == "one edge":
        values[:] = dice.choice(edges)
    for i in range(count):
        if kind == "edges" or kind == "some edges" and dice.random() < 0.1:
            values[i] = dice.choice(edges)
    return values


class Memory:
    """Operands side by side, each as long as its stride makes it."""

    def __init__(self, dice, count):
        self.dice, self.count, self.room = dice, count, 0

    def place(self, stride):
        span = max(self.count - 1, 0) * abs(stride)
        first = self.room + self.dice.randrange(GAP)
        self.room = first + span + 1 + self.dice.randrange(GAP)
        return (first + span if stride < 0 else first), stride


def lay_out(memory, dice, layout, strides):
    """(index, stride) of x, y and the product"""
    x_is, y_is, over = layout
    written = [stride for stride in strides if stride]

    def place(name, what):
        return memory.place(0 if what == "number" else dice.choice(written if over == name else strides))

    x = place("x", x_is)
    y = x if y_is == "x" else place("y", y_is)
    return x, y, {"x": x, "y": y}.get(over) or memory.place(dice.choice(written))


def view(memory, operand, count):
    first, stride = operand
    return as_strided(memory[first:], (count,), (stride * memory.itemsize,))


def compute(operation, after, x, y, product, count):
    """NumPy's own words; `after` is changed by "multiply". Returns the sum."""
    x, y = view(after, x, count), view(after, y, count)
    if operation == "multiply":
        np.multiply(x, y, out=view(after, product, count))
        return np.int64(0)
    total = np.sum(x) if operation == "sum" else np.sum(x * y)
    if total.dtype != np.int64:
        sys.exit(f"np.sum() of {after.dtype} is {total.dtype}")
    return total


def ask(out, dice, name, operation, count, layout, strides, kind):
    memory = Memory(dice, count)
    operands = lay_out(memory, dice, layout, strides)
    before = random_values(dice, TYPES[name], memory.room, kind)
    after = before.copy()
    total = compute(operation, after, *operands, count)
    words = [name, operation, count, memory.room, *[number for operand in operands for number in operand]]
    out.write((" ".join(map(str, words)) + "\n").encode() + before.tobytes() + after.tobytes() + total.tobytes())


def main():
    dice, out, questions = random.Random(1), sys.stdout.buffer, 0
    counts = [*range(140), *[dice.randrange(140, 4000) for _ in range(15)]]
    with np.errstate(all="ignore"):
        for name, operation, count in itertools.product(TYPES, OPERATIONS, counts):
            if operation != "multiply" and not np.issubdtype(TYPES[name], np.integer):
                continue                # the order of additions is not NumPy's: simd.h
            for i, (layout, strides) in enumerate(itertools.product(OPERATIONS[operation], ((1,), STRIDES))):
                ask(out, dice, name, operation, count, layout, strides, KINDS[(count + i) % len(KINDS)])
                questions += 1
    out.write(b"end %d\n" % questions)
    return 0


if __name__ == "__main__":
    sys.exit(main())
