//! What does each line of the API do?

pub mod docs;
pub mod graphql;
pub mod once;
pub mod orders;
pub mod products;
pub mod reports;
pub mod stage;
pub mod status;
pub mod stocks;
pub mod users;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::api_error::ApiError;
use crate::app::App;
use crate::db::DbError;

/// A body as the handlers take it: an object, empty for `{}`, `[]` and `null`.
pub type Fields = Map<String, Value>;

/// Reads a body.
pub fn parse_object(body: &[u8]) -> Result<Fields, ApiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(Value::Array(items)) if items.is_empty() => Ok(Map::new()),
        Ok(_) => Err(ApiError {
            lab_failure: true,
            ..ApiError::bad_body("The body must be a JSON object.")
        }),
        Err(_) => Err(ApiError::bad_body("The body is not valid JSON.")),
    }
}

/// Work that has not ended by then hangs on a server that is gone without a word: its connection
/// is given up, so that the pool does not fill with the like.
const LONGEST: Duration = Duration::from_mins(1);

/// Runs work that must not stop in the middle when its client leaves.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::spawn(tokio::time::timeout(LONGEST, work)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(DbError::Unavailable(None).into()),
        Err(error) => Err(ApiError::internal(error)),
    }
}

/// What a handler holds on to while its work runs to the end.
type Shared = Arc<App>;
