// SPDX-License-Identifier: GPL-2.0-or-later
//! Lines and tables that fit the width of the terminal, and quantities in words. Widths are columns of a terminal:
//! most Japanese characters take two.

use std::borrow::Cow;

use textwrap::{Options, WordSeparator, WordSplitter};
use unicode_width::UnicodeWidthStr;

/// Breaks `text` so that no line passes `width` columns, where it can; further lines are indented. The first line
/// begins at column `indent`.
pub(super) fn wrap(text: &str, indent: usize, width: usize) -> String {
    let spaces = " ".repeat(indent);
    let options = Options::new(width.max(indent.saturating_add(20)))
        .initial_indent(&spaces)
        .subsequent_indent(&spaces)
        .word_separator(separator(text))
        .word_splitter(WordSplitter::NoHyphenation)
        .break_words(false);
    let wrapped = textwrap::fill(text, options);
    wrapped.strip_prefix(&spaces).unwrap_or(&wrapped).to_owned()
}

/// Lines break at blanks, so that paths and names stay whole; Japanese has none, and breaks where Unicode lets it.
fn separator(text: &str) -> WordSeparator {
    match text.chars().count() < text.width() {
        true => WordSeparator::UnicodeBreakProperties,
        false => WordSeparator::AsciiSpace,
    }
}

/// The text, filled up with blanks to `width` columns.
pub(super) fn pad(text: &str, width: usize) -> String {
    let blanks = width.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(blanks))
}

/// How many columns the widest of some texts takes.
pub(super) fn widest(texts: &[&str]) -> usize {
    texts.iter().map(|text| text.width()).max().unwrap_or(0)
}

/// A table in `width` columns; cells break where they must.
pub(super) fn table(head: &[&str], rows: &[Vec<Cow<'_, str>>], width: usize) -> String {
    use comfy_table::{ContentArrangement, Table, presets};
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(width).unwrap_or(u16::MAX))
        .set_header(head);
    for row in rows {
        table.add_row(row.iter().map(AsRef::as_ref).collect::<Vec<&str>>());
    }
    table.to_string()
}

/// `1 fault`, `2 faults`.
pub fn count(number: u64, word: &str) -> String {
    if number == 1 {
        format!("1 {word}")
    } else {
        format!("{number} {word}s")
    }
}

/// A number of bytes in the unit that suits it.
#[expect(clippy::cast_precision_loss, reason = "one decimal of it is shown")]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return count(bytes, "byte");
    }
    let mut value = bytes as f64;
    let mut unit = "KiB";
    for next in UNITS {
        value /= 1024.0;
        unit = next;
        if value < 1024.0 {
            break;
        }
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        assert_eq!(size(1), "1 byte");
        assert_eq!(size(512), "512 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(64 << 20), "64.0 MiB");
    }

    #[test]
    fn text_wraps_at_blanks() {
        let text = "word ".repeat(40);
        let wrapped = wrap(text.trim_end(), 9, 100);
        assert!(wrapped.lines().count() > 1);
        assert!(wrapped.lines().all(|line| line.width() <= 100));
        assert_eq!(wrapped.split_whitespace().count(), 40);
    }

    #[test]
    fn japanese_wraps_by_columns_and_never_begins_a_line_with_a_full_stop() {
        let text = "リモート デスクトップのリスナーは、現在のクライアントと TLS で合意できません。"
            .repeat(4);
        for width in 40..80 {
            let wrapped = wrap(&text, 9, width);
            for line in wrapped.lines().skip(1) {
                assert!(line.width() <= width, "{line}");
                assert!(!line.trim_start().starts_with(['。', '、', 'ー']), "{line}");
            }
            let joined: String = wrapped.split_whitespace().collect();
            assert_eq!(joined, text.split_whitespace().collect::<String>());
        }
    }

    #[test]
    fn labels_line_up_by_columns() {
        assert_eq!(pad("対象", 9).width(), 9);
        assert_eq!(pad("Target", 9).width(), 9);
    }

    #[test]
    fn tables_fit_and_keep_every_character() {
        let place =
            "HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Services\\TermService\\Start".repeat(2);
        let rows = vec![vec![
            Cow::from(&place),
            Cow::from("REG_DWORD 0x4"),
            Cow::from("REG_DWORD 0x3 これは長い値です"),
        ]];
        for width in [60, 80, 120, 200] {
            let table = table(&["場所", "Before", "After"], &rows, width);
            assert!(table.lines().all(|line| line.width() <= width), "{table}");
            let kept = |c: &char| !c.is_whitespace() && !"│┌┐└┘─═╞╡┆┊┈".contains(*c);
            let text: String = table.chars().filter(kept).collect();
            for c in place.chars() {
                assert!(text.contains(c));
            }
        }
    }
}
