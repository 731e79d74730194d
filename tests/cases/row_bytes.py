# SPDX-License-Identifier: BSD-2-Clause
"""How many bytes --table counts for a row, by table: tables.def."""
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "..", "..", "include", "domtrace", "tables.def"), encoding="utf-8") as file:
    ROW_BYTES = {name: int(size) for name, size in re.findall(r"^DT_TABLE\((\w+), (\d+),", file.read(), re.M)}
