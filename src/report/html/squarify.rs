//! Rectangles whose areas are sizes, as square as they can be: the squarified treemap of Bruls, Huizing and van Wijk
//! (2000). Rows are laid along the shorter side as long as that makes the worst rectangle of the row more square.

/// A rectangle, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rect {
    pub(super) fn area(&self) -> f64 {
        self.width * self.height
    }

    /// What is left of it without a strip at the top and a margin on the other sides. Never negative.
    pub(super) fn inside(&self, top: f64, margin: f64) -> Rect {
        Rect {
            x: self.x + margin,
            y: self.y + top,
            width: (self.width - 2.0 * margin).max(0.0),
            height: (self.height - top - margin).max(0.0),
        }
    }

    /// Slices side by side along the longer side, with areas in proportion to these sizes.
    pub(super) fn sliced(&self, sizes: &[f64]) -> Vec<Rect> {
        let all: f64 = sizes.iter().sum();
        let mut begin = 0.0;
        let slice = |size: &f64| {
            let (from, share) = (begin, if all > 0.0 { size / all } else { 0.0 });
            begin += share;
            if self.width >= self.height {
                Rect { x: self.x + from * self.width, width: share * self.width, ..*self }
            } else {
                Rect { y: self.y + from * self.height, height: share * self.height, ..*self }
            }
        };
        sizes.iter().map(slice).collect()
    }
}

/// Divides a frame among sizes that are sorted, the largest first, and all above zero. The rectangles come in the order
/// of the sizes, fill the frame, and do not overlap.
pub(super) fn squarified(sizes: &[f64], frame: Rect) -> Vec<Rect> {
    let all: f64 = sizes.iter().sum();
    let mut rects = Vec::with_capacity(sizes.len());
    if all <= 0.0 || frame.area() <= 0.0 {
        rects.resize(sizes.len(), Rect { width: 0.0, height: 0.0, ..frame });
        return rects;
    }
    let scale = frame.area() / all;
    let mut free = frame;
    let mut rest = sizes;
    while let Some(largest) = rest.first() {
        let side = free.width.min(free.height);
        let (mut count, mut sum) = (1, largest * scale);
        let mut worst = worst_of(largest * scale, largest * scale, sum, side);
        while let Some(next) = rest.get(count) {
            let with_next = worst_of(largest * scale, next * scale, sum + next * scale, side);
            if with_next > worst {
                break;
            }
            (worst, sum, count) = (with_next, sum + next * scale, count + 1);
        }
        let (row, others) = rest.split_at(count);
        // The last row takes what is left, so that rounding leaves no gap.
        let is_last = others.is_empty();
        let is_upright = free.width >= free.height;
        let (long, available) = if is_upright { (free.height, free.width) } else { (free.width, free.height) };
        let thickness = if is_last || long <= 0.0 { available } else { (sum / long).min(available) };
        let strip = if is_upright { Rect { width: thickness, ..free } } else { Rect { height: thickness, ..free } };
        let row_sum: f64 = row.iter().sum();
        let mut begin = 0.0;
        for (place, size) in row.iter().enumerate() {
            let length = if place + 1 == count { (long - begin).max(0.0) } else { long * (size / row_sum) };
            rects.push(if is_upright {
                Rect { y: strip.y + begin, height: length, ..strip }
            } else {
                Rect { x: strip.x + begin, width: length, ..strip }
            });
            begin += length;
        }
        if is_upright {
            (free.x, free.width) = (free.x + thickness, (free.width - thickness).max(0.0));
        } else {
            (free.y, free.height) = (free.y + thickness, (free.height - thickness).max(0.0));
        }
        rest = others;
    }
    rects
}

