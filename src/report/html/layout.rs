//! Where each part of the store is drawn.
//!
//! From the store downwards each rectangle is divided among its parts, until there are as many pieces as a page can
//! show, or they become too small. What would be a speck is drawn together with its siblings. The script of the page
//! does the same (`layout` in page.js), so that zooming looks like the picture that the page came with.

use super::cut::Parts;
use super::model::{Bytes, Class, NodeKind};
use super::squarify::{Rect, squarified};

/// The height of the strip that names a divided rectangle.
pub(super) const HEAD: f64 = 17.0;
/// A rectangle of a smaller area is drawn together with its siblings.
const SPECK: f64 = 40.0;

/// One rectangle.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    /// The part that it stands for; none if it stands for several that are too small.
    pub(super) part: Option<usize>,
    /// How many parts it stands for, where that is none.
    pub(super) count: u64,
    /// What is in it.
    pub(super) bytes: Bytes,
    /// Where it is.
    pub(super) rect: Rect,
    /// Whether others are drawn in it.
    pub(super) look: Look,
}

/// How a rectangle is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Filled, by class.
    Filled,
    /// As a frame around others, with a strip for its name.
    FrameWithHead,
    /// As a frame around others, too small for a name.
    Frame,
}

impl Drawn {
    /// The filled pieces of it: one for each class in it, side by side.
    pub(super) fn pieces(&self) -> Vec<(Class, Rect)> {
        let classes: Vec<Class> = Class::ALL.into_iter().filter(|class| self.bytes.get(*class) > 0).collect();
        let sizes: Vec<f64> = classes.iter().map(|class| self.bytes.get(*class) as f64).collect();
        classes.into_iter().zip(self.rect.sliced(&sizes)).collect()
    }
}

/// Draws what is in the store into a frame, with at most so many filled pieces. Each rectangle comes behind the one
/// that it is in.
pub(super) fn layout(parts: &Parts<'_>, frame: Rect, most: usize) -> Vec<Drawn> {
    let mut all: Vec<Drawn> = Vec::new();
    // The store itself is the picture: only its parts are drawn.
    let mut waiting = vec![(None, 0, frame, most)];
    while let Some((drawn, part, inner, most)) = waiting.pop() {
        let items = items(parts, part, inner, most);
        if items.is_empty() {
            continue;
        }
        if let Some(drawn) = drawn {
            let divided: &mut Drawn = &mut all[drawn];
            divided.look = if has_head(&divided.rect) { Look::FrameWithHead } else { Look::Frame };
        }
        let used: usize = items.iter().map(|item| pieces(&item.1)).sum();
        let sizes: Vec<f64> = items.iter().map(|item| item.1.sum() as f64).collect();
        let mut divisible = Vec::new();
        for ((part, bytes, count), rect) in items.into_iter().zip(squarified(&sizes, inner)) {
            if let Some(part) = part.filter(|part| !parts.all[*part].children.is_empty())
                && inside(&rect).area() > 2.0 * SPECK
            {
                divisible.push((all.len(), part, rect));
            }
            all.push(Drawn { part, count, bytes, rect, look: Look::Filled });
        }
        // What is left of the pieces goes to the parts by their areas, so that all are drawn in the same detail.
        let left = most.saturating_sub(used) as f64;
        let area: f64 = divisible.iter().map(|(_, _, rect)| rect.area()).sum();
        for (drawn, part, rect) in divisible {
            let share = (left * rect.area() / area) as usize;
            waiting.push((Some(drawn), part, inside(&rect), share));
        }
    }
    all
}

fn pieces(bytes: &Bytes) -> usize {
    // The rectangle itself becomes a frame if it is divided.
    Class::ALL.into_iter().filter(|class| bytes.get(*class) > 0).count()
}

fn has_head(rect: &Rect) -> bool {
    rect.width >= 46.0 && rect.height >= 38.0
}

/// The room for the parts of a rectangle.
pub(super) fn inside(rect: &Rect) -> Rect {
    if has_head(rect) { rect.inside(HEAD, 2.0) } else { rect.inside(1.0, 1.0) }
}

