//! What the browser shows when it comes back.

fn page(title: &str, text: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>\
         body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:18vh auto;padding:0 1rem;color:#1d2733}}\
         h1{{font-size:1.4rem}}a{{color:#0a5ad4}}</style></head><body><h1>{title}</h1><p>{text}</p></body></html>"
    )
}

/// `text` with everything that HTML reads as markup made plain.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}

pub(super) fn done(email: &str) -> String {
    let text = format!("This device is registered as <b>{}</b>. You may close this window.", escape(email));
    page("You are signed in", &text)
}

pub(super) fn cancelled(reason: &str) -> String {
    let text = format!("{}. <code>vestibule connect</code> asks again.", escape(reason));
    page("The sign-in was cancelled", &text)
}

pub(super) fn failed(reason: &str, again: bool) -> String {
    let next = if again {
        "<a href=\"/login\">Try again</a>, perhaps with another account."
    } else {
        "No more attempts: <code>vestibule connect</code> asks again."
    };
    page("The sign-in was refused", &format!("{}.</p><p>{next}", escape(reason)))
}

pub(super) fn foreign() -> String {
    page(
        "Not the sign-in that was started here",
        "This address belongs to another attempt. <a href=\"/login\">Start again</a>.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_no_markup() {
        let hostile = "<script>alert('x')</script>\"&";
        for page in [done(hostile), cancelled(hostile), failed(hostile, true), failed(hostile, false)] {
            assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"), "{page}");
        }
    }
}
