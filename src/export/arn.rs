//! The forms of the names that an export into a bucket is given: role, bucket, region, directory.

use crate::error::Error;
use crate::error::Result;

/// `arn:aws:iam::account:role/role-name-with-path`, with the characters that IAM allows.
pub(crate) fn check_role(arn: &str) -> Result<()> {
    let wrong = |why: &str| {
        Err(Error::invalid(format!(
            "a role looks like arn:aws:iam::000000000000:role/path/name ({why}), found \"{arn}\""
        )))
    };
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [scheme, partition, service, region, account, resource] = parts[..] else {
        return wrong("six parts with colons between them");
    };
    if scheme != "arn" || !matches!(partition, "aws" | "aws-cn" | "aws-us-gov") {
        return wrong("it starts with arn:aws:");
    }
    if service != "iam" || !region.is_empty() {
        return wrong("iam, and no region");
    }
    if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        return wrong("an account has 12 digits");
    }
    let Some(path) = resource.strip_prefix("role/") else { return wrong("role/ before the name") };
    let name = path.rsplit('/').next().unwrap_or_default();
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    if !(1..=64).contains(&name.len()) || !name.bytes().all(of_name) {
        return wrong("a name has 1 to 64 of A-Z a-z 0-9 + = , . @ _ -");
    }
    if path.len() > 512 || !path.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
        return wrong("a path has no blanks");
    }
    Ok(())
}

pub(crate) fn check_bucket(bucket: &str) -> Result<()> {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if (3..=63).contains(&bucket.len()) && bucket.bytes().all(safe) {
        return Ok(());
    }
    Err(Error::invalid(format!("a bucket has 3 to 63 of a-z 0-9 . -, found \"{bucket}\"")))
}

/// `directory/` or `a/b/c/`: safe characters of S3 and `=`, a slash at the end and none at the start.
pub(crate) fn check_directory(directory: &str) -> Result<()> {
    if directory.is_empty() {
        return Ok(());
    }
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"!-_.*'()=".contains(&byte);
    let whole = directory.strip_suffix('/').is_some_and(|path| {
        path.split('/').all(|part| !matches!(part, "" | "." | "..") && part.bytes().all(safe))
    });
    if whole && directory.len() <= 512 {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "a directory looks like raw/people/ or dt=2025-04-01/, with a slash at its end, found \"{directory}\""
    )))
}

/// `EU_CENTRAL_1` and `eu-central-1` are the same region.
pub(crate) fn region_name(region: &str) -> Result<String> {
    let name = region.to_ascii_lowercase().replace('_', "-");
    let well_formed = name.split('-').count() >= 3
        && name
            .split('-')
            .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    if well_formed {
        return Ok(name);
    }
    Err(Error::invalid(format!("a region looks like eu-central-1 or EU_CENTRAL_1, found \"{region}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_may_be_spelled_both_ways() {
        assert_eq!(region_name("EU_CENTRAL_1").unwrap(), "eu-central-1");
        assert_eq!(region_name("us-gov-east-1").unwrap(), "us-gov-east-1");
        for wrong in ["", "eu", "eu--1", "eu central 1"] {
            assert!(region_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_role_is_an_arn_with_a_path() {
        for fine in [
            "arn:aws:iam::000000000000:role/reports/events-writer",
            "arn:aws-cn:iam::123456789012:role/a+=,.@_-b",
        ] {
            check_role(fine).unwrap();
        }
        for (wrong, why) in [
            ("", "six parts"),
            ("arn:gcp:iam::000000000000:role/x", "arn:aws:"),
            ("arn:aws:s3::000000000000:role/x", "iam"),
            ("arn:aws:iam::00000000000:role/x", "12 digits"),
            ("arn:aws:iam::000000000000:user/x", "role/"),
            ("arn:aws:iam::000000000000:role/", "1 to 64"),
            ("arn:aws:iam::000000000000:role/a b", "1 to 64"),
            ("arn:aws:iam::000000000000:role/a b/c", "no blanks"),
        ] {
            let fault = check_role(wrong).unwrap_err().to_string();
            assert!(fault.contains(why), "{wrong}: {fault}");
        }
    }

    #[test]
    fn a_directory_ends_with_a_slash_and_may_be_a_partition() {
        for fine in ["", "raw/", "a/b/c/", "dt=2025-04-01/"] {
            check_directory(fine).unwrap();
        }
        for wrong in ["raw", "/", "/raw/", "a//b/", "../", "a b/", "a/./"] {
            assert!(check_directory(wrong).is_err(), "{wrong}");
        }
    }
}
