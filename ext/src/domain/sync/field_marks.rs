//! The stamps of a record's fields: `{"phone":[stamp,"BSOC",17]}`, a field's newest change, where it was made, and the
//! number that it has in the database that says so. Fields that are not named are as they were created.

use super::decide::Mark;
use crate::error::{Error, Result};
use crate::storage::stamp::MOST;
use std::collections::BTreeMap;

/// The stamps by field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldMarks(BTreeMap<String, FieldMark>);

/// One field's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldMark {
    /// The hybrid logical clock's.
    pub stamp: i64,
    /// Code of the site.
    pub site: String,
    /// Number of the change in the database; None for one that is being made.
    pub seq: Option<i64>,
}

impl FieldMarks {
    /// Reads them.
    ///
    /// # Errors
    /// [`Error::Argument`] where the text is nothing of the kind.
    pub fn read(json: &str) -> Result<FieldMarks> {
        let read: BTreeMap<String, (i64, String, i64)> = serde_json::from_str(json)
            .map_err(|error| Error::Argument(format!("its fields cannot be read: {error}")))?;
        if let Some((field, (stamp, ..))) =
            read.iter().find(|(_, (stamp, ..))| !(0..=MOST).contains(stamp))
        {
            return Err(Error::Argument(format!(
                "its field {field} has {stamp}, which is no stamp"
            )));
        }
        let mark = |(field, (stamp, site, seq))| (field, FieldMark { stamp, site, seq: Some(seq) });
        Ok(FieldMarks(read.into_iter().map(mark).collect()))
    }

    /// Writes them; `next` is the number of the change that is being made.
    pub fn to_json(&self, next: i64) -> String {
        let fields: BTreeMap<&String, (i64, &String, i64)> = self
            .0
            .iter()
            .map(|(field, mark)| (field, (mark.stamp, &mark.site, mark.seq.unwrap_or(next))))
            .collect();
        serde_json::to_string(&fields).unwrap_or_default()
    }

    /// A field's.
    pub fn get(&self, field: &str) -> Option<&FieldMark> {
        self.0.get(field)
    }

    /// Gives a field another one, or leaves it as it was created.
    pub fn set(&mut self, field: &str, mark: Option<FieldMark>) {
        match mark {
            Some(mark) => drop(self.0.insert(field.to_owned(), mark)),
            None => drop(self.0.remove(field)),
        }
    }

    /// Theirs, with the numbers that changes have here: known ones keep theirs, others are those of the change being made.
    pub fn renumbered(mut self, ours: &FieldMarks) -> FieldMarks {
        for (field, mark) in &mut self.0 {
            let known = ours.get(field).filter(|known| known.mark().is(&mark.mark()));
            mark.seq = known.and_then(|known| known.seq);
        }
        self
    }
}

impl FieldMark {
    /// What orders it.
    pub fn mark(&self) -> Mark<'_> {
        Mark { stamp: self.stamp, site: &self.site }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_read_back_and_get_the_numbers_of_this_database() {
        let ours = FieldMarks::read(r#"{"name":[5,"ASOC",3],"phone":[6,"BSOC",4]}"#).unwrap();
        let theirs = FieldMarks::read(r#"{"name":[5,"asoc",70],"phone":[7,"BSOC",80]}"#).unwrap();
        let taken = theirs.renumbered(&ours);
        assert_eq!(taken.to_json(9), r#"{"name":[5,"asoc",3],"phone":[7,"BSOC",9]}"#);
        assert!(FieldMarks::read("7").is_err());
        assert!(FieldMarks::read(r#"{"name":[9223372036854775807,"ASOC",3]}"#).is_err());
    }
}
