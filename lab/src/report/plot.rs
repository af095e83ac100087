//! How does a table of numbers become a picture that can be printed, read in the dark and told apart
//! without colors?
//!
//! Plotters draws in placeholder colors, which become variables of the page's style sheet. Lines differ
//! in their dashes, too.

use anyhow::{Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::{
        ChartBuilder, Circle, Color, DashedLineSeries, DrawingArea, IntoDrawingArea, IntoFont,
        LineSeries, PathElement, RGBColor, Rectangle, SVGBackend, Text, TextStyle,
    },
    style::{BLACK, ShapeStyle},
};

use crate::stats::interval::Interval;

/// Colors of the style sheet, `--c0` and so on; then they repeat.
const COLORS: u8 = 8;

/// Width of all pictures, in their own units.
const WIDTH: u32 = 860;

/// Room for names on the left.
const NAMES: u32 = 236;

/// A named line; points in order.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// What an axis says and how its numbers are written.
#[derive(Clone, Copy)]
pub(crate) struct Axis<'a> {
    pub(crate) name: &'a str,
    pub(crate) write: &'a dyn Fn(f64) -> String,
}

/// A named row of a picture that compares: a value with its interval, `None` where there is none.
pub(crate) type Whisker = (String, Option<Interval>);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn color(number: usize) -> RGBColor {
    RGBColor(u8::try_from(number).unwrap_or(0) % COLORS + 1, 0, 254)
}

fn words() -> TextStyle<'static> {
    TextStyle::from(("sans-serif", 13).into_font()).color(&BLACK)
}

/// Draws into a picture of a height that tells `about` to those who do not see it.
fn picture(about: &str, height: u32, draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        draw(&area)?;
        area.present().map_err(|it| anyhow!("{it}"))?;
    }
    for number in 0..COLORS {
        let RGBColor(red, green, blue) = color(usize::from(number));
        let written = format!("#{red:02X}{green:02X}{blue:02X}");
        text = text.replace(&written, &format!("var(--c{number})"));
    }
    let about = about.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let text = text.replace("#000000", "currentColor");
    Ok(text.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{about}\" "), 1))
}

/// The least and the greatest, with some air; never empty.
///
/// Where nothing is below 0, as no count, share or time is, the axis is not either.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|it| it.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| (low.min(it), high.max(it)));
    if !low.is_finite() {
        return (0.0, 1.0);
    }
    let air = match high - low {
        it if 1e-12 < it => 0.04 * it,
        _ if low.abs() <= 1e-12 => 1.0,
        _ => low.abs(),
    };
    let floor = if low < 0.0 { f64::NEG_INFINITY } else { 0.0 };
    ((low - air).max(floor), high + air)
}

/// Lines over each other.
pub(crate) fn lines(
    about: &str,
    height: u32,
    (across, up): (Axis<'_>, Axis<'_>),
    all: &[Line],
) -> Result<String> {
    let points = || all.iter().flat_map(|it| it.points.iter());
    let (left, right) = span(points().map(|it| it.0));
    let (low, high) = span(points().map(|it| it.1));
    picture(about, height, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .x_label_area_size(34)
            .y_label_area_size(64)
            .build_cartesian_2d(left..right, low..high)
            .map_err(|it| anyhow!("{it}"))?;
        chart
            .configure_mesh()
            .axis_style(BLACK.mix(0.6))
            .bold_line_style(BLACK.mix(0.12))
            .light_line_style(BLACK.mix(0.0))
            .x_desc(across.name)
            .y_desc(up.name)
            .x_labels(10)
            .y_labels(if height < 200 { 3 } else { 8 })
            .x_label_formatter(&|it| (across.write)(*it))
            .y_label_formatter(&|it| (up.write)(*it))
            .label_style(words())
            .axis_desc_style(words())
            .draw()
            .map_err(|it| anyhow!("{it}"))?;
        for (number, line) in all.iter().enumerate() {
            let style = ShapeStyle::from(color(number)).stroke_width(2);
            let points = line.points.iter().copied();
            let drawn = match number % 4 {
                0 => chart.draw_series(LineSeries::new(points, style)).map(|_| ()),
                dashes => {
                    let (size, gap) = [(9, 4), (3, 3), (14, 8)][dashes - 1];
                    chart.draw_series(DashedLineSeries::new(points, size, gap, style)).map(|_| ())
                }
            };
            drawn.map_err(|it| anyhow!("{it}"))?;
        }
        Ok(())
    })
}

/// A dot with its interval for each row; `nothing` stands where there is none.
pub(crate) fn whiskers(
    about: &str,
    across: Axis<'_>,
    rows: &[Whisker],
    nothing: &str,
) -> Result<String> {
    let ends = rows.iter().filter_map(|it| it.1).flat_map(|it| [it.mean, it.low, it.high]);
    let (left, right) = span(ends);
    rows_of(about, across, (left, right), rows.len(), |area, place| {
        for (number, (name, interval)) in rows.iter().enumerate() {
            let style = ShapeStyle::from(color(number)).stroke_width(2);
            let (_, y) = place(left, number);
            let text = |it: &str, x: i32| Text::new(it.to_owned(), (x, y - 7), words());
            area.draw(&text(name, 8)).map_err(|it| anyhow!("{it}"))?;
            let Some(it) = interval else {
                let (x, _) = place(left, number);
                area.draw(&text(nothing, x + 8)).map_err(|it| anyhow!("{it}"))?;
                continue;
            };
            if it.low.is_finite() && it.high.is_finite() {
                let ends = vec![place(it.low, number), place(it.high, number)];
                area.draw(&PathElement::new(ends, style)).map_err(|it| anyhow!("{it}"))?;
            }
            area.draw(&Circle::new(place(it.mean, number), 4, style.filled()))
                .map_err(|it| anyhow!("{it}"))?;
        }
        Ok(())
    })
}

