"""window_funnel.py FILE STEPS WINDOW MODES…: levels by ClickHouse's windowFunnel, one line a mode and person.

FILE is CSV of person, time and the steps that an event fits as bits; modes are joined by "+", "-" is none.
"""
import sys

import chdb

file, steps, window, *modes = sys.argv[1:]
conditions = ", ".join(f"bitTest(s, {step})" for step in range(int(steps)))
for mode in modes:
    names = "" if mode == "-" else "".join(f", '{name}'" for name in mode.split("+"))
    rows = chdb.query(
        f"SELECT p, windowFunnel({window}{names})(t, {conditions}) FROM file('{file}', CSV, 'p UInt32, t UInt64, s UInt64') "
        "GROUP BY p ORDER BY p",
        "CSV",
    )
    for line in str(rows).splitlines():
        print(f"{mode},{line}")
