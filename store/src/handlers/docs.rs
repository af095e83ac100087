//! The description of the API: for programs, and as a page that needs no network and no scripts.

use askama::Template;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use serde_json::Value;

use crate::config::Config;
use crate::json::Json;
use crate::openapi::{self, OPERATIONS};
use crate::reply::{self, Body, Reply};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const NOTHING_ELSE: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");

/// Both forms, made once.
#[derive(Debug)]
pub struct Docs {
    document: Bytes,
    page: Bytes,
}

impl Docs {
    /// Describes an instance with these settings.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let document = serde_json::to_value(openapi::document(config))?;
        let page = Page::of(&document).render()?;
        Ok(Self { document: Json::of(&document).finish(), page: page.into() })
    }

    /// `GET /openapi.json`
    pub fn document(&self) -> Reply {
        reply::json(StatusCode::OK, self.document.clone())
    }

    /// `GET /docs`
    pub fn page(&self) -> Reply {
        let mut reply = reply::with_type(StatusCode::OK, Body::Whole(self.page.clone()), HTML);
        reply.headers_mut().insert(CONTENT_SECURITY_POLICY, NOTHING_ELSE);
        reply
    }
}

#[derive(Template)]
#[template(path = "docs.html")]
struct Page<'a> {
    info: &'a Value,
    groups: Vec<Group<'a>>,
}

struct Group<'a> {
    name: &'a str,
    text: &'a str,
    lines: Vec<Line<'a>>,
}

struct Line<'a> {
    method: String,
    path: &'static str,
    operation: &'a Value,
    example: Option<String>,
    schema: Option<String>,
    answers: Vec<(&'a str, &'a str)>,
}

impl<'a> Page<'a> {
    fn of(document: &'a Value) -> Self {
        let text = |it: &'a Value| it.as_str().unwrap_or_default();
        let tags = document["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
        let group = |tag: &'a Value| {
            let name = text(&tag["name"]);
            let lines = OPERATIONS.iter().filter(|it| it.tag == name);
            let lines = lines.map(|it| Line::of(document, it)).collect();
            Group { name, text: text(&tag["description"]), lines }
        };
        Self { info: &document["info"], groups: tags.iter().map(group).collect() }
    }
}

impl<'a> Line<'a> {
    fn of(document: &'a Value, it: &openapi::Operation) -> Self {
        let method = it.method;
        let operation = &document["paths"][it.path][method.to_lowercase()];
        let answers = operation["responses"].as_object().into_iter().flatten();
        let answers = answers
            .map(|(status, answer)| {
                (status.as_str(), answer["description"].as_str().unwrap_or_default())
            })
            .collect();
        let schema = it.body.map(|name| &document["components"]["schemas"][name]);
        let schema = schema.and_then(|it| serde_json::to_string_pretty(it).ok());
        let example = it.example().map(|body| {
            format!(
                "curl -i -X {method} http://127.0.0.1:5000{} \\\n    -H 'Content-Type: application/json' \\\n    -d '{body}'",
                it.path
            )
        });
        Self { method: method.to_owned(), path: it.path, operation, example, schema, answers }
    }

    /// A text of the operation, empty when it has none.
    fn text(&self, name: &str) -> &str {
        self.operation[name].as_str().unwrap_or_default()
    }
}
