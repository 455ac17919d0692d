//! Sheets v4.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::workbook::{Cell, Rendering, Tab, Workbook};
use super::{Call, Refusal, State};

pub(super) fn answer(state: &mut State, call: &Call, parts: &[&str]) -> Result<Value, Refusal> {
    match (call.method.as_str(), parts) {
        ("GET", [id]) => {
            let file = state.file(id)?;
            let properties = file.workbook.tabs.iter().enumerate().map(|(index, tab)| properties(index, tab));
            let sheets: Vec<Value> = properties.map(|properties| json!({"properties": properties})).collect();
            match call.query("fields") {
                Some("sheets.properties(sheetId,title,gridProperties)") => {
                    let mut sheets = sheets;
                    for properties in
                        sheets.iter_mut().filter_map(|sheet| sheet["properties"].as_object_mut())
                    {
                        properties.retain(|name, _| {
                            ["sheetId", "title", "gridProperties"].contains(&name.as_str())
                        });
                    }
                    Ok(if sheets.is_empty() { json!({}) } else { json!({"sheets": sheets}) })
                }
                _ => Ok(json!({
                    "spreadsheetId": id,
                    "properties": {"title": file.name, "locale": "ja_JP", "timeZone": "Asia/Tokyo"},
                    "sheets": sheets,
                    "spreadsheetUrl": format!("https://docs.google.com/spreadsheets/d/{id}/edit"),
                })),
            }
        }
        ("GET", [id, "values:batchGet"]) => {
            let how = rendering(call)?;
            let workbook = &state.file(id)?.workbook;
            let ranges = call.query.iter().filter(|(name, _)| name == "ranges").map(|(_, range)| range);
            let ranges = ranges.map(|text| values(workbook, text, how)).collect::<Result<Vec<_>, _>>()?;
            Ok(json!({"spreadsheetId": id, "valueRanges": ranges}))
        }
        ("GET", [id, "values", range]) => values(&state.file(id)?.workbook, range, rendering(call)?),
        ("PUT", [id, "values", range]) => {
            let body = call.json()?;
            let updated = write(state, id, range, &body, false)?;
            Ok(updated)
        }
        ("POST", [id, "values:batchUpdate"]) => {
            let body = call.json()?;
            let data = body["data"].as_array().cloned().unwrap_or_default();
            let mut responses = Vec::new();
            for part in &data {
                let range =
                    part["range"].as_str().ok_or_else(|| Refusal::invalid("range is missing"))?.to_owned();
                responses.push(write(state, id, &range, part, false)?);
            }
            Ok(json!({"spreadsheetId": id, "responses": responses}))
        }
        ("POST", [id, "values", range]) if range.ends_with(":append") => {
            let body = call.json()?;
            let range = range.trim_end_matches(":append");
            let updates = write(state, id, range, &body, true)?;
            Ok(json!({"spreadsheetId": id, "tableRange": range, "updates": updates}))
        }
        ("POST", [id]) if id.ends_with(":batchUpdate") => {
            let id = id.trim_end_matches(":batchUpdate");
            let requests = call.json()?["requests"].as_array().cloned().unwrap_or_default();
            batch_update(state, id, &requests)
        }
        _ => Err(Refusal::of(if call.method == Method::GET { 404 } else { 400 })),
    }
}

fn properties(index: usize, tab: &Tab) -> Value {
    json!({
        "sheetId": tab.gid, "title": tab.title, "index": index, "sheetType": "GRID",
        "gridProperties": {"rowCount": tab.row_count, "columnCount": tab.column_count},
    })
}

fn rendering(call: &Call) -> Result<Rendering, Refusal> {
    let unformatted = match call.query("valueRenderOption") {
        None | Some("FORMATTED_VALUE") => false,
        Some("UNFORMATTED_VALUE" | "FORMULA") => true,
        Some(other) => {
            return Err(Refusal::invalid(format!("Invalid value at 'value_render_option': {other}")));
        }
    };
    let dates_as_text = call.query("dateTimeRenderOption") == Some("FORMATTED_STRING");
    Ok(Rendering { unformatted, dates_as_text })
}

