//! Pages (`page`, `per_page`) and cursors (`cursor`, `per_page`) of lists.
//!
//! The vendor's SDK asks for page after page until one is empty, or for cursor after cursor until none is given. Some of
//! its lists are one page to it, however long: so a list that is not asked for in pages comes whole.

use super::envelope::ApiError;
use super::query::parameters;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// Most things on one page, when pages are asked for.
pub(super) const MOST: usize = 1000;
/// Things per answer of a list that is walked by a cursor.
const USUAL: usize = 1000;

/// A list before it is cut.
#[derive(Clone)]
pub(super) enum Listing {
    /// All of it.
    Pages(Vec<Value>),
    /// One page, cut by whoever gives it.
    Page { items: Vec<Value>, page: usize, per_page: usize, total: usize },
    /// What follows a cursor, cut by whoever gives it; whether there is more.
    Cut { items: Vec<Value>, more: bool },
    /// All of it, with what it is sorted by (which need not be unique: the id decides then).
    Walk { items: Vec<(String, Value)>, descending: bool },
}

/// What of a list was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) page: Option<usize>,
    pub(super) per_page: Option<usize>,
    cursor: Option<(String, String)>,
}

impl Asked {
    pub(super) fn read(query: Option<&str>) -> Result<Self, ApiError> {
        let mut asked = Self::default();
        for (name, value) in parameters(query) {
            match name.as_str() {
                "page" => asked.page = Some(number("page", &value, usize::MAX)?),
                "per_page" => asked.per_page = Some(number("per_page", &value, MOST)?),
                "cursor" if !value.is_empty() => asked.cursor = Some(opened(&value)?),
                _ => {}
            }
        }
        Ok(asked)
    }
}

fn number(name: &str, text: &str, most: usize) -> Result<usize, ApiError> {
    let expected = if most == MOST { format!("1 to {MOST}") } else { "1 or more".to_owned() };
    text.parse().ok().filter(|number| (1..=most).contains(number)).ok_or_else(|| {
        let text: String = text.chars().take(40).collect();
        ApiError::field(format!("`{name}` must be a number, {expected}, got `{text}`"))
    })
}

/// A cursor is where the last answer ended: what it was sorted by, and the id.
pub(super) fn opened(cursor: &str) -> Result<(String, String), ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| ApiError::field("`cursor` must be the `result_info.cursor` of an earlier answer, unchanged"))
}

/// The id that every thing has.
fn id(item: &Value) -> String {
    item["id"].as_str().map_or_else(|| item["id"].to_string(), str::to_owned)
}

impl Listing {
    /// The things asked for, and the vendor's `result_info`.
    pub(super) fn cut(self, asked: &Asked) -> Result<(Vec<Value>, Value), ApiError> {
        Ok(match self {
            Self::Pages(items) => {
                let (page, total) = (asked.page.unwrap_or(1), items.len());
                let per_page = asked.per_page.unwrap_or(total.max(1));
                let skip = (page - 1).saturating_mul(per_page);
                let cut = items.into_iter().skip(skip).take(per_page).collect();
                page_info(cut, page, per_page, total)
            }
            Self::Page { items, page, per_page, total } => page_info(items, page, per_page, total),
            Self::Cut { items, more } => {
                let last = items.last().filter(|_| more).map(|item| (String::new(), id(item)));
                cursor_info(items, json!({}), last)
            }
            Self::Walk { items, descending } => walked(items, descending, asked),
        })
    }
}

fn page_info(items: Vec<Value>, page: usize, per_page: usize, total: usize) -> (Vec<Value>, Value) {
    let pages = total.div_ceil(per_page.max(1)).max(1);
    let info = json!({ "page": page, "per_page": per_page, "count": items.len(), "total_count": total,
        "total_pages": pages });
    (items, info)
}

