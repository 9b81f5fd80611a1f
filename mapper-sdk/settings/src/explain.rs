//! Puts an error of the parser into words: the place first, then what was probably meant.

/// Says where, and adds the key that was probably meant.
pub fn explain(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let Some(at) = error.location() else { return text };
    let (line, column) = (at.line(), at.column());
    // The library names the place last; a reader, and an editor, look for it first.
    let said = text.trim_end_matches(&format!(" at line {line}, column {column}"));
    let meant = unknown_key(said).and_then(|(given, known)| nearest(given, &known));
    let hint = meant.map(|key| format!("; did you mean \"{key}\"?")).unwrap_or_default();
    format!("line {line}, column {column}: {said}{hint}")
}

/// Takes serde's sentence about an unknown field apart: the key, and those that would do.
fn unknown_key(text: &str) -> Option<(&str, Vec<&str>)> {
    let rest = &text[text.find("unknown field")?..];
    let given = rest.split('`').nth(1)?;
    let known = rest.split_once("expected ")?.1.trim_start_matches("one of ");
    Some((given, known.split(", ").map(|word| word.trim_matches('`')).collect()))
}

/// The known word closest to `given`, if it is close enough to be a slip.
pub fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |word: &str| strsim::levenshtein(&given.to_lowercase(), &word.to_lowercase());
    known.iter().copied().map(|word| (distance(word), word)).min().and_then(|(steps, word)| {
        let limit = (word.len() / 3).max(1) + 1;
        (steps <= limit).then_some(word)
    })
}