/// The worst ratio of sides in a row of this area along this side, which lies between its largest and its smallest.
fn worst_of(largest: f64, smallest: f64, sum: f64, side: f64) -> f64 {
    let (sum, side) = (sum * sum, side * side);
    (side * largest / sum).max(sum / (side * smallest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: Rect = Rect { x: 10.0, y: 20.0, width: 600.0, height: 400.0 };

    /// The example of the paper: 6, 6, 4, 3, 2, 2, 1 in a frame of 6 by 4.
    #[test]
    fn the_example_of_the_paper() {
        let frame = Rect { x: 0.0, y: 0.0, width: 6.0, height: 4.0 };
        let rects = squarified(&[6.0, 6.0, 4.0, 3.0, 2.0, 2.0, 1.0], frame);
        assert_eq!(rects[0], Rect { x: 0.0, y: 0.0, width: 3.0, height: 2.0 });
        assert_eq!(rects[1], Rect { x: 0.0, y: 2.0, width: 3.0, height: 2.0 });
        let third = rects[2];
        assert!((third.height - 7.0 / 3.0).abs() < 1e-9 && (third.width - 12.0 / 7.0).abs() < 1e-9, "{third:?}");
    }

    fn overlap(a: &Rect, b: &Rect) -> f64 {
        let along = |from: f64, to: f64, other: f64, other_to: f64| (to.min(other_to) - from.max(other)).max(0.0);
        along(a.x, a.x + a.width, b.x, b.x + b.width) * along(a.y, a.y + a.height, b.y, b.y + b.height)
    }

    /// Areas are in proportion, nothing sticks out, nothing overlaps.
    fn assert_divided(sizes: &[f64], frame: Rect, rects: &[Rect]) {
        assert_eq!(rects.len(), sizes.len());
        let (all, slack) = (sizes.iter().sum::<f64>(), 1e-6 * frame.area().max(1.0));
        for (rect, size) in rects.iter().zip(sizes) {
            assert!((rect.area() - frame.area() * size / all).abs() <= slack, "{rect:?} for {size} of {all}");
            assert!(rect.x >= frame.x - 1e-6 && rect.y >= frame.y - 1e-6, "{rect:?}");
            assert!(rect.x + rect.width <= frame.x + frame.width + 1e-6, "{rect:?}");
            assert!(rect.y + rect.height <= frame.y + frame.height + 1e-6, "{rect:?}");
        }
        for (place, rect) in rects.iter().enumerate() {
            for other in &rects[..place] {
                assert!(overlap(rect, other) <= slack, "{rect:?} and {other:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_frame_is_divided_whatever_the_sizes(
            mut sizes in prop::collection::vec(prop_oneof![1u64..100, 1u64..1 << 50], 1..60),
            width in 1.0..2000.0f64,
            height in 1.0..2000.0f64,
        ) {
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            let sizes: Vec<f64> = sizes.into_iter().map(|size| size as f64).collect();
            let frame = Rect { width, height, ..FRAME };
            assert_divided(&sizes, frame, &squarified(&sizes, frame));
            assert_divided(&sizes, frame, &frame.sliced(&sizes));
        }

        /// Squarified is the point of it: of a few sizes that do not differ by much, none becomes a sliver.
        #[test]
        fn rectangles_are_nearly_square(mut sizes in prop::collection::vec(50u64..100, 4..40)) {
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            let sizes: Vec<f64> = sizes.into_iter().map(|size| size as f64).collect();
            for rect in squarified(&sizes, FRAME) {
                let ratio = (rect.width / rect.height).max(rect.height / rect.width);
                prop_assert!(ratio < 4.5, "{rect:?}");
            }
        }
    }

    #[test]
    fn nothing_to_divide_and_no_room() {
        assert!(squarified(&[], FRAME).is_empty());
        let nowhere = Rect { width: 0.0, ..FRAME };
        assert!(squarified(&[3.0, 1.0], nowhere).iter().all(|rect| rect.area() == 0.0));
        assert!(squarified(&[0.0, 0.0], FRAME).iter().all(|rect| rect.area() == 0.0), "not a number");
    }
}
