//! The model: every value that was committed anywhere, and which one its writer had before its eyes.

use std::collections::{BTreeMap, BTreeSet};

/// One committed change of a register: a customer's field, or a whole document.
#[derive(Debug)]
struct Write {
    register: String,
    /// Which site wrote it.
    site: usize,
    /// Somebody wrote over it who saw it.
    is_superseded: bool,
}

/// All of them, by the value written, which no two share.
#[derive(Debug, Default)]
pub struct History {
    writes: BTreeMap<String, Write>,
    deleted: BTreeSet<String>,
}

impl History {
    /// A value that nobody has written yet.
    pub fn token(&self) -> String {
        self.token_after(0)
    }

    /// The one after `others` more of them.
    pub fn token_after(&self, others: usize) -> String {
        format!("w{}.", self.writes.len() + 1 + others)
    }

    /// A site committed a value in place of what it saw.
    pub fn wrote(&mut self, site: usize, register: &str, token: &str, saw: Option<&str>) {
        if let Some(seen) = saw.and_then(|saw| self.writes.get_mut(saw)) {
            seen.is_superseded = true;
        }
        let write = Write { register: register.to_owned(), site, is_superseded: false };
        self.writes.insert(token.to_owned(), write);
    }

    /// A site deleted a document while it saw a value.
    pub fn deleted(&mut self, register: &str, saw: Option<&str>) {
        if let Some(seen) = saw.and_then(|saw| self.writes.get_mut(saw)) {
            seen.is_superseded = true;
        }
        self.deleted.insert(register.to_owned());
    }

    /// Registers that nobody has deleted.
    pub fn living(&self) -> BTreeSet<&str> {
        let registers = self.writes.values().map(|write| write.register.as_str());
        registers.filter(|register| !self.deleted.contains(*register)).collect()
    }

    /// How many values were committed.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// What does not hold at the end: a value that nobody wrote over knowingly must stand, or be listed. `stands` is what
    /// each register came to, `is_listed` whether a value is one that lost a conflict or is in quarantine, `is_aside` whether
    /// a change or deletion of the register is in quarantine.
    pub fn problems(
        &self,
        stands: &BTreeMap<String, String>,
        is_listed: &dyn Fn(&str) -> bool,
        is_aside: &dyn Fn(&str) -> bool,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        for (token, write) in &self.writes {
            let standing = stands.get(&write.register).map(String::as_str);
            let is_standing = standing == Some(token);
            if !write.is_superseded && !is_standing && !is_listed(token) {
                problems.push(format!(
                    "{token}, which site {} wrote to {}, vanished: {} stands there, and it is in no list",
                    write.site,
                    write.register,
                    standing.unwrap_or("nothing")
                ));
            }
            let stands_rightly =
                !write.is_superseded || self.has_listed_leaf(&write.register, is_listed);
            if is_standing && !stands_rightly && !is_aside(&write.register) {
                problems.push(format!(
                    "{token} stands in {}, though it was written over by somebody who saw it",
                    write.register
                ));
            }
        }
        problems
    }

    /// Whether something written to a register later on is listed: then what stands there may be older.
    fn has_listed_leaf(&self, register: &str, is_listed: &dyn Fn(&str) -> bool) -> bool {
        self.writes.iter().any(|(token, write)| {
            write.register == register && !write.is_superseded && is_listed(token)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Site 1 wrote `w1.`, which site 1 wrote over with `w2.` and site 2, that saw the same, with `w3.`.
    fn at_odds() -> History {
        let mut history = History::default();
        for (site, token, saw) in
            [(1, "w1.", None), (1, "w2.", Some("w1.")), (2, "w3.", Some("w1."))]
        {
            assert_eq!(history.token(), token);
            history.wrote(site, "customer c1 name", token, saw);
        }
        history
    }

    fn problems(history: &History, standing: &str, listed: &[&str]) -> Vec<String> {
        let stands = BTreeMap::from([("customer c1 name".to_owned(), standing.to_owned())]);
        history.problems(&stands, &|token| listed.contains(&token), &|_| false)
    }

    #[test]
    fn of_values_at_odds_one_stands_and_the_other_is_listed() {
        let history = at_odds();
        assert_eq!(problems(&history, "w3.", &["w2."]), [""; 0]);
        assert_eq!(problems(&history, "w2.", &["w3."]), [""; 0]);
        let vanished = "w2., which site 1 wrote to customer c1 name, vanished: w3. stands there, and it is in no list";
        assert_eq!(problems(&history, "w3.", &[]), [vanished]);
    }

    #[test]
    fn what_was_written_over_knowingly_stands_only_where_what_came_after_is_listed() {
        let mut history = at_odds();
        assert_eq!(problems(&history, "w1.", &["w2.", "w3."]), [""; 0]);
        history.wrote(2, "customer c1 name", "w4.", Some("w2."));
        history.wrote(2, "customer c1 name", "w5.", Some("w3."));
        let found = problems(&history, "w1.", &[]);
        assert_eq!(found.len(), 3, "{found:?}");
        let stands =
            "w1. stands in customer c1 name, though it was written over by somebody who saw it";
        assert_eq!(found[0], stands);
    }

    #[test]
    fn what_was_deleted_is_not_living_and_what_was_changed_meanwhile_is_to_be_listed() {
        let mut history = at_odds();
        assert_eq!(Vec::from_iter(history.living()), ["customer c1 name"]);
        history.deleted("customer c1 name", Some("w2."));
        assert_eq!(history.living().len(), 0);
        let left = history.problems(&BTreeMap::new(), &|_| false, &|_| false);
        let vanished = "w3., which site 2 wrote to customer c1 name, vanished: nothing stands there, and it is in no list";
        assert_eq!(left, [vanished]);
    }
}
