//! Which shapes have bodies and answers?

use serde_json::Value;
use utoipa::openapi::schema::{
    AllOfBuilder, AnyOfBuilder, ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, SchemaType,
    Type,
};
use utoipa::openapi::{Ref, RefOr, Schema};

use crate::config::{Compat, Config};

type Named = (&'static str, RefOr<Schema>);

/// Every schema under its name.
pub(super) fn all(config: &Config) -> Vec<Named> {
    let mut all = requests(config);
    all.extend(rows(config));
    all.extend(reports());
    all.extend(status());
    all
}

fn requests(config: &Config) -> Vec<Named> {
    let line = object(&[("product_id", id()), ("quantity", whole(1, i32::MAX.into()))]);
    let lines = ArrayBuilder::new()
        .items(named("NewLine"))
        .min_items(Some(1))
        .max_items(Some(config.limits.lines));
    let price = ObjectBuilder::new()
        .schema_type(Type::Number)
        .minimum(Some(0.005))
        .maximum(Some(99_999_999.99));
    let variables = AnyOfBuilder::new()
        .item(ObjectBuilder::new().schema_type(Type::Object))
        .item(ObjectBuilder::new().schema_type(Type::Null))
        .item(ObjectBuilder::new().schema_type(Type::String).max_length(Some(0)));
    let query = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("query", any_text())
        .property("variables", variables)
        .property("operationName", nullable(Type::String))
        .required("query");
    let least = i64::from(if config.stock == crate::domain::stock::StockPolicy::Enforce {
        0
    } else {
        i32::MIN
    });
    vec![
        ("NewLine", line),
        ("NewOrder", object(&[("items", lines.into()), ("user_id", id())])),
        (
            "NewProduct",
            object(&[("name", text(1, 150)), ("price", price.into()), ("sku", text(1, 64))]),
        ),
        ("NewUser", object(&[("email", text(1, 150)), ("name", text(1, 100))])),
        ("NewStock", object(&[("product_id", id()), ("quantity", whole(least, i32::MAX.into()))])),
        ("GraphQlQuery", query.into()),
    ]
}

fn rows(config: &Config) -> Vec<Named> {
    let level = || whole(i32::MIN.into(), i32::MAX.into());
    // Where a lab is imitated, what is absent is an empty object.
    let row = |name, fields: &[(&str, RefOr<Schema>)]| match config.compat {
        Compat::Off => (name, object(fields)),
        Compat::W26 | Compat::A25 => {
            let none = ObjectBuilder::new().schema_type(Type::Object).max_properties(Some(0));
            (name, AnyOfBuilder::new().item(object(fields)).item(none).into())
        }
    };
    vec![
        ("OrderCreated", object(&[("order_id", id())])),
        ("ProductCreated", object(&[("product_id", id())])),
        ("UserCreated", object(&[("user_id", id())])),
        ("StockResult", object(&[("result", any_text())])),
        ("Deleted", object(&[("deleted", of(Type::Boolean))])),
        ("DeletedOrError", AnyOfBuilder::new().item(named("Deleted")).item(named("Error")).into()),
        row(
            "Order",
            &[("items", any_text()), ("total_amount", any_text()), ("user_id", any_text())],
        ),
        row(
            "Product",
            &[("id", id()), ("name", any_text()), ("price", of(Type::Number)), ("sku", any_text())],
        ),
        row("User", &[("email", any_text()), ("id", id()), ("name", any_text())]),
        row("Stock", &[("product_id", id()), ("quantity", level())]),
    ]
}

fn reports() -> Vec<Named> {
    let spender = object(&[("total_expense", of(Type::Number)), ("user_id", id())]);
    let remembered = object(&[("product_id", id()), ("quantity_sold", of(Type::Integer))]);
    let aggregated = object(&[("product_id", id()), ("quantity", any_text())]);
    let article = object(&[
        ("Article", any_text()),
        ("Numéro SKU", any_text()),
        ("Prix unitaire", of(Type::Number)),
        ("Unités en stock", of(Type::Integer)),
    ]);
    let seller = AnyOfBuilder::new().item(remembered).item(aggregated);
    vec![
        ("Spenders", ArrayBuilder::new().items(spender).max_items(Some(10)).into()),
        (
            "Sellers",
            ArrayBuilder::new().items(RefOr::T(Schema::from(seller))).max_items(Some(100)).into(),
        ),
        ("StockOverview", ArrayBuilder::new().items(article).into()),
    ]
}

fn status() -> Vec<Named> {
    let words = |words: &[&str]| -> RefOr<Schema> {
        let words = words.iter().map(|it| Value::from(*it));
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
    };
    let checks = object(&[("data", any_text()), ("database", any_text()), ("redis", any_text())]);
    let errors = ArrayBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
        .items(any_text());
    let data = ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::Object, Type::Null]));
    vec![
        ("Health", object(&[("status", words(&["ok"]))])),
        (
            "Ready",
            object(&[
                ("checks", checks),
                ("status", words(&["ready", "starting", "unavailable", "draining"])),
            ]),
        ),
        ("GraphQlAnswer", object(&[("data", data.into()), ("errors", errors.into())])),
        ("Error", object(&[("error", any_text())])),
        ("Anything", AllOfBuilder::new().item(of(Type::Object)).into()),
    ]
}

/// An object in which every field is needed and no other is meant.
fn object(fields: &[(&str, RefOr<Schema>)]) -> RefOr<Schema> {
    let object = ObjectBuilder::new().schema_type(Type::Object);
    let add = |it: ObjectBuilder, (name, schema): &(&str, RefOr<Schema>)| {
        it.property(*name, schema.clone()).required(*name)
    };
    fields.iter().fold(object, add).into()
}

fn named(name: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(name))
}

fn of(kind: Type) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(kind).into()
}

fn nullable(kind: Type) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([kind, Type::Null])).into()
}

fn any_text() -> RefOr<Schema> {
    of(Type::String)
}

fn text(least: usize, most: usize) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(least))
        .max_length(Some(most))
        .into()
}

fn whole(least: i64, most: i64) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(least)).maximum(Some(most)).into()
}

fn id() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .into()
}
