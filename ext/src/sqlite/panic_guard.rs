//! No panic crosses into C: it becomes an error of the call it happened in.

use super::{Failure, code};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a callback; a panic in it comes back as [`code::INTERNAL`].
///
/// Unwind safety is asserted: what a callback leaves half changed is Talon's own bookkeeping behind `RefCell`s, which
/// a later call finds consistent or refuses to borrow, and never the host's data.
#[inline]
pub fn guarded<T>(callback: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(callback)) {
        Ok(result) => result,
        Err(panic) => {
            let what = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            Err(Failure::with_code(code::INTERNAL, format!("talon: internal error: {what}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_text() {
        let result: Result<(), Failure> = guarded(|| panic!("seven {}", 7));
        let failure = result.unwrap_err();
        assert_eq!(failure.code, code::INTERNAL);
        assert_eq!(failure.message, "talon: internal error: seven 7");
    }
}
