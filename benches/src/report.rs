//! Medians, and the tables that are printed.

use std::{error::Error, fmt::Display, time::Duration};

/// What every part of the bench returns: an error ends the run with its text.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The middle one; of an even number the mean of both.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// Microseconds.
pub fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// As many digits as a measurement of this size deserves.
pub fn figure(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "–".into(),
        size if size < 100.0 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

/// A ratio.
pub fn ratio(value: f64) -> String {
    if value.is_finite() { format!("{value:.2}") } else { "–".into() }
}

/// A whole number with its thousands apart.
pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
    let mut text = String::from(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A markdown table that is printed row by row, so that a long run shows what it has.
pub struct Table {
    columns: usize,
}

impl Table {
    pub fn start(title: &str, columns: &[String]) -> Self {
        println!("\n### {title}\n\n| | {} |", columns.join(" | "));
        println!("|---|{}", "--:|".repeat(columns.len()));
        Self { columns: columns.len() }
    }

    pub fn row(&self, name: &str, cells: &[String]) {
        debug_assert_eq!(cells.len(), self.columns);
        println!("| {name} | {} |", cells.join(" | "));
    }
}

/// A sentence below a table.
pub fn note(text: impl Display) {
    println!("\n{text}");
}

/// What is going on, for whoever waits; not part of the table.
pub fn progress(text: impl Display) {
    eprintln!("… {text}");
}

#[cfg(test)]
mod tests {
    use super::{figure, grouped, median};

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_both_middle_ones() {
        assert_eq!(median(&[4.0, 1.0, 3.0]), 3.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(grouped(1_234_567.0), "1 234 567");
        assert_eq!(grouped(-999.0), "-999");
        assert_eq!(figure(38.04), "38.0");
    }
}
