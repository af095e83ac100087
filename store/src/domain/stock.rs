//! How many pieces are left, and may there be fewer than none?

use serde_json::{Map, Value};

use super::catalog::Product;
use super::fault::Fault;
use super::id::ProductId;

/// What happens to an order that wants more than there is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StockPolicy {
    /// It is accepted and the level goes below zero, as in the lab.
    AllowNegative,
    /// It is refused as a whole.
    Enforce,
}

/// The level a client asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NewLevel {
    /// Whose level.
    pub product: ProductId,
    /// Pieces.
    pub quantity: i64,
}

impl NewLevel {
    /// Reads the body of `POST /stocks`.
    pub fn parse(body: &Map<String, Value>, policy: StockPolicy) -> Result<Self, Fault> {
        let whole = |key: &str| body.get(key).and_then(Value::as_i64).ok_or(Fault::Stock);
        let product = ProductId::new(whole("product_id")?);
        let quantity = whole("quantity")?;
        if policy == StockPolicy::Enforce && quantity < 0 {
            return Err(Fault::StockNegative);
        }
        if i32::try_from(quantity).is_err() {
            return Err(Fault::StockOutOfRange);
        }
        Ok(Self { product, quantity })
    }
}

/// A stock row together with what the cache tells about its product.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StockRow {
    /// Whose level.
    pub id: ProductId,
    /// Name, SKU and price.
    pub product: Product,
    /// Pieces; may be negative.
    pub quantity: i64,
    /// Raised by one at every change.
    pub version: i64,
}
