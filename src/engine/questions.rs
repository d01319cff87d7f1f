//! Questions of `analysis`, from a statement, from JSON or from a program.

use serde_json::Value;

use crate::analysis::Analysis;
use crate::analysis::FunnelRequest;
use crate::engine::Engine;
use crate::engine::Rows;
use crate::error::Result;

impl Engine {
    /// Answers a question over the store as it is now. Days are those of the store's zone, or UTC, where the question
    /// names none.
    pub async fn analyse(&self, question: &Analysis) -> Result<Rows> {
        let session = self.session().await?;
        Ok(Rows::of(question.answer(&self.ground(&session)).await?))
    }

    /// [`Engine::analyse`] of the question in a JSON text: an object with `kind` and the fields of that request; a funnel
    /// is of the kind `funnel`.
    pub async fn analyse_json(&self, text: &str) -> Result<Rows> {
        match funnel(text) {
            Some(request) => self.funnel(&FunnelRequest::parse(&request)?).await,
            None => self.analyse(&Analysis::from_json(text)?).await,
        }
    }
}

/// The funnel of a question that is one.
fn funnel(text: &str) -> Option<String> {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(text) else { return None };
    let kind = fields.remove("kind")?;
    (kind == "funnel").then(|| Value::Object(fields).to_string())
}
