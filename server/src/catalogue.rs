//! What a snapshot says besides its rows: who its clients (利用者) are, and where its sheet is.

use std::collections::BTreeMap;

use karute_engine::words::is_han;
use karute_engine::{Facet, Index, OpenError, Origin, Row, SnapshotId};
use karute_sync::clients::KANA;
use karute_sync::job::told_of;
use serde::Serialize;
use utoipa::ToSchema;

/// Kinds of rows whose title begins with the client's name, the surest first.
const INTRODUCE: [&str; 3] = ["client_info", "facesheet", "family_info"];
/// Keys of a row's data that hold the client's name.
const NAME: [&str; 4] = ["client_name", "利用者名", "name", "氏名"];
/// What a title may say besides a name.
const HEADINGS: [&str; 12] = [
    "基本情報",
    "利用者情報",
    "利用者基本情報",
    "個人情報",
    "家族情報",
    "家族構成",
    "フェイスシート",
    "フェースシート",
    "利用者",
    "患者",
    "情報",
    "台帳",
];
/// Addresses of spreadsheets that a browser can open.
const GOOGLE: &str = "https://docs.google.com/spreadsheets/d/";

/// A client, as the web client lists them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Client {
    /// Id such as `CL-00001`.
    pub id: String,
    /// Name; the id where no row says it.
    pub name: String,
    /// Name in kana; empty where no row says it.
    pub name_kana: String,
    /// Areas of work that have rows of this client; none of one who only stands in the list of clients.
    #[serde(skip)]
    pub domains: Vec<String>,
}

/// What a snapshot says besides its rows.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// The snapshot.
    pub snapshot: Option<SnapshotId>,
    /// Clients, by id.
    pub clients: Vec<Client>,
    /// The address of the sheet, up to the row.
    pub(crate) sheet: Option<String>,
}

impl Catalogue {
    /// Reads it from a snapshot.
    ///
    /// # Errors
    /// A damaged snapshot.
    pub fn of(index: &Index) -> Result<Self, OpenError> {
        let mut clients: BTreeMap<String, Client> = BTreeMap::new();
        for (id, _) in index.facet_values(Facet::Client) {
            let mut domains = Vec::new();
            for &number in index.rows_with(Facet::Client, id)? {
                let domain = index.row(number)?.domain;
                if !domains.contains(&domain) {
                    domains.push(domain);
                }
            }
            let client = Client { id: id.into(), name: id.into(), name_kana: String::new(), domains };
            clients.insert(id.into(), client);
        }
        for kind in INTRODUCE.iter().rev() {
            for &number in index.rows_with(Facet::SourceType, kind)? {
                let row = index.row(number)?;
                let Some(client) = clients.get_mut(&row.client_id) else { continue };
                if let Some(name) = name(&row) {
                    client.name = name;
                }
                if let Some(kana) = said(&row, &KANA) {
                    client.name_kana = kana;
                }
            }
        }
        // What the house lists is surer than what titles of records begin with.
        for listed in index.clients() {
            let client = clients.entry(listed.id.clone()).or_insert_with(|| Client {
                id: listed.id.clone(),
                name: String::new(),
                name_kana: String::new(),
                domains: Vec::new(),
            });
            client.name.clone_from(&listed.name);
            if !listed.name_kana.is_empty() {
                client.name_kana.clone_from(&listed.name_kana);
            }
        }
        let place = index.provenance().place.split(' ').next().unwrap_or_default();
        let gid = told_of(index).and_then(|report| report.gid);
        let sheet =
            gid.filter(|_| place.starts_with(GOOGLE)).map(|gid| format!("{place}/edit#gid={gid}&range="));
        Ok(Self { snapshot: Some(index.id()), clients: clients.into_values().collect(), sheet })
    }

    /// A link to a row of the sheet, where a browser can open it.
    pub fn link(&self, origin: &Origin) -> Option<String> {
        let (sheet, row) = (self.sheet.as_ref()?, origin.row_number);
        Some(format!("{sheet}A{row}:O{row}"))
    }
}

