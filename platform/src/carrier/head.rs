//! The engine's requests and answers as the `http` crate has them, and back.

use super::CarrierError;
use h2::ext::Protocol;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use vestibule_engine::masque::request::{Answer, Field, Head, HttpVersion, Outgoing};

/// An extended CONNECT, or a plain one where the dialect wants that.
pub(super) fn request(outgoing: &Outgoing) -> Result<Request<()>, CarrierError> {
    let bad = |what| CarrierError::Request { what };
    let (mut scheme, mut authority, mut path) = (String::new(), String::new(), String::new());
    let mut request = Request::new(());
    *request.method_mut() = Method::CONNECT;
    *request.version_mut() = Version::HTTP_2;
    for field in outgoing.fields(HttpVersion::Http2) {
        match &*field.name {
            ":scheme" => scheme = field.value.to_string(),
            ":authority" => authority = field.value.to_string(),
            ":path" => path = field.value.to_string(),
            ":protocol" => {
                request.extensions_mut().insert(Protocol::from(field.value.as_str()));
            }
            ":method" => {}
            _ => {
                let (name, value) = header(&field).ok_or_else(|| bad("a field holds what HTTP forbids"))?;
                request.headers_mut().append(name, value);
            }
        }
    }
    let uri = if path.is_empty() {
        Uri::builder().authority(authority).build()
    } else {
        Uri::builder().scheme(scheme.as_str()).authority(authority).path_and_query(path).build()
    };
    *request.uri_mut() = uri.map_err(|_| bad("authority and path make no URI"))?;
    Ok(request)
}

/// An answer.
pub(super) fn response(answer: &Answer) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().extend(answer.fields.iter().filter_map(header));
    response
}

fn header(field: &Field) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
    let mut value = HeaderValue::from_str(&field.value).ok()?;
    // Neither shown nor compressed into a table that others' requests share.
    value.set_sensitive(name == http::header::AUTHORIZATION);
    Some((name, value))
}

/// All fields.
pub(super) fn fields(headers: &HeaderMap) -> Vec<(&[u8], &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())).collect()
}

/// A request that was received.
pub(super) fn head<T>(request: &Request<T>) -> Head<'_> {
    let uri = request.uri();
    Head {
        method: Some(request.method().as_str().as_bytes()),
        protocol: request.extensions().get::<Protocol>().map(|protocol| protocol.as_str().as_bytes()),
        scheme: uri.scheme_str().map(str::as_bytes),
        authority: uri.authority().map(|authority| authority.as_str().as_bytes()),
        path: uri.path_and_query().map(|path| path.as_str().as_bytes()),
        fields: fields(request.headers()),
    }
}
