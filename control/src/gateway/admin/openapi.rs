//! The API's OpenAPI 3.1 document, written from the table of calls. It tells no secret and needs none.

use super::paging::MOST;
use super::routes::{OPERATIONS, Operation};
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

/// `GET /client/v4/openapi.json`
pub(super) async fn show() -> Response {
    Json(document()).into_response()
}

fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method.to_lowercase()] = described(operation);
    }
    let problem = json!({ "description": "Refused: nothing was changed, `errors[0].message` says what was expected",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Refusal" } } } });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Vestibule gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Paths, fields and envelope are Cloudflare's where it has them.",
        },
        "servers": [{ "url": "/client/v4" }],
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer",
                "description": "The token in DIR/admin-token, or an API token" } },
            "responses": { "Refused": problem },
            "schemas": {
                "Message": { "type": "object", "properties": {
                    "code": { "type": "integer" }, "message": { "type": "string" } } },
                "Success": { "type": "object", "required": ["success", "errors", "messages", "result"],
                    "properties": { "success": { "const": true }, "errors": { "type": "array", "maxItems": 0 },
                        "messages": { "type": "array" }, "result": {}, "result_info": { "type": "object" } } },
                "Refusal": { "type": "object", "required": ["success", "errors", "messages", "result"],
                    "properties": { "success": { "const": false }, "messages": { "type": "array" },
                        "errors": { "type": "array", "items": { "$ref": "#/components/schemas/Message" } },
                        "result": { "type": "null" } } },
            },
        },
    })
}

fn described(operation: &Operation) -> Value {
    let named = |name: &str, place: &str, schema: Value| json!({ "name": name, "in": place, "required": place == "path", "schema": schema });
    let text = || json!({ "type": "string" });
    let segments = operation.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = segments.map(|name| named(name, "path", text())).collect();
    parameters.extend(operation.query.iter().map(|name| named(name, "query", text())));
    if operation.lists() {
        parameters.push(named("per_page", "query", json!({ "type": "integer", "minimum": 1, "maximum": MOST })));
        if !operation.query.contains(&"cursor") {
            parameters.push(named("page", "query", json!({ "type": "integer", "minimum": 1 })));
        }
    }
    if operation.shows().is_some() {
        parameters.push(named("If-Match", "header", text()));
    }
    let success = json!({ "description": "Done",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Success" } } } });
    let id = operation.path.replace("/accounts/{account_id}/", "").replace(['{', '}'], "").replace('/', "-");
    let mut described = json!({
        "operationId": format!("{}-{id}", operation.method.to_lowercase()),
        "summary": operation.summary,
        "description": format!("Needs the permission `{}`.", operation.permission().name()),
        "tags": [operation.resource],
        "parameters": parameters,
        "responses": { "2XX": success, "4XX": { "$ref": "#/components/responses/Refused" },
            "5XX": { "$ref": "#/components/responses/Refused" } },
    });
    if let Some(schema) = operation.body {
        described["requestBody"] = json!({ "content": { "application/json": { "schema": schema() } } });
    }
    described
}
