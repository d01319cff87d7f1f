#!/usr/bin/env python3
"""The generated history as one time-ordered file of JSON lines, as a sender would log it.

usage: history.py DIR        reads DIR/time/*.parquet (made by gen.py), writes DIR/events.json.gz

One row an event: definitionId, eventId, externalPersonId, sessionId, occurredTime, then the event's own properties;
what an event lacks is left out.
"""
import glob
import json
import os
import sys

import duckdb

PROPERTIES = {
    "pageView": ["url", "path", "pageTitle", "deviceType", "browserName", "browserLanguage"],
    "sessionStarted": ["sessionType", "utm_source", "utm_medium", "utm_campaign", "deviceType"],
    "emailOpened": ["campaignName"],
    "itemViewed": ["itemID", "duration"],
    "addedToCart": ["itemID", "amount", "price"],
    "itemPurchased": ["itemID", "amount", "price", "profit"],
    "addedToFavourites": ["itemID"],
    "ratingAdded": ["itemID", "rating"],
}
NUMBERS = {"itemID", "duration", "amount", "price", "profit", "rating"}


def line(definition, properties):
    """A SQL expression for the JSON text of one event of a definition."""
    parts = [
        "'{\"definitionId\":\"" + definition + "\",\"eventId\":\"e' || event_id",
        "'\",\"externalPersonId\":\"crm-' || person",
        "'\"' || coalesce(',\"sessionId\":\"' || session_id || '\"', '')",
        "strftime(time, ',\"occurredTime\":\"%Y-%m-%dT%H:%M:%S.%gZ\"')",
    ]
    for name in properties:
        value = name if name in NUMBERS else "to_json(" + name + "::VARCHAR)"
        parts.append("',\"" + name + "\":' || " + value)
    return " || ".join(parts) + " || '}'"


def main():
    root = sys.argv[1].rstrip("/")
    target = root + "/events.json.gz"
    meta = json.load(open(root + "/meta.json"))
    con = duckdb.connect()
    con.execute("SET threads = 2")
    con.execute("SET preserve_insertion_order = true")
    whens = " ".join(f"WHEN '{name}' THEN {line(name, PROPERTIES[name])}" for name in meta["definitions"])
    files = sorted(glob.glob(root + "/time/*.parquet"))
    con.execute(
        f"COPY (SELECT CASE definition::VARCHAR {whens} END AS line FROM read_parquet({files!r})) "
        f"TO '{target}.part' (FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01', COMPRESSION gzip)"
    )
    os.rename(target + ".part", target)
    print(target, os.path.getsize(target), "bytes")


main()
