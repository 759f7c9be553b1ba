//! Queries of lists: what is wanted, and in which order. A filter that we do not know is refused: passed over, it would
//! show more than was asked for.

use super::envelope::ApiError;
use crate::gateway::clock;
use crate::gateway::store::Millis;
use serde_json::Value;

/// The parameters of a query, decoded.
pub(super) fn parameters(query: Option<&str>) -> Vec<(String, String)> {
    let url = reqwest::Url::parse(&format!("https://gateway/?{}", query.unwrap_or_default())).ok();
    url.iter().flat_map(reqwest::Url::query_pairs).map(|(a, b)| (a.into(), b.into())).collect()
}

/// 400 for a parameter that the call does not know.
pub(super) fn refused(name: &str) -> ApiError {
    let name: String = name.chars().take(80).collect();
    ApiError::field(format!("this call has no parameter `{name}`: /client/v4/openapi.json lists those it has"))
}

/// A time in a query.
pub(super) fn time(field: &str, text: &str) -> Result<Millis, ApiError> {
    clock::parse(text)
        .ok_or_else(|| ApiError::field(format!("`{field}` must be a time like 2027-01-31T12:00:00Z, got `{text}`")))
}

/// `asc` or `desc`.
pub(super) fn descending(field: &str, text: &str) -> Result<bool, ApiError> {
    match text {
        "asc" => Ok(false),
        "desc" => Ok(true),
        _ => Err(ApiError::field(format!("`{field}` must be `asc` or `desc`, got `{text}`"))),
    }
}

/// What lists that are walked by a cursor have in common.
pub(super) struct Walked {
    ids: Vec<String>,
    search: Option<String>,
    seen_after: Option<Millis>,
    seen_before: Option<Millis>,
    sorts: &'static [&'static str],
    sort: &'static str,
    pub(super) descending: bool,
}

impl Walked {
    /// Of a list that can be sorted by these fields; by `created_at` unless asked otherwise.
    pub(super) fn new(sorts: &'static [&'static str]) -> Self {
        Self {
            ids: Vec::new(),
            search: None,
            seen_after: None,
            seen_before: None,
            sorts,
            sort: "created_at",
            descending: false,
        }
    }

    /// Takes a parameter if it is one of these; false when it is not.
    pub(super) fn take(&mut self, name: &str, value: &str) -> Result<bool, ApiError> {
        match name {
            "id" | "id[]" => self.ids.push(value.to_owned()),
            "search" => self.search = Some(value.to_lowercase()),
            "seen_after" => self.seen_after = Some(time(name, value)?),
            "seen_before" => self.seen_before = Some(time(name, value)?),
            "sort_order" => self.descending = descending(name, value)?,
            "sort_by" => {
                self.sort = self.sorts.iter().find(|sort| **sort == value).copied().ok_or_else(|| {
                    ApiError::field(format!("`sort_by` must be one of {}, got `{value}`", self.sorts.join(", ")))
                })?;
            }
            // Read with the answer.
            "cursor" | "page" | "per_page" => {}
            // What it names is always included.
            "include" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether a thing, seen then, is asked for.
    pub(super) fn wants(&self, shown: &Value, seen: Option<Millis>) -> bool {
        let id = shown["id"].as_str().unwrap_or_default();
        (self.ids.is_empty() || self.ids.iter().any(|wanted| wanted == id))
            && self.search.as_ref().is_none_or(|search| shown.to_string().to_lowercase().contains(search))
            && self.seen_after.is_none_or(|after| seen.is_some_and(|seen| seen > after))
            && self.seen_before.is_none_or(|before| seen.is_some_and(|seen| seen < before))
    }

    /// What it is sorted by, as text that sorts; `at` gives the times.
    pub(super) fn key(&self, shown: &Value, at: impl Fn(&str) -> Option<Millis>) -> String {
        if self.sort.ends_with("_at") {
            return format!("{:020}", at(self.sort).unwrap_or_default());
        }
        let value = self.sort.split('.').fold(shown, |value, field| &value[field]);
        match value {
            Value::String(text) => text.to_lowercase(),
            Value::Number(number) => format!("{:020}", number.as_u64().unwrap_or_default()),
            _ => String::new(),
        }
    }
}