fn values(workbook: &Workbook, text: &str, how: Rendering) -> Result<Value, Refusal> {
    let range = workbook.range(text).map_err(Refusal::invalid)?;
    Ok(workbook.values(text, &range, how))
}

/// Writes the `values` of a body, at the range or behind the last filled row of its tab.
fn write(state: &mut State, id: &str, range: &str, body: &Value, append: bool) -> Result<Value, Refusal> {
    let file = state.file(id)?;
    let mut place = file.workbook.range(range).map_err(Refusal::invalid)?;
    if append {
        let whole = !range.contains('!');
        file.workbook.tabs[place.tab].behind_the_table(&mut place, whole);
    }
    let rows = body["values"].as_array().cloned().unwrap_or_default();
    let cells = |row: &Value| row.as_array().map(|row| row.iter().map(cell).collect()).unwrap_or_default();
    let rows: Vec<Vec<Cell>> = rows.iter().map(cells).collect();
    file.workbook.write(&place, &rows).map_err(Refusal::invalid)?;
    file.version += 1;
    let cells: usize = rows.iter().map(Vec::len).sum();
    Ok(json!({
        "spreadsheetId": id, "updatedRange": range, "updatedRows": rows.len(),
        "updatedColumns": rows.iter().map(Vec::len).max().unwrap_or_default(), "updatedCells": cells,
    }))
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::String(text) => Cell::from(text.as_str()),
        Value::Number(number) => Cell::Number(number.as_f64().unwrap_or_default()),
        Value::Bool(truth) => Cell::Bool(*truth),
        _ => Cell::Empty,
    }
}

fn batch_update(state: &mut State, id: &str, requests: &[Value]) -> Result<Value, Refusal> {
    let file = state.file(id)?;
    // All or nothing.
    let mut workbook = file.workbook.clone();
    let mut replies = Vec::new();
    for request in requests {
        let Some((kind, body)) = request.as_object().and_then(|request: &Map<_, _>| request.iter().next())
        else {
            return Err(Refusal::invalid("Invalid requests[0]: No request set."));
        };
        let reply = match kind.as_str() {
            "addSheet" => {
                let title = body["properties"]["title"].as_str().unwrap_or("シート").to_owned();
                if workbook.tab(&title).is_some() {
                    let message = format!(
                        "Invalid requests[0].addSheet: A sheet with the name \"{title}\" already exists. Please enter another name."
                    );
                    return Err(Refusal::invalid(message));
                }
                let gid = body["properties"]["sheetId"].as_i64();
                let gid = gid.unwrap_or(workbook.tabs.iter().map(|tab| tab.gid).max().unwrap_or(0) + 1);
                workbook.tabs.push(Tab::new(&title, gid, Vec::new()));
                let index = workbook.tabs.len() - 1;
                json!({"addSheet": {"properties": properties(index, &workbook.tabs[index])}})
            }
            "updateCells" => {
                let start = &body["start"];
                let tab = workbook.tabs.iter_mut().find(|tab| Some(tab.gid) == start["sheetId"].as_i64());
                let tab =
                    tab.ok_or_else(|| Refusal::invalid("Invalid requests[0].updateCells: No grid with id"))?;
                let at = |name: &str| start[name].as_u64().unwrap_or(0) as usize;
                for (number, row) in (at("rowIndex")..).zip(body["rows"].as_array().into_iter().flatten()) {
                    let values = row["values"].as_array().into_iter().flatten();
                    for (column, value) in (at("columnIndex")..).zip(values) {
                        let text = value["userEnteredValue"]["stringValue"].as_str().unwrap_or_default();
                        tab.rows.resize(tab.rows.len().max(number + 1), Vec::new());
                        let row = &mut tab.rows[number];
                        row.resize(row.len().max(column + 1), Cell::Empty);
                        row[column] = Cell::from(text);
                    }
                }
                json!({})
            }
            "updateSheetProperties" | "repeatCell" | "setBasicFilter" => json!({}),
            other => return Err(Refusal::invalid(format!("Unknown name \"{other}\" at 'requests[0]'"))),
        };
        replies.push(reply);
    }
    file.workbook = workbook;
    file.version += 1;
    Ok(json!({"spreadsheetId": id, "replies": replies}))
}
