//! Whom a question asks about. What is said of one client must never be answered from another's record, so where a
//! question names somebody, only rows that speak of that person count.
//!
//! Names come from two places: the clients that the records introduce (rows of kind `client_info`, whose title begins
//! with family and given name), found anywhere in a question; and whatever stands before an honorific.

use karute_engine::{Facet, Index, OpenError, Row};
use serde::Serialize;

use crate::retrieve::caller::Caller;

/// What follows a person's name.
const HONORIFICS: [&str; 7] = ["さん", "様", "さま", "氏", "殿", "先生", "夫人"];

/// Words before an honorific that name nobody in particular.
const NOT_NAMES: [&str; 44] = [
    "奥",
    "母",
    "父",
    "兄",
    "姉",
    "息子",
    "娘",
    "孫",
    "嫁",
    "夫",
    "妻",
    "旦那",
    "家族",
    "患者",
    "利用者",
    "皆",
    "業者",
    "看護師",
    "薬剤師",
    "医師",
    "主任",
    "管理者",
    "職員",
    "担当者",
    "隣",
    "主治医",
    "の",
    "は",
    "が",
    "を",
    "に",
    "と",
    "たく",
    "みな",
    "おかあ",
    "おとう",
    "おく",
    "おばあ",
    "おじい",
    "むすこ",
    "むすめ",
    "かぞく",
    "かんじゃ",
    "りようしゃ",
];

/// The people of a question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct People {
    /// Ids of clients.
    pub clients: Vec<String>,
    /// Names as they stand in the question, or as the records have them.
    pub names: Vec<String>,
}

impl People {
    /// Finds the people of `question`; clients are known from the rows that `caller` may see.
    pub(super) fn of(question: &str, index: &Index, caller: &Caller) -> Result<Self, OpenError> {
        let mut people = Self { clients: Vec::new(), names: before_honorifics(question) };
        let squeezed = squeeze(question);
        for &number in index.rows_with(Facet::SourceType, "client_info")? {
            let row = index.row(number)?;
            if !caller.may_see(&row.client_id, &row.domain) {
                continue;
            }
            let family = row.title.split_whitespace().next().unwrap_or_default();
            if family.chars().count() >= 2 && squeezed.contains(family) && !row.client_id.is_empty() {
                if !people.names.iter().any(|name| name == family) {
                    people.names.push(family.to_owned());
                }
                if !people.clients.contains(&row.client_id) {
                    people.clients.push(row.client_id);
                }
            }
        }
        Ok(people)
    }

    /// Whether the question names nobody.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.names.is_empty()
    }

    /// Whether a row speaks of any of them; any row does where the question names nobody.
    pub(crate) fn any_in(&self, row: &Row) -> bool {
        if self.is_empty() {
            return true;
        }
        let text = squeeze(&format!("{}\n{}", row.title, row.content));
        self.clients.contains(&row.client_id) || self.names.iter().any(|name| text.contains(name.as_str()))
    }
}

/// White space inside a name does not matter.
fn squeeze(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// The names before honorifics: the run of one script, or of kanji with spaces, that ends there.
fn before_honorifics(question: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (at, _) in HONORIFICS.iter().flat_map(|honorific| question.match_indices(honorific)) {
        let before: Vec<char> = question[..at].chars().rev().collect();
        let hiragana = before.first().is_some_and(|c| matches!(c, 'ぁ'..='ゖ'));
        let belongs = |c: &&char| match hiragana {
            true => matches!(c, 'ぁ'..='ゖ' | 'ー'),
            false => matches!(c, '\u{4e00}'..='\u{9fff}' | '々' | 'ァ'..='ヶ' | 'ー' | ' ' | '　'),
        };
        let name: String = before.iter().take_while(belongs).collect::<Vec<_>>().into_iter().rev().collect();
        let name = squeeze(&name);
        let somebody = name.chars().count() >= 2 && !NOT_NAMES.iter().any(|word| name.ends_with(word));
        if somebody && !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use karute_engine::{Draft, Identity, Provenance};

    fn index() -> Index {
        let mut draft = Draft::new(Identity::new("test", "none", 1));
        for (id, title, client) in [
            ("1", "奥寺 文子 基本情報", "CL-5"),
            ("2", "江口 照男 基本情報", "CL-4"),
            ("3", "林 花 基本情報", "CL-9"),
        ] {
            let row = Row {
                id: id.into(),
                title: title.into(),
                client_id: client.into(),
                source_type: "client_info".into(),
                ..Row::default()
            };
            draft.push(&row, &[]).expect("a row");
        }
        Index::from_slice(&draft.finish(Provenance::default()).expect("a draft").to_bytes())
            .expect("a snapshot")
    }

    fn speaks(question: &str, title: &str, client: &str) -> bool {
        let row = Row { title: title.into(), client_id: client.into(), ..Row::default() };
        People::of(question, &index(), &Caller::everything()).expect("readable").any_in(&row)
    }

    #[test]
    fn a_client_is_known_with_and_without_an_honorific() {
        for question in [
            "奥寺の酸素流量は",
            "奥寺さんの酸素流量は",
            "奥寺文子の酸素流量は",
            "奥寺先生の酸素",
            "酸素流量 奥寺",
        ] {
            assert!(!speaks(question, "江口 照男 報告書", "CL-4"), "{question}");
            assert!(speaks(question, "訪問記録", "CL-5"), "{question}");
        }
        assert!(!speaks("おくでらさんの酸素流量は", "江口 照男 報告書", "CL-4"));
    }

    #[test]
    fn of_several_people_a_row_about_any_of_them_counts() {
        assert!(speaks("江口さんと奥寺さんの酸素流量は", "訪問記録", "CL-4"));
        assert!(speaks("江口さんと奥寺さんの酸素流量は", "訪問記録", "CL-5"));
        assert!(!speaks("江口さんと奥寺さんの酸素流量は", "訪問記録", "CL-9"));
    }

    #[test]
    fn a_question_that_names_nobody_may_be_answered_from_any_row() {
        for question in ["酸素流量は", "奥さんの体調", "たくさんの記録", "お母さんの連絡先", "利用者様の人数"]
        {
            assert!(speaks(question, "訪問記録", "CL-4"), "{question}");
        }
    }
}
