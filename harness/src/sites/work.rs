//! What people do at a site, and what the rules must keep them from.

use super::history::History;
use super::site::Site;
use crate::vfs::Failure;
use fastrand::Rng;

/// People at work: what they have before their eyes, and what they make of it.
pub struct Work<'a> {
    pub site: &'a Site,
    pub random: &'a mut Rng,
    pub history: &'a mut History,
    /// Documents made so far, so that each has a name of its own.
    pub made: &'a mut u64,
    /// What happened, for whoever looks into a seed that fails.
    pub log: &'a mut Vec<String>,
}

/// A document that somebody picked.
struct Seen {
    id: i64,
    tag: String,
    value: Option<String>,
}

impl Work<'_> {
    /// One piece of work.
    ///
    /// # Errors
    /// A text that says which rule did not hold, or what SQLite reported that it should not.
    pub fn one(&mut self) -> Result<(), String> {
        let central = self.site.is_central();
        match (central, self.random.u8(..100)) {
            (false, 0..45) | (true, 0..15) => self.new_sale(),
            (_, 45..60) => self.edit_sale(),
            (false, 60..68) | (true, 60..64) => self.new_customer(),
            (_, 68..82) => self.edit_customer(),
            (true, 15..45) | (false, 94..96) => self.article(),
            (_, 82..86) => self.delete_sale(),
            (false, 86..90) => self.new_closing(),
            (_, 86..94) => self.edit_closing(),
            (_, 96..98) => self.reserve(),
            _ => self.release(),
        }
    }

    fn tag(&mut self, what: &str) -> String {
        *self.made += 1;
        format!("{}-{what}{}", self.site.code(), self.made)
    }

    fn pick(&mut self, sql: &str) -> Result<Option<Seen>, String> {
        let rows = self.site.query(sql).map_err(|failure| format!("{sql}: {failure}"))?;
        if rows.is_empty() {
            return Ok(None);
        }
        let row = &rows[self.random.usize(..rows.len())];
        Ok(Some(Seen {
            id: row[0].integer().unwrap_or(0),
            tag: row[1].text().unwrap_or_default().to_owned(),
            value: row.get(2).and_then(|value| value.text()).map(str::to_owned),
        }))
    }

    /// Commits, and tells the model; `Ok(false)` where Talon refused it.
    fn commit(&mut self, statements: &[String]) -> Result<bool, String> {
        match self.site.transaction(statements) {
            Ok(()) => {
                self.log.push(format!("{}: {}", self.site.code(), statements.join("; ")));
                Ok(true)
            }
            Err(failure) if is_refusal(&failure) => {
                self.log.push(format!("{}: {failure}", self.site.code()));
                Ok(false)
            }
            Err(failure) => {
                Err(format!("{}: {}: {failure}", self.site.code(), statements.join("; ")))
            }
        }
    }

    fn wrote(&mut self, register: &str, token: &str, saw: Option<&str>) {
        self.history.wrote(self.site.place, register, token, saw);
    }

    /// What nothing may keep a site from.
    fn must_commit(&mut self, statements: &[String]) -> Result<(), String> {
        if !self.commit(statements)? {
            return Err(format!("{} could not: {}", self.site.code(), statements.join("; ")));
        }
        Ok(())
    }

    /// What must be refused everywhere but at its owners.
    fn must_refuse(&mut self, statement: String) -> Result<(), String> {
        if self.commit(std::slice::from_ref(&statement))? {
            return Err(format!("{} may not: {statement}", self.site.code()));
        }
        Ok(())
    }

    fn is_own(&self, tag: &str) -> bool {
        tag.starts_with(self.site.code())
    }

    fn new_sale(&mut self) -> Result<(), String> {
        let (tag, token) = (self.tag("s"), self.history.token());
        let count = self.random.usize(1..5);
        let customer = self.pick("SELECT id, tag FROM customer")?;
        let customer = customer.map_or("NULL".to_owned(), |customer| customer.id.to_string());
        let mut statements = vec![format!(
            "INSERT INTO sale(tag, rev, lines, customer_id) VALUES ('{tag}', '{token}', {count}, {customer})"
        )];
        for line in 0..count {
            statements.push(self.new_line(&tag, &token, line)?);
        }
        self.must_commit(&statements)?;
        self.wrote(&format!("sale {tag}"), &token, None);
        Ok(())
    }

    fn new_line(&mut self, sale: &str, token: &str, line: usize) -> Result<String, String> {
        let reference =
            |seen: Option<Seen>| seen.map_or("NULL".to_owned(), |seen| seen.id.to_string());
        let article = reference(self.pick("SELECT id, tag FROM article")?);
        let upstream = match self.random.u8(..4) {
            0 => reference(self.pick("SELECT id, tag FROM sale_line")?),
            _ => "NULL".to_owned(),
        };
        let quantity = f64::from(self.random.u8(1..40)) / 4.0;
        let name = format!("{sale}.{token}.{line}");
        Ok(format!(
            "INSERT INTO sale_line(sale_id, tag, rev, quantity, article_id, upstream_id)
             SELECT id, '{name}', '{token}', {quantity}, {article}, {upstream} FROM sale WHERE tag = '{sale}'"
        ))
    }

    fn edit_sale(&mut self) -> Result<(), String> {
        let Some(seen) = self.pick("SELECT id, tag, rev FROM sale")? else { return Ok(()) };
        let token = self.history.token();
        let id = seen.id;
        let mut statements = vec![
            format!("UPDATE sale SET rev = '{token}' WHERE id = {id}"),
            format!("UPDATE sale_line SET rev = '{token}' WHERE sale_id = {id}"),
        ];
        if self.random.bool() {
            statements.push(format!("UPDATE sale SET lines = lines + 1 WHERE id = {id}"));
            statements.push(self.new_line(&seen.tag, &token, 0)?);
        } else if self.random.bool() {
            // A line that nothing refers to.
            statements.push(format!(
                "DELETE FROM sale_line WHERE id = (SELECT max(l.id) FROM sale_line AS l WHERE l.sale_id = {id}
                 AND (SELECT count(*) FROM sale_line WHERE sale_id = {id}) > 1
                 AND NOT EXISTS (SELECT 1 FROM sale_line AS d WHERE d.upstream_id = l.id))"
            ));
            statements.push(format!(
                "UPDATE sale SET lines = (SELECT count(*) FROM sale_line WHERE sale_id = {id}) WHERE id = {id}"
            ));
        }
        let committed = self.commit(&statements)?;
        if committed && !self.site.is_central() && !self.is_own(&seen.tag) {
            return Err(format!("{} may not edit {}", self.site.code(), seen.tag));
        }
        if !committed && self.site.is_central() {
            return Err(format!("central could not edit {}", seen.tag));
        }
        if committed {
            self.wrote(&format!("sale {}", seen.tag), &token, seen.value.as_deref());
        }
        Ok(())
    }

    fn delete_sale(&mut self) -> Result<(), String> {
        let Some(seen) = self.pick(
            "SELECT id, tag, rev FROM sale AS s WHERE NOT EXISTS (
               SELECT 1 FROM sale_line AS l JOIN sale_line AS d ON d.upstream_id = l.id WHERE l.sale_id = s.id)",
        )?
        else {
            return Ok(());
        };
        let id = seen.id;
        let committed = self.commit(&[
            format!("DELETE FROM sale_line WHERE sale_id = {id}"),
            format!("DELETE FROM sale WHERE id = {id}"),
        ])?;
        if committed && !self.site.is_central() && !self.is_own(&seen.tag) {
            return Err(format!("{} may not delete {}", self.site.code(), seen.tag));
        }
        if committed {
            self.history.deleted(&format!("sale {}", seen.tag), seen.value.as_deref());
        }
        Ok(())
    }

    fn new_customer(&mut self) -> Result<(), String> {
        let tag = self.tag("c");
        let tokens = [0, 1, 2].map(|more| self.history.token_after(more));
        let [name, address, phone] = &tokens;
        self.must_commit(&[format!(
            "INSERT INTO customer(tag, name, address, phone) VALUES ('{tag}', '{name}', '{address}', '{phone}')"
        )])?;
        for (field, token) in ["name", "address", "phone"].iter().zip(&tokens) {
            self.wrote(&format!("customer {tag} {field}"), token, None);
        }
        Ok(())
    }

    fn edit_customer(&mut self) -> Result<(), String> {
        let field = ["name", "address", "phone"][self.random.usize(..3)];
        let Some(seen) = self.pick(&format!("SELECT id, tag, {field} FROM customer"))? else {
            return Ok(());
        };
        let token = self.history.token();
        let update = format!("UPDATE customer SET {field} = '{token}' WHERE id = {}", seen.id);
        self.must_commit(&[update])?;
        self.wrote(&format!("customer {} {field}", seen.tag), &token, seen.value.as_deref());
        Ok(())
    }

    /// Central makes articles and changes them; a remote may neither.
    fn article(&mut self) -> Result<(), String> {
        let seen = self.pick("SELECT id, tag, label FROM article")?;
        let token = self.history.token();
        let central = self.site.is_central();
        match seen {
            Some(seen) if !central || self.random.bool() => {
                let update = format!("UPDATE article SET label = '{token}' WHERE id = {}", seen.id);
                if !central {
                    return self.must_refuse(update);
                }
                self.must_commit(&[update])?;
                self.wrote(&format!("article {}", seen.tag), &token, seen.value.as_deref());
            }
            _ => {
                let tag = self.tag("a");
                let insert = format!("INSERT INTO article(tag, label) VALUES ('{tag}', '{token}')");
                if !central {
                    return self.must_refuse(insert);
                }
                self.must_commit(&[insert])?;
                self.wrote(&format!("article {tag}"), &token, None);
            }
        }
        Ok(())
    }

    fn new_closing(&mut self) -> Result<(), String> {
        let (tag, token) = (self.tag("k"), self.history.token());
        self.must_commit(&[format!("INSERT INTO closing(tag, rev) VALUES ('{tag}', '{token}')")])?;
        self.wrote(&format!("closing {tag}"), &token, None);
        Ok(())
    }

    /// Only where it was opened, not even at central.
    fn edit_closing(&mut self) -> Result<(), String> {
        let Some(seen) = self.pick("SELECT id, tag, rev FROM closing")? else { return Ok(()) };
        let token = self.history.token();
        let update = format!("UPDATE closing SET rev = '{token}' WHERE id = {}", seen.id);
        if !self.is_own(&seen.tag) {
            return self.must_refuse(update);
        }
        self.must_commit(&[update])?;
        self.wrote(&format!("closing {}", seen.tag), &token, seen.value.as_deref());
        Ok(())
    }

    fn reserve(&mut self) -> Result<(), String> {
        let Some(seen) = self.pick("SELECT id, tag FROM sale")? else { return Ok(()) };
        self.commit(&[format!("SELECT talon_edit_begin('sale', {})", seen.id)]).map(drop)
    }

    fn release(&mut self) -> Result<(), String> {
        let open = self.pick("SELECT piece, kind FROM talon_edits")?;
        let Some(seen) = open else { return Ok(()) };
        self.commit(&[format!("SELECT talon_edit_end('sale', {})", seen.id)]).map(drop)
    }
}

/// Talon refused it by a rule, and said so.
pub fn is_refusal(failure: &Failure) -> bool {
    failure.text.contains("talon") && matches!(failure.primary(), 1 | 19)
}
