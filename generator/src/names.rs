//! OTLP's enums by the names that series have in their labels.

pub(crate) const SERVER: i32 = 2;
pub(crate) const CLIENT: i32 = 3;
pub(crate) const PRODUCER: i32 = 4;
pub(crate) const CONSUMER: i32 = 5;
pub(crate) const STATUS_ERROR: i32 = 2;

pub(crate) fn kind_name(kind: i32) -> &'static str {
    match kind {
        1 => "SPAN_KIND_INTERNAL",
        SERVER => "SPAN_KIND_SERVER",
        CLIENT => "SPAN_KIND_CLIENT",
        PRODUCER => "SPAN_KIND_PRODUCER",
        CONSUMER => "SPAN_KIND_CONSUMER",
        _ => "SPAN_KIND_UNSPECIFIED",
    }
}

pub(crate) fn status_name(status: i32) -> &'static str {
    match status {
        1 => "STATUS_CODE_OK",
        STATUS_ERROR => "STATUS_CODE_ERROR",
        _ => "STATUS_CODE_UNSET",
    }
}
