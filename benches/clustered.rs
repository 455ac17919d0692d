//! Clustered unit vectors from a seeded generator, with short Japanese records.

use karute_engine::{Draft, Identity, Passage, Provenance, Row, Sealed};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Vectors gather around as many centres as there are rows divided by this.
const ROWS_PER_CLUSTER: usize = 50;
/// How far a vector strays from its centre, as a share of the centre's length.
const SPREAD: f32 = 0.6;

/// Rows that are made in a moment, the same each time.
pub(crate) struct Data {
    rows: usize,
    dimensions: usize,
    centres: Vec<Vec<f32>>,
    random: ChaCha8Rng,
}

impl Data {
    pub(crate) fn new(rows: usize, dimensions: usize) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(rows as u64);
        let clusters = (rows / ROWS_PER_CLUSTER).max(1);
        let centres = (0..clusters).map(|_| direction(dimensions, &mut random)).collect();
        Self { rows, dimensions, centres, random }
    }

    /// The next vector.
    pub(crate) fn vector(&mut self) -> Vec<f32> {
        let centre = &self.centres[self.random.random_range(0..self.centres.len())];
        let stray = direction(self.dimensions, &mut self.random);
        unit(centre.iter().zip(stray).map(|(c, s)| c + SPREAD * s).collect())
    }

    /// The rows as a snapshot of `identity`, for that many dimensions.
    pub(crate) fn sealed(&mut self, identity: Identity, name: &str) -> Sealed {
        let mut draft = Draft::new(identity);
        for number in 0..self.rows {
            let row = Row {
                id: format!("KB_{number:07}"),
                client_id: format!("CL-{:05}", number % 39),
                domain: "nursing".into(),
                title: format!("訪問記録 {number}"),
                content: format!(
                    "{name}。体温は36.{}℃、血圧は{}/76。食欲あり、発熱なし。",
                    number % 10,
                    110 + number % 30
                ),
                ..Row::default()
            };
            let vector = self.vector();
            draft.push(&row, &[Passage::whole(&row, &vector)]).expect("a sound row");
        }
        draft
            .finish(Provenance { source: "bench".into(), built_at: name.into(), ..Provenance::default() })
            .expect("a draft")
    }
}

/// A random direction. Sums of uniform numbers are close enough to normal ones.
fn direction(dimensions: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    unit((0..dimensions).map(|_| (0..4).map(|_| random.random_range(-1.0f32..1.0)).sum()).collect())
}

fn unit(vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.into_iter().map(|x| x / norm).collect()
}
