//! Which rows does a profile consist of?
//!
//! One `SplitMix64` stream decides everything, in a fixed order, so that the data of every run and
//! of every database is the same.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::domain::catalog::{Product, User};
use crate::domain::id::{OrderId, ProductId, UserId};
use crate::domain::money::Cents;
use crate::domain::order::{PricedLine, PricedOrder};

/// 2026-01-01T00:00:00Z, in seconds since the epoch.
const NEWEST: i64 = 1_767_225_600;

const ADJECTIVES: [&str; 10] = [
    "Basic", "Bright", "Classic", "Durable", "Folding", "Light", "Portable", "Quiet", "Slim",
    "Sturdy",
];
const CATEGORIES: [&str; 10] = [
    "Backpack",
    "Camera",
    "Charger",
    "Lamp",
    "Microphone",
    "Printer",
    "Router",
    "Scanner",
    "Speaker",
    "Tablet",
];

/// What a database is filled with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Profile {
    /// Three users, four products, no orders.
    Small,
    /// Drawn rows, under the name that is noted with them.
    Drawn(&'static str, Volume),
}

/// How many rows are drawn, and from where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Volume {
    /// Users.
    pub users: i64,
    /// Products, each with a stock row.
    pub products: i64,
    /// Orders.
    pub orders: i64,
    /// Fewest lines of an order.
    pub items_min: i64,
    /// Most lines of an order.
    pub items_max: i64,
    /// Start of the stream.
    pub seed: u64,
}

/// A product with its level.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StockedProduct {
    /// Its number.
    pub id: ProductId,
    /// Its content.
    pub product: Product,
    /// Pieces in stock.
    pub stock: i64,
}

/// An order with its time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DatedOrder {
    /// Its number.
    pub id: OrderId,
    /// Its content.
    pub order: PricedOrder,
    /// Seconds since the epoch.
    pub created_at: i64,
}

/// All rows of a profile; orders are drawn as they are asked for.
#[derive(Debug)]
pub struct Data {
    /// In id order.
    pub users: Vec<(UserId, User)>,
    /// In id order.
    pub products: Vec<StockedProduct>,
    /// In id order.
    pub orders: Orders,
}

impl Profile {
    /// The volume of the lab.
    pub const fn lab(seed: u64) -> Self {
        Self::Drawn(
            "lab",
            Volume {
                users: 1000,
                products: 10_000,
                orders: 80_000,
                items_min: 1,
                items_max: 5,
                seed,
            },
        )
    }

    /// The word that is noted in the database.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Drawn(name, _) => name,
        }
    }

    /// Start of the stream; 0 where nothing is drawn.
    pub const fn seed(&self) -> u64 {
        match self {
            Self::Small => 0,
            Self::Drawn(_, volume) => volume.seed,
        }
    }

    /// The rows.
    pub fn data(&self) -> Data {
        match self {
            Self::Small => small(),
            Self::Drawn(_, volume) => drawn(*volume),
        }
    }
}

fn small() -> Data {
    let users = [
        ("Ada Lovelace", "alovelace@example.com"),
        ("Adele Goldberg", "agoldberg@example.com"),
        ("Alan Turing", "aturing@example.com"),
    ];
    let products = [
        ("Laptop ABC", "LP12567", 199_999, 1000),
        ("Keyboard DEF", "KB67890", 5950, 500),
        ("Gadget XYZ", "GG12345", 575, 2),
        ("27-inch Screen WYZ", "SC27289", 29_975, 90),
    ];
    let user = |(id, (name, email)): (i64, (&str, &str))| {
        (UserId::new(id), User { name: name.to_owned(), email: email.to_owned() })
    };
    let product = |(id, (name, sku, cents, stock)): (i64, (&str, &str, i64, i64))| StockedProduct {
        id: ProductId::new(id),
        product: Product { name: name.to_owned(), sku: sku.to_owned(), price: Cents::new(cents) },
        stock,
    };
    let volume = Volume { users: 3, products: 4, orders: 0, items_min: 1, items_max: 1, seed: 0 };
    let orders = Orders { volume, prices: Vec::new(), stream: SplitMix64(0), next: 1 };
    Data {
        users: (1..).zip(users).map(user).collect(),
        products: (1..).zip(products).map(product).collect(),
        orders,
    }
}

