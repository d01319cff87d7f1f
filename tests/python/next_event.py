"""next_event.py FILE: what ClickHouse's sequenceNextNode finds, one line a direction, base, chain and person.

FILE is CSV of person, time and a page of one letter. A chain is one of the arguments behind FILE, such as forward:head:AB.
"""
import sys

import chdb

file, *chains = sys.argv[1:]
for chain in chains:
    direction, base, pages = chain.split(":")
    events = ", ".join(f"k = '{page}'" for page in pages)
    rows = chdb.query(
        f"SELECT p, sequenceNextNode('{direction}', '{base}')(t, k, k = '{pages[0]}', {events}) "
        f"FROM file('{file}', CSV, 'p UInt32, t UInt64, k String') GROUP BY p ORDER BY p "
        "SETTINGS allow_experimental_funnel_functions = 1 FORMAT TSV",
        "TSV",
    )
    for line in str(rows).splitlines():
        person, found = line.split("\t")
        print(f"{chain},{person},{'' if found == chr(92) + 'N' else found}")
