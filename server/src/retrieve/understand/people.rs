//! Whom a question asks about. What is said of one client must never be answered from another's record, so where a
//! question names somebody, only rows that speak of that person count.
//!
//! Clients are known from the snapshot's [`Catalogue`], by family and given name and by how they are read; whoever else
//! stands before an honorific is somebody too. A family name that several clients bear names nobody until the question
//! says which.

use karute_engine::Row;
use serde::Serialize;

use super::names::{
    before_honorifics, is_reading, reading, said_in, squeeze, stands_in, without_excepted, without_title,
    written,
};
use crate::catalogue::{Catalogue, Client};
use crate::retrieve::caller::Caller;

/// The people of a question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct People {
    /// Ids of clients.
    pub clients: Vec<String>,
    /// Names: of clients as the records have them, of others as they stand in the question.
    pub names: Vec<String>,
    /// Full names of clients who bear a name that the question leaves open.
    pub ambiguous: Vec<String>,
    /// Whether it takes somebody out: 江口さん以外.
    #[serde(skip)]
    excepted: bool,
    /// Ids of clients whom it takes out.
    #[serde(skip)]
    without: Vec<String>,
    /// Names that are no client's.
    #[serde(skip)]
    others: Vec<String>,
    /// Full names of `clients`, without white space, each with its family name where no other client bears that.
    #[serde(skip)]
    full: Vec<(String, Option<String>)>,
}

/// A client's name in its parts.
struct Known<'a> {
    client: &'a Client,
    family: String,
    given: String,
    family_reading: String,
    given_reading: String,
}

impl<'a> Known<'a> {
    /// `None` for a client whose name nothing says. A name in one word is taken for a family name, so it must stand whole.
    fn of(client: &'a Client) -> Option<Self> {
        let (family, given) = client.name.split_once(' ').unwrap_or((&client.name, ""));
        if client.name == client.id {
            return None;
        }
        let (family, given) = (written(family), written(given));
        let (family_reading, given_reading) = match client.name_kana.split_once([' ', '　']) {
            Some((family, given)) => (reading(family), reading(given)),
            None => (reading(&client.name_kana), String::new()),
        };
        Some(Self { client, family, given, family_reading, given_reading })
    }

    fn full(&self) -> String {
        format!("{}{}", self.family, self.given)
    }

    /// How well `name` names this client: 3 by the full name, 2 by the family name, 1 by the given name, else 0.
    fn named(&self, name: &str) -> u8 {
        if is_reading(name) {
            let name = reading(name);
            let full = format!("{}{}", self.family_reading, self.given_reading);
            let by = |own: &String| !own.is_empty() && *own == name;
            // A given name may be written in kana itself.
            let given = by(&self.given_reading) || name == reading(&self.given);
            return if by(&full) {
                3
            } else if by(&self.family_reading) {
                2
            } else {
                u8::from(given)
            };
        }
        match name {
            name if name == self.full() => 3,
            name if name == self.family => 2,
            name => u8::from(name == self.given),
        }
    }
}

impl People {
    /// Finds the people of `question` among the clients of `catalogue` that `caller` may see; with `only`, that client
    /// alone.
    pub(super) fn of(question: &str, catalogue: &Catalogue, caller: &Caller, only: Option<&str>) -> Self {
        let may_see = |client: &&Client| caller.may_know(client) && only.is_none_or(|only| only == client.id);
        let known: Vec<Known<'_>> = catalogue.clients.iter().filter(may_see).filter_map(Known::of).collect();
        let is_known = |name: &str| known.iter().any(|client| client.named(name) > 0);
        let mut people = Self::default();
        let (question, excepted) = &without_excepted(&written(question), is_known);
        people.excepted = !excepted.is_empty();
        for name in excepted {
            let named = known.iter().filter(|client| client.named(name) > 0);
            people.without.extend(named.map(|client| client.client.id.clone()));
        }
        // By the id: CL-00001.
        for client in catalogue.clients.iter().filter(may_see).filter(|client| has_word(question, &client.id))
        {
            people.clients.push(client.id.clone());
            people.names.push(client.name.clone());
        }
        for name in before_honorifics(question, is_known) {
            people.take(&name, &known);
        }
        // Without an honorific: a full name anywhere, a family name where it stands alone.
        let squeezed = squeeze(question);
        let mut bare: Vec<&str> = Vec::new();
        for client in &known {
            let full = client.full();
            if full.chars().count() >= 3 && squeezed.contains(&full) {
                people.add(client, &known);
            } else if stands_in(question, &client.family, true) && !bare.contains(&client.family.as_str()) {
                bare.push(&client.family);
            }
        }
        for family in bare {
            // 佐藤 in 佐藤花子さん was taken with the whole name.
            if !people.full.iter().any(|(full, _)| full.starts_with(family)) {
                people.take(family, &known);
            }
        }
        people
    }

