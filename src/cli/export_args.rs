//! The flags of `milepost export`: an export at once, or one that is submitted and worked on until it is done.

use clap::Subcommand;

use crate::cli::print::Format;

#[derive(Clone, Debug, clap::Args)]
#[command(
    subcommand_negates_reqs = true,
    after_help = "\
Example:
  milepost export --from 2026-06-01 --to 2026-06-02 --events 'pageView,email*' --into out/
  milepost export submit --from 2026-06-01 --to 2026-06-02 --into s3://acme-events/raw/ --wait

The range holds its start and not its end. A request that was submitted survives a crash and is repeated when it fails."
)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) now: Option<What>,
    #[command(subcommand)]
    pub(crate) command: Option<ExportCommand>,
}

/// What to export, and where to.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct What {
    /// Where the range starts: a day or an ISO 8601 time
    #[arg(long, value_name = "TIME")]
    pub(crate) from: String,
    /// Where it ends; this moment is no longer in it
    #[arg(long, value_name = "TIME")]
    pub(crate) to: String,
    /// The folder to write to, created if need be, or s3://, gs:// or az://bucket/directory/
    #[arg(long, value_name = "PLACE")]
    pub(crate) into: String,
    /// Ids of definitions or patterns with *, separated by commas [default: all]
    #[arg(long, value_delimiter = ',', value_name = "IDS")]
    pub(crate) events: Vec<String>,
    /// Add what is known of the Moments communication
    #[arg(long)]
    pub(crate) enrich_moments: bool,
    /// The id of the request, which starts every file's name [default: a new one]
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,
    /// The most rows of one file [default: 50000]
    #[arg(long, value_name = "N")]
    pub(crate) rows_per_file: Option<usize>,
    /// The region of the bucket: eu-central-1 or EU_CENTRAL_1
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// Another server that speaks as the bucket's does [default: what the environment says, such as $AWS_ENDPOINT_URL]
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Write as this role: arn:aws:iam::000000000000:role/name [default: the credentials of the environment]
    #[arg(long, value_name = "ARN")]
    pub(crate) role_arn: Option<String>,
    /// What the role's trust policy asks for [default: milepost-event-export]
    #[arg(long, value_name = "ID", requires = "role_arn")]
    pub(crate) external_id: Option<String>,
}

/// A request to take.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Submit {
    #[command(flatten)]
    pub(crate) what: What,
    /// Lift the limits: 24 hours a request, one year back, 72 hours in progress, 200 definitions
    #[arg(long)]
    pub(crate) unlimited: bool,
    /// Work on it until it is done or has failed for good
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ExportCommand {
    /// Take a request; it is worked on with --wait, or by run-due
    Submit(Box<Submit>),
    /// How one request stands
    Status {
        id: String,
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// All requests
    List {
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Cancel a request that has not come to its end; what it published stays, without a manifest
    Cancel { id: String },
    /// Work on everything that is due: requests, also those that a crash cut off, and retries
    RunDue {
        /// Go on until nothing is left to retry
        #[arg(long)]
        wait: bool,
    },
}

impl ExportCommand {
    /// Whether it only looks.
    pub(crate) fn only_reads(&self) -> bool {
        matches!(self, Self::Status { .. } | Self::List { .. })
    }
}