fn drawn(volume: Volume) -> Data {
    let mut stream = SplitMix64(volume.seed);
    let user = |id| {
        (
            UserId::new(id),
            User { name: format!("User {id}"), email: format!("user{id}@example.com") },
        )
    };
    let products: Vec<_> = (1..=volume.products)
        .map(|id| {
            let adjective = ADJECTIVES[stream.index(10)];
            let category = CATEGORIES[stream.index(10)];
            let price = Cents::new(stream.draw(500, 200_000));
            let stock = stream.draw(10, 1000);
            let (name, sku) = (format!("{adjective} {category} {id}"), format!("SKU{id:06}"));
            StockedProduct { id: ProductId::new(id), product: Product { name, sku, price }, stock }
        })
        .collect();
    let prices = products.iter().map(|it| it.product.price).collect();
    Data {
        users: (1..=volume.users).map(user).collect(),
        products,
        orders: Orders { volume, prices, stream, next: 1 },
    }
}

/// Draws one order after another.
#[derive(Debug)]
pub struct Orders {
    volume: Volume,
    prices: Vec<Cents>,
    stream: SplitMix64,
    next: i64,
}

impl Iterator for Orders {
    type Item = DatedOrder;

    fn next(&mut self) -> Option<DatedOrder> {
        if self.volume.orders < self.next {
            return None;
        }
        let id = OrderId::new(self.next);
        self.next += 1;
        let stream = &mut self.stream;
        let user = UserId::new(stream.draw(1, self.volume.users));
        let count =
            stream.draw(self.volume.items_min, self.volume.items_max).min(self.volume.products);
        let mut lines: Vec<PricedLine> = Vec::new();
        let mut total = Cents::default();
        for _ in 0..count {
            let product = loop {
                let product = ProductId::new(stream.draw(1, self.volume.products));
                if lines.iter().all(|it| it.product != product) {
                    break product;
                }
            };
            let quantity = stream.draw(1, 3);
            let index = usize::try_from(product.number() - 1).expect("products count from 1");
            let unit_price = self.prices[index];
            total = unit_price
                .times(quantity)
                .and_then(|it| total.plus(it))
                .expect("drawn prices are small");
            lines.push(PricedLine { product, quantity, unit_price });
        }
        let days = stream.draw(0, 730);
        let created_at = NEWEST - days * 86_400 - stream.draw(0, 86_399);
        Some(DatedOrder { id, order: PricedOrder { user, total, lines }, created_at })
    }
}

/// The published generator: 64 bits of state, one word per call.
#[derive(Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number from `low` to `high`, both included: the high word of a 64 by 64 product.
    fn draw(&mut self, low: i64, high: i64) -> i64 {
        let span = u128::from((high - low + 1).unsigned_abs());
        let high_word = (u128::from(self.next()) * span) >> 64;
        low + i64::try_from(high_word).expect("the high word is below the span")
    }

    fn index(&mut self, count: i64) -> usize {
        usize::try_from(self.draw(0, count - 1)).expect("draws from 0 are not negative")
    }
}

/// SHA-256 over the canonical text: a line per user, product, order and order line.
#[derive(Debug, Default)]
pub struct Canonical {
    hash: Sha256,
    line: String,
}

impl Canonical {
    /// Adds a user; users come first, in id order.
    pub fn user(&mut self, id: UserId, user: &User) {
        self.add(format_args!("u,{id},{},{}", user.name, user.email));
    }

    /// Adds a product; products follow the users, in id order.
    pub fn product(&mut self, it: &StockedProduct) {
        let Product { name, sku, price } = &it.product;
        self.add(format_args!("p,{},{name},{sku},{},{}", it.id, price.number(), it.stock));
    }

    /// Adds an order with its lines; orders come last, in id order.
    pub fn order(&mut self, it: &DatedOrder) {
        self.add(format_args!(
            "o,{},{},{},{}",
            it.id,
            it.order.user,
            it.order.total.number(),
            it.created_at
        ));
        for line in &it.order.lines {
            self.add(format_args!(
                "i,{},{},{},{}",
                it.id,
                line.product,
                line.quantity,
                line.unit_price.number()
            ));
        }
    }

    /// The hash as 64 hexadecimal digits.
    pub fn finish(self) -> String {
        self.hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes any text");
            text
        })
    }

    fn add(&mut self, line: std::fmt::Arguments<'_>) {
        self.line.clear();
        writeln!(self.line, "{line}").expect("a string takes any text");
        self.hash.update(self.line.as_bytes());
    }
}

#[cfg(test)]
mod tests;
