//! What is drawn as one: machines of one level and zone that take the same components.

use std::collections::{BTreeMap, BTreeSet};

use super::Subject;

/// Machines that are alike.
pub(super) struct Card {
    pub(super) level: usize,
    pub(super) zone: String,
    pub(super) components: Vec<String>,
    /// Each host, and whether it answers.
    pub(super) hosts: Vec<(String, bool)>,
}

/// The cards in the order of the file, and which must stand before which, without what follows from others.
pub(super) fn cards(subject: &Subject<'_>) -> (Vec<Card>, BTreeSet<(usize, usize)>) {
    let graph = subject.graph;
    let mut cards: Vec<Card> = Vec::new();
    let mut card_of = vec![0; graph.machines.len()];
    let mut known = BTreeMap::new();
    for (level, machines) in graph.levels.iter().enumerate() {
        for index in machines {
            let machine = &graph.machines[*index];
            let alike = (level, &machine.zone, &machine.components);
            let card = *known.entry(alike).or_insert_with(|| {
                let (zone, components) = (machine.zone.clone(), machine.components.clone());
                cards.push(Card { level, zone, components, hosts: Vec::new() });
                cards.len() - 1
            });
            cards[card].hosts.push((machine.host.clone(), !subject.down.contains(&machine.host)));
            card_of[*index] = card;
        }
    }
    let edges = graph.edges().into_iter().map(|(before, after)| (card_of[before], card_of[after])).collect();
    (cards, reduced(edges))
}

/// Edges without those that a longer way says too. Cards stand in the order of their levels, so an edge leads to a later one.
fn reduced(edges: BTreeSet<(usize, usize)>) -> BTreeSet<(usize, usize)> {
    let mut after: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (from, to) in edges.iter().rev() {
        let further = after.get(to).cloned().unwrap_or_default();
        after.entry(*from).or_default().extend(further.into_iter().chain([*to]));
    }
    let around = |from: usize, to: usize| {
        let others = edges.range((from, 0)..=(from, usize::MAX)).filter(|(_, other)| *other != to);
        others.into_iter().any(|(_, other)| after.get(other).is_some_and(|further| further.contains(&to)))
    };
    edges.iter().copied().filter(|(from, to)| !around(*from, *to)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_longer_way_says_is_left_out() {
        let edges = BTreeSet::from([(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)]);
        assert_eq!(reduced(edges), BTreeSet::from([(0, 1), (1, 2), (2, 3)]));
    }
}
