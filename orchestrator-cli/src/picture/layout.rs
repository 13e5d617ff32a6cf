//! Where cards stand: a column for each level, and little crossing between them.

use std::collections::BTreeSet;

/// Room between cards of one column.
const GAP: f64 = 22.0;
/// Room between columns, for the links.
const BETWEEN: f64 = 96.0;
/// How often the order of columns is improved.
const SWEEPS: usize = 6;

/// A place on the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rectangle {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Where everything stands.
pub(super) struct Layout {
    /// Of each card.
    pub(super) cards: Vec<Rectangle>,
    /// Left edge and width of each column.
    pub(super) columns: Vec<(f64, f64)>,
    /// Points that each link passes, from a card's right side to another one's left.
    pub(super) links: Vec<Vec<(f64, f64)>>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Something that takes room in a column: a card, or a link that passes.
struct Slot {
    column: usize,
    height: f64,
    before: Vec<usize>,
    after: Vec<usize>,
    center: f64,
}

/// Places cards, given their columns and sizes and the links between them. Everything counts from 0, 0.
pub(super) fn layout(cards: &[(usize, f64, f64)], links: &BTreeSet<(usize, usize)>) -> Layout {
    let count = cards.iter().map(|(column, ..)| column + 1).max().unwrap_or(0);
    let (mut slots, ways) = slots(cards, links);
    let mut columns: Vec<Vec<usize>> =
        (0..count).map(|column| (0..slots.len()).filter(|slot| slots[*slot].column == column).collect()).collect();
    for sweep in 0..SWEEPS {
        arrange(&mut columns, &mut slots, sweep % 2 == 0);
    }
    for _ in 0..SWEEPS {
        columns.iter().for_each(|column| settle(column, &mut slots));
    }
    let top = slots.iter().map(|slot| slot.center - slot.height / 2.0).fold(f64::INFINITY, f64::min);
    slots.iter_mut().for_each(|slot| slot.center -= top);
    finish(cards, &slots, &ways, count)
}

/// A slot for each card, and for each column that a link passes; and the slots that each link leads through.
fn slots(cards: &[(usize, f64, f64)], links: &BTreeSet<(usize, usize)>) -> (Vec<Slot>, Vec<Vec<usize>>) {
    let slot = |column, height| Slot { column, height, before: Vec::new(), after: Vec::new(), center: 0.0 };
    let mut slots: Vec<Slot> = cards.iter().map(|(column, _, height)| slot(*column, *height)).collect();
    let mut ways = Vec::new();
    for (from, to) in links {
        let mut way = vec![*from];
        for column in cards[*from].0 + 1..cards[*to].0 {
            way.push(slots.len());
            slots.push(slot(column, 0.0));
        }
        way.push(*to);
        for pair in way.windows(2) {
            slots[pair[0]].after.push(pair[1]);
            slots[pair[1]].before.push(pair[0]);
        }
        ways.push(way);
    }
    (slots, ways)
}

/// Orders each column by where its neighbours stand, from the left or from the right.
fn arrange(columns: &mut [Vec<usize>], slots: &mut [Slot], from_left: bool) {
    let order: Vec<usize> = if from_left { (0..columns.len()).collect() } else { (0..columns.len()).rev().collect() };
    for at in order {
        let wanted = |slot: &usize| {
            let neighbours = if from_left { &slots[*slot].before } else { &slots[*slot].after };
            mean(neighbours, slots).unwrap_or(slots[*slot].center)
        };
        columns[at].sort_by(|a, b| wanted(a).total_cmp(&wanted(b)));
        let mut y = -total(&columns[at], slots) / 2.0;
        for slot in &columns[at] {
            slots[*slot].center = y + slots[*slot].height / 2.0;
            y += slots[*slot].height + GAP;
        }
    }
}

fn mean(of: &[usize], slots: &[Slot]) -> Option<f64> {
    let sum: f64 = of.iter().map(|slot| slots[*slot].center).sum();
    (!of.is_empty()).then(|| sum / of.len() as f64)
}

fn total(column: &[usize], slots: &[Slot]) -> f64 {
    column.iter().map(|slot| slots[*slot].height + GAP).sum::<f64>() - GAP
}

/// Moves the slots of a column to where their neighbours are, as near as their order and the room permit: neighbours in a column
/// that would overlap become one block, which stands at the mean of what they want.
fn settle(column: &[usize], slots: &mut [Slot]) {
    // A block: its first slot's wanted top by the mean of all in it, how many they are, and their height with gaps.
    let mut blocks: Vec<(f64, usize, f64)> = Vec::new();
    for slot in column {
        let of = &slots[*slot];
        let neighbours: Vec<usize> = of.before.iter().chain(&of.after).copied().collect();
        let top = mean(&neighbours, slots).unwrap_or(of.center) - of.height / 2.0;
        blocks.push((top, 1, of.height + GAP));
        while let [.., (top, count, height), (next, more, further)] = blocks[..] {
            if top + height <= next {
                break;
            }
            let both = count + more;
            let mean = (top * count as f64 + (next - height) * more as f64) / both as f64;
            blocks.truncate(blocks.len() - 2);
            blocks.push((mean, both, height + further));
        }
    }
    let mut slot = column.iter();
    for (mut top, count, _) in blocks {
        for slot in slot.by_ref().take(count) {
            slots[*slot].center = top + slots[*slot].height / 2.0;
            top += slots[*slot].height + GAP;
        }
    }
}

fn finish(cards: &[(usize, f64, f64)], slots: &[Slot], ways: &[Vec<usize>], count: usize) -> Layout {
    let width =
        |column: usize| cards.iter().filter(|(of, ..)| *of == column).map(|(_, width, _)| *width).fold(0.0, f64::max);
    let mut columns = Vec::new();
    let mut x = 0.0;
    for column in 0..count {
        columns.push((x, width(column)));
        x += width(column) + BETWEEN;
    }
    let rectangle = |(slot, (column, width, height)): (&Slot, &(usize, f64, f64))| Rectangle {
        x: columns[*column].0,
        y: slot.center - height / 2.0,
        width: *width,
        height: *height,
    };
    let placed: Vec<Rectangle> = slots.iter().zip(cards).map(rectangle).collect();
    let height = placed.iter().map(|place| place.y + place.height).fold(0.0, f64::max);
    let links = ways.iter().map(|way| points(way, slots, &placed, &columns)).collect();
    Layout { cards: placed, columns, links, width: (x - BETWEEN).max(0.0), height }
}

/// The points of a link. Where several leave or reach a card, each has a place of its own on its side.
fn points(way: &[usize], slots: &[Slot], placed: &[Rectangle], columns: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let port = |slot: usize, others: &[usize], other: usize| {
        let mut others: Vec<usize> = others.to_vec();
        others.sort_by(|a, b| slots[*a].center.total_cmp(&slots[*b].center));
        let at = others.iter().position(|slot| *slot == other).unwrap_or(0);
        let room = (slots[slot].height - 24.0).clamp(0.0, 14.0 * (others.len() as f64 - 1.0));
        let part = if others.len() > 1 { at as f64 / (others.len() - 1) as f64 - 0.5 } else { 0.0 };
        slots[slot].center + room * part
    };
    let mut points = Vec::new();
    for (at, slot) in way.iter().enumerate() {
        let Slot { before, after, center, .. } = &slots[*slot];
        match placed.get(*slot) {
            Some(card) if at == 0 => points.push((card.x + card.width, port(*slot, after, way[1]))),
            Some(card) => points.push((card.x, port(*slot, before, way[at - 1]))),
            None => {
                let (x, width) = columns[slots[*slot].column];
                points.extend([(x, *center), (x + width, *center)]);
            }
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_card_stands_on_another(
            cards in prop::collection::vec((0usize..5, 50f64..200.0, 30f64..300.0), 1..30),
            links in prop::collection::btree_set((0usize..30, 0usize..30), 0..40),
        ) {
            let of = |at: usize| cards.get(at).map(|card| card.0);
            let links = links.into_iter().filter(|(from, to)| of(*from).is_some() && of(*from) < of(*to)).collect();
            let layout = layout(&cards, &links);
            for (at, a) in layout.cards.iter().enumerate() {
                prop_assert!(a.y >= -0.01 && a.y + a.height <= layout.height + 0.01);
                for b in &layout.cards[at + 1..] {
                    let beside = a.x + a.width <= b.x || b.x + b.width <= a.x;
                    prop_assert!(beside || a.y + a.height <= b.y + 0.01 || b.y + b.height <= a.y + 0.01);
                }
            }
        }
    }
}
