//! A request for an export as somebody submits it, in the published form among others, and the rules that it must keep.
//!
//! Each rule can be switched off: who exports into a bucket of his own may ask for ten years at once.

use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Result;
use crate::export::arn;
use crate::export::plan::ExportLimits;
use crate::export::plan::ExportRequest;
use crate::export::plan::ROWS_PER_FILE;
use crate::export::target::Destination;
use crate::time::Micros;
use crate::time::TimeRange;
use crate::time::parse_instant;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// The external id that roles are assumed with unless an order names another: what a role's trust policy asks for.
pub(crate) const EXTERNAL_ID: &str = "milepost-event-export";

/// What somebody asks for. Kept as JSON in the catalog; holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportOrder {
    #[serde(flatten)]
    pub destination: Destination,
    /// Microseconds, half-open.
    pub start: i64,
    pub end: i64,
    /// Ids or patterns with `*`; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub definitions: Vec<String>,
    #[serde(default)]
    pub enrich_moments: bool,
    /// The gzip level.
    pub level: u32,
    /// The most rows of one file.
    pub rows_per_file: usize,
    /// What file names begin with; a fresh UUID when absent.
    #[serde(skip)]
    pub request_id: Option<String>,
}

/// The rules of the published interface; none of them holds for an order that is [`ExportRules::unlimited`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportRules {
    /// The longest range of one order.
    pub longest: Option<i64>,
    /// How far back a range may start.
    pub lookback: Option<i64>,
    /// How much range may be in progress at a time, over all orders.
    pub in_progress: Option<i64>,
    /// The most patterns, and the most definitions that they name.
    pub definitions: Option<usize>,
    /// The most rows of one file.
    pub rows_per_file: Option<usize>,
    /// A range must end before now.
    pub only_past: bool,
}

impl ExportRules {
    pub fn published() -> Self {
        Self {
            longest: Some(DAY),
            lookback: Some(366 * DAY),
            in_progress: Some(72 * HOUR),
            definitions: Some(200),
            rows_per_file: Some(ROWS_PER_FILE),
            only_past: true,
        }
    }

    /// Nothing but good sense.
    pub fn unlimited() -> Self {
        Self {
            longest: None,
            lookback: None,
            in_progress: None,
            definitions: None,
            rows_per_file: None,
            only_past: false,
        }
    }

    /// Checks what can be told without the store.
    pub fn check(&self, order: &ExportOrder, now: Micros) -> Result<()> {
        order.destination.check()?;
        let TimeRange { start, end } = order.range();
        if end <= start {
            return Err(Error::invalid(format!(
                "the end of an export is later than its start, found {} to {}",
                start.export_form(),
                end.export_form()
            )));
        }
        if self.only_past && end >= now {
            return Err(Error::invalid(format!(
                "the end of an export is earlier than now, found {}; it is {}",
                end.export_form(),
                now.export_form()
            )));
        }
        if self.longest.is_some_and(|most| end.0 - start.0 > most) {
            return Err(Error::invalid(format!(
                "an export covers at most {} hours, found {}; submit several, or lift the limit with --unlimited",
                self.longest.unwrap_or_default() / HOUR,
                hours(end.0 - start.0)
            )));
        }
        if self.lookback.is_some_and(|back| start.0 < now.0 - back) {
            return Err(Error::invalid(format!(
                "an export starts at most one year back, found {}; lift the limit with --unlimited",
                start.export_form()
            )));
        }
        if order.rows_per_file == 0 || self.rows_per_file.is_some_and(|most| order.rows_per_file > most) {
            return Err(Error::invalid(format!(
                "a file of an export holds 1 to {ROWS_PER_FILE} rows, found {}",
                order.rows_per_file
            )));
        }
        let mut seen = order.definitions.clone();
        seen.sort_unstable();
        if let Some(pair) = seen.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::invalid(format!("\"{}\" is in the list of definitions twice", pair[0])));
        }
        if self.definitions.is_some_and(|most| order.definitions.len() > most) {
            return Err(Error::invalid(format!(
                "an export names at most {} definitions, found {}",
                self.definitions.unwrap_or_default(),
                order.definitions.len()
            )));
        }
        Ok(())
    }
}

impl ExportOrder {
    /// All definitions of a range, with gzip level 6, in files of the published size.
    pub fn new(destination: Destination, range: TimeRange) -> Self {
        Self {
            destination,
            start: range.start.0,
            end: range.end.0,
            level: 6,
            rows_per_file: ROWS_PER_FILE,
            ..Self::default()
        }
    }

    pub fn range(&self) -> TimeRange {
        TimeRange { start: Micros(self.start), end: Micros(self.end) }
    }

    /// The published form: a JSON object with `roleArn`, `bucket`, `region`, `directoryPath`, `startTime`, `endTime`,
    /// `definitionIdList`, `enrichWithMomentsInfo`.
    ///
    /// # Errors
    /// `Invalid`, with the name of the field that is missing or wrong.
    pub fn from_json(body: &[u8]) -> Result<Self> {
        let body: Published = serde_json::from_slice(body)
            .map_err(|error| Error::invalid(format!("the body of the request: {error}")))?;
        let directory = body.directory_path.unwrap_or_default();
        arn::check_directory(&directory)?;
        arn::check_bucket(&body.bucket)?;
        let range = TimeRange {
            start: moment("startTime", &body.start_time)?,
            end: moment("endTime", &body.end_time)?,
        };
        let destination = Destination {
            into: format!("s3://{}/{directory}", body.bucket),
            region: Some(body.region),
            role_arn: Some(body.role_arn),
            ..Destination::default()
        };
        Ok(Self {
            definitions: body.definition_id_list.unwrap_or_default(),
            enrich_moments: body.enrich_with_moments_info.unwrap_or_default(),
            ..Self::new(destination, range)
        })
    }

