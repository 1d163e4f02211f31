//! Answers in plain text: pages for people, and what is refused before a handler is found or by one without a form of its
//! own for errors.

use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

pub(crate) fn text_page(body: String) -> Response {
    ([(header::CONTENT_TYPE, TEXT)], body).into_response()
}

/// The text form of an error that no query handler made; Tempo ends these in a line feed.
pub(crate) fn plain_error(status: StatusCode, message: &str) -> Response {
    let headers = [(header::CONTENT_TYPE, TEXT), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (status, headers, format!("{message}\n")).into_response()
}

pub(crate) async fn not_found() -> Response {
    plain_error(StatusCode::NOT_FOUND, "404 page not found")
}

pub(crate) async fn method_not_allowed(method: Method) -> Response {
    plain_error(StatusCode::METHOD_NOT_ALLOWED, &format!("405 method {method} not allowed here, use GET"))
}
