//! One plot: lines over time, faults as bands, swaps and losses as ticks.

use super::{super::judge::clock, escaped, scale::Scale};
use std::fmt;

/// The drawing's own units; it is stretched to whatever width there is.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 200.0;
/// Most points of a line: what a wide screen shows.
const POINTS: usize = 600;
/// Most ticks; of more, the first of every few stands for them.
const TICKS: usize = 400;

/// A plot.
pub(super) struct Plot<'a> {
    pub name: &'a str,
    pub unit: &'a str,
    /// Seconds that the horizontal axis spans.
    pub end: f64,
    pub scale: Scale,
    pub lines: &'a [Line<'a>],
    pub bands: &'a [Band<'a>],
    /// When there were swaps.
    pub swaps: &'a [f64],
    /// When packets were lost that should not have been.
    pub losses: &'a [f64],
}

/// A line of one.
pub(super) struct Line<'a> {
    pub name: &'a str,
    /// Seconds, value.
    pub points: &'a [(f64, f64)],
    /// The style's class: its colour.
    pub class: &'a str,
    /// Dashed, for what was computed.
    pub fine: bool,
}

/// A span of time in which something was done on purpose.
pub(super) struct Band<'a> {
    pub from: f64,
    pub to: f64,
    pub name: &'a str,
}

impl Plot<'_> {
    fn x(&self, at: f64) -> f64 {
        (at / self.end * WIDTH).clamp(0.0, WIDTH)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - self.scale.height(value) * HEIGHT
    }

    fn path(&self, line: &Line<'_>) -> String {
        let group = line.points.len().div_ceil(POINTS).max(1);
        let peak =
            |group: &[(f64, f64)]| group.iter().copied().max_by(|one, two| one.1.total_cmp(&two.1)).unwrap_or_default();
        let place = |(at, value): (f64, f64)| format!("{:.1},{:.1}", self.x(at), self.y(value));
        let places: Vec<String> = line.points.chunks(group).map(|group| place(peak(group))).collect();
        places.join(" ")
    }
}

impl fmt::Display for Plot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, unit) = (escaped(self.name), escaped(self.unit));
        write!(f, "<figure>\n<figcaption><h2>{name}</h2> <span>{unit}</span>")?;
        if self.lines.len() > 1 {
            for line in self.lines {
                write!(f, " <span class=\"key {}\">{}</span>", line.class, escaped(line.name))?;
            }
        }
        write!(f, "</figcaption>\n<div class=\"frame\"><div class=\"y\" aria-hidden=\"true\">")?;
        for (height, text) in self.scale.marks() {
            write!(f, "<span style=\"bottom:{:.1}%\">{text}</span>", height * 100.0)?;
        }
        write!(
            f,
            "</div>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{name}, \
             {unit}, over time\">"
        )?;
        for band in self.bands {
            let (from, to) = (self.x(band.from), self.x(band.to));
            let (width, name) = ((to - from).max(1.0), escaped(band.name));
            write!(
                f,
                "<rect class=\"fault\" x=\"{from:.1}\" y=\"0\" width=\"{width:.1}\" height=\"{HEIGHT}\"><title>{name}</title></rect>"
            )?;
        }
        for (height, _) in self.scale.marks() {
            let y = HEIGHT * (1.0 - height);
            write!(f, "<path class=\"grid\" d=\"M0 {y:.1}H{WIDTH}\"/>")?;
        }
        for line in self.lines {
            let fine = if line.fine { " fine" } else { "" };
            write!(f, "<polyline class=\"line {}{fine}\" points=\"{}\"/>", line.class, self.path(line))?;
        }
        write!(
            f,
            "</svg>\n<svg class=\"ticks\" viewBox=\"0 0 {WIDTH} 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
        )?;
        self.ticks(f, "swap", self.swaps)?;
        self.ticks(f, "loss", self.losses)?;
        write!(f, "</svg>\n<div class=\"x\">")?;
        for part in [0.0, 0.5, 1.0] {
            write!(f, "<span>{}</span>", clock(self.end * part))?;
        }
        writeln!(f, "</div></div>\n</figure>")
    }
}

impl Plot<'_> {
    fn ticks(&self, f: &mut fmt::Formatter<'_>, class: &str, moments: &[f64]) -> fmt::Result {
        let every = moments.len().div_ceil(TICKS).max(1);
        let marks: String = moments.iter().step_by(every).map(|at| format!("M{:.1} 0V10", self.x(*at))).collect();
        if marks.is_empty() { Ok(()) } else { write!(f, "<path class=\"{class}\" d=\"{marks}\"/>") }
    }
}
