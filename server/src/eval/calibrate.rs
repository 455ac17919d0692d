//! Fitting the gate on judged questions: logistic regression with a small penalty on large weights, by gradient descent,
//! then the threshold that gives refusals the best F1.

use super::metrics::Refusals;
use crate::retrieve::gate::{FEATURES, Gate};

/// Steps of the descent; the loss has no other minimum to fall into, so more change nothing that counts.
const STEPS: usize = 20_000;
/// Length of a step.
const RATE: f64 = 0.5;
/// What the square of a weight costs beside the mean loss of a question.
const PENALTY: f64 = 1e-3;

/// One judged question: what the gate sees of it, and whether it can be answered.
pub type Example = (Option<[f32; FEATURES]>, bool);

/// A gate for vectors of `embedder` that fits `examples` best; `cosine` says whether it may look at cosines.
pub fn fit(examples: &[Example], embedder: &str, cosine: bool, origin: String) -> Gate {
    // A question with no row about whom it names is refused whatever the weights.
    let seen: Vec<([f64; FEATURES], f64)> = examples
        .iter()
        .filter_map(|(features, answerable)| {
            let mut features = features.as_ref()?.map(f64::from);
            if !cosine {
                features[Gate::COSINE] = 0.0;
            }
            Some((features, if *answerable { 1.0 } else { 0.0 }))
        })
        .collect();
    // Both kinds count alike, however many there are of each.
    let answerable = seen.iter().map(|(_, label)| label).sum::<f64>();
    let share = |label: f64| if label > 0.5 { answerable } else { seen.len() as f64 - answerable };
    let (mut weights, mut bias) = ([0.0f64; FEATURES], 0.0f64);
    for _ in 0..STEPS {
        let (mut slope, mut bias_slope) = (weights.map(|weight| PENALTY * weight), 0.0);
        for (features, label) in &seen {
            let sum: f64 = weights.iter().zip(features).map(|(weight, feature)| weight * feature).sum();
            let error = (1.0 / (1.0 + (-(sum + bias)).exp()) - label) / (2.0 * share(*label).max(1.0));
            slope.iter_mut().zip(features).for_each(|(slope, feature)| *slope += error * feature);
            bias_slope += error;
        }
        weights.iter_mut().zip(slope).for_each(|(weight, slope)| *weight -= RATE * slope);
        bias -= RATE * bias_slope;
    }
    let mut gate = Gate {
        embedder: if cosine { embedder.to_owned() } else { String::new() },
        weights: weights.map(|weight| (weight * 1e3).round() as f32 / 1e3),
        bias: (bias * 1e3).round() as f32 / 1e3,
        threshold: 0.5,
        origin,
    };
    gate.threshold = best_threshold(&gate, examples);
    gate
}

/// The threshold with the best F1 of refusals; of several, the middle one.
fn best_threshold(gate: &Gate, examples: &[Example]) -> f32 {
    let f1 = |percent: u32| {
        let threshold = percent as f32 / 100.0;
        let judged: Vec<(bool, bool)> = examples
            .iter()
            .map(|(features, answerable)| {
                (!answerable, features.is_none_or(|f| gate.probability(&f) < threshold))
            })
            .collect();
        Refusals::of(&judged).f1
    };
    let best = (1..100).map(f1).fold(0.0, f64::max);
    let fitting: Vec<u32> = (1..100).filter(|percent| f1(*percent) >= best).collect();
    fitting.get(fitting.len() / 2).map_or(0.5, |percent| *percent as f32 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_answers_apart_is_found() {
        let example = |row: f32, noise: f32| {
            let mut features = [0.0; FEATURES];
            features[0] = row;
            features[1] = noise;
            (Some(features), row > 0.5)
        };
        let mut examples: Vec<Example> =
            (0u16..100).map(|at| example(f32::from(at) / 100.0, f32::from(at * 37 % 100) / 100.0)).collect();
        examples.push((None, false));
        let gate = fit(&examples, "test", true, "a test".into());
        let right = examples.iter().filter(|(features, answerable)| {
            features.is_some_and(|features| gate.probability(&features) >= gate.threshold) == *answerable
        });
        assert!(right.count() >= 99, "{gate:?}");
        assert!(gate.weights[0] > 5.0 * gate.weights[1].abs(), "{gate:?}");
    }
}
