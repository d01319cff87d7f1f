#!/usr/bin/env python3
"""A segment and a retention beside DuckDB and ClickHouse on the same generated events and the same two threads.

usage: questions.py DIR [--events N] [--rounds R] [--only q4,q5] [--milepost BINARY]

DIR is the folder of compare.py, which makes what is missing there: the history, our store, the peers' own tables. Asked
are persons with five page views within any 30 days and no purchase in the last 45 (q4), and weekly retention of eight
weeks (q5). The answers must be the same; in every round the engines take turns. Needs: pip install duckdb chdb pyarrow
"""
import argparse
import csv
import datetime
import io
import json
import os
import subprocess
import sys

import duckdb

from compare import ROOT
from compare import RUNS
from compare import THREADS
from compare import Bench
from compare import report

DAY = 86_400_000
WEEK = 7 * DAY
MONTH = 30 * DAY


def said(millis):
    return datetime.datetime.fromtimestamp(millis / 1000, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def statements(start, now):
    """Each question in the words of each engine."""
    cut = said(now - 45 * DAY)
    views = " THEN ".join(["pageView"] * 5)
    millis = "toUnixTimestamp64Milli(time)"
    four = "arrayPopBack(arrayPopBack(arrayPopBack(arrayPopBack(a))))"
    return {
        "q4": (
            f"SELECT COUNT(*) AS persons FROM (PERSONS WHERE SEQUENCE {views} WITHIN 30 DAYS AND NOT DID itemPurchased "
            f"IN LAST 45 DAYS AS OF '{said(now).replace(' ', 'T')}Z')",
            "SELECT count(*) FROM (SELECT DISTINCT person FROM (SELECT person, time - lag(time, 4) OVER (PARTITION BY person "
            "ORDER BY time) AS d FROM typed WHERE definition = 'pageView') WHERE d <= INTERVAL 30 DAY) ANTI JOIN (SELECT "
            f"DISTINCT person FROM typed WHERE definition = 'itemPurchased' AND time >= TIMESTAMP '{cut}') USING (person)",
            f"SELECT count() FROM (SELECT person, arraySort(groupArrayIf({millis}, definition = 'pageView')) a, "
            f"countIf(definition = 'itemPurchased') buys FROM typed WHERE definition = 'pageView' OR (definition = 'itemPurchased' "
            f"AND time >= toDateTime64('{cut}', 3, 'UTC')) GROUP BY person HAVING buys = 0 AND length(a) >= 5 AND "
            f"arrayExists((x, y) -> y - x <= {MONTH}, {four}, arraySlice(a, 5)))",
        ),
        "q5": (
            "RETENTION * THEN * PER WEEK FOR 8 CELLS",
            f"WITH m AS (SELECT person, bit_or(1 << ((epoch_ms(time) - {start}) // {WEEK})::INT) AS m FROM typed GROUP BY "
            "person), c AS (SELECT m, count(*) AS n FROM m GROUP BY m) SELECT bit_count((m & -m) - 1)::INT AS cohort, k, "
            "sum(n)::BIGINT FROM c, range(0, 9) w(k) WHERE (m >> (bit_count((m & -m) - 1)::INT + k::INT)) & 1 = 1 GROUP BY 1, 2",
            f"SELECT cohort, k, sum(n) FROM (SELECT bitCount(bitAnd(m, -m) - 1) cohort, m, count() n FROM (SELECT person, "
            f"groupBitOr(bitShiftLeft(1::Int64, intDiv({millis} - {start}, {WEEK}))) m FROM typed GROUP BY person) GROUP BY m) "
            "ARRAY JOIN range(9) AS k WHERE bitTest(m, cohort + k) GROUP BY 1, 2",
        ),
    }


def rows_of_ours(bench, sql):
    command = [bench.binary, "--data", bench.store, "--threads", str(THREADS), "sql", "--format", "csv", "-c", sql]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return list(csv.DictReader(io.StringIO(done.stdout)))


def check(bench, name, asked, start):
    """Ends with a message where an answer differs."""
    mine = rows_of_ours(bench, asked[0])
    con = bench.duck_connection()
    duck = con.execute(asked[1]).fetchall()
    con.close()
    con = bench.clickhouse()
    lines = con.query(asked[2], "JSONCompactEachRow").bytes().decode().splitlines()
    con.close()
    click = [tuple(int(one) for one in json.loads(line)) for line in lines]
    if sorted(click) != sorted(tuple(int(one) for one in row) for row in duck):
        sys.exit(f"{name}: the peers differ: DuckDB {duck}, ClickHouse {click}")
    if name == "q4":
        found, right = int(mine[0]["persons"]), duck[0][0]
        if found != right:
            sys.exit(f"q4: milepost {found} persons, the others {right}")
        print(f"q4         {found} persons", flush=True)
        return
    triangle = {(cohort, k): persons for cohort, k, persons in duck}
    first = datetime.datetime.fromtimestamp(start / 1000, datetime.timezone.utc).date()
    for cell in mine:
        cohort = (datetime.date.fromisoformat(cell["cohort"]) - first).days // 7
        k = int(cell["period"])
        # Their period 0 is everybody who started; ours asks for a second event.
        found = int(cell["persons"]) if k == 0 else int(cell["returned"])
        if found != triangle.get((cohort, k), 0):
            sys.exit(f"q5: {cell}, the others {triangle.get((cohort, k), 0)}")
    print(f"q5         {len(mine)} cells", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="q4,q5")
    parser.add_argument("--milepost", default=ROOT + "/target/release/milepost")
    args = parser.parse_args()
    bench = Bench(args)
    print(f"{datetime.date.today()}  DuckDB {duckdb.__version__}  {os.cpu_count()} cores, {THREADS} threads each", flush=True)
    bench.prepare()
    if not os.path.exists(bench.store):
        bench.import_ours()
    if not os.path.exists(bench.duck):
        bench.import_duckdb()
    bench.prepare_duckdb()
    meta = json.load(open(bench.dir + "/meta.json"))
    start = meta["t0_ms"]
    for name, asked in statements(start, start + meta["days"] * DAY).items():
        if name not in args.only.split(","):
            continue
        check(bench, name, asked, start)
        ours, duck, click = [], [], []
        for _ in range(args.rounds):
            ours += bench.ask_ours(asked[0], RUNS)
            duck += bench.ask_duckdb(asked[1], RUNS)
            click += bench.ask_clickhouse(asked[2], RUNS)
        report(name, ours, duck, "ms")
        report(name, ours, click, "ms", "ClickHouse")


if __name__ == "__main__":
    main()