fn walked(items: Vec<(String, Value)>, descending: bool, asked: &Asked) -> (Vec<Value>, Value) {
    let (total, per_page) = (items.len(), asked.per_page.unwrap_or(USUAL));
    let mut keyed: Vec<((String, String), Value)> =
        items.into_iter().map(|(key, item)| ((key, id(&item)), item)).collect();
    keyed.sort_by(|(one, _), (other, _)| if descending { other.cmp(one) } else { one.cmp(other) });
    // What was added or removed meanwhile moves nothing: the cursor is a place in the order, not a count.
    let after = |key: &(String, String)| match &asked.cursor {
        None => true,
        Some(last) if descending => key < last,
        Some(last) => key > last,
    };
    let mut rest = keyed.into_iter().skip_while(|(key, _)| !after(key)).peekable();
    let (mut last, mut cut) = (None, Vec::new());
    for (key, item) in rest.by_ref().take(per_page) {
        last = Some(key);
        cut.push(item);
    }
    let last = last.filter(|_| rest.peek().is_some());
    cursor_info(cut, json!({ "per_page": per_page, "total_count": total }), last)
}

/// Things with the cursor that leads on from the last of them.
fn cursor_info(items: Vec<Value>, mut info: Value, last: Option<(String, String)>) -> (Vec<Value>, Value) {
    let cursor =
        last.map(|key| URL_SAFE_NO_PAD.encode(serde_json::to_vec(&key).unwrap_or_default())).unwrap_or_default();
    info["count"] = items.len().into();
    info["cursors"] = json!({ "after": cursor });
    info["cursor"] = cursor.into();
    (items, info)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn things(count: usize) -> Vec<Value> {
        (0..count).map(|number| json!({ "id": format!("{number:03}") })).collect()
    }

    fn asked(query: &str) -> Asked {
        Asked::read(Some(query)).ok().unwrap()
    }

    #[test]
    fn a_list_comes_whole_or_in_the_pages_asked_for() {
        let (all, info) = Listing::Pages(things(25)).cut(&asked("")).ok().unwrap();
        assert_eq!((all.len(), &info["total_count"], &info["total_pages"]), (25, &json!(25), &json!(1)));
        let (none, _) = Listing::Pages(things(25)).cut(&asked("page=2")).ok().unwrap();
        assert!(none.is_empty(), "an SDK that asks on must come to an end");
        let (last, info) = Listing::Pages(things(25)).cut(&asked("page=3&per_page=10")).ok().unwrap();
        assert_eq!((last.len(), &last[0]["id"]), (5, &json!("020")));
        assert_eq!(info, json!({ "page": 3, "per_page": 10, "count": 5, "total_count": 25, "total_pages": 3 }));
        let (_, info) = Listing::Pages(Vec::new()).cut(&asked("")).ok().unwrap();
        assert_eq!((&info["total_pages"], &info["count"]), (&json!(1), &json!(0)));
    }

    #[test]
    fn a_cursor_walks_all_and_skips_nothing_when_things_go_meanwhile() {
        for descending in [false, true] {
            let mut left = things(10);
            let (mut seen, mut query) = (Vec::new(), "per_page=3".to_owned());
            loop {
                let items = left.iter().map(|item| ("same".to_owned(), item.clone())).collect();
                let (cut, info) = Listing::Walk { items, descending }.cut(&asked(&query)).ok().unwrap();
                // The last one seen goes before the next answer.
                left.retain(|item| Some(item) != cut.last());
                seen.extend(cut);
                let cursor = info["cursor"].as_str().unwrap();
                if cursor.is_empty() {
                    break;
                }
                assert_eq!(info["cursors"]["after"], cursor);
                query = format!("per_page=3&cursor={cursor}");
            }
            let mut expected = things(10);
            if descending {
                expected.reverse();
            }
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for query in
            ["page=0", "page=-1", "page=x", "per_page=0", "per_page=1001", "per_page=", "cursor=%20", "cursor=abc"]
        {
            assert!(Asked::read(Some(query)).is_err(), "{query} was taken");
        }
        assert_eq!(Asked::read(Some("cursor=")).ok().unwrap(), Asked::default());
    }
}