    /// Takes in whoever `name` names.
    fn take(&mut self, name: &str, known: &[Known<'_>]) {
        let name = if known.iter().any(|client| client.named(name) > 0) { name } else { without_title(name) };
        let best = known.iter().map(|client| client.named(name)).max().unwrap_or(0);
        let named: Vec<&Known<'_>> =
            known.iter().filter(|client| best > 0 && client.named(name) == best).collect();
        match *named {
            [] => {
                if !self.others.iter().any(|other| other == name) {
                    self.others.push(name.to_owned());
                    self.names.push(name.to_owned());
                }
            }
            [client] => self.add(client, known),
            _ => {
                for client in named {
                    let name = client.client.name.clone();
                    if !self.ambiguous.contains(&name) {
                        self.ambiguous.push(name);
                    }
                    self.add(client, known);
                }
            }
        }
    }

    fn add(&mut self, client: &Known<'_>, known: &[Known<'_>]) {
        if self.clients.contains(&client.client.id) {
            return;
        }
        self.clients.push(client.client.id.clone());
        self.names.push(client.client.name.clone());
        let alone = known.iter().filter(|other| other.family == client.family).count() == 1;
        self.full.push((client.full(), alone.then(|| client.family.clone())));
    }

    /// Whether the question names nobody.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.names.is_empty()
    }

    /// Whether the question takes somebody out.
    pub(super) fn excepts(&self) -> bool {
        self.excepted
    }

    /// Whether a row speaks of any of them, and is nobody's whom the question takes out; any row does where the question names nobody.
    pub(crate) fn any_in(&self, row: &Row) -> bool {
        if self.without.contains(&row.client_id) {
            return false;
        }
        if self.is_empty() || self.clients.contains(&row.client_id) {
            return true;
        }
        let text = said_in(row);
        let squeezed = squeeze(&text);
        let speaks_of = |name: &str| {
            stands_in(&text, name, false) || name.chars().count() >= 3 && stands_in(&squeezed, name, false)
        };
        // What stands in a row of somebody else under the same family name is about that one.
        let owned = !row.client_id.is_empty();
        self.others.iter().any(|name| speaks_of(name))
            || self.full.iter().any(|(full, family)| {
                speaks_of(full) || !owned && family.as_ref().is_some_and(|family| speaks_of(family))
            })
    }
}

