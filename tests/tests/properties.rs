//! Promises 1 to 3 as properties: any schema, any values, any statements, against a model and against a host without
//! Talon.
//!
//! The default run is short, and the same each time (one seed), so that it judges a change and not its luck. For a long one,
//! with new seeds: `PROPTEST_CASES=5000 cargo test -p talon-tests --test properties`. A failing
//! case is shrunk, printed with its SQL script, and kept in `properties.regressions`, which later runs replay first.

#![allow(clippy::expect_used, clippy::panic, missing_docs)]

#[path = "properties/cell.rs"]
mod cell;
#[path = "properties/model.rs"]
mod model;
#[path = "properties/schema.rs"]
mod schema;
#[path = "properties/shape.rs"]
mod shape;
#[path = "properties/statement.rs"]
mod statement;
#[path = "properties/world.rs"]
mod world;

use model::Hand;
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed};
use shape::Shape;
use statement::{Step, step};
use world::{Checked, World};

const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/properties.regressions");

fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: if asked { default.cases } else { cases },
        rng_seed: if asked { default.rng_seed } else { RngSeed::Fixed(20_261_121) },
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        max_shrink_time: 60_000,
        max_shrink_iters: 20_000,
        ..default
    }
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..most)
}

/// Runs a case; a failure tells with which script.
fn judge(world: &mut World, case: impl FnOnce(&mut World) -> Checked) -> Result<(), TestCaseError> {
    case(world).map_err(|problem| {
        TestCaseError::fail(format!("{problem}\n\nscript:\n{};", world.script()))
    })
}

fn begin(shape: &Shape, before: &[Step], file: bool) -> Result<World, TestCaseError> {
    World::begin(shape, before, file).map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn what_is_committed_is_captured_found_and_restored(
        shape in Shape::any(),
        before in steps(6),
        during in steps(40),
        looks in any::<bool>(),
        lose in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut world = begin(&shape, &before, false)?;
        judge(&mut world, |world| {
            for step in &during {
                world.step(Hand::Talon, step)?;
                match (looks, world.is_idle()) {
                    (true, true) => world.commits_are_captured()?,
                    (true, false) => world.look()?,
                    (false, _) => {}
                }
            }
            world.settle(Hand::Talon)?;
            world.host_tables_are_equal()?;
            world.commits_are_captured()?;
            world.audit_finds_what_there_is()?;
            world.lost_pieces_come_back(&lose)
        })?;
    }

    #[test]
    fn every_snapshot_can_be_restored_exactly_or_changes_nothing(
        shape in Shape::any(),
        before in steps(6),
        during in steps(30),
        points in prop::collection::vec(any::<u8>(), 1..5),
    ) {
        let mut world = begin(&shape, &before, false)?;
        judge(&mut world, |world| {
            for step in &during {
                world.step(Hand::Talon, step)?;
            }
            world.settle(Hand::Talon)?;
            world.points_in_time_come_back(&points)
        })?;
    }

    #[test]
    fn what_changed_without_talon_is_absorbed(
        shape in Shape::any(),
        before in steps(6),
        during in steps(30),
        hands in any::<u32>(),
    ) {
        let mut world = begin(&shape, &before, true)?;
        judge(&mut world, |world| {
            let mut transactions = 0;
            for step in &during {
                let hand = if hands >> (transactions % 32) & 1 == 0 { Hand::Talon } else { Hand::Bare };
                world.step(hand, step)?;
                transactions += u32::from(world.is_idle());
            }
            let hand = if hands >> (transactions % 32) & 1 == 0 { Hand::Talon } else { Hand::Bare };
            world.settle(hand)?;
            world.host_tables_are_equal()?;
            world.marks_are_absorbed()?;
            world.commits_are_captured()
        })?;
    }
}