/// What is drawn in a part: those of its parts that are no specks, and the others together; sorted, the largest first,
/// and filled with at most so many pieces. Nothing if there is no room for that.
fn items(parts: &Parts<'_>, part: usize, inner: Rect, most: usize) -> Vec<(Option<usize>, Bytes, u64)> {
    let node = &parts.all[part];
    let all = node.bytes.sum();
    if all == 0 || inner.area() <= 0.0 || most < Class::ALL.len() {
        return Vec::new();
    }
    // A store without parts is drawn as what it is.
    if node.children.is_empty() {
        return if node.parent.is_none() { vec![(Some(part), node.bytes, 1)] } else { Vec::new() };
    }
    let scale = inner.area() / all as f64;
    let mut free = most;
    let mut fits = |child: &&usize| {
        let bytes = &parts.all[**child].bytes;
        free = free.saturating_sub(pieces(bytes));
        // The others together may be of all classes.
        bytes.sum() as f64 * scale >= SPECK && free >= Class::ALL.len()
    };
    let shown = node.children.iter().take_while(|child| fits(child)).count();
    // One that is alone needs no company.
    let shown = if node.children.len() - shown == 1 { node.children.len() } else { shown };
    let (shown, specks) = node.children.split_at(shown);
    let mut items: Vec<_> = shown.iter().map(|child| (Some(*child), parts.all[*child].bytes, 1)).collect();
    if !specks.is_empty() {
        let (mut bytes, mut count) = (Bytes::default(), 0);
        for speck in specks.iter().map(|speck| &parts.all[*speck]) {
            bytes.add(speck.bytes);
            count += if speck.kind == NodeKind::Rest { speck.count.max(1) } else { 1 };
        }
        let place = items.partition_point(|item| item.1.sum() >= bytes.sum());
        items.insert(place, (None, bytes, count));
    }
    items
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::cut::cut;
    use super::super::model::Node;
    use super::*;

    const FRAME: Rect = Rect { x: 0.0, y: 0.0, width: 1000.0, height: 560.0 };

    fn is_within(inner: &Rect, outer: &Rect) -> bool {
        inner.x >= outer.x - 1e-6
            && inner.y >= outer.y - 1e-6
            && inner.x + inner.width <= outer.x + outer.width + 1e-6
            && inner.y + inner.height <= outer.y + outer.height + 1e-6
    }

    fn store(repositories: &[Vec<u64>]) -> Node {
        let tag = |(place, bytes): (usize, &u64)| {
            let class = Class::ALL[place % 4];
            Node::leaf(format!("v{place}"), NodeKind::Tag, Bytes::of(class, *bytes))
        };
        let repository = |(place, tags): (usize, &Vec<u64>)| {
            Node::group(format!("r{place}"), NodeKind::Repository, tags.iter().enumerate().map(tag).collect())
        };
        Node::group("", NodeKind::Store, repositories.iter().enumerate().map(repository).collect())
    }

    proptest! {
        #[test]
        fn everything_is_drawn_once_and_inside_of_what_it_is_in(
            repositories in prop::collection::vec(prop::collection::vec(1u64..1_000_000, 1..40), 1..30),
            most in 8usize..400,
        ) {
            let model = store(&repositories);
            let parts = cut(&model, 2000, 100_000);
            let drawn = layout(&parts, FRAME, most);
            let pieces: Vec<(usize, Rect)> = drawn.iter().enumerate()
                .filter(|(_, it)| it.look == Look::Filled)
                .flat_map(|(index, it)| it.pieces().into_iter().map(move |(_, rect)| (index, rect)))
                .collect();
            prop_assert!(pieces.len() <= most, "{} of {most}", pieces.len());
            for (place, (_, rect)) in pieces.iter().enumerate() {
                prop_assert!(is_within(rect, &FRAME));
                for (_, other) in &pieces[..place] {
                    let width = (rect.x + rect.width).min(other.x + other.width) - rect.x.max(other.x);
                    let height = (rect.y + rect.height).min(other.y + other.height) - rect.y.max(other.y);
                    prop_assert!(width <= 1e-6 || height <= 1e-6, "{rect:?} {other:?}");
                }
            }
            // What is filled holds all bytes, whatever was drawn together.
            let mut filled = Bytes::default();
            drawn.iter().filter(|it| it.look == Look::Filled).for_each(|it| filled.add(it.bytes));
            prop_assert_eq!(filled, parts.all[0].bytes);
            // Each lies within the frame that it is in.
            for it in &drawn {
                let parent = it.part.and_then(|part| parts.all[part].parent).filter(|parent| *parent > 0);
                if let Some(frame) = parent.and_then(|parent| drawn.iter().find(|other| other.part == Some(parent))) {
                    prop_assert!(is_within(&it.rect, &frame.rect));
                    prop_assert!(frame.look != Look::Filled);
                }
            }
        }
    }

    #[test]
    fn specks_are_drawn_together_and_counted() {
        let mut sizes = vec![1_000_000];
        sizes.extend([1; 500]);
        let model = store(&[sizes]);
        let drawn = layout(&cut(&model, 2000, 100_000), FRAME, 1500);
        let together: Vec<&Drawn> = drawn.iter().filter(|it| it.part.is_none()).collect();
        assert_eq!(together.len(), 1);
        assert_eq!((together[0].count, together[0].bytes.sum()), (500, 500));
    }

    #[test]
    fn a_part_of_several_classes_is_filled_side_by_side() {
        let bytes = Bytes { live: 3, shared: 0, untagged: 0, garbage: 1 };
        let model = Node::leaf("", NodeKind::Store, bytes);
        let drawn = layout(&cut(&model, 10, 100), FRAME, 100);
        let pieces = drawn[0].pieces();
        assert_eq!(pieces.iter().map(|(class, _)| *class).collect::<Vec<_>>(), [Class::Live, Class::Garbage]);
        assert_eq!((pieces[0].1.width, pieces[1].1.x), (750.0, 750.0));
    }

    #[test]
    fn an_empty_store_has_nothing_to_draw() {
        let model = Node::leaf("", NodeKind::Store, Bytes::default());
        assert!(layout(&cut(&model, 10, 100), FRAME, 100).is_empty());
    }
}
