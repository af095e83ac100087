//! What can a client do wrong, and in which words is it told?
//!
//! The sentences of the course lab are kept word for word, because load scripts and old result
//! tables quote them.

use thiserror::Error;

use super::id::{ProductId, UserId};

/// Why a request was refused, although every part of the store works.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Fault {
    /// The order has no `items`, or an empty list.
    #[error("Cannot create order. An order must have 1 or more items.")]
    NoItems,
    /// `items` is something else than a list of objects.
    #[error("items must be a list of objects.")]
    ItemsNotObjects,
    /// A line lacks one of its two keys; lines count from 1.
    #[error("Item {line} has no '{key}'.")]
    ItemWithout {
        /// Position in the order, from 1.
        line: usize,
        /// The missing key.
        key: &'static str,
    },
    /// A line names its product by something else than a whole number.
    #[error("Item {0}: product_id must be a whole number.")]
    ItemProduct(usize),
    /// A quantity is a fraction, a string, a boolean, or less than 1.
    #[error("Item {0}: quantity must be a whole number of 1 or more.")]
    ItemQuantity(usize),
    /// One product is ordered more often than a stock column can count.
    #[error("Item {0}: the quantity of one product is limited to 2147483647.")]
    ItemQuantityTooLarge(usize),
    /// `user_id` is missing or no whole number.
    #[error("Cannot create order. user_id must be a whole number.")]
    OrderUser,
    /// The product of a line or of a stock level does not exist.
    #[error("Product ID {0} not found in database.")]
    UnknownProduct(ProductId),
    /// The ordering user does not exist.
    #[error("User ID {0} not found in database.")]
    UnknownUser(UserId),
    /// More lines than one order may have.
    #[error("Cannot create order. An order is limited to {0} lines (STORE_MAX_ITEMS).")]
    TooManyLines(usize),
    /// The sum of all lines exceeds the column.
    #[error("Cannot create order. The total of an order is limited to 9999999999.99.")]
    TotalTooLarge,
    /// Stock is enforced, and there is not enough of it.
    #[error("Insufficient stock for product {product}: {left} left, {requested} requested.")]
    InsufficientStock {
        /// The first product, by id, that is short.
        product: ProductId,
        /// What its stock row says.
        left: i64,
        /// What the order wants, over all its lines.
        requested: i64,
    },
    /// A product without name, SKU or price, or with a wrong one.
    #[error("Cannot create product. A product must have a name, SKU and price.")]
    Product,
    /// A user without name or email, or with a wrong one.
    #[error("Cannot create user. A user must have name and email.")]
    User,
    /// A text is longer than its column; the limit counts characters.
    #[error("{field} is limited to {limit} characters.")]
    TooLong {
        /// Name of the JSON field.
        field: &'static str,
        /// Characters it may have.
        limit: usize,
    },
    /// A price exceeds its column.
    #[error("price is limited to 99999999.99.")]
    PriceTooLarge,
    /// Another user has this email.
    #[error("Email already in use.")]
    EmailTaken,
    /// Stock or order rows still name the product.
    #[error("Product ID {0} cannot be deleted: it has stock or order rows.")]
    ProductReferenced(ProductId),
    /// A stock level without both of its whole numbers.
    #[error("product_id and quantity must be whole numbers.")]
    Stock,
    /// Stock is enforced, and the level is negative.
    #[error("quantity must be 0 or more.")]
    StockNegative,
    /// The level, or what an order would leave of it, exceeds the column.
    #[error("quantity must stay between -2147483648 and 2147483647.")]
    StockOutOfRange,
}
