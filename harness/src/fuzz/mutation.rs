//! Inputs made from other inputs: bytes flipped, cut, doubled, put together, and words that mean something.

use fastrand::Rng;

/// What JSON and SQL have a meaning for.
const WORDS: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    ":",
    ",",
    "null",
    "true",
    "-0.0",
    "1e999",
    "9223372036854775807",
    "-9223372036854775809",
    "0.1",
    "NULL",
    "x''",
    "zeroblob(100000)",
    "char(0)",
    "\\u0000",
    "\\ud800",
    "\"header\"",
    "\"lines\"",
    "\"details\"",
    "\"table\"",
    "\"where\"",
    "\"key\"",
    "\"piece\"",
    "\"of\"",
    "\"blob\"",
    "\"real\"",
    "\"text\"",
    "sale_piece",
    "sale_line",
    "'main'",
    "'temp'",
    "(",
    ")",
    ";",
    "talon_piece",
];
/// Longer inputs are cut.
const MOST_BYTES: usize = 20_000;

/// A new input, from one of the corpus and perhaps a second.
pub fn mutated(random: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let any = |random: &mut Rng| corpus[random.usize(..corpus.len())].clone();
    let mut input = any(random);
    for _ in 0..random.u8(1..=4) {
        let at = random.usize(..=input.len());
        let end = random.usize(at..=input.len().min(at + 16));
        match random.u8(..8) {
            0 if at < input.len() => input[at] ^= 1 << random.u8(..8),
            1 => drop(input.drain(at..end)),
            2 => {
                let piece = input[at..end].repeat(random.usize(1..40));
                input.splice(at..at, piece);
            }
            3 => {
                let other = any(random);
                let from = random.usize(..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            4 => drop(input.splice(at..end, [random.u8(..)])),
            _ => {
                let word = WORDS[random.usize(..WORDS.len())];
                drop(input.splice(at..end, word.bytes()));
            }
        }
    }
    input.truncate(MOST_BYTES);
    input
}
