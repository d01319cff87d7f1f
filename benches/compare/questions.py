#!/usr/bin/env python3
"""Segments and retention beside DuckDB on the same generated events: the answers must be the same.

usage: questions.py DIR STORE [--milepost BINARY]

DIR is what gen.py made, STORE a data directory with its events imported (compare.py does both). Asked are persons with
five page views within any 30 days and no purchase in the last 45 (Q4), and weekly retention of eight weeks (Q5). The
times are of whole processes, ours with opening the store. Needs: pip install duckdb
"""
import argparse
import csv
import datetime
import io
import json
import subprocess
import sys
import time

import duckdb

DAY = 86_400_000
WEEK = 7 * DAY


def timed(run):
    start = time.perf_counter()
    answer = run()
    return answer, time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dir")
    parser.add_argument("store")
    parser.add_argument("--milepost", default="target/release/milepost")
    args = parser.parse_args()
    meta = json.load(open(args.dir + "/meta.json"))
    start = meta["t0_ms"]
    now = start + meta["days"] * DAY

    def said(millis):
        return datetime.datetime.fromtimestamp(millis / 1000, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def ours(sql):
        command = [args.milepost, "--data", args.store, "--threads", "2", "sql", "--format", "csv", "-c", sql]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return list(csv.DictReader(io.StringIO(done.stdout)))

    con = duckdb.connect()
    con.execute("SET threads = 2; SET timezone = 'UTC'")
    con.execute("CREATE TABLE ev AS SELECT definition::VARCHAR AS definition, person, time FROM "
                f"read_parquet('{args.dir}/part/*/*/*.parquet', hive_partitioning = true, union_by_name = true, "
                "hive_types = {'day': DATE, 'definition': VARCHAR})")
    wrong = 0

    views = " THEN ".join(["pageView"] * 5)
    mine, our_time = timed(lambda: ours(
        f"PERSONS WHERE SEQUENCE {views} WITHIN 30 DAYS AND NOT DID itemPurchased IN LAST 45 DAYS AS OF '{said(now)}'"))
    theirs, their_time = timed(lambda: con.execute(
        "SELECT count(*) FROM (SELECT DISTINCT person FROM (SELECT person, time - lag(time, 4) OVER "
        "(PARTITION BY person ORDER BY time) AS d FROM ev WHERE definition = 'pageView') WHERE d <= INTERVAL 30 DAY) "
        "ANTI JOIN (SELECT DISTINCT person FROM ev WHERE definition = 'itemPurchased' AND "
        f"time >= TIMESTAMP '{said(now - 45 * DAY)[:19]}') USING (person)").fetchone()[0])
    print(f"q4: {len(mine)} persons, DuckDB {theirs}; {our_time:.2f} s, DuckDB {their_time:.2f} s")
    wrong += len(mine) != theirs

    mine, our_time = timed(lambda: ours("RETENTION * THEN * PER WEEK FOR 8 CELLS"))
    theirs, their_time = timed(lambda: con.execute(
        f"WITH m AS (SELECT person, bit_or(1 << ((epoch_ms(time) - {start}) // {WEEK})::INT) AS m FROM ev GROUP BY person) "
        "SELECT bit_count((m & -m) - 1)::INT AS cohort, k, count(*) FROM m, range(0, 9) w(k) "
        "WHERE (m >> (bit_count((m & -m) - 1)::INT + k::INT)) & 1 = 1 GROUP BY 1, 2").fetchall())
    triangle = {(cohort, k): persons for cohort, k, persons in theirs}
    first = datetime.datetime.fromtimestamp(start / 1000, datetime.timezone.utc).date()
    differ = 0
    for cell in mine:
        cohort = (datetime.date.fromisoformat(cell["cohort"]) - first).days // 7
        k = int(cell["period"])
        # Their period 0 is everybody who started; ours asks for a second event.
        found = int(cell["persons"]) if k == 0 else int(cell["returned"])
        differ += found != triangle.get((cohort, k), 0)
    print(f"q5: {len(mine)} cells, {differ} differ from DuckDB; {our_time:.2f} s, DuckDB {their_time:.2f} s")
    sys.exit(1 if wrong or differ else 0)


if __name__ == "__main__":
    main()
