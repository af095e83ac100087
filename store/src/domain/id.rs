//! Which row is meant? One type per table, so that two numbers cannot change places.

use std::fmt;

/// Largest number an id column holds (`INT` of MySQL).
const LARGEST: i64 = i32::MAX as i64;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(i64);

        impl $name {
            /// Wraps a number a client or a database gave; it need not exist.
            pub const fn new(number: i64) -> Self {
                Self(number)
            }

            /// The plain number, for statements and answers.
            pub const fn number(self) -> i64 {
                self.0
            }

            /// Whether a row with this id can exist at all.
            pub const fn fits_column(self) -> bool {
                1 <= self.0 && self.0 <= LARGEST
            }
        }

        impl From<i64> for $name {
            fn from(number: i64) -> Self {
                Self(number)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A row of `users`.
    UserId
}
id! {
    /// A row of `products`; also the key of its stock.
    ProductId
}
id! {
    /// A row of `orders`.
    OrderId
}
