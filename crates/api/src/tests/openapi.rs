// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The description of the API: complete, fresh, and true of the routes.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::FakeAppliance;
use super::harness::running;
use crate::error::Slug;
use crate::openapi;

fn description() -> Value {
    serde_json::from_str(openapi::text()).expect("JSON")
}

#[test]
fn docs_fresh_openapi() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/openapi.json");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, openapi::text()).expect("written");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == openapi::text(), "docs/reference/openapi.json is stale: run `cargo xtask gen-docs`");
}

#[test]
fn everything_is_described() {
    let json = description();
    assert_eq!(json["openapi"], "3.1.0");
    let mut missing = Vec::new();
    for (path, item) in json["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let place = format!("{method} {path}");
            let mut check = |what: &str, value: &Value| {
                if value.as_str().is_none_or(str::is_empty) {
                    missing.push(format!("{place}: {what}"));
                }
            };
            check("summary", &operation["summary"]);
            for (status, response) in operation["responses"].as_object().expect("responses") {
                check(status, &response["description"]);
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                check(parameter["name"].as_str().expect("a name"), &parameter["description"]);
            }
        }
    }
    for (name, schema) in json["components"]["schemas"].as_object().expect("schemas") {
        if schema["description"].as_str().is_none_or(str::is_empty) {
            missing.push(name.clone());
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Path parameters that exist in the sample.
fn example(path: &str) -> String {
    path.replace("{vip}", "www")
        .replace("{service}", "www-https")
        .replace("{pool}", "web")
        .replace("{backend}", "b1")
        .replace("{peer}", "tor1")
}

#[tokio::test]
async fn every_described_operation_exists_and_answers_as_described() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    let json = description();
    for (path, item) in json["paths"].as_object().expect("paths") {
        let described: BTreeSet<String> =
            item.as_object().expect("methods").keys().map(|method| method.to_ascii_uppercase()).collect();
        // What a path allows is what is described for it.
        let refused = server.ask("PATCH", &example(path)).await;
        refused.problem(405, "method-not-allowed");
        let allowed: BTreeSet<String> =
            refused.header("allow").split(',').map(str::to_ascii_uppercase).collect();
        let allowed: BTreeSet<String> = allowed.into_iter().filter(|method| method != "HEAD").collect();
        assert_eq!(allowed, described, "{path}");
        for method in
            ["PUT", "GET", "POST", "DELETE"].into_iter().filter(|method| described.contains(*method))
        {
            if path == "/v1/events" {
                continue;
            }
            let body = if method == "PUT" { r#"{"state":"drain"}"# } else { "" };
            let answer = server.send(method, &example(path), "", body).await;
            assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
            let responses = &item[method.to_ascii_lowercase()]["responses"];
            assert!(responses.get(answer.status.to_string()).is_some(), "{method} {path}: {}", answer.status);
        }
    }
    let served = server.ask("GET", "/openapi.json").await;
    assert_eq!(served.json(), json);
}

#[test]
fn every_problem_is_in_the_guide() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operating/api.md");
    let guide = std::fs::read_to_string(file).expect("the guide");
    for slug in Slug::ALL {
        let row = format!("| `{}` | {} | ", slug.name(), slug.status().as_u16());
        assert!(guide.contains(&row), "{row}");
    }
}
