//! What is a product, and who is a user?

use serde_json::{Map, Value};

use super::fault::Fault;
use super::money::Cents;

/// A product as it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Product {
    /// Up to 150 characters.
    pub name: String,
    /// Up to 64 characters; not unique.
    pub sku: String,
    /// Price of one piece, more than 0 for a product made here.
    pub price: Cents,
}

impl Product {
    /// Reads the body of `POST /products`; the price is rounded to cents.
    pub fn parse(body: &Map<String, Value>) -> Result<Self, Fault> {
        let name = text(body, "name").ok_or(Fault::Product)?;
        let sku = text(body, "sku").ok_or(Fault::Product)?;
        let Some(Value::Number(price)) = body.get("price") else {
            return Err(Fault::Product);
        };
        let price = price.to_string();
        if price.starts_with('-') {
            return Err(Fault::Product);
        }
        fits("name", &name, 150)?;
        fits("sku", &sku, 64)?;
        let price = Cents::parse(&price)
            .filter(|it| *it <= Cents::MAX_PRICE)
            .ok_or(Fault::PriceTooLarge)?;
        if price <= Cents::default() {
            return Err(Fault::Product);
        }
        Ok(Self { name, sku, price })
    }
}

/// A user as it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Up to 100 characters.
    pub name: String,
    /// Up to 150 characters; unique without regard to case.
    pub email: String,
}

impl User {
    /// Reads the body of `POST /users`.
    pub fn parse(body: &Map<String, Value>) -> Result<Self, Fault> {
        let name = text(body, "name").ok_or(Fault::User)?;
        let email = text(body, "email").ok_or(Fault::User)?;
        fits("name", &name, 100)?;
        fits("email", &email, 150)?;
        Ok(Self { name, email })
    }
}

fn text(body: &Map<String, Value>, key: &str) -> Option<String> {
    body.get(key).and_then(Value::as_str).filter(|it| !it.is_empty()).map(str::to_owned)
}

fn fits(field: &'static str, text: &str, limit: usize) -> Result<(), Fault> {
    if limit < text.chars().count() { Err(Fault::TooLong { field, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(text: &str) -> Result<Product, Fault> {
        let body: Value = serde_json::from_str(text).unwrap();
        Product::parse(body.as_object().unwrap())
    }

    #[test]
    fn a_price_is_rounded_to_cents() {
        let price = |text: &str| {
            product(&format!(r#"{{"name":"n","sku":"s","price":{text}}}"#)).map(|it| it.price)
        };
        assert_eq!(price("5.55"), Ok(Cents::new(555)));
        assert_eq!(price("1.005"), Ok(Cents::new(101)));
        assert_eq!(price("1e2"), Ok(Cents::new(10_000)));
        assert_eq!(price("100000000"), Err(Fault::PriceTooLarge));
        assert_eq!(price("1e300"), Err(Fault::PriceTooLarge));
        for refused in ["0", "-1", "-1e300", "0.001", "\"5\"", "true", "null"] {
            assert_eq!(price(refused), Err(Fault::Product), "{refused}");
        }
    }

    #[test]
    fn every_field_of_a_product_is_needed() {
        for text in
            [r"{}", r#"{"name":"","sku":"s","price":1}"#, r#"{"name":"n","sku":5,"price":1}"#]
        {
            assert_eq!(product(text), Err(Fault::Product), "{text}");
        }
    }

    #[test]
    fn a_long_text_names_its_field_and_limit() {
        let text = format!(r#"{{"name":"n","sku":"{}","price":1}}"#, "é".repeat(65));
        assert_eq!(product(&text).unwrap_err().to_string(), "sku is limited to 64 characters.");
        let text = format!(r#"{{"name":"n","sku":"{}","price":1}}"#, "é".repeat(64));
        assert!(product(&text).is_ok());
    }
}
