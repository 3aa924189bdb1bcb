//! The `sync` part of a definition: who owns what, which way it travels, what a site gets.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which way the changes of a kind travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From remotes to central only.
    Up,
    /// From central to remotes only.
    Down,
    /// Both ways.
    Both,
}

impl Direction {
    /// As a definition says it.
    pub fn text(self) -> &'static str {
        match self {
            Direction::Up => "up",
            Direction::Down => "down",
            Direction::Both => "both",
        }
    }
}

/// Who may change a piece or record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The site that created it.
    Origin,
    /// Central.
    Central,
    /// The site that created it, or central.
    Either,
    /// Every site.
    Anyone,
}

/// What is compared when two sites have changed the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Merge {
    /// The whole piece or record: the later change wins.
    Row,
    /// Each field of a record: the later change of that field wins.
    Field,
}

/// What a key says at other sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keys {
    /// Each site numbers by itself: a key that is taken is translated.
    Translated,
    /// The same key is the same piece or record everywhere.
    Shared,
}

/// The cases that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Customers and prospects: both ways, by anyone, the last writer of each field wins.
    Customer,
    /// Articles and tariffs: from central only.
    Article,
    /// Pieces: their emitter or central changes them; once sent and accepted the remote no longer may.
    Piece,
    /// Till closings: only the site that opened it closes it.
    Till,
}

/// `"sync"` as it is written: an object, or the name of a preset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyDefinition {
    /// What holds where nothing else is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// `both` where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Where left out, who may is who sends: `central` downwards, `origin` upwards, else `anyone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// `row` where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<Merge>,
    /// Whether a remote may no longer change what central has; `false` where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<bool>,
    /// Which ones a remote may create: an SQL condition over the header `h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Which ones a site gets: an SQL condition over the header `h` with `:site`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// `translated` where left out and that can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
    /// Columns (`column` of the header, `part.column` of another part) that hold keys of another kind though no foreign
    /// key says so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub references: BTreeMap<String, Holds>,
}

/// What a column holds: keys of a kind, `kind` for its header, `kind.part` for another part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "\"kind\", \"kind.part\", or an object of these by the text before the key"
)]
pub enum Holds {
    /// Integers.
    Keys(String),
    /// Texts: a key behind a text that says of which kind it is.
    Texts(BTreeMap<String, String>),
}

/// What a definition's `sync` comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Which way changes travel.
    pub direction: Direction,
    /// Who may change.
    pub owner: Owner,
    /// What is compared when two sites have changed the same.
    pub merge: Merge,
    /// Whether a remote may no longer change what central has.
    pub freeze: bool,
    /// Which ones a remote may create.
    pub when: Option<String>,
    /// Which ones a site gets.
    pub filter: Option<String>,
    /// What a key says at other sites.
    pub keys: Keys,
    /// Columns that hold keys of another kind though no foreign key says so.
    pub references: Vec<Declared>,
}

/// A column that holds keys of another kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The part that it is a column of: `header`, `lines` or a detail's name.
    pub part: String,
    /// The column.
    pub column: String,
    /// The text before the key; None where it is an integer.
    pub prefix: Option<String>,
    /// The kind that it refers to.
    pub kind: String,
    /// The part of that kind.
    pub to_part: String,
}

impl PolicyDefinition {
    /// What it comes to, before it is held against a schema; `is_record` says what it is of, `translates` whether the
    /// header's key is one integer.
    ///
    /// # Errors
    /// What contradicts itself, and what would not.
    pub fn policy(&self, is_record: bool, translates: bool) -> Result<Policy, String> {
        let (direction, owner, merge, freeze) = match self.preset {
            Some(Preset::Customer) => {
                (Some(Direction::Both), Some(Owner::Anyone), Merge::Field, false)
            }
            Some(Preset::Article) => {
                (Some(Direction::Down), Some(Owner::Central), Merge::Row, false)
            }
            Some(Preset::Piece) => (Some(Direction::Both), Some(Owner::Either), Merge::Row, true),
            Some(Preset::Till) => (Some(Direction::Both), Some(Owner::Origin), Merge::Row, false),
            None => (None, None, Merge::Row, false),
        };
        let direction = self.direction.or(direction).unwrap_or(Direction::Both);
        let owner = self.owner.or(owner).unwrap_or(match direction {
            Direction::Down => Owner::Central,
            Direction::Up => Owner::Origin,
            Direction::Both => Owner::Anyone,
        });
        let merge = self.merge.unwrap_or(merge);
        let freeze = self.freeze.unwrap_or(freeze);
        if merge == Merge::Field && !is_record {
            return Err(
                "sync.merge: a piece is merged by \"row\": only records, which have no lines, are \
                        merged by \"field\""
                    .to_owned(),
            );
        }
        if direction == Direction::Down && owner != Owner::Central {
            return Err(
                "sync.owner: what only comes down is central's: \"owner\": \"central\", or \
                        another \"direction\""
                    .to_owned(),
            );
        }
        if direction == Direction::Up && owner == Owner::Central {
            return Err(
                "sync.owner: what only goes up is not central's: \"owner\": \"origin\", or \
                        another \"direction\""
                    .to_owned(),
            );
        }
        if freeze && (direction == Direction::Down || owner == Owner::Central) {
            return Err("sync.freeze: a remote changes none of these, there is nothing to freeze"
                .to_owned());
        }
        if self.keys == Some(Keys::Translated) && !translates {
            return Err(
                "sync.keys: only a key of one INTEGER column can be translated: \"shared\""
                    .to_owned(),
            );
        }
        let keys = self.keys.unwrap_or(if translates { Keys::Translated } else { Keys::Shared });
        Ok(Policy {
            direction,
            owner,
            merge,
            freeze,
            when: self.when.clone(),
            filter: self.filter.clone(),
            keys,
            references: self.references.iter().flat_map(declared).collect(),
        })
    }
}

