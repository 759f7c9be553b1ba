//! What numbers over time say, where one odd value must not decide.

/// Most points that a slope is fitted to: the fit looks at every pair.
const MOST: usize = 300;

/// The middle value; zero for none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count.is_multiple_of(2) => f64::midpoint(values[count / 2 - 1], values[count / 2]),
        count => values[count / 2],
    }
}

/// The slope of the line through `points` (x, y): the median of the slopes of all pairs (Theil and Sen), which three
/// outliers in ten do not move. Zero for fewer than two points.
pub(super) fn slope(points: &[(f64, f64)]) -> f64 {
    // Of many points, groups are as good, and each group's median is as robust.
    let group = points.len().div_ceil(MOST).max(1);
    let grouped: Vec<(f64, f64)> = points
        .chunks(group)
        .map(|group| (median(group.iter().map(|point| point.0)), median(group.iter().map(|point| point.1))))
        .collect();
    let pairs = grouped.iter().enumerate().flat_map(|(at, (x, y))| {
        let later = grouped[at + 1..].iter().filter(move |(later, _)| later > x);
        later.map(move |(later, value)| (value - y) / (later - x))
    });
    median(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([]), 0.0);
    }

    #[test]
    fn a_line_has_its_slope_and_outliers_do_not_move_it() {
        let line: Vec<(f64, f64)> = (0..100).map(|n| (f64::from(n), 7.0 + 3.0 * f64::from(n))).collect();
        assert!((slope(&line) - 3.0).abs() < 1e-9);
        let mut broken = line.clone();
        for at in [0, 30, 31, 32, 99] {
            broken[at].1 = 1e9;
        }
        assert!((slope(&broken) - 3.0).abs() < 0.2, "{}", slope(&broken));
    }

    #[test]
    fn a_step_early_on_is_no_slope_and_stairs_are_one() {
        let step: Vec<(f64, f64)> = (0..100).map(|n| (f64::from(n), if n < 10 { 0.0 } else { 50.0 })).collect();
        assert_eq!(slope(&step), 0.0);
        let stairs: Vec<(f64, f64)> = (0..1000).map(|n| (f64::from(n), f64::from(n / 100) * 100.0)).collect();
        assert!((slope(&stairs) - 1.0).abs() < 0.1, "{}", slope(&stairs));
    }

    #[test]
    fn many_points_are_grouped() {
        let line: Vec<(f64, f64)> = (0..10_000).map(|n| (f64::from(n), -0.5 * f64::from(n))).collect();
        assert!((slope(&line) + 0.5).abs() < 1e-9);
    }

    #[test]
    fn too_few_points_have_no_slope() {
        assert_eq!(slope(&[]), 0.0);
        assert_eq!(slope(&[(1.0, 5.0)]), 0.0);
        assert_eq!(slope(&[(1.0, 5.0), (1.0, 9.0)]), 0.0, "at the same moment");
    }
}
