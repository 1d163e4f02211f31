//! URL parameters → values, with the error texts that Tempo's clients show. An empty parameter counts as absent.

pub(super) mod logfmt;
pub(super) mod number;
pub(super) mod range;
pub(super) mod time;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};

use self::number::{parse_int, parse_uint32};
use super::reply::QueryError;

/// Where the query of a request stands that is too long for a URL.
pub(crate) const LONG_QUERY: HeaderName = HeaderName::from_static("x-mosso-query");

/// The parameters of a URL, in order. A form in the body is not read.
#[derive(Debug, Clone, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn of(uri: &Uri) -> Self {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// Those of a request, whose query may be too long for its URL.
    pub(super) fn of_request(uri: &Uri, headers: &HeaderMap) -> Self {
        let moved = headers.get(LONG_QUERY).filter(|_| uri.query().is_none()).map(HeaderValue::as_bytes);
        moved.map_or_else(|| Self::of(uri), |query| Self(form_urlencoded::parse(query).into_owned().collect()))
    }

    /// The first value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let first = self.iter().find(|(found, _)| *found == name);
        first.map(|(_, value)| value).filter(|value| !value.is_empty())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// An unsigned number of 32 bits: limits, and unix seconds in search.
    pub(super) fn uint32(&self, name: &str) -> Result<Option<u32>, QueryError> {
        self.parsed(name, parse_uint32)
    }

    /// An unsigned number of 32 bits; what cannot be read counts as 0, where Tempo passes over it.
    pub(super) fn uint32_or_zero(&self, name: &str) -> u32 {
        self.get(name).and_then(|text| parse_uint32(text).ok()).unwrap_or_default()
    }

    /// A signed number: unix seconds in trace by id.
    pub(super) fn int(&self, name: &str) -> Result<Option<i64>, QueryError> {
        self.parsed(name, parse_int)
    }

    fn parsed<T>(&self, name: &str, parse: fn(&str) -> Result<T, String>) -> Result<Option<T>, QueryError> {
        let parsed = self.get(name).map(parse).transpose();
        parsed.map_err(|problem| QueryError::bad_request(format!("invalid {name}: {problem}")))
    }
}

/// Refuses a TraceQL text that is too long to be read.
pub(super) fn check_length(query: &str, max_bytes: usize) -> Result<(), QueryError> {
    if query.len() <= max_bytes {
        return Ok(());
    }
    Err(QueryError::bad_request(format!(
        "TraceQL expression exceeds the configured maximum size of {max_bytes} bytes, reduce the query expression size or \
         contact your system administrator"
    )))
}

#[cfg(test)]
impl Params {
    pub(super) fn from_query(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_empty_ones_are_absent() {
        let params = Params::of(&"/api/search?q=%7B+name+%7D&limit=&limit=5&x".parse().unwrap());
        assert_eq!(params.get("q"), Some("{ name }"));
        assert_eq!((params.get("limit"), params.get("x"), params.get("y")), (None, None, None));
    }

    #[test]
    fn bad_numbers_are_named_as_go_names_them() {
        let params = Params::from_query("limit=ten&spss=-1&start=5000000000&end=12");
        let text = |name| params.uint32(name).unwrap_err().text;
        assert_eq!(text("limit"), r#"invalid limit: strconv.ParseUint: parsing "ten": invalid syntax"#);
        assert_eq!(text("spss"), r#"invalid spss: strconv.ParseUint: parsing "-1": invalid syntax"#);
        assert_eq!(text("start"), r#"invalid start: strconv.ParseUint: parsing "5000000000": value out of range"#);
        assert_eq!(params.uint32("end"), Ok(Some(12)));
    }

    #[test]
    fn long_queries_are_refused_before_they_are_read() {
        assert_eq!(check_length("0123456789", 10), Ok(()));
        let problem = check_length("0123456789", 9).unwrap_err().text;
        assert!(problem.starts_with("TraceQL expression exceeds the configured maximum size of 9 bytes"), "{problem}");
    }
}
