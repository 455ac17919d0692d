//! What a graph is built with.

/// How a graph is built. The same settings give the same graph for the same vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GraphSettings {
    /// Neighbours that a node may have in layer 0, 2 to 1024; a multiple of 16 fills whole cache lines.
    pub degree: u32,
    /// Candidates that are kept for each node while its neighbours are looked for, 1 to 65,536.
    pub ef_construction: u32,
    /// How much nearer a chosen neighbour must be to a candidate than the node is, to make the candidate dispensable:
    /// a ratio of squared distances, 1 or more. Larger values keep more long edges.
    pub alpha: f32,
    /// Who builds it.
    pub builder: GraphBuilder,
    /// Recall@10 that the snapshot's own `ef_search` is chosen for.
    pub target_recall: f32,
}

/// Who builds a graph. Either gives the same section, searched by the same code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GraphBuilder {
    /// This engine: the same graph for the same rows, on any number of threads.
    #[default]
    Native,
    /// The crate `hnsw_rs`, with `degree / 2` connections: what the native builder is measured against. Its graphs
    /// differ from run to run, so snapshots built with it differ too.
    #[cfg(feature = "hnsw_rs")]
    HnswRs,
}

impl Default for GraphSettings {
    fn default() -> Self {
        Self {
            degree: 32,
            ef_construction: 100,
            alpha: 1.1,
            builder: GraphBuilder::Native,
            target_recall: 0.99,
        }
    }
}

impl GraphSettings {
    /// What is out of range, in words.
    pub(crate) fn fault(&self) -> Option<String> {
        let Self { degree, ef_construction, alpha, target_recall, builder: _ } = *self;
        let faults = [
            (!(2..=1024).contains(&degree)).then(|| format!("degree {degree} is not within 2 to 1024")),
            (!(1..=65_536).contains(&ef_construction))
                .then(|| format!("ef_construction {ef_construction} is not within 1 to 65536")),
            (!(alpha.is_finite() && alpha >= 1.0)).then(|| format!("alpha {alpha} is less than 1")),
            (!(0.0..=1.0).contains(&target_recall))
                .then(|| format!("target_recall {target_recall} is not within 0 to 1")),
        ];
        let faults: Vec<String> = faults.into_iter().flatten().collect();
        (!faults.is_empty()).then(|| faults.join(", "))
    }
}

/// Neighbours that a node may have in the layers above.
pub(super) const UPPER_DEGREE: u32 = 16;
