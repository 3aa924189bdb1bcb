//! Which databases exchange flows, and which of them this one is.

use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::storage::site_store::{Role, SiteStore};

/// Characters of a site's code at most.
const LONGEST_CODE: usize = 32;

impl Talon {
    /// Registers a site, or gives one another name; gives its code.
    ///
    /// # Errors
    /// [`Error::Argument`] for what is no code or role, a second central, or a site that would change its role.
    pub fn register_site(
        &self,
        schema: &str,
        code: &str,
        role: &str,
        name: Option<&str>,
    ) -> Result<String> {
        check_code(code)?;
        let role = Role::from_text(role).ok_or_else(|| {
            Error::Argument(format!("{role:?} is no role: a site is 'central' or 'remote'"))
        })?;
        self.with_tables(schema, |store| {
            if let Some(known) = store.by_code(code)? {
                if known.role != role {
                    return Err(Error::Argument(format!(
                        "{} is {}, and stays so: register another site",
                        known.code,
                        known.role.text()
                    )));
                }
                if let Some(name) = name {
                    store.rename(known.id, name)?;
                }
                return Ok(known.code);
            }
            if let (Role::Central, Some(central)) = (role, store.central()?) {
                return Err(Error::Argument(format!(
                    "{} is central already, and there is one: {code} can be 'remote'",
                    central.code
                )));
            }
            store.insert(code, role, name)?;
            Ok(code.to_owned())
        })
    }

    /// Says, once, which site this database is; gives its code.
    ///
    /// # Errors
    /// [`Error::Argument`] where it is another one already, and has work in it.
    pub fn set_origin(&self, schema: &str, code: &str) -> Result<String> {
        self.with_tables(schema, |store| {
            let site = match store.by_code(code)? {
                Some(site) => site,
                None => return Err(unknown_site(store, code)?),
            };
            match store.own()? {
                Some(own) if own.id == site.id => return Ok(own.code),
                Some(own) if store.has_work()? => {
                    return Err(Error::Argument(format!(
                        "this database is {}, and has changes or flows of its own: it stays {}; \
                         begin {} on a database of its own",
                        own.code, own.code, site.code
                    )));
                }
                _ => {}
            }
            store.set_own(site.id)?;
            self.tell_all(schema)?;
            Ok(site.code)
        })
    }

    /// Runs `work` on the sites of a file that has Talon's tables, or gets them for it.
    fn with_tables(
        &self,
        schema: &str,
        work: impl FnOnce(&SiteStore<'_>) -> Result<String>,
    ) -> Result<String> {
        if !self.has_schema(schema)? {
            return Err(Error::UnknownSchema(schema.to_owned()));
        }
        let _lifted = self.connection.lift_limits();
        self.declaring(schema, || self.have_tables(schema).map(drop))?;
        self.discover()?;
        self.atomically(schema, || work(&SiteStore::new(self.connection, schema)))
    }
}

/// An error that names the sites there are.
///
/// # Errors
/// What SQLite reports.
pub fn unknown_site(store: &SiteStore<'_>, code: &str) -> Result<Error> {
    let known: Vec<String> = store.all()?.into_iter().map(|site| site.code).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Ok(Error::UnknownSite { code: code.to_owned(), known })
}

/// A code is part of names of flows and of files everywhere.
pub(super) fn check_code(code: &str) -> Result<()> {
    let is_fit = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let starts = code.starts_with(|character: char| character.is_ascii_alphanumeric());
    if starts && code.len() <= LONGEST_CODE && code.chars().all(is_fit) {
        return Ok(());
    }
    Err(Error::Argument(format!(
        "{code:?} is no code for a site: up to {LONGEST_CODE} of A-Z, 0-9, '-', '_' and '.', the first a letter or digit"
    )))
}
