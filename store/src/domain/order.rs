//! What is an order, before and after it has prices?

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::catalog::Product;
use super::fault::Fault;
use super::id::{OrderId, ProductId, UserId};
use super::money::Cents;

/// Largest number of pieces of one product, as its stock column counts them.
const MAX_QUANTITY: i64 = i32::MAX as i64;

/// One line as the client sent it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Line {
    /// What is bought.
    pub product: ProductId,
    /// How many pieces, 1 or more.
    pub quantity: i64,
}

/// A well-formed order that nobody has looked up yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewOrder {
    /// Who buys.
    pub user: UserId,
    /// Lines in the order they were sent; the same product may appear twice.
    pub lines: Vec<Line>,
}

impl NewOrder {
    /// Reads the body of `POST /orders`; the first fault in the order of the contract is reported.
    pub fn parse(body: &Map<String, Value>, max_lines: usize) -> Result<Self, Fault> {
        let items = match body.get("items") {
            None => return Err(Fault::NoItems),
            Some(items) if is_empty(items) => return Err(Fault::NoItems),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(Fault::ItemsNotObjects),
        };
        let items: Vec<_> = items
            .iter()
            .map(Value::as_object)
            .collect::<Option<_>>()
            .ok_or(Fault::ItemsNotObjects)?;
        for (index, item) in items.iter().enumerate() {
            for key in ["product_id", "quantity"] {
                if !item.contains_key(key) {
                    return Err(Fault::ItemWithout { line: index + 1, key });
                }
            }
        }
        let mut lines = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let product = item["product_id"].as_i64().ok_or(Fault::ItemProduct(index + 1))?;
            let quantity = whole(&item["quantity"])
                .filter(|it| 1 <= *it)
                .ok_or(Fault::ItemQuantity(index + 1))?;
            lines.push(Line { product: ProductId::new(product), quantity });
        }
        let user = body.get("user_id").and_then(Value::as_i64).ok_or(Fault::OrderUser)?;
        if max_lines < lines.len() {
            return Err(Fault::TooManyLines(max_lines));
        }
        let order = Self { user: UserId::new(user), lines };
        order.check_sums()?;
        Ok(order)
    }

    /// Pieces per distinct product, in ascending id: the order in which stock rows are locked.
    pub fn demand(&self) -> BTreeMap<ProductId, i64> {
        let mut demand = BTreeMap::new();
        for line in &self.lines {
            *demand.entry(line.product).or_insert(0) += line.quantity;
        }
        demand
    }

    /// Puts prices on the lines and adds them up; the first unknown product is the fault.
    pub fn price(&self, products: &HashMap<ProductId, Product>) -> Result<PricedOrder, Fault> {
        let mut total = Cents::default();
        let mut lines = Vec::with_capacity(self.lines.len());
        for line in &self.lines {
            let product = products.get(&line.product).ok_or(Fault::UnknownProduct(line.product))?;
            let unit_price = product.price;
            lines.push(PricedLine { product: line.product, quantity: line.quantity, unit_price });
            total = unit_price
                .times(line.quantity)
                .and_then(|it| total.plus(it))
                .filter(|it| *it <= Cents::MAX_TOTAL)
                .ok_or(Fault::TotalTooLarge)?;
        }
        Ok(PricedOrder { user: self.user, total, lines })
    }

    fn check_sums(&self) -> Result<(), Fault> {
        let mut sums: HashMap<ProductId, i64> = HashMap::with_capacity(self.lines.len());
        for (index, line) in self.lines.iter().enumerate() {
            let sum = sums.entry(line.product).or_insert(0);
            *sum = sum
                .checked_add(line.quantity)
                .filter(|it| *it <= MAX_QUANTITY)
                .ok_or(Fault::ItemQuantityTooLarge(index + 1))?;
        }
        Ok(())
    }
}

/// One line with the price it was sold at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PricedLine {
    /// What was bought.
    pub product: ProductId,
    /// How many pieces.
    pub quantity: i64,
    /// Price of one piece at the time of the order.
    pub unit_price: Cents,
}

/// An order whose prices are known; what is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PricedOrder {
    /// Who bought.
    pub user: UserId,
    /// Sum of all lines.
    pub total: Cents,
    /// Lines as they were sent.
    pub lines: Vec<PricedLine>,
}

/// An order that exists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredOrder {
    /// Its number.
    pub id: OrderId,
    /// Its content.
    pub order: PricedOrder,
}

