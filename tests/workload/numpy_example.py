#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A program with NumPy and non-NumPy sections, to be traced from outside: sudo domtrace -- python3 numpy_example.py

It does what the example of NumPy's page on memory allocation does, without a line of tracing in it.
"""
import numpy as np

ROWS = 300
COLUMNS = 500


def make_tables():
    """Section 1: an array of zeros (NumPy's memory) beside a list of squares (Python's)."""
    zeros = np.zeros((ROWS, COLUMNS))
    squares = [i**2 for i in range(ROWS * COLUMNS)]
    return zeros, squares


def sum_of_squares(array):
    """Section 2: NumPy only. The products are kept along with their sum."""
    products = array * array
    return products, np.sum(products)


def main():
    zeros, squares = make_tables()
    products, total = sum_of_squares(zeros + 2.0)
    print(f"{zeros.size} zeros, {len(squares)} squares, sum of {products.size} products: {total:.0f}")


if __name__ == "__main__":
    main()