fn declared((from, holds): (&String, &Holds)) -> Vec<Declared> {
    let (part, column) = from.split_once('.').unwrap_or(("header", from));
    let declared = |prefix: Option<&String>, to: &String| {
        let (kind, to_part) = to.split_once('.').unwrap_or((to, "header"));
        Declared {
            part: part.to_owned(),
            column: column.to_owned(),
            prefix: prefix.cloned(),
            kind: kind.to_owned(),
            to_part: to_part.to_owned(),
        }
    };
    match holds {
        Holds::Keys(to) => vec![declared(None, to)],
        Holds::Texts(texts) => {
            texts.iter().map(|(prefix, to)| declared(Some(prefix), to)).collect()
        }
    }
}

/// Reads `"sync"`: a preset's name is short for an object with that preset.
///
/// # Errors
/// What JSON or a misspelt word has to say.
pub fn read<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PolicyDefinition>, D::Error> {
    struct Written;
    impl<'de> Visitor<'de> for Written {
        type Value = PolicyDefinition;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str(
                "\"customer\", \"article\", \"piece\", \"till\", or an object with \"direction\", \"owner\", …",
            )
        }

        fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<PolicyDefinition, E> {
            let preset = Preset::deserialize(serde::de::value::StrDeserializer::new(name))?;
            Ok(PolicyDefinition { preset: Some(preset), ..PolicyDefinition::default() })
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PolicyDefinition, A::Error> {
            PolicyDefinition::deserialize(MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_any(Written).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Holder {
        #[serde(default, deserialize_with = "read")]
        sync: Option<PolicyDefinition>,
    }

    fn parsed(json: &str) -> Result<PolicyDefinition, String> {
        let holder: Result<Holder, _> = serde_json::from_str(&format!("{{\"sync\":{json}}}"));
        holder.map_err(|error| error.to_string()).map(|holder| holder.sync.unwrap_or_default())
    }

    fn policy(json: &str, is_record: bool, translates: bool) -> Result<Policy, String> {
        parsed(json)?.policy(is_record, translates)
    }

    #[test]
    fn presets_are_names_and_can_be_refined() {
        let customer = policy("\"customer\"", true, true).unwrap();
        assert_eq!((customer.owner, customer.merge), (Owner::Anyone, Merge::Field));
        let json = r#"{"preset":"piece","freeze":false,"filter":"h.site = :site"}"#;
        let piece = policy(json, false, true).unwrap();
        assert_eq!((piece.owner, piece.freeze), (Owner::Either, false));
        assert_eq!(piece.filter.as_deref(), Some("h.site = :site"));
    }

    #[test]
    fn who_may_is_who_sends_where_nothing_is_said() {
        let owner = |json: &str| policy(json, false, true).unwrap().owner;
        assert_eq!(owner(r#"{"direction":"down"}"#), Owner::Central);
        assert_eq!(owner(r#"{"direction":"up"}"#), Owner::Origin);
        assert_eq!(owner("{}"), Owner::Anyone);
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_what_would_not() {
        let refused = |json: &str| policy(json, false, false).unwrap_err();
        assert!(refused("\"customer\"").contains("only records"));
        assert!(refused(r#"{"direction":"down","owner":"origin"}"#).contains("\"central\""));
        assert!(refused(r#"{"direction":"up","owner":"central"}"#).contains("\"origin\""));
        assert!(refused(r#"{"owner":"central","freeze":true}"#).contains("nothing to freeze"));
        assert!(refused(r#"{"keys":"translated"}"#).contains("\"shared\""));
    }

    #[test]
    fn a_misspelt_word_is_named_with_what_would_fit() {
        assert!(parsed("\"costumer\"").unwrap_err().contains("`customer`"));
        assert!(parsed(r#"{"onwer":"central"}"#).unwrap_err().contains("`owner`"));
        assert!(parsed(r#"{"owner":"me"}"#).unwrap_err().contains("`anyone`"));
        assert!(parsed("7").unwrap_err().contains("\"piece\""));
    }

    #[test]
    fn keys_are_translated_where_that_can_be() {
        assert_eq!(policy("{}", false, true).unwrap().keys, Keys::Translated);
        assert_eq!(policy("{}", false, false).unwrap().keys, Keys::Shared);
    }

    #[test]
    fn references_name_parts_or_mean_the_header() {
        let json = r#"{"references":{"customer":"customer","lines.upstream":"order.lines",
            "origin":{"sale,":"sale","line,":"sale.lines"}}}"#;
        let found = policy(json, false, true).unwrap().references;
        let texts: Vec<_> = found
            .iter()
            .map(|one| {
                let prefix = one.prefix.as_deref().unwrap_or_default();
                format!("{}.{} {prefix}{}.{}", one.part, one.column, one.kind, one.to_part)
            })
            .collect();
        assert_eq!(
            texts,
            [
                "header.customer customer.header",
                "lines.upstream order.lines",
                "header.origin line,sale.lines",
                "header.origin sale,sale.header"
            ]
        );
        assert!(parsed(r#"{"references":{"origin":7}}"#).unwrap_err().contains("\"kind.part\""));
    }
}
