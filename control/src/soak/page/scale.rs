//! From values to heights, and what to write beside them.

/// A vertical axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    /// From zero to a round number above the largest value.
    pub(super) fn from_zero(points: &[(f64, f64)]) -> Self {
        let largest = points.iter().map(|point| point.1).fold(0.0, f64::max);
        Self { low: 0.0, high: round_up(largest), logarithmic: false }
    }

    /// Close around the values, but never so close that noise looks like growth: a tenth of the largest value at least.
    pub(super) fn around(points: &[(f64, f64)]) -> Self {
        let largest = points.iter().map(|point| point.1).fold(0.0, f64::max);
        let smallest = points.iter().map(|point| point.1).fold(largest, f64::min);
        let room = (largest * 0.1 - (largest - smallest)).max(largest * 0.01).max(1e-6) / 2.0;
        Self { low: (smallest - room).max(0.0), high: largest + room, logarithmic: false }
    }

    /// Powers of ten around the values above zero.
    pub(super) fn logarithmic(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::MAX, 0.0_f64);
        for value in values.filter(|value| *value > 0.0) {
            (low, high) = (low.min(value), high.max(value));
        }
        if high == 0.0 {
            (low, high) = (1.0, 10.0);
        }
        let (low, high) = (low.log10().floor(), high.log10().ceil());
        Self { low, high: high.max(low + 1.0), logarithmic: true }
    }

    /// The height of a value: 0 at the bottom, 1 at the top.
    pub(super) fn height(self, value: f64) -> f64 {
        let value = if self.logarithmic { value.max(1e-9).log10() } else { value };
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Heights that are marked, and what is written there.
    pub(super) fn marks(self) -> Vec<(f64, String)> {
        if !self.logarithmic {
            let at = |part: f64| (part, number(self.low + (self.high - self.low) * part));
            return [0.0, 0.5, 1.0].map(at).to_vec();
        }
        let (low, decades) = (self.low, self.high - self.low);
        (0..=decades as u32).map(|n| (f64::from(n) / decades, number(10_f64.powf(low + f64::from(n))))).collect()
    }
}

/// The next number of the form 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= value * 0.999_999).unwrap_or(value)
}

/// With as many decimals as it needs.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        size if size < 0.1 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number() {
        let top = |value: f64| Scale::from_zero(&[(0.0, value)]).high;
        assert_eq!([0.0, 0.7, 1.0, 13.0, 42.0, 50.0, 99.0].map(top), [1.0, 1.0, 1.0, 20.0, 50.0, 50.0, 100.0]);
        let marks = Scale::from_zero(&[(0.0, 42.0)]).marks();
        assert_eq!(marks.iter().map(|mark| mark.1.as_str()).collect::<Vec<_>>(), ["0", "25", "50"]);
    }

    #[test]
    fn noise_does_not_fill_the_picture() {
        let scale = Scale::around(&[(0.0, 100.0), (1.0, 100.1)]);
        assert!(scale.height(100.1) - scale.height(100.0) < 0.02);
        let grown = Scale::around(&[(0.0, 50.0), (1.0, 100.0)]);
        assert!(grown.height(50.0) < 0.02 && grown.height(100.0) > 0.98);
    }

    #[test]
    fn decades_are_marked() {
        let scale = Scale::logarithmic([0.0, 0.3, 250.0].into_iter());
        assert_eq!(
            scale.marks().iter().map(|mark| mark.1.as_str()).collect::<Vec<_>>(),
            ["0.1", "1", "10", "100", "1000"]
        );
        assert!((scale.height(10.0) - 0.5).abs() < 1e-9);
        assert_eq!(scale.height(0.0), 0.0);
        assert_eq!(Scale::logarithmic(std::iter::empty()).marks().len(), 2);
    }
}
