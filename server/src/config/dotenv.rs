//! `.env` files as the replaced system read them (python-dotenv), so that one of its files works as it stands.
//!
//! A line is `NAME=value`, perhaps behind `export`. A value in single or double quotes may hold anything, line breaks
//! too; one without quotes ends at the line's end or at ` #`. A name without `=` has no value and is passed over.
//! Variables inside values are not expanded.

/// A line that is none of a `.env` file: its number, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadLine(pub(super) usize);

/// The names and values of `text`, in order, and the lines that cannot be read.
pub(super) fn parse(text: &str) -> (Vec<(String, String)>, Vec<BadLine>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut values, mut bad) = (Vec::new(), Vec::new());
    let (mut rest, mut number) = (text, 1);
    while !rest.is_empty() {
        let (line, _) = rest.split_once('\n').unwrap_or((rest, ""));
        let mut length = line.len();
        let binding = line.trim();
        let binding = binding.strip_prefix("export ").unwrap_or(binding).trim_start();
        if let (Some((name, value)), false) = (binding.split_once('='), binding.starts_with('#')) {
            let name = name.trim().trim_matches(['\'', '"']);
            // Where the value begins in `rest`, because a quoted one may go on behind this line.
            let at = offset(rest, value);
            match read_value(&rest[at..], value) {
                Some((value, used)) if is_name(name) => {
                    length = length.max(at + used);
                    values.push((name.to_owned(), value));
                }
                _ => bad.push(BadLine(number)),
            }
        } else if !binding.is_empty() && !binding.starts_with('#') && !is_name(binding) {
            bad.push(BadLine(number));
        }
        number += rest[..length].matches('\n').count() + 1;
        rest = rest[length..].strip_prefix('\n').unwrap_or(&rest[length..]);
    }
    (values, bad)
}

/// Byte offset of `part`, a piece of `whole`.
fn offset(whole: &str, part: &str) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// Reads a value: `rest` is everything from its beginning, `line` what of it stands on its line. Returns it with the
/// bytes of `rest` that it took, or `None` for a quote that never ends or is followed by more.
fn read_value(rest: &str, line: &str) -> Option<(String, usize)> {
    let blank = line.len() - line.trim_start().len();
    let quote = match line.trim_start().chars().next() {
        Some(quote @ ('"' | '\'')) => quote,
        _ => {
            let value = line.split_once(" #").map_or(line, |(value, _)| value).trim();
            return Some((value.to_owned(), line.len()));
        }
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, character) in rest.char_indices().skip(rest[..=blank].chars().count()) {
        match character {
            _ if escaped => {
                escaped = false;
                match character {
                    'n' if quote == '"' => value.push('\n'),
                    't' if quote == '"' => value.push('\t'),
                    '\\' | '\'' | '"' => value.push(character),
                    other => value.extend(['\\', other]),
                }
            }
            '\\' => escaped = true,
            _ if character == quote => {
                let end = at + character.len_utf8();
                let after = rest[end..].split('\n').next().unwrap_or_default().trim();
                return (after.is_empty() || after.starts_with('#')).then_some((value, end));
            }
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_forms_that_the_replaced_system_took_are_read() {
        let text = "\u{feff}# settings\nA=1\nexport B = two words # why\nC='[\"*\"]'\nD=[\"http://a\", \"http://b\"]\n\
                    E={\"type\": \"x\"}\nF=\"line\\nbreak \\\"q\\\"\"\nDEBUG\nG=\nH='over\ntwo lines'\n I=a#b\r\n";
        let (values, bad) = parse(text);
        let values: Vec<(&str, &str)> = values.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "[\"*\"]"),
            ("D", "[\"http://a\", \"http://b\"]"),
            ("E", "{\"type\": \"x\"}"),
            ("F", "line\nbreak \"q\""),
            ("G", ""),
            ("H", "over\ntwo lines"),
            ("I", "a#b"),
        ];
        assert_eq!(values, expected);
        assert_eq!(bad, []);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_by_its_number() {
        let (values, bad) = parse("A=1\nKEY s3cret\nB='x\ny'\nC='open\n");
        assert_eq!(values.len(), 2);
        assert_eq!(bad, [BadLine(2), BadLine(5)]);
    }

    proptest! {
        #[test]
        fn any_text_ends(text in any::<String>()) {
            parse(&text);
        }

        #[test]
        fn a_quoted_value_reads_back(value in "[^'\\\\]{0,40}") {
            let (values, bad) = parse(&format!("A='{value}'\nB=2\n"));
            prop_assert!(bad.is_empty());
            prop_assert_eq!(values, [("A".to_owned(), value), ("B".to_owned(), "2".to_owned())]);
        }
    }
}
