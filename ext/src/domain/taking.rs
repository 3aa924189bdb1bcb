//! How a piece comes to be touched, and what that says of it.

use super::course::Course;

/// How a piece comes to be touched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Taking {
    Touch,
    Created,
    Renamed,
    Changed,
    /// Its header is there, and another one is about to take its place.
    Replaced,
    Deleted,
}

impl Taking {
    /// Notes it of an entry that is there.
    pub(super) fn note(self, course: &mut Course, place: usize) {
        if let Some(entry) = course.entry_mut(place) {
            entry.half_restored = false;
            match self {
                // A header that was there and is written anew goes on being the same piece.
                Taking::Created => entry.created |= !entry.existed,
                Taking::Deleted => {
                    entry.deleted = true;
                    entry.existed |= !entry.created;
                }
                Taking::Replaced => entry.existed |= !entry.created,
                Taking::Touch | Taking::Renamed | Taking::Changed => {}
            }
        }
    }
}
