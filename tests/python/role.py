"""role.py ENDPOINT BUCKET: makes a bucket, a role that may write to it, and a user who may only assume that role.

Prints the role's ARN, the user's key and secret, and the key and secret of one who may do everything.
"""
import json
import sys

import boto3

endpoint, bucket = sys.argv[1:3]
common = dict(endpoint_url=endpoint, region_name="eu-central-1", aws_access_key_id="testing", aws_secret_access_key="testing")
s3, iam = boto3.client("s3", **common), boto3.client("iam", **common)
s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})


def allow(actions, resource="*"):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resource}]})


def user(name, actions):
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=allow(actions))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


trust = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": "the-external-id"}},
        }
    ],
}
role = iam.create_role(RoleName="events-writer", Path="/reports/", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
iam.put_role_policy(RoleName="events-writer", PolicyName="p", PolicyDocument=allow(["s3:PutObject", "s3:GetObject", "s3:ListBucket"]))
print(role["Arn"], *user("milepost", ["sts:AssumeRole"]), *user("root", ["*"]))
