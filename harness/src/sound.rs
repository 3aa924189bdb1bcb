//! Sees that a scenario says only what there is, before anything of it is run.

use crate::fault::FAMILIES;
use crate::older;
use crate::scenario::{DATABASE, Scenario, Step};
use crate::sql;
use crate::vfs::split_script;
use std::collections::BTreeSet;

impl Scenario {
    /// Sees that it says only what there is.
    ///
    /// # Errors
    /// What does not fit.
    pub(crate) fn look_over(&self) -> Result<(), String> {
        if self.steps.is_empty() {
            return Err("it has no [[steps]]: nothing would be done".to_owned());
        }
        if self.again.is_empty() {
            self.look_over_pieces()?
        } else {
            self.look_over_again()?
        }
        let mut steps = self.before.iter().chain(&self.steps).chain(&self.again);
        let is_odd = |step: &&Step| match step.format {
            Some(format) => !older::FORMATS.contains(&format) || self.host(&step.on).talon,
            None => false,
        };
        if steps.find(is_odd).is_some() {
            let (first, last) = older::FORMATS.into_inner();
            return Err(format!("`format` is {first} to {last}, on a connection without Talon"));
        }
        self.look_over_names()?;
        self.look_over_statements()?;
        let is_size = |size: &&u32| size.is_power_of_two() && (512..=65536).contains(*size);
        if let Some(size) = self.runs.page_size.iter().find(|size| !is_size(size)) {
            return Err(format!("there is no page_size {size}; there are 512, 1024, … 65536"));
        }
        if self.settings().is_empty() {
            return Err("[runs] leaves no combination of settings".to_owned());
        }
        let families = self.faults.iter().flatten();
        if let Some(family) =
            families.into_iter().find(|family| !FAMILIES.contains(&family.as_str()))
        {
            return Err(format!(
                "there are no faults {family:?}; there are {}",
                FAMILIES.join(", ")
            ));
        }
        Ok(())
    }

    /// The connections that steps name.
    fn used(&self) -> BTreeSet<&str> {
        let steps = self.before.iter().chain(&self.steps).chain(&self.again);
        steps.map(|step| step.on.as_str()).collect()
    }

    /// Leaves out connections that no step names.
    pub fn without_idle_connections(mut self) -> Scenario {
        let used: BTreeSet<String> = self.used().into_iter().map(str::to_owned).collect();
        self.connections.retain(|name, _| used.contains(name));
        self
    }

    /// Names that are said twice, or of nothing.
    fn look_over_names(&self) -> Result<(), String> {
        let used = self.used();
        let is_unknown = |name: &&&str| **name != "till" && !self.connections.contains_key(**name);
        if let Some(unknown) = used.iter().find(is_unknown) {
            return Err(format!(
                "a step is on {unknown:?}, and there is no [connections.{unknown:?}]"
            ));
        }
        if let Some(idle) = self.connections.keys().find(|name| !used.contains(name.as_str())) {
            return Err(format!("[connections] has {idle:?}, and no step is on it"));
        }
        let checks = self.after.iter().chain(&self.always).filter_map(|check| check.on.as_deref());
        if let Some(unknown) = checks.into_iter().find(|name| !used.contains(name)) {
            return Err(format!("a check is on {unknown:?}, and no step is"));
        }
        let mut kinds = BTreeSet::new();
        match self.pieces.iter().find(|pieces| !kinds.insert(&pieces.kind)) {
            Some(twice) => Err(format!("there are two [[pieces]] of kind {}", twice.kind)),
            None => Ok(()),
        }
    }

    /// Statements that no run could be judged by.
    fn look_over_statements(&self) -> Result<(), String> {
        let steps = || self.before.iter().chain(&self.steps).chain(&self.again);
        if let Some(step) = steps().find(|step| step.sql.is_empty() && step.format.is_none()) {
            return Err(format!("a step on {:?} has no `sql`", step.on));
        }
        let texts = [&self.schema, &self.guard].into_iter();
        let texts = texts.chain(self.connections.values().map(|host| &host.opens_with));
        let texts = texts.chain(steps().flat_map(|step| step.instead.iter().chain([&step.sql])));
        for statement in texts.flat_map(|text| split_script(text)) {
            if sql::is_outside(&statement) {
                return Err(format!("a run has files of its own, and none outside: {statement}"));
            }
            if sql::is_setting(&statement) {
                return Err(format!("[runs] says which settings there are: {statement}"));
            }
        }
        Ok(())
    }

    /// A scenario that is compared with a run without Talon.
    fn look_over_pieces(&self) -> Result<(), String> {
        if self.pieces.is_empty() {
            return Err("it has no [[pieces]]: nothing could be judged".to_owned());
        }
        if self.guard.trim().is_empty() {
            return Err("it has no `guard`: Talon would keep nothing".to_owned());
        }
        let mut steps = self.before.iter().chain(&self.steps);
        let is_unsaid = |step: &&Step| {
            step.instead.is_none()
                && step.journaled.is_none()
                && step.error.is_none()
                && split_script(&step.sql).iter().any(|statement| sql::is_talons(statement))
        };
        if let Some(step) = steps.find(is_unsaid) {
            return Err(format!(
                "a step that calls Talon says by `instead` what it comes to in the host's tables (\"\" where that is \
                 nothing), or has `journaled`, or the `error` that it ends with: {}",
                step.sql
            ));
        }
        let mut steps = self.before.iter().chain(&self.steps);
        if let Some(step) =
            steps.find(|step| step.instead.is_some() && split_script(&step.sql).len() != 1)
        {
            return Err(format!("a step with `instead` has one statement: {}", step.sql));
        }
        let mut steps = self.before.iter().chain(&self.steps);
        if let Some(step) = steps.find(|step| step.instead.is_some() && step.journaled.is_some()) {
            return Err(format!("a step has `instead` or `journaled`: {}", step.sql));
        }
        let mut steps = self.before.iter().chain(&self.steps);
        let has_files = self.connections.values().any(|host| host.file != DATABASE);
        if has_files || !self.always.is_empty() || steps.any(|step| step.keeps.is_some()) {
            let text = "`file`, `keeps` and [[always]] are for scenarios that have [[again]]";
            return Err(text.to_owned());
        }
        Ok(())
    }

    /// A scenario that is compared with itself without a fault.
    fn look_over_again(&self) -> Result<(), String> {
        let mut steps = self.before.iter().chain(&self.steps).chain(&self.again);
        match steps.find(|step| {
            step.instead.is_some() || step.journaled.is_some() || step.purges.is_some()
        }) {
            Some(step) => Err(format!(
                "with [[again]] nothing is run without Talon: no `instead`, `journaled` or `purges` in {}",
                step.sql
            )),
            None => Ok(()),
        }
    }
}
