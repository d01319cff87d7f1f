"""SQLAlchemy's reflection and psql's backslash commands, where psql is there."""

import shutil
import subprocess
import sys

from sqlalchemy import create_engine
from sqlalchemy import inspect
from sqlalchemy import text

address, key = sys.argv[1], sys.argv[2] or "none"
host, port = address.rsplit(":", 1)

engine = create_engine(f"postgresql+psycopg://tester:{key}@{host}:{port}/milepost")
seen = inspect(engine)
names = seen.get_table_names()
assert {"seatReserved", "events", "persons"} <= set(names), names
assert "rejected" not in names, names
columns = {column["name"]: str(column["type"]) for column in seen.get_columns("seatReserved")}
assert columns["personId"] == "BIGINT" and columns["total"] == "DOUBLE PRECISION", columns
assert columns["occurredTime"].startswith("TIMESTAMP"), columns
assert "main" in seen.get_schema_names(), seen.get_schema_names()
assert seen.has_table("seatReserved") and not seen.has_table("nothing")
with engine.connect() as connection:
    assert connection.execute(text("SELECT COUNT(*) FROM seatReserved WHERE total > :t"), {"t": 40}).scalar() == 1

if shutil.which("psql"):
    def psql(command):
        done = subprocess.run(["psql", f"host={host} port={port} user=tester dbname=milepost password={key}", "-At", "-c", command],
                              capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    assert "main|seatReserved|table|milepost" in psql("\\dt"), psql("\\dt")
    assert "seatReserved" in psql("\\d")
    told = psql('\\d "seatReserved"')
    assert "total|double precision" in told and "occurredTime|timestamp with time zone|" in told, told
    assert psql("\\l").startswith("milepost|milepost|UTF8"), psql("\\l")
    assert "main|milepost" in psql("\\dn"), psql("\\dn")
    assert "local_day" in psql("\\df"), psql("\\df")
print("fine")
