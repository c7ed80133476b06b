// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix reg query`: a key's values and subkeys in the layout of reg.exe, or as JSON.

use serde::Serialize;

use super::{Common, Place, Query};
use crate::cli::output::{Output, warn};
use crate::cli::{HEALTHY, opening};
use crate::edit::HexBytes;
use crate::error::Result;
use crate::hive::{Key, Value};
use crate::windows::value;

#[derive(Serialize)]
struct QueryReport {
    schema: &'static str,
    keys: Vec<KeyReport>,
}

#[derive(Serialize)]
struct KeyReport {
    path: String,
    values: Vec<ValueReport>,
    subkeys: Vec<String>,
}

#[derive(Serialize)]
struct ValueReport {
    name: String,
    /// The name's UTF-16LE bytes, where no text is the same and `name` is only its description.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_utf16: Option<HexBytes>,
    #[serde(rename = "type")]
    kind: String,
    text: String,
    data: HexBytes,
}

impl ValueReport {
    fn new(found: &Value<'_>) -> Result<ValueReport> {
        let data = found.data()?;
        let name = found.name();
        let exact = value::exact_name(name).is_some();
        Ok(ValueReport {
            name: value::name_text(name),
            name_utf16: (!exact)
                .then(|| HexBytes(name.units().flat_map(u16::to_le_bytes).collect())),
            kind: value::type_name(found.kind()),
            text: value::display(found.kind(), &data),
            data: HexBytes(data.into_owned()),
        })
    }
}

pub(super) fn run(common: &Common, query: &Query, output: &mut Output) -> anyhow::Result<u8> {
    let target = opening::look(&query.target, None, common.replays())?;
    let installation = target.installation(common.partition)?;
    let place = Place::find(&installation, &query.key)?;
    let file = installation.registry.required(place.hive)?;
    let root = file.hive.key(&place.key)?.ok_or_else(|| place.missing())?;
    let wanted = if query.ve {
        Some("")
    } else {
        query.value.as_deref()
    };

    let mut reports = Vec::new();
    let mut pending = vec![(root, place.hive.full_path(&place.key))];
    while let Some((key, path)) = pending.pop() {
        let report = report_key(&key, path, wanted)?;
        if query.recursive {
            for subkey in key.subkeys()?.into_iter().rev() {
                let below = format!("{}\\{}", report.path, value::name_text(subkey.name()));
                pending.push((subkey, below));
            }
        }
        if wanted.is_none() || !report.values.is_empty() {
            reports.push(report);
        }
    }
    if reports.is_empty() && !query.ve {
        return Err(place.missing().into());
    }
    if output.is_text() {
        output.text(&print_query(&reports, query, &place))?;
        warn(&unprintable_names(&reports));
    } else {
        output.json(&QueryReport {
            schema: "coldfix.registry/1",
            keys: reports,
        })?;
    }
    Ok(HEALTHY)
}

fn report_key(key: &Key<'_>, path: String, wanted: Option<&str>) -> Result<KeyReport> {
    let values = match wanted {
        Some(name) => key.value(name)?.into_iter().collect(),
        None => key.values()?,
    };
    Ok(KeyReport {
        values: values.iter().map(ValueReport::new).collect::<Result<_>>()?,
        subkeys: key
            .subkeys()?
            .iter()
            .map(|subkey| format!("{path}\\{}", value::name_text(subkey.name())))
            .collect(),
        path,
    })
}

/// The layout of `reg query`: every part in its place, so that scripts can read it.
fn print_query(reports: &[KeyReport], query: &Query, place: &Place) -> String {
    let one_value = query.ve || query.value.is_some();
    let mut out = String::new();
    for report in reports {
        // A key without values has no line of its own, unless the whole tree is listed.
        if !report.values.is_empty() || query.recursive {
            out.push_str(&format!("\n{}\n", value::printable(&report.path)));
            for value in &report.values {
                let name = if value.name.is_empty() {
                    "(Default)"
                } else {
                    &value.name
                };
                out.push_str(&format!(
                    "    {}    {}    {}\n",
                    value::printable(name),
                    value.kind,
                    value::printable(&value.text)
                ));
            }
        }
        if !query.recursive && !one_value {
            out.push('\n');
            for subkey in &report.subkeys {
                out.push_str(&format!("{}\n", value::printable(subkey)));
            }
        }
    }
    if reports.is_empty() {
        out.push_str(&format!(
            "\n{}\n    (Default)    REG_SZ    (value not set)\n",
            place.hive.full_path(&place.key)
        ));
    }
    if one_value || query.recursive {
        out.push('\n');
    }
    if one_value && query.recursive {
        out.push_str(&format!(
            "End of search: {} match(es) found.\n",
            reports.len()
        ));
    }
    out
}

/// A note on every name that the text above does not show as it is.
fn unprintable_names(reports: &[KeyReport]) -> String {
    let shown = |name: &str| value::printable(name) != name;
    let mut names: Vec<String> = Vec::new();
    for report in reports {
        let values = report
            .values
            .iter()
            .filter(|value| value.name_utf16.is_some() || shown(&value.name))
            .map(|value| format!("{}\\{}", report.path, value.name));
        names.extend(values);
        let below = report.subkeys.iter().filter(|subkey| shown(subkey));
        names.extend(below.cloned());
    }
    names
        .iter()
        .map(|name| {
            format!(
                "note: {} holds characters that are shown as \\u{{...}}; --format json has them as they are\n",
                value::printable(name)
            )
        })
        .collect()
}
