//! The store's log: what moved `CURRENT`, from where to where, and what came into the store besides.
//!
//! ```text
//! publish NEW OLD      published; OLD was current before, or `-` where nothing was
//! force NEW OLD        the same, past the guard
//! switch NEW OLD       made current
//! rollback NEW OLD     gone back to
//! add NEW              came in, and did not become current
//! instead NEW OF       came in in the place of OF, which it takes in every order
//! ```
//!
//! A line is written before the pointer moves. After a crash between the two the pointer does not name the id of the last
//! line: nothing came of that line. Builds before 0.2.0 wrote no OLD; the line before says it then.

use std::collections::{BTreeSet, HashMap};

use crate::snapshot::id::SnapshotId;

/// What became of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Publish,
    Force,
    Switch,
    Rollback,
    Add,
    Instead,
}

impl Why {
    const ALL: [Self; 6] =
        [Self::Publish, Self::Force, Self::Switch, Self::Rollback, Self::Add, Self::Instead];

    fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Force => "force",
            Self::Switch => "switch",
            Self::Rollback => "rollback",
            Self::Add => "add",
            Self::Instead => "instead",
        }
    }

    /// Whether it says where the snapshot stands among the others.
    fn gives_place(self) -> bool {
        matches!(self, Self::Publish | Self::Force | Self::Add | Self::Instead)
    }

    fn moves_current(self) -> bool {
        !matches!(self, Self::Add | Self::Instead)
    }
}

/// A line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    why: Why,
    id: SnapshotId,
    other: Option<SnapshotId>,
}

/// The line for what is about to happen, behind a log that ends with `tail`.
pub(super) fn line(tail: &str, why: Why, id: SnapshotId, other: Option<SnapshotId>) -> String {
    // What a crash cut short must not become part of another line.
    let end = if tail.is_empty() || tail.ends_with('\n') { "" } else { "\n" };
    let other = other.map_or_else(|| "-".to_owned(), |other| other.to_string());
    format!("{end}{} {id} {other}\n", why.name())
}

/// The newer half of the lines of `text`; of the older one those that still say something of what is `held` and `current`: what
/// made it current, by which order it came, and where it stands among the others.
pub(super) fn newer_half(text: &str, current: Option<SnapshotId>, held: &[SnapshotId]) -> String {
    let log = Log::parse(text);
    let lines = &log.0;
    let mut kept: BTreeSet<usize> = (lines.len() / 2..lines.len()).collect();
    kept.extend(
        current.and_then(|current| {
            lines.iter().rposition(|line| line.why.moves_current() && line.id == current)
        }),
    );
    for id in held {
        kept.extend(log.order_for(*id, current).into_iter().flatten());
        let mut stands_at = Some(*id);
        // A log that somebody has tampered with may go round in circles.
        for _ in 0..lines.len() {
            let Some(id) = stands_at else { break };
            let last = lines.iter().rposition(|line| line.id == id && line.why.gives_place());
            kept.extend(last);
            let instead = last.map(|last| lines[last]).filter(|line| line.why == Why::Instead);
            stands_at = instead.and_then(|line| line.other).filter(|other| *other != id);
        }
    }
    kept.into_iter().map(|at| line("", lines[at].why, lines[at].id, lines[at].other)).collect()
}

/// The log, read.
#[derive(Debug, Default)]
pub(super) struct Log(Vec<Line>);

impl Log {
    /// What `text` says. A line that is none is passed over.
    pub(super) fn parse(text: &str) -> Self {
        let mut lines: Vec<Line> = Vec::new();
        let mut current = None;
        for text in text.lines() {
            let mut words = text.split(' ');
            let why = words.next().and_then(|name| Why::ALL.into_iter().find(|why| why.name() == name));
            let id = words.next().and_then(|word| word.parse().ok());
            let (Some(why), Some(id)) = (why, id) else { continue };
            let before = current.filter(|before| *before != id && why.moves_current());
            let other = words.next().map_or(before, |word| word.parse().ok());
            lines.push(Line { why, id, other });
            if why.moves_current() {
                current = Some(id);
            }
        }
        Self(lines)
    }

    /// The lines that tell of a move of `CURRENT`.
    fn moves(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.0.iter().filter(|line| line.why.moves_current())
    }

    /// The line that made `current` what it is.
    fn in_force(&self, current: SnapshotId) -> Option<&Line> {
        self.moves().rev().find(|line| line.id == current)
    }

    /// Whether the log says that nothing was current before `current`, or before those that were before it.
    pub(super) fn begins_there(&self, current: SnapshotId) -> bool {
        let mut of = current;
        for line in self.moves().rev() {
            match line.other {
                None if line.id == of => return true,
                Some(other) if line.id == of && other != of => of = other,
                _ => {}
            }
        }
        false
    }

    /// Whether somebody went back to `current`, rather than publish it.
    pub(super) fn is_rolled_back(&self, current: SnapshotId) -> bool {
        self.in_force(current).is_some_and(|line| line.why == Why::Rollback)
    }

