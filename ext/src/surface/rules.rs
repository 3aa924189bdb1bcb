//! Derived values: declared by `talon_derive`, listed by `talon_rules`, compared by `talon_gaps`, corrected by
//! `talon_repair`. Checks: declared by `talon_check`, listed by `talon_rules` too.

use super::arguments::{place_asked, schema, schema_asked, text};
use super::rows::{Rows, row_id};
use crate::domain::derived::{Gap, gap_of, gaps};
use crate::domain::rules::{Body, Rule};
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{
    Argument, Caller, Connection, Constraints, Cursor, Failure, Function, Output, Statement, Table,
    Value, create_function, create_module,
};
use crate::storage::rule::RuleType;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::rc::Rc;

pub fn register(connection: Connection, talon: &Rc<Talon>) -> std::result::Result<(), Failure> {
    let functions: [(&str, RangeInclusive<usize>, Function<Talon>); 3] = [
        ("talon_derive", 2..=3, derive),
        ("talon_check", 2..=3, check),
        ("talon_repair", 1..=2, repair),
    ];
    for (name, counts, function) in functions {
        create_function(connection, name, counts, Caller::Application, talon, function)?;
    }
    create_module::<RulesTable>(connection, "talon_rules", talon)?;
    create_module::<GapsTable>(connection, "talon_gaps", talon)
}

fn derive(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let name = text(arguments, 0, "the name")?;
        let schema = schema(arguments, 2)?;
        // NULL in place of a definition takes it back.
        if arguments[1].get().is_null() {
            return talon.take_back_rule(&schema, name, RuleType::Derived, |_, _| Ok(()));
        }
        talon.declare_derived(&schema, name, text(arguments, 1, "the definition")?)
    };
    run().map(Output::Text).map_err(|error| error.into_failure("talon_derive"))
}

fn check(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let name = text(arguments, 0, "the name")?;
        let schema = schema(arguments, 2)?;
        if arguments[1].get().is_null() {
            return talon.take_back_check(&schema, name);
        }
        talon.declare_check(&schema, name, text(arguments, 1, "the definition")?)
    };
    run().map(Output::Text).map_err(|error| error.into_failure("talon_check"))
}

fn repair(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || talon.repair(&schema(arguments, 1)?, text(arguments, 0, "the name")?);
    run().map(Output::Integer).map_err(|error| error.into_failure("talon_repair"))
}

/// The rules of the schema that a query is about; none where nothing was ever guarded.
fn rules_asked(talon: &Talon, schema: &str) -> Result<Vec<Rc<Rule>>> {
    match place_asked(talon, schema)? {
        Some(place) => talon.databases()?[place].rules(),
        None => Ok(Vec::new()),
    }
}

/// `talon_rules`: one row a rule, in the order declared.
struct RulesTable;

const RULE_NAME: usize = 1;
const RULE_SCHEMA: usize = 8;

impl Table for RulesTable {
    type Data = Talon;
    type Cursor = Rows;
    const DECLARATION: &'static str =
        "CREATE TABLE x(place INTEGER, name TEXT, type TEXT, \"table\" TEXT, \"column\" TEXT,
        correct TEXT, problem TEXT, definition TEXT, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[RULE_SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Rows, Failure> {
        listed(talon, constraints).map_err(|error| error.into_failure("talon_rules"))
    }
}

fn listed(talon: &Rc<Talon>, constraints: &Constraints<'_>) -> Result<Rows> {
    let schema = schema_asked(constraints, RULE_SCHEMA)?;
    let rows = rules_asked(talon, &schema)?.into_iter().enumerate().map(|(place, rule)| {
        let [table, column, correct, problem] = match &rule.body {
            Ok(Body::Derived(derived)) => [
                Value::text(&derived.table.name),
                Value::text(&derived.column),
                Value::text(derived.correct.text()),
                Value::Null,
            ],
            Ok(Body::Check(_) | Body::Till(_)) => [const { Value::Null }; 4],
            Err(problem) => [Value::Null, Value::Null, Value::Null, Value::text(problem)],
        };
        vec![
            Value::Integer(place as i64 + 1),
            Value::text(&rule.row.name),
            Value::text(&rule.row.rule_type),
            table,
            column,
            correct,
            problem,
            Value::text(&rule.row.definition),
            Value::text(&schema),
        ]
    });
    Ok(Rows::new(rows.collect(), &[RULE_NAME, RULE_SCHEMA]))
}

/// `talon_gaps`: one row for each stored value that is not what it should be.
struct GapsTable;

const NAME: usize = 0;
const TABLE: usize = 1;
const KEY: usize = 2;
const STORED: usize = 3;
const COMPUTED: usize = 4;
const SCHEMA: usize = 5;

impl Table for GapsTable {
    type Data = Talon;
    type Cursor = Scan;
    const DECLARATION: &'static str =
        "CREATE TABLE x(name TEXT, \"table\" TEXT, \"key\", stored, computed, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[NAME, SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Scan, Failure> {
        scan(talon, constraints).map_err(|error| error.into_failure("talon_gaps"))
    }
}

