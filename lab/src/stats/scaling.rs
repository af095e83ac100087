//! How does throughput grow with users or servers, and where does it end?

/// The universal scalability law: `X(N) = rate N / (1 + waiting (N - 1) + talking N (N - 1))`.
///
/// Source: N. Gunther, "A General Theory of Computational Scalability Based on Rational Functions",
/// arXiv 0808.1431.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// Throughput of one, gamma.
    pub rate: f64,
    /// The share of work that waits for what is shared, alpha.
    pub waiting: f64,
    /// The share of work by which each has to agree with each other, beta.
    pub talking: f64,
}

impl Scaling {
    /// Fits `(N, throughput)` by least squares of the relative error; `None` for fewer than three
    /// different `N` or without throughput.
    pub fn fit(points: &[(f64, f64)]) -> Option<Self> {
        if points.iter().any(|it| it.0 < 1.0 || it.1 <= 0.0) {
            return None;
        }
        // N / X is linear in 1/rate, waiting/rate and talking/rate; each row is divided by it.
        let mut system = [[0.0; 4]; 3];
        for (n, throughput) in points {
            let each = throughput / n;
            let terms = [each, each * (n - 1.0), throughput * (n - 1.0)];
            for (row, term) in system.iter_mut().zip(terms) {
                for (cell, other) in row.iter_mut().zip(terms.into_iter().chain([1.0])) {
                    *cell += term * other;
                }
            }
        }
        let [whole, waiting, talking] = solve(system)?;
        Some(Self { rate: 1.0 / whole, waiting: waiting / whole, talking: talking / whole })
            .filter(|it| 0.0 < it.rate && it.rate.is_finite())
    }

    /// Throughput of so many.
    pub fn at(&self, n: f64) -> f64 {
        self.rate * n / (1.0 + self.waiting * (n - 1.0) + self.talking * n * (n - 1.0))
    }

    /// From how many on more users or servers do less; `None` if that is not to be seen.
    pub fn peak(&self) -> Option<f64> {
        let peak = ((1.0 - self.waiting) / self.talking).sqrt();
        (0.0 < self.talking && self.waiting < 1.0).then_some(peak)
    }
}

/// Three linear equations by elimination with pivots; `None` when they do not decide.
fn solve(mut system: [[f64; 4]; 3]) -> Option<[f64; 3]> {
    for column in 0..3 {
        let size = |it: &usize| system[*it][column].abs();
        let pivot = (column..3).max_by(|a, b| size(a).total_cmp(&size(b)))?;
        system.swap(column, pivot);
        let row = system[column];
        // Rows of the same two N leave nothing but rounding.
        if row[column].abs() <= 1e-12 {
            return None;
        }
        for other in (0..3).filter(|it| *it != column) {
            let share = system[other][column] / row[column];
            system[other].iter_mut().zip(row).for_each(|(cell, it)| *cell -= share * it);
        }
    }
    Some([0, 1, 2].map(|it: usize| system[it][3] / system[it][it]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Scaling = Scaling { rate: 1000.0, waiting: 0.02, talking: 5e-4 };

    #[track_caller]
    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance, "{found}, known is {expected}");
    }

    #[test]
    fn the_law_is_found_again_in_its_points() {
        let points = [
            (1.0, 1000.0),
            (2.0, 1958.9),
            (4.0, 3752.3),
            (8.0, 6849.3),
            (16.0, 11267.6),
            (32.0, 15122.9),
            (64.0, 14967.3),
            (128.0, 10970.2),
        ];
        for (n, throughput) in points {
            close(KNOWN.at(n), throughput, 0.05);
        }
        let found = Scaling::fit(&points).unwrap();
        close(found.rate, 1000.0, 1.0);
        close(found.waiting, 0.02, 1e-3 * 0.02);
        close(found.talking, 5e-4, 1e-3 * 5e-4);
        close(found.peak().unwrap(), 44.272, 0.05);
        close(found.at(44.272), 15680.9, 16.0);
    }

    #[test]
    fn what_points_do_not_tell_is_not_guessed() {
        assert_eq!(Scaling::fit(&[]), None);
        assert_eq!(Scaling::fit(&[(1.0, 10.0), (2.0, 19.0)]), None);
        assert_eq!(Scaling::fit(&[(1.0, 10.0), (2.0, 19.0), (2.0, 18.0)]), None);
        assert_eq!(Scaling::fit(&[(1.0, 0.0), (2.0, 19.0), (3.0, 18.0)]), None);
        let straight = Scaling::fit(&[(1.0, 10.0), (2.0, 20.0), (5.0, 50.0)]).unwrap();
        close(straight.at(9.0), 90.0, 1e-6);
    }
}
