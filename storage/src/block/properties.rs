//! How the columns of a block's files are encoded.

use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema, UInt32Type};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use spans::schema::{column, trace_column};

use super::pages::ZSTD_LEVEL;
use crate::error::Error;

/// A row group ends with the first trace that reaches this many rows.
pub(crate) const ROW_GROUP_ROWS: usize = 49_152;

/// Rows of a page: what a look-up of one trace decodes of each column. Half as many cost 12 % more in size.
const PAGE_ROWS: usize = 2_048;
/// Bytes of a page before compression: keeps the pages of long texts as quick to decode as the others.
const PAGE_BYTES: usize = 64 * 1024;

pub(super) fn base_properties() -> WriterPropertiesBuilder {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).expect("a constant within zstd's levels");
    WriterProperties::builder()
        .set_created_by(concat!("mosso ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_statistics_truncate_length(Some(32))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_write_batch_size(PAGE_ROWS)
        .set_max_row_group_row_count(None)
}

/// `constant` names the columns with one value in all rows: run lengths make them tiny, and a reader of one trace, which
/// opens every column, is spared the decompressor.
pub(super) fn spans_properties(schema: &Schema, constant: &BTreeSet<String>) -> Result<WriterProperties, Error> {
    let mut properties = base_properties();
    for delta in [column::TRACE, column::START_OFFSET_NANOS, column::DURATION_NANOS] {
        properties = with_delta(properties, delta.into());
    }
    let event_times = [column::EVENTS, "list", "item", "time_offset_nanos"].map(str::to_owned).to_vec();
    properties = with_delta(properties, ColumnPath::from(event_times));
    let parquet_schema = ArrowSchemaConverter::new().convert(schema)?;
    for leaf in 0..parquet_schema.num_columns() {
        if constant.contains(schema.field(parquet_schema.get_column_root_idx(leaf)).name()) {
            let path = parquet_schema.column(leaf).path().clone();
            properties = properties.set_column_compression(path, Compression::UNCOMPRESSED);
        }
    }
    Ok(without_dictionary(properties, column::SPAN_ID.into()).build())
}

/// Names of the columns that certainly have one value in all rows of all batches.
pub(super) fn constant_columns(batches: &[&RecordBatch]) -> BTreeSet<String> {
    let Some(first) = batches.first() else { return BTreeSet::new() };
    let is_constant_everywhere = |at: usize| {
        let mut values = batches.iter().map(|batch| constant(batch.column(at)));
        let of_first = values.next().flatten();
        of_first.is_some() && values.all(|value| value == of_first)
    };
    let columns = first.schema_ref().fields().iter().enumerate();
    columns.filter(|(at, _)| is_constant_everywhere(*at)).map(|(_, field)| field.name().clone()).collect()
}

/// What all rows of a column have.
#[derive(Debug, PartialEq, Eq)]
enum Constant {
    Null,
    NoItems,
    /// `None` of a column without rows.
    Number(Option<u32>),
}

/// Cheap and cautious: `None` where it would take a closer look.
fn constant(array: &ArrayRef) -> Option<Constant> {
    match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().values().is_empty().then_some(Constant::NoItems),
        DataType::UInt32 if array.null_count() == 0 => {
            let values = array.as_primitive::<UInt32Type>().values();
            let first = values.first().copied();
            values.iter().all(|value| Some(*value) == first).then_some(Constant::Number(first))
        }
        _ => (array.null_count() == array.len()).then_some(Constant::Null),
    }
}

/// Row groups of traces are read whole, so one page is enough for a column. Differences of times and rows are left as they
/// are: zstd hardly shortens them, and every query reads them.
pub(super) fn traces_properties() -> WriterProperties {
    let mut properties =
        base_properties().set_data_page_row_count_limit(ROW_GROUP_ROWS).set_data_page_size_limit(usize::MAX);
    for delta in [trace_column::START_NANOS, trace_column::END_NANOS, trace_column::FIRST_ROW] {
        properties = with_delta(properties, delta.into());
        properties = properties.set_column_compression(delta.into(), Compression::UNCOMPRESSED);
    }
    without_dictionary(properties, trace_column::TRACE_ID.into()).build()
}

/// A rollup is read whole, so one page is enough for a column, and it is compressed as a whole.
pub(super) fn rollup_properties() -> WriterProperties {
    let one_page = base_properties().set_data_page_row_count_limit(usize::MAX).set_data_page_size_limit(usize::MAX);
    one_page.set_compression(Compression::UNCOMPRESSED).build()
}

/// For numbers that are near their neighbours.
fn with_delta(properties: WriterPropertiesBuilder, path: ColumnPath) -> WriterPropertiesBuilder {
    properties
        .set_column_dictionary_enabled(path.clone(), false)
        .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
}

/// For random ids: neither a dictionary nor zstd can shorten them.
fn without_dictionary(properties: WriterPropertiesBuilder, path: ColumnPath) -> WriterPropertiesBuilder {
    properties
        .set_column_dictionary_enabled(path.clone(), false)
        .set_column_compression(path, Compression::UNCOMPRESSED)
}
