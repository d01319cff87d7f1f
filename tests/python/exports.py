"""exports.py ENDPOINT BUCKET PREFIX [FOLDER]: what each export in a bucket holds, checked against its manifest.

For each manifest a line: request id, files, rows, the number of the last event seen, and a digest of the sorted event
ids. Fails when a file is torn, named by no manifest, or differs from what its manifest says; when an event is there
twice; and when an upload in parts was left open. With FOLDER, the files are copied there.
"""
import gzip
import hashlib
import json
import os
import sys

import boto3

endpoint, bucket, prefix = sys.argv[1:4]
folder = sys.argv[4] if len(sys.argv) > 4 else None
keys = {}
if os.environ.get("TEST_ROOT_KEY"):
    keys = dict(aws_access_key_id=os.environ["TEST_ROOT_KEY"], aws_secret_access_key=os.environ["TEST_ROOT_SECRET"])
else:
    keys = dict(aws_access_key_id="testing", aws_secret_access_key="testing")
s3 = boto3.client("s3", endpoint_url=endpoint, region_name="eu-central-1", **keys)

assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads"), "an upload was left open"
objects = {}
for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
    for item in page.get("Contents", []):
        answer = s3.get_object(Bucket=bucket, Key=item["Key"])
        name = item["Key"][len(prefix):]
        objects[name] = answer["Body"].read()
        if name.endswith(".gz"):
            assert answer["ContentType"] == "application/gzip", answer["ContentType"]
            assert not answer.get("ContentEncoding"), answer["ContentEncoding"]
named = set()
for name in sorted(objects):
    if not name.endswith("-manifest.json"):
        continue
    manifest = json.loads(objects[name])
    ids = []
    for file in manifest["files"]:
        body = objects[file["name"]]
        named.add(file["name"])
        assert len(body) == file["bytes"], file["name"]
        assert hashlib.sha256(body).hexdigest() == file["sha256"], file["name"]
        rows = [json.loads(line) for line in gzip.decompress(body).decode().splitlines()]
        assert len(rows) == file["rows"], file["name"]
        assert all(file["startTime"] <= row["occuredTime"] < file["endTime"] for row in rows), file["name"]
        ids += [row["eventId"] for row in rows]
    assert len(set(ids)) == len(ids) == manifest["rows"], name
    digest = hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]
    print(manifest["requestId"], len(manifest["files"]), len(ids), manifest["seqSeen"], digest)
strays = {name for name in objects if name.endswith(".gz")} - named
assert not strays, strays
if folder:
    os.makedirs(folder, exist_ok=True)
    for name, body in objects.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(body)