    /// What is to be written, once all rules are kept.
    pub(crate) fn request(&self, id: &str, most_definitions: Option<usize>) -> ExportRequest {
        ExportRequest {
            definitions: self.definitions.clone(),
            request_id: Some(id.to_owned()),
            enrich_moments: self.enrich_moments,
            level: self.level,
            limits: ExportLimits {
                rows_per_file: self.rows_per_file,
                micros: None,
                definitions: most_definitions,
            },
            ..ExportRequest::new(self.range())
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Published {
    role_arn: String,
    bucket: String,
    region: String,
    directory_path: Option<String>,
    start_time: String,
    end_time: String,
    definition_id_list: Option<Vec<String>>,
    enrich_with_moments_info: Option<bool>,
}

/// `yyyy-MM-dd'T'HH:mm:ss.SSSZ`
fn moment(name: &str, text: &str) -> Result<Micros> {
    parse_instant(text, None).map_err(|fault| {
        Error::invalid(format!("{name} looks like 2025-04-01T00:00:00.000+0000, found \"{text}\": {fault}"))
    })
}

/// Hours, rounded up: enough to see by how much a range is too long.
pub(crate) fn hours(micros: i64) -> i64 {
    micros.saturating_add(HOUR - 1) / HOUR
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const NOW: i64 = 1_750_000_000_000_000;

    fn order(start: i64, end: i64) -> ExportOrder {
        let destination = Destination { into: "s3://acme-events/raw/".to_owned(), ..Destination::default() };
        ExportOrder::new(destination, TimeRange { start: Micros(start), end: Micros(end) })
    }

    fn fault(order: &ExportOrder) -> String {
        let error = ExportRules::published().check(order, Micros(NOW)).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        ExportRules::unlimited().check(order, Micros(NOW)).unwrap();
        error.to_string()
    }

    #[test]
    fn a_day_that_is_over_is_fine_and_its_edges_count() {
        let fine = |start, end| ExportRules::published().check(&order(start, end), Micros(NOW)).unwrap();
        fine(NOW - DAY - 1, NOW - 1);
        fine(NOW - 366 * DAY, NOW - 366 * DAY + DAY);
        fine(NOW - 2, NOW - 1);
    }

    #[test]
    fn each_limit_is_told_and_can_be_switched_off() {
        assert!(fault(&order(NOW - DAY - 2, NOW - 1)).contains("at most 24 hours, found 25"));
        assert!(fault(&order(NOW - 366 * DAY - 1, NOW - 366 * DAY)).contains("one year back"));
        assert!(fault(&order(NOW - HOUR, NOW)).contains("earlier than now"));
        let many = ExportOrder {
            definitions: (0..201).map(|nth| format!("d{nth}")).collect(),
            ..order(NOW - 2, NOW - 1)
        };
        assert!(fault(&many).contains("at most 200 definitions, found 201"));
    }

    #[test]
    fn some_things_are_wrong_under_any_rules() {
        let wrong =
            |order: ExportOrder| ExportRules::unlimited().check(&order, Micros(NOW)).unwrap_err().to_string();
        assert!(wrong(order(5, 5)).contains("later than its start"));
        let twice = ExportOrder { definitions: vec!["a".to_owned(), "a".to_owned()], ..order(1, 2) };
        assert!(wrong(twice).contains("\"a\" is in the list"));
        let mut role = order(1, 2);
        role.destination.role_arn = Some("arn:aws:iam::12:role/x".to_owned());
        assert!(wrong(role).contains("12 digits"));
    }

    #[test]
    fn the_published_body_is_read() {
        let body = r#"{"roleArn":"arn:aws:iam::000000000000:role/reports/events-writer","bucket":"acme-events",
            "region":"EU_CENTRAL_1","directoryPath":"raw/people/","startTime":"2025-04-01T00:00:00.000+0000",
            "endTime":"2025-04-02T00:00:00.000+0000","definitionIdList":["person*Flow","sms*"],
            "enrichWithMomentsInfo":true}"#;
        let order = ExportOrder::from_json(body.as_bytes()).unwrap();
        assert_eq!(order.destination.into, "s3://acme-events/raw/people/");
        assert_eq!(order.destination.region.as_deref(), Some("EU_CENTRAL_1"));
        assert_eq!(order.range().start.export_form().as_str(), "2025-04-01T00:00:00.000+0000");
        assert_eq!((order.definitions.len(), order.enrich_moments), (2, true));
        let kept: ExportOrder = serde_json::from_str(&serde_json::to_string(&order).unwrap()).unwrap();
        assert_eq!(kept, order);
    }

    #[test]
    fn a_wrong_body_names_the_field() {
        let with = |field: &str, value: &str| {
            let mut body = serde_json::json!({
                "roleArn": "arn:aws:iam::000000000000:role/x", "bucket": "acme-events", "region": "EU_CENTRAL_1",
                "startTime": "2025-04-01T00:00:00.000+0000", "endTime": "2025-04-02T00:00:00.000+0000",
            });
            body[field] = serde_json::from_str(value).unwrap();
            ExportOrder::from_json(body.to_string().as_bytes()).unwrap_err().to_string()
        };
        assert!(with("startTime", "\"yesterday\"").contains("startTime looks like"));
        assert!(with("bucket", "\"A b\"").contains("bucket"));
        assert!(with("directoryPath", "\"no-slash\"").contains("directory"));
        assert!(with("surprise", "1").contains("surprise"));
        assert!(with("roleArn", "null").contains("null"));
    }
}
