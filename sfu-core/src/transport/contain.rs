//! Holds a library's panic back: it costs one association, not the worker with everybody on it. Knows no library.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `call` returns; `None` when it panicked. Whatever it was called on is then in no state to be used again.
pub(super) fn contain<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}
