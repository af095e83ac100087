//! One product and its stock, asked for in GraphQL.

mod limits;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

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
use crate::db::{DbError, stocks};
use crate::domain::catalog;
use crate::domain::id::ProductId;
use crate::reply::{self, Reply};

/// The schema with its limits; built once.
pub type Api = Schema<Query, EmptyMutation, EmptySubscription>;

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
    if let Some(sentence) = limits::over_limit(&app.config, text) {
        return Ok(answer(&Value::Null, &[sentence]));
    }
    let failure = Failure::default();
    let mut request = Request::new(text)
        .variables(Variables::from_json(variables))
        .data(Arc::clone(app))
        .data(Batch::default())
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

/// The product by its number, together with all others that the request asks for.
async fn find(context: &Context<'_>, number: i64) -> Option<Found> {
    let id = ProductId::new(number);
    let batch = context.data_unchecked::<Batch>();
    batch.want(id);
    // The other fields of the request say what they want before the first of them reads.
    tokio::task::yield_now().await;
    match batch.find(context.data_unchecked::<Shared>(), id).await {
        Ok(found) => found,
        Err(error) => {
            let failure = context.data_unchecked::<Failure>();
            *failure.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            None
        }
    }
}

type Found = (catalog::Product, i64);

/// What one request wants to know, and what it knows.
#[derive(Default)]
struct Batch {
    wanted: Mutex<BTreeSet<ProductId>>,
    known: tokio::sync::Mutex<HashMap<ProductId, Option<Found>>>,
}

impl Batch {
    fn want(&self, id: ProductId) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    async fn find(&self, app: &App, id: ProductId) -> Result<Option<Found>, DbError> {
        let mut known = self.known.lock().await;
        if !known.contains_key(&id) {
            let mut wanted =
                std::mem::take(&mut *self.wanted.lock().unwrap_or_else(PoisonError::into_inner));
            wanted.insert(id);
            known.extend(read(app, &Vec::from_iter(wanted)).await?);
        }
        Ok(known.get(&id).cloned().flatten())
    }
}

/// Products out of Redis where all of one is there, the others out of the database.
async fn read(app: &App, ids: &[ProductId]) -> Result<HashMap<ProductId, Option<Found>>, DbError> {
    let mut found: HashMap<ProductId, Option<Found>> = HashMap::with_capacity(ids.len());
    if let Some(redis) = &app.cache.redis
        && let Ok(hashes) = rows::fetch_stocks(redis, ids).await
    {
        found.extend(ids.iter().copied().zip(hashes).filter(|(_, it)| it.is_some()));
    }
    let missing: Vec<_> = ids.iter().copied().filter(|it| !found.contains_key(it)).collect();
    if missing.is_empty() {
        return Ok(found);
    }
    let mut session = app.db.session().await?;
    let link = session.link(&app.db, "graphql");
    let rows = app.db.count(stocks::fetch_products(link, &missing).await)?;
    found.extend(missing.into_iter().map(|id| (id, None)));
    for (id, product, level) in rows {
        if app.cache.redis.is_some() && level.is_some() {
            app.repair.stock(id);
        }
        found.insert(id, Some((product, level.unwrap_or(0))));
    }
    Ok(found)
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
        "Query is nested too deep." => limits::too_deep(config),
        "Query is too complex." => limits::too_complex(config),
        other => other.to_owned(),
    }
}
