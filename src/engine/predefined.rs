//! The two segments that a server has from the start: who used an app lately, and who did not. They are asked for like
//! any other, and nobody changes or drops them.

use crate::engine::Engine;
use crate::error::Error;
use crate::error::Result;
use crate::storage::catalog::SegmentRow;

/// Name and published form of each.
const PREDEFINED: [(&str, &str); 2] = [
    (
        "Active Mobile Users",
        r#"{"name":"Active Mobile Users","description":"Launched an app in the last 30 days","events":[{"definitionId":"appLaunched","occurrenceCondition":{"operation":"GREATER_OR_EQUAL","times":1},"timelineCondition":{"occurred":"ALL","operator":"AFTER","start":30,"units":"DAYS"}}]}"#,
    ),
    (
        "Inactive Mobile Users",
        r#"{"name":"Inactive Mobile Users","description":"Launched no app in the last 30 days","events":[{"definitionId":"appLaunched","timelineCondition":{"occurred":"NOT","operator":"AFTER","start":30,"units":"DAYS"}}]}"#,
    ),
];

impl Engine {
    /// Makes the predefined segments, unless there are segments of their names.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub async fn predefine_segments(&self) -> Result<()> {
        for (name, text) in PREDEFINED {
            if self.storage().catalog().segment(name)?.is_none() {
                self.create_segment_json(text, false).await?;
            }
        }
        Ok(())
    }

    /// An error when a segment is predefined; one of somebody's own that has its name is not.
    pub(super) fn check_own(&self, segment: &SegmentRow) -> Result<()> {
        let predefined = |(name, text): &(&str, &str)| *name == segment.name && *text == segment.said;
        if PREDEFINED.iter().any(predefined) {
            return Err(Error::conflict(format!(
                "the segment \"{}\" is predefined and stays as it is; make one of your own under another name",
                segment.name
            )));
        }
        Ok(())
    }
}
