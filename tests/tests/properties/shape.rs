//! Shapes of hosts: everything that a guard can be declared over, drawn.

use proptest::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    Rowid,
    /// A rowid at the ends of its range, where SQLite cannot count on.
    RowidExtreme,
    BigInt,
    Text,
    TextNoCase,
    Blob,
    Composite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    None,
    Immediate,
    Cascade,
    Deferred,
}

/// How kinds share tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    None,
    /// Two header tables, one lines table, told apart by `lines.where`.
    LinesByWhere,
    /// Two header tables, one lines table with a foreign key to each: a line may belong to both.
    LinesByTwoLinks,
    /// Two kinds in one header table.
    Header,
    /// Header and lines in one table.
    OneTable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKey {
    Rowid,
    Text,
    Composite,
}

#[derive(Debug, Clone)]
pub struct Shape {
    pub key: KeyKind,
    pub reference: Reference,
    pub sharing: Sharing,
    pub line_key: LineKey,
    pub payments: bool,
    pub taxes_of_lines: bool,
    pub extra_beside: bool,
    pub header_where: bool,
    pub lines_where: bool,
    pub without_rowid: bool,
    pub strict: bool,
    pub generated: bool,
    pub number_replaces: bool,
    pub odd_names: bool,
    pub recursive_triggers: bool,
    pub baseline: bool,
}

impl Shape {
    pub fn any() -> impl Strategy<Value = Shape> {
        use prop::sample::select;
        let keys = vec![
            KeyKind::Rowid,
            KeyKind::RowidExtreme,
            KeyKind::BigInt,
            KeyKind::Text,
            KeyKind::TextNoCase,
            KeyKind::Blob,
            KeyKind::Composite,
        ];
        let references =
            vec![Reference::None, Reference::Immediate, Reference::Cascade, Reference::Deferred];
        let sharings = prop_oneof![
            4 => Just(Sharing::None),
            1 => Just(Sharing::LinesByWhere),
            1 => Just(Sharing::LinesByTwoLinks),
            1 => Just(Sharing::Header),
            1 => Just(Sharing::OneTable),
        ];
        let line_keys = vec![LineKey::Rowid, LineKey::Text, LineKey::Composite];
        let tables = (select(keys), select(references), sharings, select(line_keys));
        (tables, any::<[bool; 12]>()).prop_map(|((key, reference, sharing, line_key), flags)| {
            let one_table = sharing == Sharing::OneTable;
            let two_links = sharing == Sharing::LinesByTwoLinks;
            let taxes_of_lines = flags[1] && !one_table;
            Shape {
                key: if one_table { KeyKind::Rowid } else { key },
                reference: if sharing == Sharing::LinesByWhere {
                    Reference::None
                } else {
                    reference
                },
                sharing,
                line_key: if two_links || taxes_of_lines && line_key == LineKey::Composite {
                    LineKey::Rowid
                } else {
                    line_key
                },
                payments: flags[0],
                taxes_of_lines,
                extra_beside: flags[2],
                header_where: flags[3],
                lines_where: flags[4],
                without_rowid: flags[5] && !one_table,
                strict: flags[6],
                generated: flags[7],
                number_replaces: flags[8] && !one_table,
                odd_names: flags[9],
                recursive_triggers: flags[10],
                baseline: flags[11],
            }
        })
    }
}