/// Gaps are looked for as they are read, one rule after the other.
struct Scan {
    connection: Connection,
    ahead: VecDeque<Rc<Rule>>,
    statement: Option<(Rc<Rule>, Statement)>,
    current: Option<Gap>,
    schema: Value,
}

fn scan(talon: &Rc<Talon>, constraints: &Constraints<'_>) -> Result<Scan> {
    let schema = schema_asked(constraints, SCHEMA)?;
    let wanted = constraints.equal(NAME);
    let rules = rules_asked(talon, &schema)?.into_iter().filter(|rule| {
        rule.is(RuleType::Derived)
            && wanted.is_none_or(|wanted| wanted.as_str() == Some(&rule.row.name))
    });
    let mut scan = Scan {
        connection: talon.connection,
        ahead: rules.collect(),
        statement: None,
        current: None,
        schema: Value::text(&schema),
    };
    scan.step()?;
    Ok(scan)
}

impl Scan {
    fn step(&mut self) -> Result<()> {
        loop {
            if let Some((rule, statement)) = &mut self.statement
                && let Some(derived) = rule.derived()
                && statement.step().map_err(|failure| rule.failed(failure))?
            {
                self.current = Some(gap_of(derived, statement)?);
                return Ok(());
            }
            self.statement = None;
            self.current = None;
            let Some(rule) = self.ahead.pop_front() else {
                return Ok(());
            };
            match &rule.body {
                Ok(Body::Derived(derived)) => {
                    let begun = gaps(self.connection, derived);
                    let statement = begun.map_err(|failure| rule.failed(failure))?;
                    self.statement = Some((rule, statement));
                }
                Ok(Body::Check(_) | Body::Till(_)) => {}
                // What cannot be compared must not pass for equal.
                Err(problem) => {
                    return Err(Error::Definition {
                        kind: rule.row.name.clone(),
                        problem: format!("it does not fit any more: {problem}"),
                    });
                }
            }
        }
    }
}

impl Cursor for Scan {
    fn eof(&self) -> bool {
        self.current.is_none()
    }
    fn next(&mut self) -> std::result::Result<(), Failure> {
        self.step().map_err(|error| error.into_failure("talon_gaps"))
    }
    fn column(&self, index: usize) -> std::result::Result<Value, Failure> {
        let (Some(gap), Some((rule, _))) = (&self.current, &self.statement) else {
            return Ok(Value::Null);
        };
        Ok(match index {
            NAME => Value::text(&rule.row.name),
            TABLE => rule.derived().map_or(Value::Null, |derived| Value::text(&derived.table.name)),
            KEY => gap.key.shown().map_err(|error| error.into_failure("talon_gaps"))?,
            STORED => gap.stored.clone(),
            COMPUTED => gap.computed.clone(),
            SCHEMA => self.schema.clone(),
            _ => Value::Null,
        })
    }
    fn rowid(&self) -> i64 {
        let (Some(gap), Some((rule, _))) = (&self.current, &self.statement) else {
            return 0;
        };
        // Without memory for it the query ends by itself.
        let key = gap.key.shown().unwrap_or(Value::Null);
        row_id(&[&Value::text(&rule.row.name), &key, &self.schema])
    }
}
