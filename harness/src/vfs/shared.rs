//! The memory that the connections to a write-ahead log share: its index, in regions that never move.

use std::alloc::Layout;

const ALIGNMENT: usize = 4096;

/// The regions of one file's index.
#[derive(Default)]
pub struct Regions {
    regions: Vec<(*mut u8, Layout)>,
}

// SAFETY: the pointers are to heap memory that this value owns; who reads and writes it is settled by SQLite's own locks.
unsafe impl Send for Regions {}

impl Regions {
    /// A region's memory, made when missing and asked for; null where it is missing.
    pub fn region(&mut self, index: usize, bytes: usize, make: bool) -> *mut u8 {
        while make && self.regions.len() <= index {
            let Ok(layout) = Layout::from_size_align(bytes.max(1), ALIGNMENT) else {
                return std::ptr::null_mut();
            };
            // SAFETY: the layout's size is not zero.
            let memory = unsafe { std::alloc::alloc_zeroed(layout) };
            if memory.is_null() {
                return memory;
            }
            self.regions.push((memory, layout));
        }
        self.regions.get(index).map_or(std::ptr::null_mut(), |(memory, _)| *memory)
    }

    /// Frees all of them: the last connection has left.
    pub fn clear(&mut self) {
        for (memory, layout) in self.regions.drain(..) {
            // SAFETY: allocated above with this layout, and no connection is mapped to it any more.
            unsafe { std::alloc::dealloc(memory, layout) };
        }
    }
}

impl Drop for Regions {
    fn drop(&mut self) {
        self.clear();
    }
}
