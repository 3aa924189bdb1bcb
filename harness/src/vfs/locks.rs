//! Who holds which lock on a file: SQLite's five levels, and the eight slots of a write-ahead log's index.

/// How far a handle has locked a file, in SQLite's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Not at all.
    #[default]
    None = 0,
    /// It reads.
    Shared = 1,
    /// It will write; others may read.
    Reserved = 2,
    /// It waits for readers to leave; none may come.
    Pending = 3,
    /// It writes.
    Exclusive = 4,
}

impl Level {
    /// From SQLite's number.
    pub fn from_number(number: i32) -> Level {
        match number {
            0 => Level::None,
            1 => Level::Shared,
            2 => Level::Reserved,
            3 => Level::Pending,
            _ => Level::Exclusive,
        }
    }
}

/// The locks on one file, by handle.
#[derive(Default)]
pub struct FileLocks {
    holders: Vec<(u64, Level)>,
}

impl FileLocks {
    fn others(&self, handle: u64) -> impl Iterator<Item = Level> {
        self.holders.iter().filter(move |(holder, _)| *holder != handle).map(|(_, level)| *level)
    }

    fn set(&mut self, handle: u64, level: Level) {
        self.holders.retain(|(holder, _)| *holder != handle);
        if level != Level::None {
            self.holders.push((handle, level));
        }
    }

    /// What a handle holds.
    pub fn level(&self, handle: u64) -> Level {
        let held = self.holders.iter().find(|(holder, _)| *holder == handle);
        held.map_or(Level::None, |(_, level)| *level)
    }

    /// Whether the lock was had.
    pub fn raise(&mut self, handle: u64, level: Level) -> bool {
        if self.level(handle) >= level {
            return true;
        }
        let strongest = self.others(handle).max().unwrap_or_default();
        match level {
            Level::None => true,
            Level::Shared => {
                let free = strongest < Level::Pending;
                if free {
                    self.set(handle, Level::Shared);
                }
                free
            }
            Level::Reserved | Level::Pending => {
                let free = strongest < Level::Reserved;
                if free {
                    self.set(handle, level);
                }
                free
            }
            Level::Exclusive => {
                if strongest >= Level::Reserved {
                    return false;
                }
                let free = strongest == Level::None;
                self.set(handle, if free { Level::Exclusive } else { Level::Pending });
                free
            }
        }
    }

    /// Gives up what is above `level`.
    pub fn lower(&mut self, handle: u64, level: Level) {
        if self.level(handle) > level {
            self.set(handle, level);
        }
    }

    /// Whether somebody is about to write.
    pub fn is_reserved(&self) -> bool {
        self.holders.iter().any(|(_, level)| *level >= Level::Reserved)
    }
}

const SLOTS: usize = 8;

/// The locks on a write-ahead log's index.
#[derive(Default)]
pub struct SharedLocks {
    shared: [Vec<u64>; SLOTS],
    exclusive: [Option<u64>; SLOTS],
}

impl SharedLocks {
    fn slots(from: usize, count: usize) -> std::ops::Range<usize> {
        from.min(SLOTS)..(from + count).min(SLOTS)
    }

    /// Whether all of the slots could be locked.
    pub fn lock(&mut self, handle: u64, from: usize, count: usize, is_exclusive: bool) -> bool {
        let taken = Self::slots(from, count).any(|slot| {
            let by_other = |holder: &u64| *holder != handle;
            self.exclusive[slot].as_ref().is_some_and(by_other)
                || is_exclusive && self.shared[slot].iter().any(by_other)
        });
        if taken {
            return false;
        }
        for slot in Self::slots(from, count) {
            if is_exclusive {
                self.exclusive[slot] = Some(handle);
            } else if !self.shared[slot].contains(&handle) {
                self.shared[slot].push(handle);
            }
        }
        true
    }

    /// Gives slots up.
    pub fn unlock(&mut self, handle: u64, from: usize, count: usize) {
        for slot in Self::slots(from, count) {
            self.shared[slot].retain(|holder| *holder != handle);
            if self.exclusive[slot] == Some(handle) {
                self.exclusive[slot] = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_waits_for_readers_and_keeps_new_ones_out() {
        let mut locks = FileLocks::default();
        assert!(locks.raise(1, Level::Shared) && locks.raise(2, Level::Shared));
        assert!(locks.raise(1, Level::Reserved) && !locks.raise(2, Level::Reserved));
        assert!(!locks.raise(1, Level::Exclusive));
        assert_eq!(locks.level(1), Level::Pending);
        assert!(!locks.raise(3, Level::Shared));
        locks.lower(2, Level::None);
        assert!(locks.raise(1, Level::Exclusive));
        locks.lower(1, Level::None);
        assert!(locks.raise(3, Level::Shared));
    }

    #[test]
    fn an_exclusive_slot_excludes_everybody_else() {
        let mut locks = SharedLocks::default();
        assert!(locks.lock(1, 3, 1, false) && locks.lock(2, 3, 1, false));
        assert!(!locks.lock(1, 3, 1, true));
        locks.unlock(2, 3, 1);
        assert!(locks.lock(1, 3, 2, true) && !locks.lock(2, 4, 1, false));
    }
}
