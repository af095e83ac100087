//! Which line of the API is meant?
//!
//! The table below is the API: a path that is not in it is 404, a method that is not in its line
//! is 405.

use http::Method;
use matchit::Router;

use crate::domain::id::{OrderId, ProductId, UserId};
use crate::domain::report::Report;

/// A request whose path and method were understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Route {
    /// Is the process alive?
    Health,
    /// May it be sent requests?
    Ready,
    /// What does it count?
    Metrics,
    /// What does the API look like, for programs?
    OpenApi,
    /// And for people?
    Docs,
    /// Place an order.
    CreateOrder,
    /// Show an order.
    Order(OrderId),
    /// Remove an order and restore its stock.
    DeleteOrder(OrderId),
    /// Show a sales report.
    Report(Report),
    /// Add a product.
    CreateProduct,
    /// Show a product.
    Product(ProductId),
    /// Remove a product.
    DeleteProduct(ProductId),
    /// Add a user.
    CreateUser,
    /// Show a user.
    User(UserId),
    /// Remove a user and the user's orders.
    DeleteUser(UserId),
    /// Set a stock level.
    SetStock,
    /// Show a stock level.
    Stock(ProductId),
    /// Ask for products in GraphQL.
    GraphQl,
    /// Show all stock levels.
    StockOverview,
}

type Make = fn(i64) -> Route;

const TABLE: &[(&str, &[(Method, Make)])] = &[
    ("/health-check", &[(Method::GET, |_| Route::Health)]),
    ("/livez", &[(Method::GET, |_| Route::Health)]),
    ("/ready", &[(Method::GET, |_| Route::Ready)]),
    ("/readyz", &[(Method::GET, |_| Route::Ready)]),
    ("/metrics", &[(Method::GET, |_| Route::Metrics)]),
    ("/openapi.json", &[(Method::GET, |_| Route::OpenApi)]),
    ("/docs", &[(Method::GET, |_| Route::Docs)]),
    ("/orders", &[(Method::POST, |_| Route::CreateOrder)]),
    (
        "/orders/{id}",
        &[
            (Method::GET, |it| Route::Order(OrderId::new(it))),
            (Method::DELETE, |it| Route::DeleteOrder(OrderId::new(it))),
        ],
    ),
    (
        "/orders/reports/highest-spenders",
        &[(Method::GET, |_| Route::Report(Report::HighestSpenders))],
    ),
    ("/orders/reports/best-sellers", &[(Method::GET, |_| Route::Report(Report::BestSellers))]),
    ("/products", &[(Method::POST, |_| Route::CreateProduct)]),
    (
        "/products/{id}",
        &[
            (Method::GET, |it| Route::Product(ProductId::new(it))),
            (Method::DELETE, |it| Route::DeleteProduct(ProductId::new(it))),
        ],
    ),
    ("/users", &[(Method::POST, |_| Route::CreateUser)]),
    (
        "/users/{id}",
        &[
            (Method::GET, |it| Route::User(UserId::new(it))),
            (Method::DELETE, |it| Route::DeleteUser(UserId::new(it))),
        ],
    ),
    ("/stocks", &[(Method::POST, |_| Route::SetStock)]),
    ("/stocks/{id}", &[(Method::GET, |it| Route::Stock(ProductId::new(it)))]),
    ("/stocks/graphql-query", &[(Method::POST, |_| Route::GraphQl)]),
    ("/stocks/reports/overview-stocks", &[(Method::GET, |_| Route::StockOverview)]),
];

/// Every method and path of the table.
pub fn lines() -> impl Iterator<Item = (&'static Method, &'static str)> {
    TABLE.iter().flat_map(|(path, methods)| methods.iter().map(|(method, _)| (method, *path)))
}

/// What became of a path and a method.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Match {
    /// A line of the table.
    Found(Route),
    /// OPTIONS on a path of the table, with the methods it takes.
    Options(String),
    /// The path takes other methods.
    WrongMethod(String),
    /// No line of the table, or an id that is not digits.
    Unknown,
}

/// The table, ready to be searched.
#[derive(Debug)]
pub struct Routes(Router<usize>);

impl Routes {
    /// Builds the search tree.
    pub fn new() -> Self {
        let mut router = Router::new();
        for (position, (path, _)) in TABLE.iter().enumerate() {
            router.insert(*path, position).expect("no two lines of the table overlap");
        }
        Self(router)
    }

    /// The route of a request, and the template of its path for labels.
    pub fn find(&self, method: &Method, path: &str) -> (Match, &'static str) {
        let Ok(found) = self.0.at(path) else {
            return (Match::Unknown, "other");
        };
        let (template, methods) = TABLE[*found.value];
        let id = match found.params.get("id") {
            Some(text) => digits(text),
            None => Some(0),
        };
        let Some(id) = id else {
            return (Match::Unknown, "other");
        };
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        if let Some((_, make)) = methods.iter().find(|(it, _)| it == wanted) {
            return (Match::Found(make(id)), template);
        }
        let allow = allow(methods);
        (
            if method == Method::OPTIONS {
                Match::Options(allow)
            } else {
                Match::WrongMethod(allow)
            },
            template,
        )
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self::new()
    }
}

/// An id; one too large for any row stays too large for any row.
fn digits(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(i64::MAX))
}

fn allow(methods: &[(Method, Make)]) -> String {
    let mut names = Vec::with_capacity(4);
    for (method, _) in methods {
        names.push(method.as_str());
        if method == Method::GET {
            names.push("HEAD");
        }
    }
    names.push("OPTIONS");
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &Method, path: &str, expected: &Match) {
        assert_eq!(&Routes::new().find(method, path).0, expected, "{method} {path}");
    }

    #[test]
    fn reports_are_not_taken_for_ids() {
        check(
            &Method::GET,
            "/orders/reports/best-sellers",
            &Match::Found(Route::Report(Report::BestSellers)),
        );
        check(&Method::GET, "/orders/7", &Match::Found(Route::Order(OrderId::new(7))));
    }

    #[test]
    fn an_id_is_digits_and_nothing_else() {
        for path in [
            "/orders/x",
            "/orders/-1",
            "/orders/1.5",
            "/orders/",
            "/orders/1/",
            "/orders/%31",
            "/nothing",
        ] {
            check(&Method::GET, path, &Match::Unknown);
        }
        check(
            &Method::GET,
            "/orders/99999999999999999999",
            &Match::Found(Route::Order(OrderId::new(i64::MAX))),
        );
    }

    #[test]
    fn a_wrong_method_learns_the_right_ones() {
        check(
            &Method::PUT,
            "/orders/7",
            &Match::WrongMethod("GET, HEAD, DELETE, OPTIONS".to_owned()),
        );
        check(&Method::GET, "/orders", &Match::WrongMethod("POST, OPTIONS".to_owned()));
        check(&Method::OPTIONS, "/users", &Match::Options("POST, OPTIONS".to_owned()));
        check(&Method::HEAD, "/users/1", &Match::Found(Route::User(UserId::new(1))));
    }
}
