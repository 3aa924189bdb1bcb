//! What a flow says beside its documents: how much of ours its sender has, which of our flows and documents it refused, which
//! sites there are. It is taken when the flow is applied.

use super::emit::own_site;
use crate::domain::database::Database;
use crate::error::Result;
use crate::sqlite::ValueRef;
use crate::storage::document::Head;
use crate::storage::flow_store::FlowStore;
use crate::storage::site_store::{Role, SiteStore};
use crate::storage::waiting::HOLD_REFUSED;

impl Database {
    /// Takes what the first line of a flow from `sender` says. Doing it again does nothing.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn take_head(&mut self, sender: i64, head: &Head, now_ms: i64) -> Result<()> {
        let schema = self.schema.clone();
        let flows = FlowStore::new(self.connection, &schema);
        let sites = SiteStore::new(self.connection, &schema);
        let own = own_site(&sites)?;
        if let Some(said) = head.acknowledges
            && let Some(flow) = flows.by_number(own.id, sender, said.incarnation, said.number)?
            && said.incarnation == own.incarnation
        {
            flows.acknowledge(&flow, &said, now_ms)?;
        }
        for said in head.refuses.iter().filter(|said| said.incarnation == own.incarnation) {
            let flow = flows.by_number(own.id, sender, said.incarnation, said.number)?;
            // What one of its flows says that came before is not said again by a later one.
            if let Some(flow) = flow.filter(|flow| !flow.is_refused && !flow.is_ended) {
                flows.refuse(flow.id, now_ms, &said.why)?;
            }
        }
        let is_central = sites.by_id(sender)?.is_some_and(|site| site.role == Role::Central);
        for site in head.sites.iter().filter(|_| is_central) {
            let Some(role) = Role::from_text(&site.role) else { continue };
            match sites.by_code(&site.code)? {
                Some(known) if known.name != site.name => {
                    if let Some(name) = &site.name {
                        sites.rename(known.id, name)?;
                    }
                }
                Some(_) => {}
                // There is one central site, and it wrote this.
                None if role == Role::Remote => {
                    sites.insert(&site.code, role, site.name.as_deref())?;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// The sender did not take a piece of ours: here it may be changed again, and goes with the next flow.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn take_refused(
        &mut self,
        sender: i64,
        kind: i64,
        key: ValueRef<'_>,
        reason: &str,
        at_ms: i64,
    ) -> Result<()> {
        let [sender, kind, at] = [sender, kind, at_ms].map(ValueRef::Integer);
        let reason = ValueRef::Text(reason.as_bytes());
        Ok(self.own_statement(HOLD_REFUSED)?.run(&[sender, kind, key, reason, at])?)
    }
}
