"""bucket.py ENDPOINT put BUCKET KEY FILE | list BUCKET PREFIX: the test bucket, from outside of Milepost."""
import gzip
import sys

import boto3
from botocore.exceptions import ClientError

endpoint, action, bucket = sys.argv[1:4]
s3 = boto3.client("s3", endpoint_url=endpoint, region_name="eu-central-1", aws_access_key_id="testing", aws_secret_access_key="testing")
if action == "put":
    try:
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    except ClientError as fault:
        if "BucketAlreadyOwnedByYou" not in str(fault):
            raise
    s3.upload_file(sys.argv[5], bucket, sys.argv[4])
else:
    for item in s3.list_objects_v2(Bucket=bucket, Prefix=sys.argv[4]).get("Contents", []):
        body = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        rows = gzip.decompress(body).count(b"\n") if item["Key"].endswith(".gz") else len(body)
        print(item["Key"], rows)
