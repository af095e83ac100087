//! How is the API described to programs and to people who have not read the code?
//!
//! An OpenAPI 3.1 document, made once from the settings this instance runs with: limits, statuses
//! of the compatible modes and all. A test compares it with the table of routes.

mod operations;
mod schemas;

use std::collections::BTreeMap;

use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ComponentsBuilder, ContentBuilder, HeaderBuilder, InfoBuilder, LicenseBuilder,
    OpenApi, OpenApiBuilder, Paths, Ref, Required, ResponseBuilder,
};

use self::operations::{Answer, Keyed, Shape};
pub use self::operations::{OPERATIONS, Operation};
use crate::config::{Compat, Config};

/// What the API is about, group by group.
const TAGS: [(&str, &str); 6] = [
    ("orders", "Placing, showing and removing orders"),
    ("reports", "Who spent most, what sold best, what is left"),
    ("products", "What is sold"),
    ("users", "Who buys"),
    ("stocks", "How much is left"),
    ("status", "How this instance is"),
];

/// The document for an instance with these settings.
pub fn document(config: &Config) -> OpenApi {
    let mut paths = Paths::new();
    for operation in OPERATIONS {
        let described = describe(operation, config);
        paths.add_path_operation(operation.path, vec![method(operation)], described);
    }
    let tag =
        |(name, text): (&str, &str)| TagBuilder::new().name(name).description(Some(text)).build();
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Store Manager")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "A small shop: users, products, stock, orders, two sales reports and one GraphQL query. \
                     There is no authentication: whoever reaches the listener may do everything.",
                ))
                .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
                .build(),
        )
        .paths(paths)
        .components(Some(components(config)))
        .tags(Some(TAGS.map(tag)))
        .build()
}

fn method(operation: &Operation) -> HttpMethod {
    match operation.method {
        "POST" => HttpMethod::Post,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn components(config: &Config) -> Components {
    let schemas = schemas::all(config);
    schemas
        .into_iter()
        .fold(ComponentsBuilder::new(), |all, (name, it)| all.schema(name, it))
        .build()
}

fn describe(operation: &Operation, config: &Config) -> OperationBuilder {
    let mut described = OperationBuilder::new()
        .operation_id(Some(operation.id))
        .tag(operation.tag)
        .summary(Some(operation.summary));
    if !operation.detail.is_empty() {
        described = described.description(Some(operation.detail));
    }
    if operation.path.contains("{id}") {
        described = described.parameter(id_parameter());
    }
    if operation.keyed == Keyed::Yes {
        described = described.parameter(key_parameter());
    }
    if let Some(body) = operation.body {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(body)))
            .example(operation.example().and_then(|it| serde_json::from_str(it).ok()));
        let body = RequestBodyBuilder::new()
            .required(Some(Required::True))
            .content("application/json", content.build());
        described = described.request_body(Some(body.build()));
    }
    for (status, texts) in answers(operation, config) {
        let shape = texts[0].shape;
        let sentences: Vec<_> = texts.iter().map(|it| it.text).collect();
        let mut response = ResponseBuilder::new().description(sentences.join(" Or: "));
        let (media, schema) = shape.content();
        response = response.content(media, ContentBuilder::new().schema(Some(schema)).build());
        if status == 503 {
            let wait = ObjectBuilder::new().schema_type(Type::Integer).build();
            let wait = HeaderBuilder::new().schema(Some(wait)).description(Some("Seconds to wait"));
            response = response.header("Retry-After", wait.build());
        }
        described = described.response(status.to_string(), response.build());
    }
    described
}

/// What an operation may answer with these settings, by status.
fn answers(operation: &Operation, config: &Config) -> BTreeMap<u16, Vec<Answer>> {
    let mut all: BTreeMap<u16, Vec<Answer>> = BTreeMap::new();
    let common: &[Answer] = match (operation.tag, operation.body) {
        ("status", _) => &[],
        (_, None) => &operations::EVERYWHERE,
        (_, Some(_)) => &operations::WITH_BODY,
    };
    let keyed: &[Answer] = if operation.keyed == Keyed::Yes { &operations::WITH_KEY } else { &[] };
    for answer in operation.answers.iter().chain(common).chain(keyed) {
        let status = match (config.compat, answer) {
            (Compat::Off, it) => it.status,
            (_, it) if it.lab_failure => 500,
            // One edition answered 201 to whatever was found, and both an empty object otherwise.
            (Compat::A25, Answer { shape: Shape::Found(_), .. }) => 201,
            (_, it) => it.status,
        };
        all.entry(status).or_default().push(*answer);
    }
    all
}

fn id_parameter() -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(0))
        .examples([1])
        .build();
    ParameterBuilder::new()
        .name("id")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(schema))
        .build()
}

fn key_parameter() -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(255))
        .pattern(Some("^[!-~]+$"))
        .build();
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The same key makes the same thing once, however often it is sent"))
        .schema(Some(schema))
        .build()
}

#[cfg(test)]
mod tests;
