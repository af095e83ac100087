//! What does each line of the API take, and what may it answer?

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};

/// One line of the API.
#[derive(Debug)]
pub struct Operation {
    /// How it is asked.
    pub method: &'static str,
    /// The template of its path.
    pub path: &'static str,
    /// Its name for generated clients.
    pub id: &'static str,
    /// The group it stands in.
    pub tag: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// What one has to know beyond that, or nothing.
    pub detail: &'static str,
    /// The schema of its body, if it takes one.
    pub body: Option<&'static str>,
    pub(super) keyed: Keyed,
    pub(super) answers: &'static [Answer],
}

/// Whether an `Idempotency-Key` is honoured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Keyed {
    Yes,
    No,
}

/// One answer that may come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) text: &'static str,
    pub(super) shape: Shape,
    /// The editions of the lab answer 500 here.
    pub(super) lab_failure: bool,
}

/// What an answer looks like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    /// JSON of a named schema.
    Json(&'static str),
    /// The same for a row that was asked for by its id.
    Found(&'static str),
    /// Text of another type.
    Text(&'static str),
    /// `{"error":"…"}`
    Error,
}

impl Shape {
    /// Media type and schema.
    pub(super) fn content(self) -> (&'static str, RefOr<Schema>) {
        let schema = |name| RefOr::Ref(Ref::from_schema_name(name));
        match self {
            Self::Json(name) | Self::Found(name) => ("application/json", schema(name)),
            Self::Error => ("application/json", schema("Error")),
            Self::Text(media) => (media, ObjectBuilder::new().schema_type(Type::String).into()),
        }
    }
}

impl Operation {
    /// A body that the small profile takes.
    pub fn example(&self) -> Option<&'static str> {
        Some(match self.body? {
            "NewOrder" => r#"{"user_id":1,"items":[{"product_id":1,"quantity":2}]}"#,
            "NewProduct" => r#"{"name":"Some item","sku":"ABCDEF1236","price":5.55}"#,
            "NewUser" => r#"{"name":"Jane Doe","email":"jd@example.ca"}"#,
            "NewStock" => r#"{"product_id":1,"quantity":56}"#,
            _ => r#"{"query":"{ product(id: \"1\") { id name sku price quantity } }"}"#,
        })
    }
}

const fn ok(text: &'static str, schema: &'static str) -> Answer {
    Answer { status: 200, text, shape: Shape::Json(schema), lab_failure: false }
}

const fn found(text: &'static str, schema: &'static str) -> Answer {
    Answer { status: 200, text, shape: Shape::Found(schema), lab_failure: false }
}

const fn made(text: &'static str, schema: &'static str) -> Answer {
    Answer { status: 201, text, shape: Shape::Json(schema), lab_failure: false }
}

const fn refused(status: u16, text: &'static str) -> Answer {
    Answer { status, text, shape: Shape::Error, lab_failure: false }
}

const fn fault(status: u16, text: &'static str) -> Answer {
    Answer { status, text, shape: Shape::Error, lab_failure: true }
}

const NO_ROW: Answer = refused(404, "There is no such row, or the id is not digits.");
const NOT_GONE: Answer = Answer {
    status: 404,
    text: "There was nothing to remove, or the id is not digits.",
    shape: Shape::Json("DeletedOrError"),
    lab_failure: false,
};
const GONE: Answer = ok("It is gone.", "Deleted");
const REPORT_LACKS: Answer =
    refused(503, "There is no report, old or new: the database or Redis cannot be used.");

/// What may come whatever is asked for.
pub(super) const EVERYWHERE: [Answer; 1] = [refused(
    503,
    "A dependency, a limit or the deadline of the request is in the way; the text names it.",
)];

/// What may come where a body is sent.
pub(super) const WITH_BODY: [Answer; 6] = [
    EVERYWHERE[0],
    refused(400, "The body is not JSON, or not what the schema says."),
    fault(400, "A field is not what it has to be; the text names it."),
    refused(408, "The body did not arrive in time."),
    refused(413, "The body is too large."),
    refused(415, "The body is not of type application/json."),
];

/// What may come where a key is honoured.
pub(super) const WITH_KEY: [Answer; 2] = [
    refused(409, "A request with this Idempotency-Key is still running."),
    refused(422, "This Idempotency-Key was used for another request."),
];

const PLAIN: Operation = Operation {
    method: "GET",
    path: "",
    id: "",
    tag: "",
    summary: "",
    detail: "",
    body: None,
    keyed: Keyed::No,
    answers: &[],
};

const READY: [Answer; 2] = [
    ok("Send requests.", "Ready"),
    Answer {
        status: 503,
        text: "Do not; the checks say why.",
        shape: Shape::Json("Ready"),
        lab_failure: false,
    },
];

/// All lines, in the order in which they are shown.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        path: "/orders",
        id: "createOrder",
        tag: "orders",
        summary: "Place an order",
        detail: "Prices, order, lines and stock change together or not at all. The same product may stand in several lines.",
        body: Some("NewOrder"),
        keyed: Keyed::Yes,
        answers: &[
            made("The number of the order.", "OrderCreated"),
            refused(409, "Stock is enforced and too low."),
            fault(422, "A product or the user does not exist."),
        ],
    },
    Operation {
        path: "/orders/{id}",
        id: "showOrder",
        tag: "orders",
        summary: "Show an order",
        detail: "All values are texts; `items` is JSON inside a text, as the lab has it.",
        answers: &[found("The order.", "Order"), NO_ROW],
        ..PLAIN
    },
    Operation {
        method: "DELETE",
        path: "/orders/{id}",
        id: "deleteOrder",
        tag: "orders",
        summary: "Remove an order and restore its stock",
        answers: &[GONE, NOT_GONE],
        ..PLAIN
    },
    Operation {
        path: "/orders/reports/highest-spenders",
        id: "highestSpenders",
        tag: "reports",
        summary: "The ten users who spent most",
        detail: "`X-Store-Cache` and `Age` tell where the report came from.",
        answers: &[ok("The report, largest first.", "Spenders"), REPORT_LACKS],
        ..PLAIN
    },
    Operation {
        path: "/orders/reports/best-sellers",
        id: "bestSellers",
        tag: "reports",
        summary: "The products that sold best",
        detail: "Ten with `quantity_sold`, or a hundred with `quantity` where STORE_REPORTS is mysql.",
        answers: &[ok("The report, largest first.", "Sellers"), REPORT_LACKS],
        ..PLAIN
    },
    Operation {
        path: "/stocks/reports/overview-stocks",
        id: "stockOverview",
        tag: "reports",
        summary: "Every product with its stock level",
        answers: &[ok("All products, by id.", "StockOverview")],
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/products",
        id: "createProduct",
        tag: "products",
        summary: "Add a product",
        detail: "The price is rounded to cents; the SKU need not be unique.",
        body: Some("NewProduct"),
        keyed: Keyed::Yes,
        answers: &[made("The number of the product.", "ProductCreated")],
    },
    Operation {
        path: "/products/{id}",
        id: "showProduct",
        tag: "products",
        summary: "Show a product",
        answers: &[found("The product.", "Product"), NO_ROW],
        ..PLAIN
    },
    Operation {
        method: "DELETE",
        path: "/products/{id}",
        id: "deleteProduct",
        tag: "products",
        summary: "Remove a product",
        answers: &[GONE, NOT_GONE, fault(409, "Stock or order rows name it.")],
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/users",
        id: "createUser",
        tag: "users",
        summary: "Add a user",
        body: Some("NewUser"),
        keyed: Keyed::Yes,
        answers: &[
            made("The number of the user.", "UserCreated"),
            fault(409, "Somebody has this email."),
        ],
        ..PLAIN
    },
    Operation {
        path: "/users/{id}",
        id: "showUser",
        tag: "users",
        summary: "Show a user",
        answers: &[found("The user.", "User"), NO_ROW],
        ..PLAIN
    },
    Operation {
        method: "DELETE",
        path: "/users/{id}",
        id: "deleteUser",
        tag: "users",
        summary: "Remove a user and the user's orders",
        detail: "Stock is not restored.",
        answers: &[GONE, NOT_GONE],
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/stocks",
        id: "setStock",
        tag: "stocks",
        summary: "Set a stock level",
        body: Some("NewStock"),
        answers: &[
            made("What was done.", "StockResult"),
            fault(422, "The product does not exist."),
        ],
        ..PLAIN
    },
    Operation {
        path: "/stocks/{id}",
        id: "showStock",
        tag: "stocks",
        summary: "Show a stock level",
        answers: &[found("The level.", "Stock"), NO_ROW],
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/stocks/graphql-query",
        id: "graphQl",
        tag: "stocks",
        summary: "Ask for products in GraphQL",
        detail: "`product(id: String!)` and `stockLevel(productId: String!)`; queries only.",
        body: Some("GraphQlQuery"),
        answers: &[ok("Data, or null and the reasons.", "GraphQlAnswer")],
        ..PLAIN
    },
    Operation {
        path: "/health-check",
        id: "health",
        tag: "status",
        summary: "Is the process alive?",
        answers: &[ok("It is.", "Health")],
        ..PLAIN
    },
    Operation {
        path: "/livez",
        id: "live",
        tag: "status",
        summary: "The same as /health-check",
        answers: &[ok("It is.", "Health")],
        ..PLAIN
    },
    Operation {
        path: "/ready",
        id: "ready",
        tag: "status",
        summary: "May requests be sent here?",
        answers: &READY,
        ..PLAIN
    },
    Operation {
        path: "/readyz",
        id: "readyz",
        tag: "status",
        summary: "The same as /ready",
        answers: &READY,
        ..PLAIN
    },
    Operation {
        path: "/metrics",
        id: "metrics",
        tag: "status",
        summary: "What was counted so far",
        answers: &[Answer {
            status: 200,
            text: "OpenMetrics text.",
            lab_failure: false,
            shape: Shape::Text("application/openmetrics-text"),
        }],
        ..PLAIN
    },
    Operation {
        path: "/openapi.json",
        id: "openapi",
        tag: "status",
        summary: "This document",
        answers: &[ok("It.", "Anything")],
        ..PLAIN
    },
    Operation {
        path: "/docs",
        id: "docs",
        tag: "status",
        summary: "The same for people",
        answers: &[Answer {
            status: 200,
            text: "A page.",
            lab_failure: false,
            shape: Shape::Text("text/html"),
        }],
        ..PLAIN
    },
];
