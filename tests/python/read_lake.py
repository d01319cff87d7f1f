"""read_lake.py READER TABLE [SINCE]: rows and persons by day of a Delta table, as a foreign reader sees them; of the events
from a time on, if one is given."""
import sys

import duckdb

reader, table, *since = sys.argv[1:]
con = duckdb.connect()
if reader == "deltalake":
    from deltalake import DeltaTable

    events = DeltaTable(table).to_pyarrow_dataset()
    source = "events"
else:
    import duckdb_extensions

    duckdb_extensions.import_extension("delta", con=con)
    con.execute("LOAD delta")
    source = f"delta_scan('{table}')"
condition = f"WHERE occurredTime >= TIMESTAMPTZ '{since[0]}'" if since else ""
question = f"SELECT day, count(*), count(DISTINCT personId) FROM {source} {condition} GROUP BY day ORDER BY day"
for day, rows, persons in con.execute(question).fetchall():
    print(f"{day},{rows},{persons}")
