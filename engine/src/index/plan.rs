//! Exact search or the graph: which of them a query is answered by.

use super::Index;
use crate::error::OpenError;
use crate::filter::RowSet;
use crate::graph::Graph;
use crate::query::Plan;

/// How a query is answered, and why.
pub(super) enum Planned<'a> {
    Exact(&'static str),
    /// With about which share of its nodes the filter lets through.
    Graph {
        graph: Graph<'a>,
        ef_search: usize,
        share: f64,
        why: &'static str,
    },
}

impl Index {
    /// Chooses between exact search and the graph by what each would compare.
    pub(super) fn plan(
        &self,
        plan: Plan,
        top: usize,
        allowed: Option<&RowSet>,
    ) -> Result<Planned<'_>, OpenError> {
        /// Rows of a filter that are looked at for what they share.
        const SAMPLED: usize = 64;
        let graph = match self.snapshot.graph()? {
            Some(graph) if plan != Plan::Exact => graph,
            Some(_) => return Ok(Planned::Exact("exact: the query says so")),
            None => return Ok(Planned::Exact("exact: so few rows need no graph")),
        };
        let (passages, among) = (u64::from(self.passages()), self.among(allowed));
        let share = match allowed {
            None => 1.0,
            Some(allowed) => {
                let of = self.vectors()?;
                let some = allowed.sample(SAMPLED).filter_map(|row| of.passages_of_row(row).next());
                graph.share(among, some)
            }
        };
        if let Plan::Graph { ef_search } = plan {
            return Ok(Planned::Graph {
                graph,
                ef_search: ef_search.max(top),
                share,
                why: "graph: the query says so",
            });
        }
        // Where none met the target, the best that was measured comes nearest.
        let best = || graph.curve().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        let promised = match graph.header.ef_search {
            0 => best().map_or(0, |(ef_search, _)| ef_search),
            ef_search => ef_search,
        } as usize;
        // The curve was measured for ten rows; more need as much room behind the last of them.
        let ef_search = promised.max(top + promised / 2);
        // About half of a node's neighbours were seen before; of those compared, the filter lets a share through, and a walk
        // that is thinned out keeps fewer.
        let kept = ef_search as f64 * (0.5 + share / 2.0);
        let walked = kept * f64::from(graph.header.degree) / 2.0 / share.max(1.0 / passages.max(1) as f64);
        Ok(if walked >= among as f64 {
            Planned::Exact("exact: as cheap as the graph for so many rows of so few")
        } else {
            Planned::Graph { graph, ef_search, share, why: "graph: it compares fewer rows" }
        })
    }

    /// About how many passages a filter lets through.
    pub(super) fn among(&self, allowed: Option<&RowSet>) -> u64 {
        let passages = u64::from(self.passages());
        allowed.map_or(passages, |allowed| allowed.len() * passages / u64::from(self.len()).max(1))
    }
}
