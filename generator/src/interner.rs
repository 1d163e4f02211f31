//! Texts by number, so that what is counted by texts is compared and copied by numbers.

use std::num::NonZeroU32;
use std::sync::Arc;

use hashbrown::HashMap;

/// A text of one [`Interner`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TextId(NonZeroU32);

/// A list of texts, some of which may be missing, of one [`Interner`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct ListId(u32);

/// Numbers texts and lists of them. A number is good for as long as the interner lives.
#[derive(Default)]
pub(crate) struct Interner {
    ids: HashMap<Arc<str>, TextId>,
    texts: Vec<Arc<str>>,
    list_ids: HashMap<Box<[Option<TextId>]>, ListId>,
    lists: Vec<Box<[Option<TextId>]>>,
}

impl Interner {
    pub(crate) fn text(&mut self, text: &str) -> TextId {
        match self.ids.get(text) {
            Some(id) => *id,
            None => self.add(text.into()),
        }
    }

    /// The same for a text that is shared already.
    pub(crate) fn shared(&mut self, text: &Arc<str>) -> TextId {
        match self.ids.get(text) {
            Some(id) => *id,
            None => self.add(text.clone()),
        }
    }

    fn add(&mut self, text: Arc<str>) -> TextId {
        self.texts.push(text.clone());
        // with four billion texts the last ones share a number; memory ends long before
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        let id = TextId(NonZeroU32::new(number).unwrap_or(NonZeroU32::MAX));
        self.ids.insert(text, id);
        id
    }

    pub(crate) fn get(&self, id: TextId) -> &Arc<str> {
        &self.texts[id.0.get() as usize - 1]
    }

    /// The list without texts is the default, whatever its length.
    pub(crate) fn list(&mut self, list: &[Option<TextId>]) -> ListId {
        if list.iter().all(Option::is_none) {
            return ListId::default();
        }
        if let Some(id) = self.list_ids.get(list) {
            return *id;
        }
        self.lists.push(list.into());
        let id = ListId(u32::try_from(self.lists.len()).unwrap_or(u32::MAX));
        self.list_ids.insert(list.into(), id);
        id
    }

    /// A text of a list; none beyond its end.
    pub(crate) fn of_list(&self, list: ListId, place: usize) -> Option<TextId> {
        let list = self.lists.get((list.0 as usize).checked_sub(1)?)?;
        list.get(place).copied().flatten()
    }

    /// Texts and lists there are.
    pub(crate) fn len(&self) -> usize {
        self.texts.len() + self.lists.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_and_lists_have_one_number() {
        let mut interner = Interner::default();
        let [one, two, again] = ["one", "two", "one"].map(|text| interner.text(text));
        assert_eq!((one, interner.shared(&"two".into())), (again, two));
        assert_eq!([one, two].map(|id| interner.get(id).to_string()), ["one", "two"]);
        let list = interner.list(&[Some(one), None, Some(two)]);
        assert_eq!(interner.list(&[Some(one), None, Some(two)]), list);
        assert_ne!(interner.list(&[Some(one), Some(two), None]), list);
        assert_eq!([0, 1, 2, 3].map(|place| interner.of_list(list, place)), [Some(one), None, Some(two), None]);
        let none = interner.list(&[None, None]);
        assert_eq!((none, interner.of_list(none, 0), interner.len()), (ListId::default(), None, 4));
    }
}
