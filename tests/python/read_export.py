"""read_export.py READER FOLDER: exported rows by definition, as a foreign reader sees them."""
import collections
import glob
import gzip
import json
import sys

reader, folder = sys.argv[1:]
if reader == "gzip":
    counts = collections.Counter()
    for name in sorted(glob.glob(folder + "/*.json.gz")):
        with gzip.open(name, "rt", encoding="utf-8") as lines:
            counts.update(json.loads(line)["definitionId"] for line in lines)
    rows = sorted(counts.items())
else:
    import duckdb

    rows = duckdb.sql(
        f"SELECT definitionId, count(*) FROM read_json('{folder}/*.json.gz', union_by_name = true) GROUP BY 1 ORDER BY 1"
    ).fetchall()
for definition, count in rows:
    print(f"{definition},{count}")
