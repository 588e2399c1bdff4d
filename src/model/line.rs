//! A text from elsewhere as it stands in a message: one line, and no longer than somebody reads.
//!
//! What a service or a person wrote may hold line breaks, escape sequences of a terminal or megabytes. In a log it must neither look like
//! a line of the job's own nor hide what stands there. It is for showing only: what is compared or sent is the text itself.

/// The longest line of a report, in characters: more than the longest trust policy has.
pub const LONGEST_LINE: usize = 16 * 1024;

/// `1 action`, `2 actions`.
#[must_use]
pub fn counted(count: usize, thing: &str) -> String {
    match (count, thing.strip_suffix('y')) {
        (1, _) => format!("1 {thing}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {thing}s"),
    }
}

/// A text without characters that break the line or hide what stands there.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The same, of this many characters at most; `…` stands for the rest.
#[must_use]
pub fn bounded(text: &str, longest: usize) -> String {
    let end = text.char_indices().nth(longest).map_or(text.len(), |(end, _)| end);
    let line = one_line(&text[..end]);
    match line.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if end < text.len() => format!("{line}…"),
        None => line,
    }
}

/// Control characters, line separators, and what turns the direction or has no width.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_the_line_or_hide_is_written_out() {
        assert_eq!(one_line("a\nb\r\u{1b}[31m\u{202e}\u{200b}é"), "a\\nb\\r\\u{1b}[31m\\u{202e}\\u{200b}é");
    }

    #[test]
    fn a_text_of_any_length_is_cut_after_it_was_written_out() {
        assert_eq!(bounded("abc", 3), "abc");
        assert_eq!(bounded("abcd", 3), "abc…");
        assert_eq!(bounded("\n\n", 3), "\\n\\…");
        assert_eq!(bounded(&"\u{1b}".repeat(1 << 20), 100).chars().count(), 101);
    }
}
