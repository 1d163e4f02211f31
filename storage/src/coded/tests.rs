//! What Parquet writes comes back by code, whatever its pages look like.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
use bytes::Bytes;
use model::Scope;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;
use spans::schema::AttributeType;

use super::*;

/// A file with one column, in small pages, whose dictionary is soon too large.
fn written(array: &ArrayRef) -> Bytes {
    let properties = WriterProperties::builder()
        .set_data_page_row_count_limit(100)
        .set_write_batch_size(50)
        .set_dictionary_page_size_limit(400)
        .build();
    let schema = Arc::new(Schema::new(vec![Field::new("a", array.data_type().clone(), true)]));
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, schema.clone(), Some(properties)).unwrap();
    writer.write(&RecordBatch::try_new(schema, vec![array.clone()]).unwrap()).unwrap();
    writer.close().unwrap();
    file.into()
}

fn read(file: Bytes, kind: AttributeType, wanted: Option<&[Range<usize>]>) -> CodedColumn {
    let reader = SerializedFileReader::new(file).unwrap();
    let rows = reader.metadata().file_metadata().num_rows() as usize;
    let group = reader.get_row_group(0).unwrap();
    let mut pages = group.get_column_page_reader(0).unwrap();
    let attribute = AttributeColumn { scope: Scope::Span, key: "a".to_owned(), kind };
    let mut coded = CodedReader::new(attribute, true);
    while let Some(page) = pages.get_next_page().unwrap() {
        coded.take(page).unwrap();
    }
    coded.finish(rows, wanted).unwrap()
}

fn check(array: &ArrayRef, kind: AttributeType, ranges: &[Range<usize>]) -> Result<(), TestCaseError> {
    let all = 0..array.len();
    for wanted in [None, Some(std::slice::from_ref(&all)), Some(ranges)] {
        let of_ranges = wanted.unwrap_or(std::slice::from_ref(&all)).iter().cloned().flatten();
        let rows: Vec<usize> = of_ranges.collect();
        let of_ranges_count = rows.len();
        let present = (0..).zip(&rows).filter(|&(_, &row)| array.is_valid(row));
        let (places, rows): (Vec<u32>, Vec<u32>) = present.map(|(place, &row)| (place, row as u32)).unzip();
        let coded = read(written(array), kind, wanted);
        prop_assert_eq!(coded.rows(), &places);
        prop_assert!(is_same(coded.values().unwrap(), array, &rows, kind));
        // of every seventh row that was read, whether it has a value or not
        let some: Vec<u32> = (0..of_ranges_count as u32).step_by(7).collect();
        let (found, values) = coded.values_of(&some).unwrap();
        let with_value = (0..some.len()).filter(|&at| places.binary_search(&some[at]).is_ok());
        prop_assert_eq!(&found, &with_value.collect::<Vec<_>>());
        let of_found = found.iter().map(|&at| rows[places.binary_search(&some[at]).unwrap()]);
        prop_assert!(is_same(values, array, &of_found.collect::<Vec<_>>(), kind));
    }
    Ok(())
}

fn is_same(found: CodedValues, array: &ArrayRef, rows: &[u32], kind: AttributeType) -> bool {
    let found = take(&found.by_code, &UInt32Array::from(found.codes), None).unwrap();
    let expected = take(array, &UInt32Array::from(rows.to_vec()), None).unwrap();
    match kind {
        AttributeType::String => found.as_string::<i32>() == expected.as_string::<i32>(),
        AttributeType::Int => found.as_primitive::<Int64Type>() == expected.as_primitive::<Int64Type>(),
        AttributeType::Double => found.as_primitive::<Float64Type>() == expected.as_primitive::<Float64Type>(),
        AttributeType::Bool => found.as_boolean() == expected.as_boolean(),
    }
}

/// Runs of rows with a value and of rows without, of one value and of many.
fn numbers() -> impl Strategy<Value = Vec<Option<u16>>> {
    let one = prop_oneof![Just(None), (0..3_u16).prop_map(Some), any::<u16>().prop_map(Some)];
    let same = (one.clone(), 1..200_usize).prop_map(|(value, count)| vec![value; count]);
    let mixed = prop::collection::vec(one, 1..200);
    prop::collection::vec(prop_oneof![same, mixed], 1..6).prop_map(|runs| runs.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_value_comes_back(numbers in numbers(), cuts in prop::collection::btree_set(0..600_usize, 0..6)) {
        let cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut <= numbers.len()).collect();
        let ranges: Vec<Range<usize>> = cuts.chunks_exact(2).map(|ends| ends[0]..ends[1]).collect();
        let texts = StringArray::from_iter(numbers.iter().map(|number| number.map(|number| format!("value {number}"))));
        let ints = Int64Array::from_iter(numbers.iter().map(|number| number.map(|number| -i64::from(number))));
        let doubles = Float64Array::from_iter(numbers.iter().map(|number| number.map(|number| f64::from(number) / 3.0)));
        let bools = BooleanArray::from_iter(numbers.iter().map(|number| number.map(|number| number % 2 == 1)));
        check(&(Arc::new(texts) as ArrayRef), AttributeType::String, &ranges)?;
        check(&(Arc::new(ints) as ArrayRef), AttributeType::Int, &ranges)?;
        check(&(Arc::new(doubles) as ArrayRef), AttributeType::Double, &ranges)?;
        check(&(Arc::new(bools) as ArrayRef), AttributeType::Bool, &ranges)?;
    }

    #[test]
    fn no_page_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        rows in 0..300_u32,
        kind in 0..4_usize,
        is_plain in any::<bool>(),
    ) {
        let attribute = AttributeColumn { scope: Scope::Span, key: "a".to_owned(), kind: AttributeType::ALL[kind] };
        let mut reader = CodedReader::new(attribute, true);
        let buf: Bytes = bytes.into();
        let dictionary =
            Page::DictionaryPage { buf: buf.clone(), num_values: rows % 5, encoding: Encoding::PLAIN, is_sorted: false };
        let data = Page::DataPage {
            buf,
            num_values: rows,
            encoding: if is_plain { Encoding::PLAIN } else { Encoding::RLE_DICTIONARY },
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        if reader.take(dictionary).is_ok() && reader.take(data).is_ok() {
            _ = reader.finish(rows as usize, None).map(|column| column.values().is_ok());
        }
    }
}

#[test]
fn a_dictionary_of_texts_is_one_too() {
    let texts = StringArray::from_iter((0..500).map(|row| (row % 3 > 0).then(|| format!("value {}", row % 7))));
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let coded = arrow::compute::cast(&texts, &dictionary).unwrap();
    let column = read(written(&coded), AttributeType::String, None);
    let CodedValues { codes, by_code } = column.values().unwrap();
    let found = codes.iter().map(|&code| by_code.as_string::<i32>().value(code as usize)).zip(column.rows());
    let expected = (0..500).filter(|&row| texts.is_valid(row)).map(|row| (texts.value(row), row as u32));
    assert_eq!(found.map(|(text, &row)| (text, row)).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    assert_eq!(by_code.len(), 7);
}
