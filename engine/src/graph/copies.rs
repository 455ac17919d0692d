//! Passages whose vectors are equal to the last bit. One of each stands in the graph for all: a heap of copies would fill the
//! places of its neighbours with one another, and a search that comes by with itself.

use rayon::prelude::*;

use crate::codes::Codes;
use crate::scan::Vectors;

/// A node, and a later passage with the same vector.
pub(crate) type Copied = [u32; 2];

/// All copies, ascending by the first passage with their vector, then by their own.
pub(super) fn find(of: &Vectors<'_>, codes: &Codes<'_>) -> Vec<Copied> {
    let bits = |passage: u32| -> Vec<u32> {
        let mut room = Vec::new();
        of.vector(passage, &mut room).iter().map(|number| number.to_bits()).collect()
    };
    // Codes differ almost always, and early; vectors are looked at where they do not.
    let mut order: Vec<u32> = (0..codes.len() as u32).collect();
    order.par_sort_unstable_by(|&a, &b| {
        let by_vector = || if a == b { std::cmp::Ordering::Equal } else { bits(a).cmp(&bits(b)) };
        codes.row(a).cmp(codes.row(b)).then_with(by_vector).then(a.cmp(&b))
    });
    let heaps = order.chunk_by(|&a, &b| codes.row(a) == codes.row(b) && bits(a) == bits(b));
    let mut copies: Vec<Copied> =
        heaps.flat_map(|heap| heap.iter().skip(1).map(|&copy| [heap[0], copy])).collect();
    copies.par_sort_unstable();
    copies
}

/// Which of `nodes` nodes are copies.
pub(super) fn marked(copies: &[Copied], nodes: usize) -> Vec<bool> {
    let mut marked = vec![false; nodes];
    for &[_, copy] in copies {
        if let Some(mark) = marked.get_mut(copy as usize) {
            *mark = true;
        }
    }
    marked
}

/// Whether each copy is one of an earlier node, no copy itself, and stands here once, in order.
pub(super) fn fault(copies: &[Copied], nodes: u32) -> Option<String> {
    let marked = marked(copies, nodes as usize);
    let found = marked.iter().filter(|&&is_copy| is_copy).count();
    let is_sound = |&[node, copy]: &Copied| node < copy && copy < nodes && !marked[node as usize];
    let sound = found == copies.len() && copies.is_sorted() && copies.iter().all(is_sound);
    (!sound).then(|| "what it says of copies contradicts itself".into())
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn a_table_of_copies_names_each_once_in_order_and_no_copy_of_a_copy() {
        assert_eq!(fault(&[], 3), None);
        assert_eq!(fault(&[[0, 2], [0, 4], [1, 3]], 5), None);
        for wrong in [
            &[[0, 4], [0, 2]][..],
            &[[1, 3], [0, 2]],
            &[[0, 2], [1, 2]],
            &[[0, 2], [0, 2]],
            &[[0, 2], [2, 3]],
            &[[2, 2]],
            &[[3, 1]],
            &[[0, 5]],
        ] {
            assert!(fault(wrong, 5).is_some(), "{wrong:?}");
        }
    }
}
