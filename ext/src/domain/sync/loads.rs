//! Loads: a remote site asks central for all that it is to have, or for what is newer than what it has.

use super::emit::{Answer, Mode, Order, own_site};
use super::sites::check_code;
use crate::domain::rules::Body;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::ValueRef;
use crate::storage::document::Load;
use crate::storage::flow_store::FlowStore;
use crate::storage::load_store::LoadStore;
use crate::storage::rule::{RuleType, TillDefinition};
use crate::storage::site_store::{Role, Site, SiteStore};
use crate::storage::till::{NAME, Till, fit_till};

impl Talon {
    /// Says by which query the till of a user is found, in place of one said before; gives the query.
    ///
    /// # Errors
    /// [`Error::Argument`] where it does not fit; nothing is changed then.
    pub fn declare_till(&self, schema: &str, query: &str) -> Result<String> {
        let definition = TillDefinition { query: query.to_owned() };
        self.look(schema, None)?;
        let place = self.database_place(schema)?;
        let schema = self.databases()?[place].schema.clone();
        let declared = self.declaring(&schema, || {
            let mut databases = self.databases()?;
            let database = &mut databases[place];
            self.upgrade_tables(database)?;
            let till = fit_till(self.connection, &database.schema, &definition)?;
            let json = serde_json::to_string(&definition).unwrap_or_default();
            database.put_rule(NAME, RuleType::Till, &json)?;
            Ok(till.query)
        });
        declared.map_err(|error| match error {
            Error::Definition { problem, .. } => Error::Argument(problem),
            other => other,
        })
    }

    /// Asks central for a load; gives the row of the flow that does.
    ///
    /// # Errors
    /// [`Error::Argument`] where it is not said which till this is, or contradicts what was said before, and at central.
    pub fn load(&self, schema: &str, user: ValueRef<'_>, load: Load) -> Result<i64> {
        self.durably(schema, || {
            let place = self.database_to_write(schema)?;
            self.declaring(schema, || {
                let central = self.site_to_load(place, schema, user)?;
                let schema = self.databases()?[place].schema.clone();
                let loads = LoadStore::new(self.connection, &schema);
                let sites = SiteStore::new(self.connection, &schema);
                let own = own_site(&sites)?;
                if central.number_out == 0 && central.applied == 0 && central.number_in == 0 {
                    // The till may have had another database before, which central knows.
                    FlowStore::new(self.connection, &schema).begin_anew(own.incarnation)?;
                    loads.begin_first()?;
                }
                loads.ask(load)?;
                let order = Order { mode: Mode::Changes, answer: Answer::Now, answers: None };
                self.emit_flow(place, &central.code, &order)
            })
        })
    }

    /// Sees which site loads, and says so where it was not said before; gives the central one.
    fn site_to_load(&self, place: usize, schema: &str, user: ValueRef<'_>) -> Result<Site> {
        let refused = |problem: String| Err(Error::Argument(problem));
        let sites = SiteStore::new(self.connection, schema);
        let own = sites.own()?;
        if let Some(own) = own.as_ref().filter(|own| own.role == Role::Central) {
            return refused(format!("{} is the central site: remote ones load from it", own.code));
        }
        let Some(central) = sites.central()? else {
            return refused("no site is central: SELECT talon_site(code, 'central')".to_owned());
        };
        let till = self.till_query(place)?;
        match (till, own) {
            (None, _) if !user.is_null() => refused(format!(
                "no query says which till {user} has: SELECT talon_till('SELECT … = :user'), or load with NULL in place of \
                 the user once talon_origin was said"
            )),
            (None, None) => refused(
                "this database has not said which site it is: SELECT talon_origin(code), or talon_till(query) and load as \
                 a user"
                    .to_owned(),
            ),
            (None, Some(_)) => Ok(central),
            (Some(till), own) => {
                let code = self.till_of(&till, user)?;
                match own {
                    Some(own) if own.code.eq_ignore_ascii_case(&code) => {}
                    Some(own) => {
                        return refused(format!(
                            "this database is {}, and the till of {user} is {code}: load as a user of {}, or on a \
                             database of {code}'s",
                            own.code, own.code
                        ));
                    }
                    None => {
                        check_code(&code)?;
                        match sites.by_code(&code)? {
                            Some(site) if site.role == Role::Central => {
                                return refused(format!(
                                    "the till of {user} is {}, which is the central site: tills are remote ones",
                                    site.code
                                ));
                            }
                            Some(_) => {}
                            None => sites.insert(&code, Role::Remote, None)?,
                        }
                        self.set_origin(schema, &code)?;
                    }
                }
                Ok(central)
            }
        }
    }

    /// The query that was declared, where one was.
    fn till_query(&self, place: usize) -> Result<Option<Till>> {
        let mut databases = self.databases()?;
        let database = &mut databases[place];
        database.refresh()?;
        let rules = database.rules()?;
        let Some(rule) = rules.into_iter().find(|rule| rule.is(RuleType::Till)) else {
            return Ok(None);
        };
        match &rule.body {
            Ok(Body::Till(till)) => Ok(Some(till.clone())),
            Ok(_) => Ok(None),
            Err(problem) => Err(Error::Argument(format!(
                "the query of the tills does not fit any more: {problem}; say it anew with talon_till"
            ))),
        }
    }

    /// The till of a user.
    fn till_of(&self, till: &Till, user: ValueRef<'_>) -> Result<String> {
        let query = &till.query;
        let failed = |failure: crate::sqlite::Failure| {
            let error = Error::Sqlite(failure);
            if error.is_fatal() {
                return error;
            }
            Error::Argument(format!("{query:?} fails for {user}: {error}"))
        };
        let mut statement = self.connection.prepare(&till.composed).map_err(failed)?;
        let values = [user];
        let count = statement.parameters().len().min(values.len());
        let mut found: Option<String> = None;
        let mut rows = statement.query(&values[..count]).map_err(failed)?;
        while rows.next().map_err(failed)? {
            let code = match rows.column(0) {
                ValueRef::Null => continue,
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                ValueRef::Integer(number) => number.to_string(),
                _ => {
                    return Err(Error::Argument(format!(
                        "{query:?} gives no code of a site for {user}"
                    )));
                }
            };
            match &found {
                Some(other) if !other.eq_ignore_ascii_case(&code) => {
                    return Err(Error::Argument(format!(
                        "{user} has several tills by {query:?}: {other}, {code}"
                    )));
                }
                Some(_) => {}
                None => found = Some(code),
            }
        }
        found.ok_or_else(|| Error::Argument(format!("{user} has no till by {query:?}")))
    }
}
