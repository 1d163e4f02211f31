//! Who of a group reads which partitions: Kafka's `range`, by which each topic's partitions go in runs to the members that
//! want it, in the order of their names. Pure.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::wire::{Malformed, Reader, Writer};

/// What members agree to share by.
pub(crate) const PROTOCOL: &str = "range";
const VERSION: i16 = 0;

/// What a member brings: the topics that it wants.
pub(crate) fn subscription(topics: &[&str]) -> Bytes {
    let mut writer = Writer::default();
    writer.i16(VERSION);
    writer.list(topics, |writer, topic| writer.string(topic));
    writer.bytes(&[]);
    writer.into_bytes()
}

/// The topics that a member wants. What later versions add stands behind.
pub(crate) fn topics_of(subscription: Bytes) -> Result<Vec<String>, Malformed> {
    let mut reader = Reader::new(subscription);
    reader.i16()?;
    reader.list(Reader::string)
}

/// What each member reads of topics with so many partitions.
pub(crate) fn assign(
    members: &BTreeMap<String, Vec<String>>,
    partitions: &BTreeMap<String, i32>,
) -> Vec<(String, Bytes)> {
    let topics: BTreeSet<&String> = members.values().flatten().collect();
    let mut shares: BTreeMap<&String, Vec<(&String, Vec<i32>)>> =
        members.keys().map(|member| (member, Vec::new())).collect();
    for topic in topics {
        let count = partitions.get(topic).copied().unwrap_or(0);
        let wanting: Vec<&String> =
            members.iter().filter(|(_, topics)| topics.contains(topic)).map(|(member, _)| member).collect();
        let share = count / wanting.len() as i32;
        let larger = count % wanting.len() as i32;
        let mut next = 0;
        for (number, member) in wanting.into_iter().enumerate() {
            let end = next + share + i32::from((number as i32) < larger);
            if let Some(of_member) = shares.get_mut(member).filter(|_| end > next) {
                of_member.push((topic, (next..end).collect()));
            }
            next = end;
        }
    }
    shares.into_iter().map(|(member, share)| (member.clone(), assignment(&share))).collect()
}

fn assignment(share: &[(&String, Vec<i32>)]) -> Bytes {
    let mut writer = Writer::default();
    writer.i16(VERSION);
    writer.list(share, |writer, (topic, partitions)| {
        writer.string(topic);
        writer.list(partitions, |writer, partition| writer.i32(*partition));
    });
    writer.bytes(&[]);
    writer.into_bytes()
}

/// The partitions of a topic in a member's share, which is empty where there is nothing for it.
pub(crate) fn partitions_of(assignment: Bytes, topic: &str) -> Result<Vec<i32>, Malformed> {
    if assignment.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader::new(assignment);
    reader.i16()?;
    let topics = reader.list(|reader| Ok((reader.string()?, reader.list(Reader::i32)?)))?;
    Ok(topics.into_iter().filter(|(name, _)| name == topic).flat_map(|(_, partitions)| partitions).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(members: &[(&str, &[&str])], counts: &[(&str, i32)], topic: &str) -> Vec<(String, Vec<i32>)> {
        let members = members.iter().map(|(member, topics)| {
            ((*member).to_owned(), topics_of(subscription(topics)).expect("a subscription is read back"))
        });
        let counts = counts.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect();
        let shares = assign(&members.collect(), &counts).into_iter();
        shares.map(|(member, share)| (member, partitions_of(share, topic).expect("a share is read back"))).collect()
    }

    #[test]
    fn partitions_go_in_runs_to_those_that_want_the_topic() {
        let of = |member: &str, partitions: &[i32]| (member.to_owned(), partitions.to_vec());
        let both: &[(&str, &[&str])] = &[("b", &["spans"]), ("a", &["spans", "logs"])];
        assert_eq!(shares(both, &[("spans", 5)], "spans"), [of("a", &[0, 1, 2]), of("b", &[3, 4])]);
        assert_eq!(shares(both, &[("spans", 1), ("logs", 2)], "spans"), [of("a", &[0]), of("b", &[])]);
        assert_eq!(shares(both, &[("logs", 2)], "logs"), [of("a", &[0, 1]), of("b", &[])]);
        assert_eq!(partitions_of(Bytes::new(), "spans"), Ok(Vec::new()));
    }
}
