//! Spans of one table by the labels that they have: found by numbers of texts, so that labels are put together once for
//! each group.

use hashbrown::HashMap;

use crate::columns::{Spans, Value, WantedKeys};
use crate::config::IntrinsicDimensions;

/// The groups of a table. Spans of one group have the same labels; those of two may, too.
pub(super) struct Groups<'t> {
    spans: &'t Spans<'t>,
    intrinsic: &'t IntrinsicDimensions,
    /// By resource: those of one class say the same in all that labels are made of.
    classes: Vec<u32>,
    /// Numbers of the values that begin so, one map for each number of values; the last has the groups.
    steps: Vec<HashMap<Step, u32>>,
    wanted: WantedKeys<'t>,
    values: Vec<Option<Value>>,
}

/// One more value behind those of a number.
#[derive(PartialEq, Eq, Hash)]
struct Step {
    before: u32,
    value: Option<Value>,
}

impl<'t> Groups<'t> {
    /// `of_resources` are the attributes of resources that say something to labels, `of_spans` those of spans.
    pub(super) fn new(
        spans: &'t Spans<'t>,
        intrinsic: &'t IntrinsicDimensions,
        of_resources: &[String],
        of_spans: &'t [String],
    ) -> Self {
        let (mut classes, mut values) = (HashMap::<Vec<Option<Value>>, u32>::new(), Vec::new());
        let mut wanted = WantedKeys::new(of_resources, &spans.resource_attributes);
        let class = |resource| {
            wanted.find(&spans.resource_attributes, resource, &mut values);
            let next = classes.len() as u32;
            *classes.entry_ref(values.as_slice()).or_insert(next)
        };
        let classes = (0..spans.service_names.len()).map(class).collect();
        let steps = (0..1 + usize::from(intrinsic.status_message) + of_spans.len()).map(|_| HashMap::new()).collect();
        let wanted = WantedKeys::new(of_spans, &spans.attributes);
        Self { spans, intrinsic, classes, steps, wanted, values: Vec::new() }
    }

    /// The number of a row's group, and whether it is new. Numbers begin at zero and leave none out.
    pub(super) fn of(&mut self, row: usize) -> (usize, bool) {
        self.wanted.find(&self.spans.attributes, row, &mut self.values);
        let Self { spans, intrinsic, classes, steps, values, .. } = self;
        let message = intrinsic.status_message.then(|| Some(Value::Text(spans.status_messages.id(row))));
        let further = message.into_iter().chain(values.iter().copied());
        let first = Some(Value::Int(intrinsics(spans, intrinsic, row)));
        let (mut number, mut is_new) = (classes[spans.resources[row] as usize], false);
        for (value, numbers) in std::iter::once(first).chain(further).zip(steps) {
            let next = numbers.len() as u32;
            number = *numbers.entry(Step { before: number, value }).or_insert(next);
            is_new = number == next;
        }
        (number as usize, is_new)
    }

    /// The attributes of the row that was asked for last, by their place among those of spans.
    pub(super) fn values(&self) -> &[Option<Value>] {
        &self.values
    }
}

/// Name, kind and status as one number, as far as labels have them.
fn intrinsics(spans: &Spans<'_>, intrinsic: &IntrinsicDimensions, row: usize) -> i64 {
    // a kind or status that is none is counted as unspecified
    let small = |code: i32, most: i32| if (0..=most).contains(&code) { i64::from(code) } else { 0 };
    let name = if intrinsic.span_name { i64::from(spans.names.id(row)) } else { 0 };
    let kind = if intrinsic.span_kind { small(spans.kinds[row], 5) } else { 0 };
    let status = if intrinsic.status_code { small(spans.status_codes[row], 2) } else { 0 };
    name << 8 | kind << 4 | status
}
