//! Recall and speed by ef, and what lies between the points.

/// A point of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) ef: u64,
    pub(super) recall: f64,
    pub(super) qps: f64,
}

/// Queries a second at a recall: between the two neighbouring points around it, linear in the logarithm of the speed, as
/// the peers' benchmark reads its own curves. At the narrowest point if that reaches it already; nothing if none does.
pub(super) fn qps_at(points: &[Point], recall: f64) -> Option<f64> {
    let mut points = points.to_vec();
    points.sort_by_key(|point| point.ef);
    let first = points.first()?;
    if first.recall >= recall {
        return Some(first.qps);
    }
    let around = points
        .windows(2)
        .find(|pair| pair[0].recall < recall && recall <= pair[1].recall)?;
    let (below, above) = (around[0], around[1]);
    let share = (recall - below.recall) / (above.recall - below.recall);
    Some(((1.0 - share) * below.qps.ln() + share * above.qps.ln()).exp())
}

/// The points of a curve at some efs, so that all engines are read between the same ones.
pub(super) fn common(points: &[Point], efs: &[u64]) -> Vec<Point> {
    let points = points.iter().copied();
    points.filter(|point| efs.contains(&point.ef)).collect()
}

/// Which of the efs the peers' benchmark searches with under filters: every third from the fourth on. An order that is
/// not ascending puts the wanted ones there.
pub(super) fn under_filters(efs: &[u64]) -> Vec<u64> {
    efs.iter().copied().skip(3).step_by(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(u64, f64, f64)]) -> Vec<Point> {
        let points = points.iter();
        points
            .map(|&(ef, recall, qps)| Point { ef, recall, qps })
            .collect()
    }

    #[test]
    fn speed_is_read_between_the_points_around_a_recall() {
        // In any order; half way in recall is the geometric mean of the speeds.
        let points = curve(&[(64, 0.96, 1000.0), (16, 0.90, 9000.0), (32, 0.94, 4000.0)]);
        assert!((qps_at(&points, 0.95).unwrap() - 2000.0).abs() < 1e-6);
        assert!((qps_at(&points, 0.92).unwrap() - 6000.0).abs() < 1e-6);
        assert!((qps_at(&points, 0.96).unwrap() - 1000.0).abs() < 1e-6);
    }

    #[test]
    fn beyond_the_points_nothing_is_made_up() {
        let points = curve(&[(16, 0.90, 9000.0), (32, 0.94, 4000.0)]);
        assert_eq!(qps_at(&points, 0.95), None);
        assert_eq!(qps_at(&points, 0.5), Some(9000.0));
        assert_eq!(qps_at(&[], 0.5), None);
    }

    #[test]
    fn only_common_efs_are_kept() {
        let points = curve(&[(0, 0.99, 1.0), (16, 0.90, 9.0), (24, 0.92, 8.0), (64, 0.97, 4.0)]);
        let kept: Vec<u64> = common(&points, &[16, 64]).iter().map(|point| point.ef).collect();
        assert_eq!(kept, [16, 64]);
    }

    #[test]
    fn every_third_ef_is_searched_under_filters() {
        assert_eq!(under_filters(&[10, 24, 32, 16, 48, 128, 64]), [16, 64]);
        assert!(under_filters(&[10, 24, 32]).is_empty());
    }
}
