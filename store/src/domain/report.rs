//! Who spent most, what sold best?

use super::id::{ProductId, UserId};
use super::money::Cents;

/// One of the two sales reports.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Report {
    /// The users with the largest sum of order totals.
    HighestSpenders,
    /// The products with the largest number of pieces sold.
    BestSellers,
}

impl Report {
    /// Both, in the order of their positions.
    pub const ALL: [Self; 2] = [Self::HighestSpenders, Self::BestSellers];

    /// Rows of either report when it comes from a cache.
    pub const LIMIT: usize = 10;

    /// Rows of the best sellers when they are aggregated per call, as the lab did.
    pub const LIMIT_AGGREGATED: usize = 100;

    /// The word for labels and cache keys.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HighestSpenders => "highest_spenders",
            Self::BestSellers => "best_sellers",
        }
    }

    /// Position in arrays that hold one value per report.
    pub const fn position(self) -> usize {
        match self {
            Self::HighestSpenders => 0,
            Self::BestSellers => 1,
        }
    }
}

/// The rows of one report, largest first, ties by ascending id.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rows {
    /// User and sum of the user's order totals.
    Spenders(Vec<(UserId, Cents)>),
    /// Product and pieces sold.
    Sellers(Vec<(ProductId, i64)>),
}