/// A bar for each row, made of parts that follow each other.
pub(crate) fn bars(about: &str, across: Axis<'_>, rows: &[(String, Vec<f64>)]) -> Result<String> {
    let most = rows.iter().map(|it| it.1.iter().sum::<f64>()).fold(0.0, f64::max);
    let most = if 0.0 < most { most } else { 1.0 };
    rows_of(about, across, (0.0, most), rows.len(), |area, place| {
        for (number, (name, parts)) in rows.iter().enumerate() {
            let (_, y) = place(0.0, number);
            area.draw(&Text::new(name.clone(), (8, y - 7), words()))
                .map_err(|it| anyhow!("{it}"))?;
            let mut from = 0.0;
            for (part, size) in parts.iter().enumerate() {
                let ((left, _), (right, _)) = (place(from, number), place(from + size, number));
                let style = ShapeStyle::from(color(part)).filled();
                let corners = [(left, y - 8), ((right - 1).max(left), y + 8)];
                area.draw(&Rectangle::new(corners, style)).map_err(|it| anyhow!("{it}"))?;
                from += size;
            }
        }
        Ok(())
    })
}

/// Rows below each other on one axis; `draw` is told where a value of a row is.
fn rows_of(
    about: &str,
    across: Axis<'_>,
    (left, right): (f64, f64),
    rows: usize,
    draw: impl FnOnce(&Area<'_>, &dyn Fn(f64, usize) -> (i32, i32)) -> Result<()>,
) -> Result<String> {
    let count = u32::try_from(rows).unwrap_or(1).max(1);
    picture(about, 26 * count + 50, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .margin_right(24)
            .x_label_area_size(34)
            .y_label_area_size(NAMES)
            .build_cartesian_2d(left..right, 0.0..f64::from(count))
            .map_err(|it| anyhow!("{it}"))?;
        chart
            .configure_mesh()
            .axis_style(BLACK.mix(0.6))
            .bold_line_style(BLACK.mix(0.12))
            .light_line_style(BLACK.mix(0.0))
            .disable_y_mesh()
            .y_labels(0)
            .x_desc(across.name)
            .x_label_formatter(&|it| (across.write)(*it))
            .label_style(words())
            .axis_desc_style(words())
            .draw()
            .map_err(|it| anyhow!("{it}"))?;
        let place = |value: f64, row: usize| {
            let row = f64::from(u32::try_from(row).unwrap_or(0));
            chart.backend_coord(&(value, f64::from(count) - row - 0.5))
        };
        draw(area, &place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Axis<'_> = Axis { name: "seconds", write: &|it| format!("{it:.1}") };

    #[test]
    fn pictures_say_what_they_are_and_take_their_colors_from_the_page() {
        let line =
            |name: &str| Line { name: name.to_owned(), points: vec![(0.0, 1.0), (1.0, 3.0)] };
        let interval = Interval { mean: 2.0, low: 1.0, high: f64::INFINITY };
        let pictures = [
            lines("a < b", 300, (PLAIN, PLAIN), &[line("a"), line("b")]).unwrap(),
            whiskers(
                "a < b",
                PLAIN,
                &[("a".to_owned(), Some(interval)), ("b".to_owned(), None)],
                "nothing measured",
            )
            .unwrap(),
            bars("a < b", PLAIN, &[("a".to_owned(), vec![0.5, 0.5])]).unwrap(),
        ];
        for it in pictures {
            assert!(it.starts_with("<svg role=\"img\" aria-label=\"a &lt; b\""), "{it}");
            assert!(it.contains("var(--c1)") || it.contains("nothing measured"), "{it}");
            assert!(!it.contains("#000000") && !it.contains("00FE\""), "{it}");
        }
    }

    #[test]
    fn nothing_and_one_point_are_drawn_too() {
        assert!(lines("none", 300, (PLAIN, PLAIN), &[]).is_ok());
        let one = Line { name: "one".to_owned(), points: vec![(1.0, 1.0)] };
        assert!(lines("one", 300, (PLAIN, PLAIN), &[one]).is_ok());
        assert!(bars("none", PLAIN, &[]).is_ok());
        assert!(whiskers("none", PLAIN, &[], "nothing measured").is_ok());
    }

    #[test]
    fn an_axis_holds_all_and_begins_below_0_only_where_a_value_does() {
        let of = |values: &[f64]| span(values.iter().copied());
        assert_eq!(of(&[0.0, 0.0]), (0.0, 1.0));
        assert_eq!(of(&[0.0, 10.0]), (0.0, 10.4));
        assert_eq!(of(&[3.0]), (0.0, 6.0));
        assert_eq!(of(&[-1.0, 1.0]), (-1.08, 1.08));
        assert_eq!(of(&[-2.0, f64::NEG_INFINITY]), (-4.0, 0.0));
        assert_eq!(of(&[]), (0.0, 1.0));
    }
}
