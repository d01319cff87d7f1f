//! Questions of `analysis`, from a statement, from JSON or from a program.

use crate::analysis::Analysis;
use crate::engine::Engine;
use crate::engine::Rows;
use crate::error::Result;
use crate::quote::literal;

impl Engine {
    /// Answers a question over the store as it is now. Days are those of the store's zone, or UTC, where the question
    /// names none.
    pub async fn analyse(&self, question: &Analysis) -> Result<Rows> {
        self.ask(&format!("SELECT * FROM analysis({})", literal(&question.to_json()?))).await
    }

    /// [`Engine::analyse`] of the question in a JSON text.
    pub async fn analyse_json(&self, text: &str) -> Result<Rows> {
        self.analyse(&Analysis::from_json(text)?).await
    }
}
