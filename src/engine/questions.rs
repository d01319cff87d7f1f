//! Questions of `analysis`, from a statement, from JSON or from a program.

use crate::analysis::Analysis;
use crate::analysis::Ground;
use crate::engine::Engine;
use crate::engine::Rows;
use crate::error::Result;
use crate::time::Clock;
use crate::time::SystemClock;
use crate::time::Zone;

impl Engine {
    /// Answers a question over the store as it is now. Days are those of the store's zone, or UTC, where the question
    /// names none.
    pub async fn analyse(&self, question: &Analysis) -> Result<Rows> {
        let session = self.session().await?;
        let zone = self.config().zone.unwrap_or(Zone::UTC);
        let ground = Ground { session: &session, now: SystemClock.now(), zone };
        Ok(Rows::of(question.answer(&ground).await?))
    }

    /// [`Engine::analyse`] of the question in a JSON text.
    pub async fn analyse_json(&self, text: &str) -> Result<Rows> {
        self.analyse(&Analysis::from_json(text)?).await
    }
}
