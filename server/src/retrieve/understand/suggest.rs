//! Words to try when a question finds little.

use karute_engine::Index;
use karute_engine::words::features;

use super::Understood;

/// Most words that are suggested.
const MOST: usize = 5;
/// The share of a term's pieces that the question must hold for the term to be suggested.
const ALIKE: f32 = 0.5;

/// Preferred words of the terms that the question holds or nearly holds, best first.
pub fn suggest(understood: &Understood, index: &Index) -> Vec<String> {
    let mut suggested: Vec<String> = Vec::new();
    let named = understood.terms.iter().flat_map(|term| std::iter::once(&term.canonical).chain(&term.others));
    let asked = features(&understood.text);
    let holds = |form: &str| {
        let pieces = features(form);
        let all: f32 = pieces.iter().map(|piece| piece.weight).sum();
        let found =
            pieces.iter().filter(|piece| asked.binary_search_by_key(&piece.hash, |own| own.hash).is_ok());
        if all > 0.0 { found.map(|piece| piece.weight).sum::<f32>() / all } else { 0.0 }
    };
    let mut near: Vec<(f32, &String)> = index
        .terms()
        .iter()
        .map(|term| {
            let forms = std::iter::once(&term.canonical).chain(&term.synonyms);
            (forms.map(|form| holds(form)).fold(0.0, f32::max), &term.canonical)
        })
        .filter(|(share, _)| *share >= ALIKE)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    for word in named.chain(near.into_iter().map(|(_, canonical)| canonical)) {
        if suggested.len() < MOST && !understood.text.contains(word.as_str()) && !suggested.contains(word) {
            suggested.push(word.clone());
        }
    }
    suggested
}
