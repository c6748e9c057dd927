//! Which tests of a column are one test? The algebra of lists' contents and of patterns.

use super::key::Key;
use super::node::{Property, Test};

/// Tests of a conjunction, or else of a disjunction, sorted and merged; none where they decide it: a conjunction that
/// is never true, or a disjunction that always is.
pub(super) fn merged(and: bool, tests: Vec<Test>) -> Option<Vec<Test>> {
    let mut tests = tests;
    // Tests of one column and one sign stand together.
    tests.sort_unstable_by(|a, b| {
        (&a.column, a.negated, &a.property).cmp(&(&b.column, b.negated, &b.property))
    });
    tests.dedup();
    let mut merged = Vec::new();
    for group in tests.chunk_by(|a, b| a.column == b.column && a.negated == b.negated) {
        let (column, negated) = (&group[0].column, group[0].negated);
        let properties = group.iter().map(|test| test.property.clone()).collect();
        // A conjunction of opposites is the opposite of a disjunction.
        // Where no value has all of them, a conjunction is decided, and so is a disjunction of their opposites.
        let properties = properties_of(and != negated, properties)?;
        merged.extend(properties.into_iter().map(|property| Test {
            column: column.clone(),
            property,
            negated,
        }));
    }
    merged.sort_unstable();
    let opposites = |pair: &[Test]| pair[0].column == pair[1].column && pair[0].property == pair[1].property;
    (!merged.windows(2).any(opposites)).then_some(merged)
}

/// Properties of one value, all of which it must have, or else any; none if it cannot have all.
fn properties_of(all: bool, properties: Vec<Property>) -> Option<Vec<Property>> {
    let mut kept = Vec::new();
    let mut items: Vec<Key> = Vec::new();
    let mut lists: Option<Vec<Vec<Key>>> = None;
    for property in properties {
        match property {
            Property::All(mut keys) if all || keys.len() == 1 => items.append(&mut keys),
            Property::Any(mut keys) if !all => items.append(&mut keys),
            Property::List(members) => {
                lists = Some(match lists {
                    None => members,
                    Some(mut known) if all => {
                        known.retain(|list| members.binary_search(list).is_ok());
                        known
                    }
                    Some(mut known) => {
                        known.extend(members);
                        known.sort_unstable();
                        known.dedup();
                        known
                    }
                });
            }
            other => kept.push(other),
        }
    }
    match lists {
        Some(lists) if lists.is_empty() => return None,
        Some(lists) => kept.push(Property::List(lists)),
        None => {}
    }
    if !items.is_empty() {
        kept.push(Property::with_items(items, all));
    }
    Some(kept)
}

impl Property {
    /// Lists that hold all of some items, or else any. There is at least one.
    pub(super) fn with_items(mut items: Vec<Key>, all: bool) -> Self {
        items.sort_unstable();
        items.dedup();
        if all || items.len() == 1 {
            Property::All(items)
        } else {
            Property::Any(items)
        }
    }
}
