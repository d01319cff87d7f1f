"""A driver on the Postgres wire: plain and prepared statements, parameters, errors with their place, cancellation."""

import sys
import threading
import time

import psycopg

address, key = sys.argv[1], sys.argv[2]
host, port = address.rsplit(":", 1)
wire = dict(host=host, port=port, user="tester", dbname="milepost")

if key:
    try:
        psycopg.connect(**wire, password="wrong")
        sys.exit("a wrong key was let in")
    except psycopg.OperationalError as error:
        assert "authentication failed" in str(error), error

with psycopg.connect(**wire, password=key or "none") as connection:
    rows = connection.execute("SELECT venueId, total, isMember, note FROM seatReserved ORDER BY eventId").fetchall()
    assert rows == [(17, 62.5, True, None), (18, 31.0, False, "it's")], rows
    asked = "SELECT COUNT(*) FROM seatReserved WHERE venueId >= %s AND total < %s AND (note = %s OR isMember = %s)"
    assert connection.execute(asked, (17, 40.5, "it's", True)).fetchone() == (1,)
    assert connection.execute("SELECT COUNT(*) FROM seatReserved WHERE note = %s", ("'; DROP",)).fetchone() == (0,)
    for _ in range(8):
        # After a few times the driver prepares it.
        assert connection.execute("SELECT %s + 1", (41,)).fetchone() == (42,)
    when = connection.execute("SELECT occurredTime FROM seatReserved WHERE eventId = %s", ("e1",)).fetchone()[0]
    assert when.isoformat() == "2026-06-01T10:00:00+00:00", when
    seats = connection.execute("SELECT seats FROM seatReserved WHERE eventId = 'e1'").fetchone()[0]
    assert seats == '[{"row":"C","price":31.25}]', seats
    described = connection.execute("DESCRIBE seatReserved")
    assert [column.name for column in described.description][:2] == ["property", "type"], described.description
    assert ("venueId", "Numeric") in {row[:2] for row in described.fetchall()}
    connection.commit()
    try:
        connection.execute("SELECT *\nFROM seatReservd")
        sys.exit("an unknown table was answered")
    except psycopg.errors.UndefinedTable as error:
        assert "did you mean" in str(error) and error.diag.statement_position == "15", error.diag.statement_position
    connection.rollback()
    try:
        connection.execute("ENABLE EVENT emailOpened")
        sys.exit("a change was made")
    except psycopg.errors.InsufficientPrivilege as error:
        assert "read-only" in str(error), error
    connection.rollback()
    threading.Timer(0.5, connection.cancel).start()
    begun = time.monotonic()
    try:
        connection.execute("SELECT COUNT(*) FROM UNNEST(RANGE(0, 3000000)) AS a(v), UNNEST(RANGE(0, 300000)) AS b(w) WHERE v * w % 7 = 3")
        sys.exit("a question of hours was answered")
    except psycopg.errors.QueryCanceled:
        pass
    connection.rollback()
    assert connection.execute("SELECT 1").fetchone() == (1,)
print("fine")