/// The name that the data of `row` have, or else its title, headings apart: family and given name, a space between them.
fn name(row: &Row) -> Option<String> {
    // What is written of a family has names of its own.
    let keys = if row.source_type == "family_info" { &NAME[..2] } else { &NAME[..] };
    if let Some(name) = said(row, keys) {
        return Some(name);
    }
    let is_heading = |word: &&str| HEADINGS.contains(word);
    let mut words =
        row.title.split_whitespace().skip_while(is_heading).map(|word| word.trim_end_matches('様'));
    let (family, given) = (words.next()?, words.next()?);
    let is_name = |word: &str| {
        (1..=6).contains(&word.chars().count())
            && word.chars().all(|c| is_han(c) || matches!(c, '\u{3005}' | '\u{3041}'..='\u{30ff}'))
    };
    (!is_heading(&given) && is_name(family) && is_name(given)).then(|| format!("{family} {given}"))
}

/// What the row's data hold under the first of `keys` that has anything, one space between words.
fn said(row: &Row, keys: &[&str]) -> Option<String> {
    let data = [&row.structured_data, &row.metadata];
    data.into_iter().find_map(|json| {
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).ok()?;
        let words =
            |key: &&str| Some(fields.get(*key)?.as_str()?.split_whitespace().collect::<Vec<_>>().join(" "));
        keys.iter().filter_map(words).find(|text| !text.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use karute_engine::{ClientName, Draft, Identity, Provenance};

    #[test]
    fn clients_come_from_the_rows_and_the_list_and_one_without_a_name_keeps_its_id() {
        let mut draft = Draft::new(Identity::new("test", "none", 1));
        for (id, kind, title, client, data) in [
            ("1", "client_info", "奥寺 文子 基本情報", "CL-5", r#"{"フリガナ": "オクデラ フミコ"}"#),
            ("2", "care_record", "江口 照男 訪問記録", "CL-4", ""),
            ("3", "facesheet", "林 花 基本情報", "CL-9", "[]"),
            ("4", "facesheet", "facesheet - 12", "CL-7", ""),
            (
                "5",
                "client_info",
                "久保田実 基本情報",
                "CL-1",
                r#"{"name": "久保田実", "name_kana": "クボタミノル"}"#,
            ),
            ("8", "facesheet", "服薬 情報", "CL-6", ""),
            ("6", "client_info", "基本情報 佐藤 花子様", "CL-2", ""),
            ("7", "client_info", "基本情報", "CL-3", r#"{"氏名": "三宅　明"}"#),
        ] {
            let row = Row {
                id: id.into(),
                source_type: kind.into(),
                title: title.into(),
                client_id: client.into(),
                structured_data: data.into(),
                domain: "nursing".into(),
                ..Row::default()
            };
            draft.push(&row, &[]).expect("a row");
        }
        let listed =
            |id: &str, name: &str| ClientName { id: id.into(), name: name.into(), name_kana: String::new() };
        draft.set_clients(vec![listed("CL-5", "奥寺 文"), listed("CL-8", "新 人")]);
        let bytes = draft.finish(Provenance::default()).expect("a draft").to_bytes();
        let catalogue = Catalogue::of(&Index::from_slice(&bytes).expect("a snapshot")).expect("sound");
        let listed: Vec<_> = catalogue
            .clients
            .iter()
            .map(|c| (c.id.as_str(), c.name.as_str(), c.name_kana.as_str()))
            .collect();
        assert_eq!(
            listed,
            [
                ("CL-1", "久保田実", "クボタミノル"),
                ("CL-2", "佐藤 花子", ""),
                ("CL-3", "三宅 明", ""),
                ("CL-4", "CL-4", ""),
                ("CL-5", "奥寺 文", "オクデラ フミコ"),
                ("CL-6", "CL-6", ""),
                ("CL-7", "CL-7", ""),
                ("CL-8", "新 人", ""),
                ("CL-9", "林 花", "")
            ]
        );
        assert_eq!(catalogue.link(&Origin::default()), None);
    }
}
