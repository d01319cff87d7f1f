#!/usr/bin/env python3
"""Persons with attributes, their merges, and one person's timeline: how long each takes, beside DuckDB where it can do it.

usage: people.py DIR [--persons N] [--merges N] [--milepost BINARY] [--only import,scan,merge,funnel,timeline]

DIR is a folder of compare.py. import and scan make persons in a store of their own under it; merge, funnel and timeline
use a copy of its store (hard links), so that nobody is merged in the store itself. Needs: pip install duckdb
"""
import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys

import duckdb

from compare import FUNNEL
from compare import ROOT
from compare import RUNS
from compare import THREADS
from compare import Bench
from compare import report
from compare import timed

CITIES = 200
SCANS = {
    "by city": ("SELECT count(*) FROM persons WHERE city = 'City 7'", "SELECT count(*) FROM persons WHERE city = 'City 7'"),
    "by points": ("SELECT count(*), avg(points) FROM persons WHERE points BETWEEN 500 AND 700 AND gender = 'FEMALE'",) * 2,
    "by tag": ("SELECT count(*) FROM persons WHERE array_has(tags, 'vip')", "SELECT count(*) FROM persons WHERE list_contains(tags, 'vip')"),
    "by name": ("SELECT count(*) FROM persons WHERE firstName LIKE 'Name 12%'",) * 2,
}


def people(count):
    """One JSON object a person, always the same."""
    pick = random.Random(7)
    for n in range(count):
        yield {
            "externalId": f"crm-{n}",
            "firstName": f"Name {pick.randrange(5_000)}",
            "lastName": f"Family {pick.randrange(20_000)}",
            "city": f"City {pick.randrange(CITIES)}",
            "country": f"Country {pick.randrange(40)}",
            "gender": pick.choice(["MALE", "FEMALE"]),
            "tags": ["vip"] if pick.random() < 0.05 else ["other"] if pick.random() < 0.2 else [],
            "customAttributes": {"points": pick.randrange(1_000)},
            "contactInformation": {"email": [{"address": f"p{n}@example.com"}]},
        }


def sql(bench, store, *arguments):
    done = subprocess.run([bench.binary, "--data", store, "--threads", str(THREADS), "sql", *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def say(name, value, unit):
    print(f"{name:22} milepost {value:10.1f} {unit}", flush=True)


def make(bench, folder, count):
    """Imports the persons; says how long that takes."""
    file = f"{folder}/people-{count}.jsonl"
    if not os.path.exists(file):
        with open(file, "w") as out:
            out.writelines(json.dumps(person) + "\n" for person in people(count))
    store = folder + "/people"
    shutil.rmtree(store, ignore_errors=True)
    sql(bench, store, "-c", "CREATE PERSON ATTRIBUTE points INTEGER")
    seconds = timed(lambda: subprocess.run([bench.binary, "--data", store, "people", "import", "--quiet", file], check=True,
                                           stdout=subprocess.DEVNULL))
    say("import", count / seconds, f"persons/s ({seconds:.1f} s)")


def scans(bench, folder, count):
    con = duckdb.connect()
    con.execute(f"SET threads = {THREADS}")
    con.execute("CREATE TABLE persons AS SELECT externalId, firstName, lastName, city, country, gender, tags, customAttributes.points "
                f"FROM read_json('{folder}/people-{count}.jsonl')")
    bench.store = folder + "/people"
    for name, (ours, theirs) in SCANS.items():
        mine = sql(bench, bench.store, "--format", "csv", "-c", ours).splitlines()[1].split(",")
        other = con.execute(theirs).fetchone()
        if int(mine[0]) != other[0]:
            sys.exit(f"{name}: the answers differ: milepost {mine}, DuckDB {other}")
        times = []
        for _ in range(RUNS + 1):
            times.append(1000 * timed(lambda: con.execute(theirs).fetchall()))
        report(name, bench.ask_ours(ours, RUNS), times[1:], "ms")


def copy(bench):
    """The store of compare.py again, sharing its data files."""
    store = bench.dir + "/merged"
    shutil.rmtree(store, ignore_errors=True)
    linked = lambda source, target: os.link(source, target) if source.endswith(".parquet") else shutil.copy2(source, target)
    shutil.copytree(bench.dir + "/milepost", store, copy_function=linked)
    return store


def persons_of(bench, store):
    return int(sql(bench, store, "--format", "csv", "-c", "SELECT count(*) FROM persons").splitlines()[1])


def merge(bench, store, count):
    """Merges as single statements, each durable before the next begins."""
    script = store + ".sql"
    with open(script, "w") as out:
        for n in range(count):
            # Far apart, so that no two are of one merge.
            out.write(f"MERGE PERSONS '{2 * n + 1}', '{2 * n + 2}';\n")
    seconds = timed(lambda: sql(bench, store, "--format", "csv", "-f", script))
    say("merge", count / seconds, f"merges/s ({seconds:.1f} s, the opening of the store among it)")


def funnel(bench, store):
    bench.store = bench.dir + "/milepost"
    before = bench.ask_ours(FUNNEL, RUNS)
    bench.store = store
    after = bench.ask_ours(FUNNEL, RUNS)
    say("funnel, nobody merged", statistics.median(before), "ms")
    say("funnel, some merged", statistics.median(after), f"ms ({statistics.median(after) / statistics.median(before):.2f} times)")


def timeline(bench, store):
    """Ten persons, whom no earlier question was about."""
    bench.store = store
    times, rows = [], 0
    pick = random.Random(11)
    count = persons_of(bench, store)
    wanted = [pick.randrange(1, count) for _ in range(11)]
    commands = []
    for person in wanted:
        commands += ["-c", f"SELECT occurredTime, definitionId, properties FROM events WHERE personId = {person} ORDER BY occurredTime DESC"]
    done = subprocess.run([bench.binary, "--data", store, "--threads", str(THREADS), "sql", "--timing", "--format", "csv", *commands],
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    times = [float(line.split()[1]) for line in done.stderr.splitlines() if line.startswith("Time: ")]
    rows = len(done.stdout.splitlines()) - len(wanted)
    say("timeline", statistics.median(times[1:]), f"ms ({min(times[1:]):.1f}..{max(times[1:]):.1f}; the first {times[0]:.1f}; {rows} events)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--persons", type=int, default=1_000_000)
    parser.add_argument("--merges", type=int, default=2_000)
    parser.add_argument("--only", default="import,scan,merge,funnel,timeline")
    parser.add_argument("--milepost", default=ROOT + "/target/release/milepost")
    args = parser.parse_args()
    bench = Bench(args)
    only = args.only.split(",")
    if "import" in only:
        make(bench, bench.dir, args.persons)
    if "scan" in only:
        scans(bench, bench.dir, args.persons)
    store = bench.dir + "/merged"
    if "merge" in only:
        store = copy(bench)
        merge(bench, store, args.merges)
    if "funnel" in only:
        funnel(bench, store)
    if "timeline" in only:
        timeline(bench, store if os.path.exists(store) else bench.dir + "/milepost")


if __name__ == "__main__":
    main()
