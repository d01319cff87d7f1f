#!/usr/bin/env python3
"""Milepost beside DuckDB and ClickHouse on the same generated events and the same two threads; prints ratios.

usage: compare.py DIR [--events N] [--rounds R] [--only import,size,q1,q2,q3,q6,q7] [--milepost BINARY]

DIR keeps what is made: the history (gen.py), its JSON lines (history.py), and each engine's own store. In every
round the engines take turns, so a slow moment of the machine falls on all of them; quoted are medians. A ratio
above 1 says how many times longer the peer took. Needs: pip install duckdb chdb pyarrow numpy
"""
import argparse
import datetime
import gzip
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time

import duckdb

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DAY = "2026-07-15"
NEXT = "2026-07-16"
GZIP_LEVEL = 6  # DuckDB's COPY compresses at miniz's default level, 6
THREADS = 2
RUNS = 9  # of each question in a process, after one to warm up

DEFINE = """
CREATE EVENT IF NOT EXISTS FROM TEMPLATE itemViewed;
CREATE EVENT IF NOT EXISTS FROM TEMPLATE addedToCart;
CREATE EVENT IF NOT EXISTS FROM TEMPLATE itemPurchased;
CREATE EVENT IF NOT EXISTS FROM TEMPLATE addedToFavourites;
CREATE EVENT IF NOT EXISTS FROM TEMPLATE ratingAdded;
ENABLE EVENT pageView, sessionStarted;
"""
FUNNEL = "FUNNEL pageView WHERE path = '/shoes', addedToCart, itemPurchased WITHIN 7 DAYS"
OURS = {
    "q2": FUNNEL,
    "q3": FUNNEL + " BY deviceType OF STEP 1",
    "q1": "SELECT definitionId, day, COUNT(*), COUNT(DISTINCT personId) FROM events GROUP BY definitionId, day ORDER BY 1, 2",
    "q6": "SELECT itemID, SUM(price * amount) AS r, COUNT(*), AVG(price * amount), "
    "PERCENTILE_CONT(0.95) WITHIN GROUP (ORDER BY price * amount) "
    "FROM itemPurchased GROUP BY itemID ORDER BY r DESC LIMIT 10",
}
ASOF = """WITH s1 AS MATERIALIZED (SELECT person, time, deviceType FROM typed WHERE definition = 'pageView' AND path = '/shoes'),
 s2 AS MATERIALIZED (SELECT c.person, c.time, s1.time st FROM (SELECT person, time FROM typed WHERE definition = 'addedToCart') c
   ASOF JOIN s1 ON c.person = s1.person AND c.time > s1.time WHERE c.time - s1.time <= INTERVAL 7 DAYS),
 s3 AS MATERIALIZED (SELECT DISTINCT c.person FROM (SELECT person, time FROM typed WHERE definition = 'itemPurchased') c
   ASOF JOIN s2 ON c.person = s2.person AND c.time > s2.time WHERE c.time - s2.st <= INTERVAL 7 DAYS)
"""
DUCK = {
    "q2": ASOF + "SELECT (SELECT count(DISTINCT person) FROM s1), (SELECT count(DISTINCT person) FROM s2), (SELECT count(*) FROM s3)",
    "q3": ASOF + ", f AS (SELECT person, arg_min(deviceType, time) dev FROM s1 GROUP BY person) "
    "SELECT dev, count(*), count(s2.person), count(s3.person) FROM f LEFT JOIN (SELECT DISTINCT person FROM s2) s2 USING (person) "
    "LEFT JOIN s3 USING (person) GROUP BY 1 ORDER BY 1",
    "q1": "SELECT definition::VARCHAR, day, count(*), count(DISTINCT person) FROM typed GROUP BY 1, 2 ORDER BY 1, 2",
    "q6": "SELECT itemID, sum(price * amount) AS r, count(*), avg(price * amount), quantile_cont(price * amount, 0.95) FROM typed WHERE definition = 'itemPurchased' GROUP BY 1 ORDER BY r DESC LIMIT 10",
}
LEVELS = """SELECT person, windowFunnel(604800000)(toUInt64(toUnixTimestamp64Milli(time)), definition = 'pageView' AND path = '/shoes',
  definition = 'addedToCart', definition = 'itemPurchased') lvl{more} FROM typed
  WHERE (definition = 'pageView' AND path = '/shoes') OR definition = 'addedToCart' OR definition = 'itemPurchased' GROUP BY person"""
