//! Everything that can be done with an opened index. What each call returns does not matter; that it returns does.

use karute_engine::{Embedding, Facet, Filter, Index, Plan, Query, diff};

pub fn exercise(index: &Index) {
    let dimensions = index.identity().dimensions as usize;
    let question = Embedding::new(index.identity().clone(), vec![0.5; dimensions]);
    let client = Filter::everything().only(Facet::Client, ["CL-1"]).only(Facet::Domain, ["nursing"]);
    let plans = [Plan::Exact, Plan::Graph { ef_search: 6 }];
    for (filter, plan) in [Filter::everything(), client].iter().flat_map(|f| plans.map(|plan| (f, plan))) {
        if let Ok(hits) = index.search(&Query::new(&question).top(5).within(filter).plan(plan)) {
            for hit in hits {
                assert!(hit.row < index.len());
                let _ = (index.row(hit.row), index.passage_range(hit.passage));
            }
        }
    }
    for number in (0..index.len().min(20)).chain([u32::MAX]) {
        let _ = (index.row(number), index.passages_of(number));
    }
    let _ = (index.report(), index.terms(), index.provenance());
    let _ = index.keyword_search(&karute_engine::lexical::tokens::counted("体温 fever"), 5, None);
    let _ = diff(index, index);
    let _ = index.verify();
}