    /// Whether `CURRENT` is known to have named something: a first line may have come before a crash.
    pub(super) fn knows_a_pointer(&self) -> bool {
        self.moves().any(|line| line.other.is_some())
    }

    /// Whether `id` was once published past the guard.
    pub(super) fn is_forced(&self, id: SnapshotId, current: Option<SnapshotId>) -> bool {
        self.order_for(id, current).is_some()
    }

    /// The line of the last order that `id` be published past the guard, and the move behind it. An order that nothing came of does
    /// not count: the pointer, or that move, says what came of one.
    fn order_for(&self, id: SnapshotId, current: Option<SnapshotId>) -> Option<[usize; 2]> {
        let moves = || self.0.iter().enumerate().filter(|(_, line)| line.why.moves_current());
        let ends = moves().skip(1).map(|(at, next)| (at, next.other));
        // The last one stands for the pointer, too.
        let last = moves().next_back().map_or(0, |(at, _)| at);
        let pairs: Vec<_> = moves().zip(ends.chain([(last, current)])).collect();
        let is_order = |line: &Line, then| line.why == Why::Force && line.id == id && then == Some(id);
        let order = pairs.iter().rfind(|((_, line), (_, then))| is_order(line, *then));
        order.map(|((at, _), (next, _))| [*at, *next])
    }

    /// Where each snapshot stands among the others: the later it was published or came in, the higher. Going back to one makes
    /// it no newer.
    pub(super) fn places(&self) -> HashMap<SnapshotId, usize> {
        let mut places = HashMap::new();
        for (place, line) in self.0.iter().enumerate() {
            match (line.why, line.other) {
                (Why::Publish | Why::Force | Why::Add, _) => places.insert(line.id, place),
                // Of what the log does not know nothing can be taken over.
                (Why::Instead, Some(other)) => {
                    places.get(&other).copied().and_then(|place| places.insert(line.id, place))
                }
                _ => Some(*places.entry(line.id).or_insert(place)),
            };
        }
        places
    }

    /// The snapshot that was current before `current`, or before that one, and so on, and is still `held`. Without a
    /// readable pointer, the one that was current last.
    pub(super) fn previous(&self, current: Option<SnapshotId>, held: &[SnapshotId]) -> Option<SnapshotId> {
        let moves = self.moves().rev();
        // Without a line for it, what was current before it is what the log knows last.
        let known = current.filter(|current| self.in_force(*current).is_some());
        let Some(current) = known else {
            let here = |line: &Line| if held.contains(&line.id) { line.id } else { self.stand_in(line.id) };
            return moves.map(here).find(|id| held.contains(id) && current != Some(*id));
        };
        let mut of = current;
        for line in moves {
            let Some(other) = line.other.filter(|other| line.id == of && *other != of) else { continue };
            let stands_in = if held.contains(&other) { other } else { self.stand_in(other) };
            if held.contains(&stands_in) && stands_in != current {
                return Some(stands_in);
            }
            of = other;
        }
        None
    }