CLICKHOUSE = {
    "q2": "SELECT countIf(lvl >= 1), countIf(lvl >= 2), countIf(lvl >= 3) FROM (" + LEVELS.format(more="") + ")",
    "q3": "SELECT dev, countIf(lvl >= 1), countIf(lvl >= 2), countIf(lvl >= 3) FROM ("
    + LEVELS.format(more=", argMinIf(deviceType, time, definition = 'pageView') dev") + ") WHERE lvl >= 1 GROUP BY dev ORDER BY dev",
}
PROPERTIES = ["url", "path", "pageTitle", "deviceType", "browserName", "browserLanguage", "sessionType", "utm_source",
              "utm_medium", "utm_campaign", "campaignName", "itemID", "duration", "amount", "price", "profit", "rating"]


class Bench:
    def __init__(self, args):
        self.dir = os.path.abspath(args.dir)
        self.events = args.events
        self.rounds = args.rounds
        self.binary = os.path.abspath(args.milepost)
        self.json = self.dir + "/events.json.gz"
        self.store = self.dir + "/milepost"
        self.duck = self.dir + "/duck.db"

    def prepare(self):
        if not os.path.exists(self.dir + "/meta.json"):
            run([sys.executable, HERE + "/gen.py", str(self.events), self.dir])
        if not os.path.exists(self.json):
            run([sys.executable, HERE + "/history.py", self.dir])

    # ---- import: the same gzip file of JSON lines into each engine's own table

    def import_ours(self):
        shutil.rmtree(self.store, ignore_errors=True)
        run([self.binary, "--data", self.store, "sql", "-c", DEFINE], stdout=subprocess.DEVNULL)
        return timed(lambda: run([self.binary, "--data", self.store, "--threads", str(THREADS), "import", "--quiet", self.json],
                                 stdout=subprocess.DEVNULL))

    def import_duckdb(self):
        for name in (self.duck, self.duck + ".wal"):
            if os.path.exists(name):
                os.remove(name)
        con = duckdb.connect(self.duck)
        con.execute(f"SET threads = {THREADS}")
        seconds = timed(lambda: con.execute(
            f"CREATE TABLE ev AS SELECT * FROM read_json('{self.json}', format = 'newline_delimited')"))
        con.close()
        return seconds

    # ---- the peers' own best tables for the questions, from the typed Parquet of the generator

    def prepare_duckdb(self):
        con = self.duck_connection()
        have = {row[0] for row in con.execute("SELECT table_name FROM information_schema.tables").fetchall()}
        if "typed" not in have:
            kinds = ",".join("'%s'" % name for name in json.load(open(self.dir + "/meta.json"))["definitions"])
            con.execute(f"CREATE TABLE typed AS SELECT * REPLACE (definition::ENUM({kinds}) AS definition) FROM "
                        f"read_parquet('{self.dir}/part/*/*/*.parquet', hive_partitioning = true, union_by_name = true, "
                        "hive_types = {'day': DATE, 'definition': VARCHAR})")
            con.execute("CHECKPOINT")
        con.close()

    def duck_connection(self):
        con = duckdb.connect(self.duck)
        con.execute(f"SET threads = {THREADS}")
        return con

    def size_clickhouse(self):
        """MergeTree of the same JSON rows, sorted as our files are, with LowCardinality where it helps."""
        from chdb import session

        path = self.dir + "/chdb"
        shutil.rmtree(path, ignore_errors=True)
        con = session.Session(path)
        low = "LowCardinality(Nullable(String))"
        columns = ["definitionId LowCardinality(String)", "eventId String", "externalPersonId String",
                   "sessionId Nullable(String)", "occurredTime DateTime64(3, 'UTC')"]
        columns += [f"{name} {low}" for name in PROPERTIES[:11]]
        columns += ["itemID Nullable(Int64)", "duration Nullable(Int64)", "amount Nullable(Int64)",
                    "price Nullable(Float64)", "profit Nullable(Float64)", "rating Nullable(Float64)"]
        con.query(f"CREATE TABLE ev ({', '.join(columns)}) ENGINE = MergeTree "
                  "ORDER BY (definitionId, toDate(occurredTime), externalPersonId, occurredTime)")
        con.query("SET max_threads = 2")
        con.query(f"INSERT INTO ev SELECT * FROM file('{self.json}', JSONEachRow, '{', '.join(columns).replace(chr(39), chr(92) + chr(39))}') "
                  "SETTINGS date_time_input_format = 'best_effort'")
        con.query("OPTIMIZE TABLE ev FINAL")
        answer = con.query("SELECT sum(bytes_on_disk), sum(rows) FROM system.parts WHERE active AND table = 'ev'", "JSONCompactEachRow")
        size, rows = json.loads(answer.bytes())
        con.close()
        return int(size), int(rows)

    def clickhouse(self):
        """MergeTree of the generator's typed rows, in the order that suits funnels best."""
        from chdb import session

        path = self.dir + "/chdb-typed"
        fresh = not os.path.exists(path)
        con = session.Session(path)
        con.query("SET max_threads = 2")
        if fresh:
            files = f"file('{self.dir}/part/*/*/*.parquet', Parquet, 'person UInt32, time DateTime64(3), path LowCardinality(Nullable(String)), "
            files += "deviceType LowCardinality(Nullable(String)), definition LowCardinality(String), day Date')"
            con.query("CREATE TABLE typed ENGINE = MergeTree ORDER BY (definition, day, person, time) AS SELECT * FROM "
                      + files + " SETTINGS use_hive_partitioning = 1")
            con.query("OPTIMIZE TABLE typed FINAL")
        return con

    def ask_clickhouse(self, statement, runs):
        con = self.clickhouse()
        times = []
        for _ in range(runs + 1):
            times.append(timed(lambda: con.query(statement, "JSONCompactEachRow")) * 1000)
        con.close()
        return times[1:]

    def funnel_answers(self):
        """All three must count the same persons at each step."""
        con = self.clickhouse()
        theirs = json.loads(con.query(CLICKHOUSE["q2"], "JSONCompactEachRow").bytes())
        con.close()
        duck = self.duck_connection()
        ducks = list(duck.execute(DUCK["q2"]).fetchone())
        duck.close()
        done = run([self.binary, "--data", self.store, "sql", "--format", "csv", "-c", FUNNEL], stdout=subprocess.PIPE, text=True)
        ours = [int(line.split(",")[2]) for line in done.stdout.splitlines()[1:]]
        if not ours == ducks == [int(one) for one in theirs]:
            sys.exit(f"the answers differ: milepost {ours}, DuckDB {ducks}, ClickHouse {theirs}")
        print(f"funnel     {ours}", flush=True)

    def lake_bytes(self):
        """Bytes of the files that the tables name, as MergeTree counts its active parts, and of all under lake/."""
        live = total = 0
        for folder, _, names in os.walk(self.store + "/lake"):
            total += sum(os.path.getsize(os.path.join(folder, name)) for name in names)
            if folder.endswith("/_delta_log"):
                live += sum(live_files(folder, names).values())
        return live, total

    # ---- questions

    def ask_ours(self, statement, runs):
        """Milliseconds of each run in one process, the first (a warm-up) left out."""
        commands = []
        for _ in range(runs + 1):
            commands += ["-c", statement]
        done = subprocess.run([self.binary, "--data", self.store, "--threads", str(THREADS), "sql", "--timing", "--format", "csv"] + commands,
                              capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return [float(ms) for ms in re.findall(r"^Time: ([0-9.]+) ms", done.stderr, re.M)][1:]

    def ask_duckdb(self, statement, runs, before=lambda: None):
        con = self.duck_connection()
        times = []
        for _ in range(runs + 1):
            before()
            times.append(1000 * timed(lambda: con.execute(statement).fetchall()))
        con.close()
        return times[1:]

    def export_ours(self, runs):
        target = self.dir + "/export-ours"
        times = []
        for _ in range(runs):
            shutil.rmtree(target, ignore_errors=True)
            times += self.ask_ours_once(f"EXPORT EVENTS FROM '{DAY}' TO '{NEXT}' INTO '{target}'")
        return times, exported(target)

    def ask_ours_once(self, statement):
        done = subprocess.run([self.binary, "--data", self.store, "--threads", str(THREADS), "sql", "--timing", "-c", statement],
                              capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return [float(ms) for ms in re.findall(r"^Time: ([0-9.]+) ms", done.stderr, re.M)]

    def export_duckdb(self, runs):
        target = self.dir + "/export-duckdb"
        select = ("definition AS definitionId, 'e' || event_id AS eventId, session_id::VARCHAR AS sessionId, person::VARCHAR AS personId, "
                  "'crm-' || person AS externalPersonId, strftime(time, '%Y-%m-%dT%H:%M:%S.%g+0000') AS occuredTime, " + ", ".join(PROPERTIES))
        statement = (f"COPY (SELECT {select}, ((row_number() OVER ()) - 1) // 50000 AS f FROM typed WHERE day = DATE '{DAY}') TO '{target}' "
                     "(FORMAT json, COMPRESSION gzip, PARTITION_BY (f), FILE_EXTENSION 'json.gz')")
        clear = lambda: shutil.rmtree(target, ignore_errors=True)
        return self.ask_duckdb(statement, runs, clear), exported(target)


def live_files(log, names):
    """The files that a table's log names at its newest version, with their bytes."""
    versions = sorted(name for name in names if re.fullmatch(r"[0-9]{20}\.json", name))
    files = {}
    checkpoints = sorted(name for name in names if name.endswith(".checkpoint.parquet"))
    if checkpoints:
        newest = checkpoints[-1]
        rows = duckdb.sql(f"SELECT add.path, add.size FROM read_parquet('{log}/{newest}') WHERE add IS NOT NULL").fetchall()
        files = dict(rows)
        versions = [name for name in versions if name[:20] > newest[:20]]
    for name in versions:
        for line in open(os.path.join(log, name)):
            action = json.loads(line)
            if "add" in action:
                files[action["add"]["path"]] = action["add"]["size"]
            if "remove" in action:
                files.pop(action["remove"]["path"], None)
    return files


def exported(folder):
    rows = size = 0
    for base, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".json.gz"):
                path = os.path.join(base, name)
                size += os.path.getsize(path)
                rows += gzip.open(path).read().count(b"\n")
    return {"rows": rows, "bytes": size}


def run(command, **options):
    return subprocess.run(command, check=True, **options)


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def report(name, ours, peer, unit, peer_name="DuckDB"):
    mine, other = statistics.median(ours), statistics.median(peer)
    print(f"{name:10} milepost {mine:10.1f} {unit}   {peer_name} {other:10.1f} {unit}   ratio {other / mine:5.2f}"
          f"   ({min(ours):.1f}..{max(ours):.1f} | {min(peer):.1f}..{max(peer):.1f})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="import,size,q1,q2,q3,q6,q7")
    parser.add_argument("--milepost", default=ROOT + "/target/release/milepost")
    bench = Bench(parser.parse_args())
    only = parser.parse_args().only.split(",")
    print(f"{datetime.date.today()}  DuckDB {duckdb.__version__}  {os.cpu_count()} cores, {THREADS} threads each", flush=True)
    bench.prepare()
    if "import" in only:
        ours, peer = [], []
        for _ in range(bench.rounds):
            ours.append(bench.import_ours())
            peer.append(bench.import_duckdb())
        report("import", ours, peer, "s")
    if "size" in only:
        size, rows = bench.size_clickhouse()
        live, total = bench.lake_bytes()
        report("size", [live / 1e6], [size / 1e6], "MB", "ClickHouse")
        print(f"{'':10} of {total / 1e6:.1f} MB under lake/: the rest are logs, and files that were just replaced and stay for "
              "readers who hold them")
    if {"q1", "q2", "q3", "q6", "q7"} & set(only):
        bench.prepare_duckdb()
    if {"q2", "q3"} & set(only):
        bench.funnel_answers()
    for name in ("q2", "q3"):
        if name in only:
            ours, peer, other = [], [], []
            for _ in range(bench.rounds):
                ours += bench.ask_ours(OURS[name], RUNS)
                peer += bench.ask_duckdb(DUCK[name], RUNS)
                other += bench.ask_clickhouse(CLICKHOUSE[name], RUNS)
            report(name, ours, peer, "ms")
            report(name, ours, other, "ms", "ClickHouse")
    for name in ("q1", "q6"):
        if name in only:
            ours, peer = [], []
            for _ in range(bench.rounds):
                ours += bench.ask_ours(OURS[name], RUNS)
                peer += bench.ask_duckdb(DUCK[name], RUNS)
            report(name, ours, peer, "ms")
    if "q7" in only:
        ours, peer = [], []
        for _ in range(bench.rounds):
            times, made = bench.export_ours(3)
            ours += times
            times, theirs = bench.export_duckdb(3)
            peer += times
        report("q7", ours, peer, "ms")
        print(f"{'':10} milepost {made}   DuckDB {theirs}")


if __name__ == "__main__":
    main()
