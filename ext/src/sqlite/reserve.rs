//! The library's allocator: the system's, with a reserve for when that has no more to give.
//!
//! What data decides the size of is reserved before it is used, and fails as `SQLITE_NOMEM`. But Rust ends the process
//! where any other allocation fails, however small: an error's text, an SQL text. Those come from the reserve; and as
//! long as memory is short nothing else takes from it, so that there is enough for what leads out of the call.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator {
    is_short: AtomicBool::new(false),
    is_locked: AtomicBool::new(false),
    reserve: UnsafeCell::new(Reserve { used: 0, live: 0, room: [0; SIZE] }),
};

/// Bytes in the reserve. The system gives them with the library and counts them once they are written to.
const SIZE: usize = 64 * 1024;
/// Bytes of an allocation at most: what is larger is for its caller to ask for politely.
const MOST: usize = 4096;
/// To what bytes of the reserve are aligned.
const ALIGNMENT: usize = 16;

struct Allocator {
    /// The system had nothing when it was last asked.
    is_short: AtomicBool,
    is_locked: AtomicBool,
    reserve: UnsafeCell<Reserve>,
}

#[repr(C, align(16))]
struct Reserve {
    room: [u8; SIZE],
    /// Bytes given out, from the beginning.
    used: usize,
    /// Allocations that were not given back; without any, it is whole again.
    live: usize,
}

/// Whether memory is short now: the reserve was needed, and the system still has nothing.
pub fn is_memory_short() -> bool {
    ALLOCATOR.is_short.load(Ordering::Relaxed) && ALLOCATOR.asks_in_vain()
}

impl Allocator {
    #[cold]
    fn asks_in_vain(&self) -> bool {
        let Ok(layout) = Layout::from_size_align(MOST, ALIGNMENT) else {
            return false;
        };
        // SAFETY: the size is not zero; what is given is given back at once, in the same layout.
        let is_short = unsafe {
            let start = System.alloc(layout);
            if !start.is_null() {
                System.dealloc(start, layout);
            }
            start.is_null()
        };
        self.is_short.store(is_short, Ordering::Relaxed);
        is_short
    }

    fn with_reserve<T>(&self, work: impl FnOnce(&mut Reserve) -> T) -> T {
        while self.is_locked.swap(true, Ordering::Acquire) {
            std::hint::spin_loop();
        }
        // SAFETY: the lock makes this the only reference; `work` neither allocates nor panics.
        let result = work(unsafe { &mut *self.reserve.get() });
        self.is_locked.store(false, Ordering::Release);
        result
    }

    /// Room in the reserve for what the system has none for; null where it is too much.
    #[cold]
    fn take(&self, layout: Layout) -> *mut u8 {
        self.is_short.store(true, Ordering::Relaxed);
        if layout.size() > MOST || layout.align() > ALIGNMENT {
            return std::ptr::null_mut();
        }
        self.with_reserve(|reserve| {
            let from = reserve.used;
            let until = (from + layout.size()).next_multiple_of(ALIGNMENT);
            match reserve.room.get_mut(from..until) {
                Some(room) => {
                    reserve.used = until;
                    reserve.live += 1;
                    room.as_mut_ptr()
                }
                None => std::ptr::null_mut(),
            }
        })
    }

    fn give_back(&self) {
        self.with_reserve(|reserve| {
            reserve.live = reserve.live.saturating_sub(1);
            if reserve.live == 0 {
                reserve.used = 0;
            }
        });
    }

    #[inline]
    fn is_of_reserve(&self, start: *mut u8) -> bool {
        // The room is what the reserve begins with.
        let from = self.reserve.get() as usize;
        (from..from + SIZE).contains(&(start as usize))
    }
}

// SAFETY: only the reserve is shared, and that behind its lock.
unsafe impl Sync for Allocator {}

// SAFETY: every block comes from the system or is a part of the reserve that nobody else has, and goes back to where it
// came from, which its address tells.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let start = unsafe { System.alloc(layout) };
        if start.is_null() { self.take(layout) } else { start }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise; the reserve's part is as long as the layout says.
        unsafe {
            let start = System.alloc_zeroed(layout);
            if !start.is_null() {
                return start;
            }
            let start = self.take(layout);
            if !start.is_null() {
                start.write_bytes(0, layout.size());
            }
            start
        }
    }

    #[inline]
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        if self.is_of_reserve(start) {
            self.give_back();
        } else {
            // SAFETY: the caller's promise; it is the system's.
            unsafe { System.dealloc(start, layout) }
        }
    }

    #[inline]
    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise; both blocks are at least as long as what is copied.
        unsafe {
            if !self.is_of_reserve(start) {
                let moved = System.realloc(start, layout, size);
                if !moved.is_null() {
                    return moved;
                }
            }
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(start, layout.size().min(size));
                self.dealloc(start, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).unwrap()
    }

    #[test]
    fn the_reserve_gives_small_blocks_until_it_is_empty_and_is_whole_once_all_are_back() {
        let allocator = Allocator {
            is_short: AtomicBool::new(false),
            is_locked: AtomicBool::new(false),
            reserve: UnsafeCell::new(Reserve { used: 0, live: 0, room: [0; SIZE] }),
        };
        assert!(allocator.take(layout(MOST + 1)).is_null());
        let mut blocks = Vec::new();
        loop {
            let block = allocator.take(layout(100));
            if block.is_null() {
                break;
            }
            assert!(allocator.is_of_reserve(block) && (block as usize).is_multiple_of(ALIGNMENT));
            blocks.push(block);
        }
        assert_eq!(blocks.len(), SIZE / 112);
        blocks.iter().for_each(|_| allocator.give_back());
        assert_eq!(allocator.take(layout(100)), blocks[0]);
        // The system has memory: it is not short any more.
        assert!(allocator.is_short.load(Ordering::Relaxed));
        assert!(!allocator.asks_in_vain());
        assert!(!allocator.is_short.load(Ordering::Relaxed));
    }

    #[test]
    fn a_block_of_the_reserve_grows_into_memory_of_the_system() {
        let start = ALLOCATOR.take(layout(16));
        // SAFETY: blocks are used within their sizes and given back in their layouts.
        unsafe {
            start.write_bytes(7, 16);
            let grown = ALLOCATOR.realloc(start, layout(16), 64);
            assert!(!ALLOCATOR.is_of_reserve(grown));
            assert_eq!(std::slice::from_raw_parts(grown, 16), [7; 16]);
            ALLOCATOR.dealloc(grown, layout(64));
        }
    }
}
