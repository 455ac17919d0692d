//! Routine notes from templates with slots `{client}` and alternatives `[[one|another]]`.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use serde_json::Map;
use time::{Date, Duration};

use super::records::Record;

/// A template as its file has it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Template {
    pub(super) source_type: String,
    title: String,
    content: String,
    tags: Vec<String>,
    keywords: Vec<String>,
}

/// The values of one row's slots.
pub(super) struct Filler {
    client: String,
    date: Date,
    staff: (&'static str, &'static str),
    slots: Vec<(&'static str, String)>,
}

const NURSES: [(&str, &str); 3] = [("佐久間", "ST-002"), ("三浦", "ST-003"), ("大野", "ST-004")];
const MANAGERS: [&str; 3] = ["北条", "藤巻", "野々村"];
const ITEMS: [&str; 8] =
    ["ガーゼ", "手袋", "防水シーツ", "消毒綿", "パッド", "テープ", "おしりふき", "エプロン"];
const PLACES: [&str; 6] = [
    "ひばり台診療所",
    "桐の木クリニック",
    "こだま薬局",
    "ケアプラン はなみずき",
    "居宅支援 あさぎり",
    "福祉用具 つばめ",
];

impl Filler {
    pub(super) fn new(client: &str, name: &str, date: Date, random: &mut ChaCha8Rng) -> Self {
        let mut pick = |from: &[&str]| (*from.choose(random).unwrap_or(&"")).to_owned();
        let (manager, item, place) = (pick(&MANAGERS), pick(&ITEMS), pick(&PLACES));
        let staff = *NURSES.choose(random).unwrap_or(&NURSES[0]);
        let ahead = date + Duration::days(random.random_range(1..12));
        let mut between = |low: u32, high: u32| random.random_range(low..=high);
        let slots = vec![
            ("{client}", name.to_owned()),
            ("{staff}", staff.0.to_owned()),
            ("{manager}", manager),
            ("{item}", item),
            ("{place}", place),
            ("{day}", format!("{}月{}日", u8::from(ahead.month()), ahead.day())),
            ("{time}", format!("{}時{}分", between(9, 16), ["00", "30"][between(0, 1) as usize])),
            ("{count}", between(2, 6).to_string()),
            ("{temp}", format!("36.{}", between(1, 8))),
            ("{bp}", format!("{}/{}", between(110, 136), between(62, 82))),
            ("{pulse}", between(62, 84).to_string()),
            ("{spo2}", between(95, 98).to_string()),
            ("{weight}", format!("{}.{}", between(44, 63), between(0, 9))),
        ];
        Self { client: client.to_owned(), date, staff, slots }
    }

    /// A record from `template`.
    pub(super) fn fill(&self, template: &Template, random: &mut ChaCha8Rng) -> Record {
        Record {
            client: self.client.clone(),
            source_type: template.source_type.clone(),
            date: self.date.to_string(),
            title: self.slots(choose(&template.title, random)),
            content: self.slots(choose(&template.content, random)),
            tags: template.tags.clone(),
            keywords: template.keywords.clone(),
            structured: Map::new(),
            staff: self.staff.1.to_owned(),
        }
    }

    fn slots(&self, text: String) -> String {
        self.slots.iter().fold(text, |text, (slot, value)| text.replace(slot, value))
    }
}

/// Draws one of each `[[first|second|...]]`.
fn choose(text: &str, random: &mut ChaCha8Rng) -> String {
    let mut chosen = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("[[") {
        chosen.push_str(before);
        let (alternatives, after) = behind.split_once("]]").unwrap_or((behind, ""));
        let alternatives: Vec<&str> = alternatives.split('|').collect();
        chosen.push_str(alternatives.choose(random).unwrap_or(&""));
        rest = after;
    }
    chosen.push_str(rest);
    chosen
}
