//! One product and its stock, asked for in GraphQL.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::parser::types::{DocumentOperations, Selection, SelectionSet};
use async_graphql::{
    Context, EmptyMutation, EmptySubscription, Object, Request, Schema, SimpleObject, Variables,
};
use http::StatusCode;
use serde_json::Value;

use super::{Fields, Shared};
use crate::api_error::ApiError;
use crate::app::App;
use crate::cache::rows;
use crate::config::Config;
use crate::db::{DbError, products, stocks};
use crate::domain::catalog;
use crate::domain::id::ProductId;
use crate::reply::{self, Reply};

/// The schema with its limits; built once.
pub type Api = Schema<Query, EmptyMutation, EmptySubscription>;

/// Longest query in bytes.
const MAX_QUERY: usize = 64 << 10;

/// Times one field may be asked for side by side.
const MAX_ALIASES: usize = 20;

/// Builds the schema.
pub fn schema(config: &Config) -> Api {
    Schema::build(Query, EmptyMutation, EmptySubscription)
        .limit_depth(config.graphql_depth)
        .limit_complexity(config.graphql_complexity)
        .finish()
}

/// `POST /stocks/graphql-query`
pub async fn query(app: &Shared, api: &Api, body: &Fields) -> Result<Reply, ApiError> {
    let fault = |sentence: &str| ApiError { lab_failure: true, ..ApiError::bad_body(sentence) };
    let Some(Value::String(text)) = body.get("query") else {
        return Err(fault("The body has no 'query'."));
    };
    let variables = match body.get("variables") {
        None | Some(Value::Null) => Value::Null,
        Some(Value::String(empty)) if empty.is_empty() => Value::Null,
        Some(object @ Value::Object(_)) => object.clone(),
        Some(_) => return Err(fault("variables must be an object.")),
    };
    if let Some(sentence) = over_limit(text) {
        return Ok(answer(&Value::Null, &[sentence]));
    }
    let failure = Failure::default();
    let mut request = Request::new(text)
        .variables(Variables::from_json(variables))
        .data(Arc::clone(app))
        .data(failure.clone());
    if let Some(Value::String(name)) = body.get("operationName") {
        request = request.operation_name(name);
    }
    let response = api.execute(request).await;
    if let Some(error) = failure.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error.into());
    }
    let sentences: Vec<_> =
        response.errors.iter().map(|it| named(&app.config, &it.message)).collect();
    let data = response.data.into_json().map_err(ApiError::internal)?;
    Ok(answer(&data, &sentences))
}

/// What the database refused while a query ran; it decides the status.
#[derive(Clone, Default)]
struct Failure(Arc<Mutex<Option<DbError>>>);

/// The root of the schema.
#[derive(Debug)]
pub struct Query;

/// A product with its level.
#[derive(Debug, SimpleObject)]
pub struct Product {
    id: Option<i64>,
    name: Option<String>,
    sku: Option<String>,
    price: Option<f64>,
    quantity: Option<i64>,
}

#[Object]
impl Query {
    /// A product, null when there is none.
    async fn product(&self, context: &Context<'_>, id: String) -> Option<Product> {
        let number = id.parse().ok()?;
        let (product, quantity) = find(context, number).await?;
        let price = product.price.to_string().parse().ok();
        Some(Product {
            id: Some(number),
            name: Some(product.name),
            sku: Some(product.sku),
            price,
            quantity: Some(quantity),
        })
    }

    /// The level of a product, 0 when there is none.
    async fn stock_level(&self, context: &Context<'_>, product_id: String) -> Option<i64> {
        let found = match product_id.parse() {
            Ok(number) => find(context, number).await,
            Err(_) => None,
        };
        Some(found.map_or(0, |(_, quantity)| quantity))
    }
}

/// The product out of Redis when all of it is there, else out of the database.
async fn find(context: &Context<'_>, number: i64) -> Option<(catalog::Product, i64)> {
    let app = context.data_unchecked::<Shared>();
    match read(app, ProductId::new(number)).await {
        Ok(found) => found,
        Err(error) => {
            let failure = context.data_unchecked::<Failure>();
            *failure.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            None
        }
    }
}

async fn read(app: &App, id: ProductId) -> Result<Option<(catalog::Product, i64)>, DbError> {
    if let Some(redis) = &app.cache.redis
        && let Ok(Some(found)) = rows::fetch_stock(redis, id).await
    {
        return Ok(Some(found));
    }
    let mut session = app.db.session().await?;
    let product = app.db.count(products::fetch(session.link(&app.db, "product"), id).await)?;
    let Some(product) = product else { return Ok(None) };
    let quantity = app.db.count(stocks::fetch(session.link(&app.db, "stock_read"), id).await)?;
    Ok(Some((product, quantity.unwrap_or(0))))
}

fn answer(data: &Value, errors: &[String]) -> Reply {
    reply::object(StatusCode::OK, |it| {
        it.value("data", data);
        let list = errors.iter().map(|it| Value::String(it.clone())).collect();
        it.value("errors", &if errors.is_empty() { Value::Null } else { Value::Array(list) });
    })
}

/// The sentence of the library, with the setting where it is a limit.
fn named(config: &Config, message: &str) -> String {
    match message {
        "Query is nested too deep." => {
            format!(
                "The query is nested deeper than {} (STORE_GRAPHQL_DEPTH).",
                config.graphql_depth
            )
        }
        "Query is too complex." => {
            format!(
                "The query has more than {} fields (STORE_GRAPHQL_COMPLEXITY).",
                config.graphql_complexity
            )
        }
        other => other.to_owned(),
    }
}

/// A limit that the library does not know; text that cannot be parsed is the library's to refuse.
fn over_limit(text: &str) -> Option<String> {
    if MAX_QUERY < text.len() {
        return Some(format!("The query is limited to {MAX_QUERY} bytes."));
    }
    let document = async_graphql::parser::parse_query(text).ok()?;
    let operations = match &document.operations {
        DocumentOperations::Single(it) => vec![&it.node.selection_set.node],
        DocumentOperations::Multiple(them) => {
            them.values().map(|it| &it.node.selection_set.node).collect()
        }
    };
    let fragments = document.fragments.values().map(|it| &it.node.selection_set.node);
    let too_many = operations.into_iter().chain(fragments).any(has_too_many);
    too_many.then(|| format!("One field is limited to {MAX_ALIASES} aliases."))
}

fn has_too_many(set: &SelectionSet) -> bool {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    set.items.iter().any(|item| match &item.node {
        Selection::Field(field) => {
            let count = counts.entry(field.node.name.node.as_str()).or_default();
            *count += 1;
            MAX_ALIASES < *count || has_too_many(&field.node.selection_set.node)
        }
        Selection::InlineFragment(it) => has_too_many(&it.node.selection_set.node),
        Selection::FragmentSpread(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::over_limit;

    #[test]
    fn one_field_has_a_limited_number_of_aliases() {
        let query = |count| {
            let fields: Vec<_> =
                (0..count).map(|it| format!("a{it}: stockLevel(productId: \"1\")")).collect();
            format!("{{ {} }}", fields.join(" "))
        };
        assert_eq!(over_limit(&query(20)), None);
        assert_eq!(over_limit(&query(21)).unwrap(), "One field is limited to 20 aliases.");
    }
}
