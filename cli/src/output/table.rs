//! Tables for people.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};

/// Width of a terminal nobody told us about.
const WIDTH_DEFAULT: u16 = 110;
/// Shortest room for one of many cells, in characters.
const CELL_MIN: usize = 16;

/// A table with a head; columns named in `right` are aligned to the right.
pub fn table<const N: usize>(head: [&str; N], right: &[&str]) -> Table {
    with_head(&head, right)
}

/// Like [`table`], for a head that is known only at run time.
pub fn with_head(head: &[&str], right: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width())
        .set_header(head);
    for (name, column) in head.iter().zip(table.column_iter_mut()) {
        if right.contains(name) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Characters for each of `cells` cells that share a line with `taken` others.
pub fn room(cells: usize, taken: usize) -> usize {
    // Three characters of frame and padding go with each cell.
    let left = usize::from(width()).saturating_sub(taken + 1 + 3 * cells);
    (left / cells.max(1)).max(CELL_MIN)
}

/// Text cut to a number of characters, on one line.
pub fn cut_to(text: &str, max: usize) -> String {
    let plain: String = text
        .chars()
        .take(max + 1)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if plain.chars().count() <= max {
        return plain;
    }
    let mut short: String = plain.chars().take(max - 1).collect();
    short.push('…');
    short
}

/// A number with a space between thousands.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// Bytes in the largest binary unit that leaves at least 1.
pub fn bytes(number: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{number} B")
    } else {
        format!("{value:.1} {}", units[unit])
    }
}

fn width() -> u16 {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    columns.filter(|width| *width >= 40).unwrap_or(WIDTH_DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_and_stays_on_one_line() {
        assert_eq!(cut_to("dog\nhound", 20), "dog hound");
        assert_eq!(cut_to("häuser", 4), "häu…");
        assert_eq!(cut_to("four", 4), "four");
    }

    #[test]
    fn cells_share_the_line() {
        assert_eq!(room(2, 10), (usize::from(width()) - 11 - 6) / 2);
        assert_eq!(room(50, 30), CELL_MIN);
        assert!(room(0, 0) >= CELL_MIN);
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(5), "5");
        assert_eq!(thousands(5_000), "5 000");
        assert_eq!(thousands(116_659_000), "116 659 000");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(3 << 20), "3.0 MiB");
    }

    #[test]
    fn tables_hold_what_was_put_in() {
        let mut table = table(["id", "score"], &["score"]);
        table.add_row(["10734", "0.5"]);
        let text = table.to_string();
        assert!(text.contains("10734") && text.contains("score"), "{text}");
    }
}
