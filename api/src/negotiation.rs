//! What a client can read, by its headers.

use axum::http::{HeaderMap, header};

/// Whether `Accept` names a media type anywhere: weights do not count, as in Tempo.
pub(crate) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    accepted.filter_map(|value| value.to_str().ok()).any(|text| text.contains(media_type))
}

/// Whether `gzip` is listed and not refused with `q=0`.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|entry| {
        let (name, weight) = entry.split_once(';').unwrap_or((entry, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_given_to_who_takes_it() {
        for (accept, taken) in
            [("gzip", true), ("br, gzip;q=0.5", true), ("gzip;q=0", false), ("br", false), ("", false)]
        {
            assert_eq!(
                accepts_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, accept.parse().unwrap())])),
                taken,
                "{accept}"
            );
        }
    }
}