/// A whole number; a number too large for the type counts as the largest, so that it is refused
/// for its size and not for its shape.
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_u64().map(|_| i64::MAX))
}

/// What the lab's `if not items` held for empty.
fn is_empty(items: &Value) -> bool {
    match items {
        Value::Null | Value::Bool(false) => true,
        Value::Array(it) => it.is_empty(),
        Value::Object(it) => it.is_empty(),
        Value::String(it) => it.is_empty(),
        Value::Number(it) => it.as_f64() == Some(0.0),
        Value::Bool(true) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parse(text: &str) -> Result<NewOrder, Fault> {
        let body: Value = serde_json::from_str(text).unwrap();
        NewOrder::parse(body.as_object().unwrap(), 3)
    }

    #[track_caller]
    fn refused(text: &str, sentence: &str) {
        assert_eq!(parse(text).unwrap_err().to_string(), sentence, "{text}");
    }

    #[test]
    fn lines_stay_separate_and_demand_adds_up() {
        let text = r#"{"user_id":1,"items":[{"product_id":2,"quantity":1},{"product_id":1,"quantity":4},{"product_id":2,"quantity":2}]}"#;
        let order = parse(text).unwrap();
        assert_eq!(order.lines.len(), 3);
        let demand: Vec<_> = order.demand().into_iter().map(|(it, n)| (it.number(), n)).collect();
        assert_eq!(demand, [(1, 4), (2, 3)]);
    }

    #[test]
    fn an_order_without_items_is_refused_in_the_words_of_the_lab() {
        let words = "Cannot create order. An order must have 1 or more items.";
        for items in ["", r#","items":[]"#, r#","items":null"#, r#","items":{}"#, r#","items":"""#]
        {
            refused(&format!(r#"{{"user_id":1{items}}}"#), words);
        }
    }

    #[test]
    fn items_must_be_objects_with_both_keys() {
        refused(r#"{"items":[1]}"#, "items must be a list of objects.");
        refused(r#"{"items":"abc"}"#, "items must be a list of objects.");
        refused(r#"{"items":[{"quantity":1}]}"#, "Item 1 has no 'product_id'.");
        refused(
            r#"{"items":[{"product_id":1,"quantity":1},{"product_id":1}]}"#,
            "Item 2 has no 'quantity'.",
        );
    }

    #[test]
    fn a_quantity_is_a_whole_number_of_at_least_one() {
        for quantity in ["1.5", "2.0", "\"2\"", "true", "-1", "0", "null", "1e2"] {
            refused(
                &format!(r#"{{"user_id":1,"items":[{{"product_id":1,"quantity":{quantity}}}]}}"#),
                "Item 1: quantity must be a whole number of 1 or more.",
            );
        }
    }

    #[test]
    fn quantities_that_no_column_holds_are_refused() {
        for quantity in ["2147483648", "9223372036854775807", "18446744073709551615"] {
            refused(
                &format!(r#"{{"user_id":1,"items":[{{"product_id":1,"quantity":{quantity}}}]}}"#),
                "Item 1: the quantity of one product is limited to 2147483647.",
            );
        }
    }

    #[test]
    fn the_user_is_checked_after_the_lines() {
        refused(
            r#"{"items":[{"product_id":1,"quantity":1}]}"#,
            "Cannot create order. user_id must be a whole number.",
        );
        refused(
            r#"{"user_id":"1","items":[{"product_id":1,"quantity":0}]}"#,
            "Item 1: quantity must be a whole number of 1 or more.",
        );
    }

    #[test]
    fn too_many_lines_name_the_limit() {
        let line = r#"{"product_id":1,"quantity":1}"#;
        let text = format!(r#"{{"user_id":1,"items":[{}]}}"#, [line; 4].join(","));
        refused(&text, "Cannot create order. An order is limited to 3 lines (STORE_MAX_ITEMS).");
    }

    #[test]
    fn each_line_has_the_price_of_its_own_product() {
        let product =
            |price| Product { name: String::new(), sku: String::new(), price: Cents::new(price) };
        let products =
            HashMap::from([(ProductId::new(1), product(1999)), (ProductId::new(2), product(550))]);
        let order = parse(
            r#"{"user_id":1,"items":[{"product_id":1,"quantity":3},{"product_id":2,"quantity":1}]}"#,
        );
        let priced = order.unwrap().price(&products).unwrap();
        assert_eq!(priced.total, Cents::new(3 * 1999 + 550));
        assert_eq!(priced.lines[1].unit_price, Cents::new(550));
    }
}