    /// The snapshot that stands in the place of `id` now.
    pub(super) fn stand_in(&self, id: SnapshotId) -> SnapshotId {
        let instead = self.0.iter().filter(|line| line.why == Why::Instead);
        instead.fold(id, |id, line| if line.other == Some(id) { line.id } else { id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(letter: char) -> SnapshotId {
        letter.to_string().repeat(64).parse().expect("an id")
    }

    fn log(lines: &[(Why, char, Option<char>)]) -> Log {
        let mut text = String::new();
        for (why, new, old) in lines {
            text.push_str(&line(&text, *why, id(*new), old.map(id)));
        }
        Log::parse(&text)
    }

    #[test]
    fn the_snapshot_before_is_the_one_that_was_current_before() {
        use Why::{Add, Instead, Publish, Rollback, Switch};
        let held = ['a', 'b', 'c', 'd'].map(id);
        let plain = log(&[(Publish, 'a', None), (Publish, 'b', Some('a')), (Add, 'd', None)]);
        assert_eq!(plain.previous(Some(id('b')), &held), Some(id('a')));
        assert_eq!(plain.previous(Some(id('a')), &held), None);
        assert_eq!(plain.previous(None, &held), Some(id('b')), "the pointer is lost");
        // A line that nothing came of: the pointer still names b.
        let crashed = log(&[(Publish, 'a', None), (Publish, 'b', Some('a')), (Rollback, 'a', Some('b'))]);
        assert!(!crashed.is_rolled_back(id('b')) && crashed.is_rolled_back(id('a')));
        assert_eq!(crashed.previous(Some(id('b')), &held), Some(id('a')));
        // What never became current is not gone back to.
        let unused = log(&[(Publish, 'a', None), (Publish, 'c', Some('a')), (Publish, 'b', Some('a'))]);
        assert_eq!(unused.previous(Some(id('b')), &held), Some(id('a')));
        // The same snapshot again changes nothing; one that is gone is passed over.
        let again = log(&[
            (Publish, 'a', None),
            (Publish, 'b', Some('a')),
            (Publish, 'c', Some('b')),
            (Publish, 'c', Some('c')),
        ]);
        assert_eq!(again.previous(Some(id('c')), &[id('a'), id('c')]), Some(id('a')));
        // Whoever stands in another's place is gone back to in its place, and keeps its rank.
        let rebuilt = log(&[(Publish, 'a', None), (Publish, 'b', Some('a')), (Instead, 'd', Some('a'))]);
        assert_eq!(rebuilt.previous(Some(id('b')), &[id('b'), id('d')]), Some(id('d')));
        assert!(rebuilt.places()[&id('d')] < rebuilt.places()[&id('b')]);
        let switched = log(&[
            (Publish, 'a', None),
            (Publish, 'b', Some('a')),
            (Instead, 'c', Some('b')),
            (Switch, 'c', Some('b')),
        ]);
        assert_eq!(switched.previous(Some(id('c')), &[id('a'), id('c')]), Some(id('a')));
    }

    #[test]
    fn a_line_that_was_cut_short_ends_nowhere_but_in_itself() {
        // As builds before 0.2.0 wrote it.
        let mut text = format!("publish {}\npublish {}\npubl", id('a'), id('b'));
        text.push_str(&line(&text, Why::Rollback, id('a'), Some(id('b'))));
        let log = Log::parse(&text);
        assert!(log.is_rolled_back(id('a')));
        assert_eq!(log.previous(Some(id('a')), &[id('a'), id('b')]), Some(id('b')));
        assert_eq!(Log::parse("publish\nforce x y\n\n \u{0}").0, []);
    }

    #[test]
    fn an_order_counts_once_something_came_of_it() {
        use Why::{Force, Publish};
        let done = log(&[(Publish, 'a', None), (Force, 'b', Some('a')), (Publish, 'c', Some('b'))]);
        assert!(done.is_forced(id('b'), Some(id('c'))) && !done.is_forced(id('c'), Some(id('c'))));
        let crashed = log(&[(Publish, 'a', None), (Force, 'b', Some('a'))]);
        assert!(!crashed.is_forced(id('b'), Some(id('a'))) && crashed.is_forced(id('b'), Some(id('b'))));
        let again = log(&[(Publish, 'a', None), (Force, 'b', Some('a')), (Publish, 'b', Some('a'))]);
        assert!(!again.is_forced(id('b'), Some(id('b'))));
    }

    #[test]
    fn a_log_that_is_shortened_still_says_why_the_current_one_is_current() {
        use Why::{Add, Publish, Rollback};
        let mut lines = vec![(Publish, 'a', None), (Publish, 'b', Some('a')), (Rollback, 'a', Some('b'))];
        lines.extend([(Add, 'c', None); 20]);
        let mut text = String::new();
        for (why, new, old) in lines {
            text.push_str(&line(&text, why, id(new), old.map(id)));
        }
        let shortened = newer_half(&text, Some(id('a')), &[]);
        assert!(shortened.len() < text.len() * 2 / 3);
        let log = Log::parse(&shortened);
        assert!(log.is_rolled_back(id('a')));
        assert_eq!(log.previous(Some(id('a')), &[id('a'), id('b')]), Some(id('b')));
        assert_eq!(newer_half("", None, &[]), "");
    }

    #[test]
    fn a_log_that_is_shortened_still_knows_the_orders_for_what_is_held() {
        use Why::{Force, Publish};
        let mut lines = vec![(Publish, 'a', None), (Force, 'b', Some('a')), (Publish, 'c', Some('b'))];
        lines.extend([(Force, 'd', Some('c')), (Publish, 'e', Some('c'))]);
        lines.extend([(Publish, 'c', Some('e')), (Publish, 'e', Some('c'))].repeat(20));
        let mut text = String::new();
        for (why, new, old) in lines {
            text.push_str(&line(&text, why, id(new), old.map(id)));
        }
        let held = ['b', 'c', 'd', 'e'].map(id);
        let log = Log::parse(&newer_half(&text, Some(id('e')), &held));
        assert!(log.is_forced(id('b'), Some(id('e'))));
        assert!(!log.is_forced(id('d'), Some(id('e'))), "nothing came of that order");
        let places = log.places();
        assert!(['b', 'd', 'c', 'e'].map(id).is_sorted_by_key(|id| places[id]), "{places:?}");
        assert!(!Log::parse(&newer_half(&text, Some(id('e')), &[])).is_forced(id('b'), Some(id('e'))));
    }

    #[test]
    fn what_the_log_does_not_know_stays_unknown() {
        use Why::{Instead, Publish};
        let held = ['a', 'b', 'c', 'd'].map(id);
        let lost = log(&[(Publish, 'a', None), (Publish, 'b', Some('a'))]);
        assert_eq!(lost.previous(Some(id('c')), &held), Some(id('b')), "the last line was lost");
        let unknown = log(&[(Instead, 'd', Some('c')), (Publish, 'a', None)]);
        assert!(!unknown.places().contains_key(&id('d')));
        let first = log(&[(Publish, 'a', None), (Publish, 'b', None)]);
        assert_eq!(first.previous(Some(id('b')), &held), None, "nothing came of the first line");
    }
}