/// Whether `word`, an id, stands in `text` with neither a letter nor a digit of Latin script beside it.
fn has_word(text: &str, word: &str) -> bool {
    // 10 is a number before it is a client.
    if word.chars().all(|c| c.is_ascii_digit()) {
        return false;
    }
    let joined = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.match_indices(word).any(|(at, _)| {
        !joined(text[..at].chars().next_back()) && !joined(text[at + word.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        let client = |id: &str, name: &str, kana: &str| Client {
            id: id.into(),
            name: name.into(),
            name_kana: kana.into(),
            domains: vec!["nursing".into()],
        };
        Catalogue {
            clients: vec![
                client("CL-1", "佐藤 太郎", "サトウ タロウ"),
                client("CL-2", "佐藤 花子", "サトウ ハナコ"),
                client("CL-4", "江口 照男", "エグチ テルオ"),
                client("CL-5", "奥寺 文子", "オクデラ フミコ"),
                client("CL-8", "久保田 実", "クボタ ミノル"),
                client("CL-9", "林 花", "ハヤシ ハナ"),
                client("CL-10", "CL-10", ""),
                client("CL-11", "山﨑 梅", "ヤマサキ ウメ"),
                client("CL-12", "高橋 勝", "タカハシ マサル"),
            ],
            ..Catalogue::default()
        }
    }

    fn people(question: &str) -> People {
        People::of(question, &catalogue(), &Caller::everything(), None)
    }

    fn row(title: &str, client: &str) -> Row {
        Row { title: title.into(), client_id: client.into(), ..Row::default() }
    }

    fn speaks(question: &str, title: &str, client: &str) -> bool {
        people(question).any_in(&row(title, client))
    }

    #[test]
    fn a_client_is_known_with_and_without_an_honorific_and_by_the_reading_of_the_name() {
        for question in [
            "奥寺の酸素流量は",
            "奥寺さんの酸素流量は",
            "奥寺文子の酸素流量は",
            "奥寺 文子さんの酸素流量は",
            "文子さんの酸素流量は",
            "奥寺先生の酸素",
            "酸素流量 奥寺",
            "おくでらさんの酸素流量は",
            "オクデラさんの酸素流量は",
            "利用者奥寺さんの酸素流量は",
            "昨日奥寺さんは",
        ] {
            assert_eq!(people(question).clients, ["CL-5"], "{question}");
            assert!(!speaks(question, "江口 照男 報告書", "CL-4"), "{question}");
            assert!(speaks(question, "訪問記録", "CL-5"), "{question}");
        }
    }

    #[test]
    fn a_client_is_known_by_the_id_and_not_by_a_part_of_it() {
        assert_eq!(people("CL-10の体重は").clients, ["CL-10"]);
        assert_eq!(people("CL-1の体重は").clients, ["CL-1"]);
        assert!(people("CL-99の体重は").is_empty());
        assert!(speaks("CL-4の酸素", "訪問記録", "CL-4") && !speaks("CL-4の酸素", "訪問記録", "CL-5"));
    }

    #[test]
    fn a_name_in_one_word_is_that_of_who_bears_all_of_it() {
        let mut catalogue = catalogue();
        catalogue.clients[0].name = "久保田実".into();
        catalogue.clients[0].name_kana = "クボタミノル".into();
        let of = |question: &str| People::of(question, &catalogue, &Caller::everything(), None).clients;
        assert_eq!(of("久保田実さんの体重"), ["CL-1", "CL-8"]);
        assert_eq!(of("久保田さんの体重"), ["CL-8"]);
    }

    #[test]
    fn a_house_with_the_name_of_a_client_is_not_the_client() {
        assert!(people("江口クリニックの電話番号は").clients.is_empty());
        let others = people("江口さんではない人の酸素");
        assert!(others.is_empty() && others.excepts());
        assert!(!others.any_in(&row("記録", "CL-4")) && others.any_in(&row("記録", "CL-5")));
    }

    #[test]
    fn a_name_is_known_in_every_way_of_writing() {
        for (question, client) in [
            ("山﨑さんの体温は", "CL-11"),
            ("山崎さんの体温は", "CL-11"),
            ("髙橋さんの血圧は", "CL-12"),
            ("ﾀｶﾊｼさんの血圧は", "CL-12"),
        ] {
            assert_eq!(people(question).clients, [client], "{question}");
        }
        assert!(speaks("髙橋さんの血圧は", "高橋 勝 報告書", ""));
        assert!(!speaks("山﨑さんの体温は", "江口 照男 報告書", "CL-4"));
    }

    #[test]
    fn of_two_with_one_family_name_neither_stands_for_the_other() {
        assert!(speaks("佐藤太郎さんのインスリン", "記録", "CL-1"));
        assert!(!speaks("佐藤太郎さんのインスリン", "佐藤 花子 記録", "CL-2"));
        assert!(people("佐藤太郎さんのインスリン").ambiguous.is_empty());
        assert_eq!(people("佐藤さんのインスリン").ambiguous, ["佐藤 太郎", "佐藤 花子"]);
        let one = People::of("佐藤さんのインスリン", &catalogue(), &Caller::everything(), Some("CL-2"));
        assert!(one.ambiguous.is_empty() && one.clients == ["CL-2"]);
        assert!(!speaks("江口花子さんの酸素", "江口 照男 報告書", "CL-4"));
        assert!(!speaks("江口花子さんの酸素", "江口 照男 報告書", ""));
    }

    #[test]
    fn a_name_inside_another_name_is_nobody_we_know() {
        for question in ["久保さんのバルーン", "小江口さんの酸素", "江口町の酸素"] {
            assert!(people(question).clients.is_empty(), "{question}");
        }
        assert!(!speaks("久保さんのバルーン", "久保田 実 記録", "CL-8"));
        assert!(!speaks("小江口さんの酸素", "江口 照男 記録", "CL-4"));
    }

    #[test]
    fn a_name_of_one_kanji_is_a_name() {
        assert_eq!(people("林さんの体重").clients, ["CL-9"]);
        assert!(!speaks("森さんの体重は", "江口 照男 報告書", "CL-4"));
        assert!(!speaks("森さんの体重は", "森林公園まで散歩", ""));
        assert!(speaks("森さんの体重は", "森様より電話", ""));
        assert!(people("林檎の皮").is_empty());
    }

    #[test]
    fn of_several_people_a_row_about_any_of_them_counts() {
        let question = "江口さんと奥寺さんの酸素流量は";
        assert!(speaks(question, "訪問記録", "CL-4") && speaks(question, "訪問記録", "CL-5"));
        assert!(!speaks(question, "訪問記録", "CL-9"));
    }

    #[test]
    fn a_question_that_names_nobody_may_be_answered_from_any_row() {
        for question in [
            "酸素流量は",
            "奥さんの体調",
            "たくさんの記録",
            "お母さんの連絡先",
            "利用者様の人数",
            "前回同様の処置でよいか",
            "最近様子が変です",
        ] {
            assert!(people(question).is_empty(), "{question}");
            assert!(speaks(question, "訪問記録", "CL-4"), "{question}");
        }
    }

    #[test]
    fn who_is_no_client_is_looked_for_in_the_texts() {
        assert!(speaks("三浦さんの電話番号", "主担当は三浦。", ""));
        assert!(speaks("三浦さんの電話番号", "三浦 恵 名刺", ""));
        assert!(!speaks("三浦さんの電話番号", "三浦海岸の名刺", ""));
    }
}
