//! A disk in memory that remembers what was synced: the files as programs see them, beside what would be left of them
//! if the power failed now.

use super::locks::{FileLocks, SharedLocks};
use super::shared::Regions;
use crate::fault::{Call, Kind, Plan, Survival};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

const CHUNK_BYTES: usize = 4096;

/// What a torn write is torn at.
pub const SECTOR_BYTES: usize = 512;

/// The bytes of a file, in chunks that copies share until one of them writes.
#[derive(Clone, Default, Debug)]
pub struct Content {
    chunks: Vec<Arc<[u8; CHUNK_BYTES]>>,
    bytes: usize,
}

impl Content {
    /// From the bytes of a file.
    pub fn from_bytes(bytes: &[u8]) -> Content {
        let mut content = Content::default();
        content.write(0, bytes);
        content
    }

    /// How long the file is, in bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether the file is empty.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Reads from `offset`; what lies behind the end is zero. Gives how many bytes were there.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> usize {
        let there = self.bytes.saturating_sub(offset).min(into.len());
        let mut done = 0;
        while done < there {
            let place = offset + done;
            let (chunk, start) = (place / CHUNK_BYTES, place % CHUNK_BYTES);
            let length = (CHUNK_BYTES - start).min(there - done);
            if let (Some(from), Some(to)) =
                (self.chunks.get(chunk), into.get_mut(done..done + length))
            {
                to.copy_from_slice(&from[start..start + length]);
            }
            done += length;
        }
        into[there..].fill(0);
        there
    }

    /// Writes at `offset`; a gap before it reads as zero.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        while self.chunks.len() * CHUNK_BYTES < end {
            self.chunks.push(Arc::new([0; CHUNK_BYTES]));
        }
        let mut done = 0;
        while done < bytes.len() {
            let place = offset + done;
            let (chunk, start) = (place / CHUNK_BYTES, place % CHUNK_BYTES);
            let length = (CHUNK_BYTES - start).min(bytes.len() - done);
            let chunk = Arc::make_mut(&mut self.chunks[chunk]);
            chunk[start..start + length].copy_from_slice(&bytes[done..done + length]);
            done += length;
        }
        self.bytes = self.bytes.max(end);
    }

    /// Makes the file this long, in bytes.
    pub fn truncate(&mut self, bytes: usize) {
        if bytes >= self.bytes {
            self.write(bytes, &[]);
            return;
        }
        self.chunks.truncate(bytes.div_ceil(CHUNK_BYTES));
        let rest = bytes % CHUNK_BYTES;
        if rest > 0
            && let Some(last) = self.chunks.last_mut()
        {
            Arc::make_mut(last)[rest..].fill(0);
        }
        self.bytes = bytes;
    }

    /// Adds all bytes to a hash, of chunks that are shared with another content only that they are.
    pub fn add_to(&self, hasher: &mut blake3::Hasher, other: Option<&Content>) {
        for (place, chunk) in self.chunks.iter().enumerate() {
            let shared = other.and_then(|other| other.chunks.get(place));
            match shared.is_some_and(|shared| Arc::ptr_eq(shared, chunk)) {
                true => hasher.update(&[1]),
                false => hasher.update(&[0]).update(chunk.as_slice()),
            };
        }
        hasher.update(&self.bytes.to_le_bytes());
    }

    /// All bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.bytes];
        self.read(0, &mut bytes);
        bytes
    }
}

/// Files by name: a disk with nothing open and nothing pending.
pub type Files = BTreeMap<String, Content>;

/// Adds files to a hash, by what they do not share with those that a run began with.
pub(crate) fn add_files(hasher: &mut blake3::Hasher, files: &Files, base: &Files) {
    for (name, content) in files {
        hasher.update(name.as_bytes()).update(&[0]);
        content.add_to(hasher, base.get(name));
    }
}

/// One file, named or deleted and still open.
#[derive(Default)]
pub(super) struct Node {
    pub content: Content,
    durable: Content,
    pub locks: FileLocks,
    pub shared_locks: SharedLocks,
    pub regions: Regions,
    /// Handles that have regions mapped.
    pub mapped: usize,
}

/// What was done and not yet synced.
enum Pending {
    Write { node: usize, offset: usize, bytes: Vec<u8> },
    Truncate { node: usize, bytes: usize },
    Name { name: String, node: Option<usize> },
}

/// What is behind the lock of a [`Disk`].
#[derive(Default)]
pub(super) struct Inner {
    pub names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pub nodes: Vec<Node>,
    pending: Vec<Pending>,
    pub next_handle: u64,
    /// Handles that are open.
    pub open: usize,
    plan: Option<Plan>,
    /// Syncs that succeeded.
    syncs: u64,
    /// Calls so far, by [`Call`].
    counts: [u64; Call::ALL.len()],
    survivors: Option<Files>,
}

/// A disk that SQLite reaches through [`super::install`].
pub struct Disk {
    id: u64,
    inner: Mutex<Inner>,
}

static DISKS: Mutex<BTreeMap<u64, Weak<Disk>>> = Mutex::new(BTreeMap::new());
static NEXT_DISK: AtomicU64 = AtomicU64::new(1);

fn disks() -> MutexGuard<'static, BTreeMap<u64, Weak<Disk>>> {
    DISKS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    /// A disk that holds these files, all synced.
    pub fn new(files: &Files) -> Arc<Disk> {
        let mut inner = Inner::default();
        for (name, content) in files {
            inner.names.insert(name.clone(), inner.nodes.len());
            inner.nodes.push(Node {
                content: content.clone(),
                durable: content.clone(),
                ..Node::default()
            });
        }
        inner.durable_names = inner.names.clone();
        let id = NEXT_DISK.fetch_add(1, Ordering::Relaxed);
        let disk = Arc::new(Disk { id, inner: Mutex::new(inner) });
        disks().insert(id, Arc::downgrade(&disk));
        disk
    }

    /// The path by which SQLite opens a file of this disk.
    pub fn path(&self, name: &str) -> String {
        format!("/{}/{name}", self.id)
    }

    /// The disk and the file's name that a path means.
    pub(super) fn find(path: &str) -> Option<(Arc<Disk>, &str)> {
        let (id, name) = path.strip_prefix('/')?.split_once('/')?;
        let disk = disks().get(&id.parse().ok()?)?.upgrade()?;
        Some((disk, name))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts calls from now on, and has a fault happen at one of them.
    pub fn arm(&self, plan: Option<Plan>) {
        let mut inner = self.lock();
        inner.plan = plan;
        inner.counts = [0; Call::ALL.len()];
    }

    /// How many calls were made since then that count for a kind of fault.
    pub fn calls(&self, kind: Kind) -> u64 {
        let counts = self.lock().counts;
        let watched = Call::ALL.into_iter().zip(counts).filter(|(call, _)| kind.watches(*call));
        watched.map(|(_, count)| count).sum()
    }

    /// Ends the fault.
    pub fn disarm(&self) {
        self.lock().plan = None;
    }

    /// Whether the fault that is armed has happened.
    pub fn has_fired(&self) -> bool {
        self.lock().plan.as_ref().is_some_and(|plan| plan.fired > 0)
    }

    /// Whether the power has failed.
    pub fn is_dead(&self) -> bool {
        self.lock().survivors.is_some()
    }

    /// The files: what a power cut left of them, or else as they are now.
    pub fn files(&self) -> Files {
        let inner = self.lock();
        match &inner.survivors {
            Some(files) => files.clone(),
            None => inner.current(),
        }
    }

    /// How many syncs have succeeded.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// How many files are open.
    pub fn open_files(&self) -> usize {
        self.lock().open
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        disks().remove(&self.id);
    }
}

impl Inner {
    /// Asked before each call: whether it goes on, or fails.
    pub fn allows(&mut self, call: Call) -> bool {
        if self.survivors.is_some() {
            return false;
        }
        self.counts[call as usize] += 1;
        let Some(plan) = &mut self.plan else { return true };
        if !plan.strikes(call) {
            return true;
        }
        if let Some(survival) = plan.power() {
            let seed = plan.seed;
            self.survivors = Some(self.survivors(survival, seed));
        }
        false
    }

    /// Whether the armed fault is a full disk, which lets failing writes write half.
    pub fn is_full(&self) -> bool {
        self.survivors.is_none() && self.plan.as_ref().is_some_and(Plan::is_full)
    }

    fn keeps_log(&self) -> bool {
        let power = self.plan.as_ref().and_then(Plan::power);
        matches!(power, Some(Survival::Torn | Survival::Ordered))
    }

    pub fn write(&mut self, node: usize, offset: usize, bytes: &[u8]) {
        if self.keeps_log() {
            self.pending.push(Pending::Write { node, offset, bytes: bytes.to_vec() });
        }
        self.nodes[node].content.write(offset, bytes);
    }

    pub fn truncate(&mut self, node: usize, bytes: usize) {
        if self.keeps_log() {
            self.pending.push(Pending::Truncate { node, bytes });
        }
        self.nodes[node].content.truncate(bytes);
    }

    /// Gives the file of a name, made when missing.
    pub fn create(&mut self, name: &str) -> usize {
        if let Some(node) = self.names.get(name) {
            return *node;
        }
        let node = self.anonymous();
        self.names.insert(name.to_owned(), node);
        self.pending.push(Pending::Name { name: name.to_owned(), node: Some(node) });
        node
    }

    /// A file without a name.
    pub fn anonymous(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    /// False when there is no such file.
    pub fn delete(&mut self, name: &str) -> bool {
        self.pending.push(Pending::Name { name: name.to_owned(), node: None });
        self.names.remove(name).is_some()
    }

    pub fn sync(&mut self, node: usize) {
        self.syncs += 1;
        let file = &mut self.nodes[node];
        file.durable = file.content.clone();
        self.pending.retain(|pending| match pending {
            Pending::Write { node: of, .. } | Pending::Truncate { node: of, .. } => *of != node,
            Pending::Name { .. } => true,
        });
    }

    /// Makes every name and every deletion last.
    pub fn sync_folder(&mut self) {
        self.durable_names = self.names.clone();
        self.pending.retain(|pending| !matches!(pending, Pending::Name { .. }));
    }

    fn current(&self) -> Files {
        let content = |node: &usize| self.nodes[*node].content.clone();
        self.names.iter().map(|(name, node)| (name.clone(), content(node))).collect()
    }

    fn survivors(&self, survival: Survival, seed: u64) -> Files {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut names = self.durable_names.clone();
        let mut contents: Vec<Content> =
            self.nodes.iter().map(|node| node.durable.clone()).collect();
        let kept_names = random.usize(0..=self.pending.len());
        // How many in eight sectors survive.
        let eighths = random.u8(1..8);
        match survival {
            Survival::Lost => {}
            Survival::Kept => return self.current(),
            Survival::Ordered | Survival::Torn => {
                for (place, pending) in self.pending.iter().enumerate() {
                    let is_kept = place < kept_names;
                    let is_torn = place == kept_names;
                    match pending {
                        // A folder keeps the order of what is done in it.
                        Pending::Name { name, node } if is_kept => {
                            match node {
                                Some(node) => names.insert(name.clone(), *node),
                                None => names.remove(name),
                            };
                        }
                        Pending::Name { .. } => {}
                        Pending::Truncate { node, bytes } => {
                            let keep = match survival {
                                Survival::Torn => random.u8(0..8) < eighths,
                                _ => is_kept,
                            };
                            if keep {
                                contents[*node].truncate(*bytes);
                            }
                        }
                        Pending::Write { node, offset, bytes } => {
                            let sectors = sectors(*offset, bytes.len());
                            let first = random.usize(0..=sectors.len());
                            for (index, (from, to)) in sectors.into_iter().enumerate() {
                                let keep = match survival {
                                    Survival::Torn => random.u8(0..8) < eighths,
                                    _ => is_kept || is_torn && index < first,
                                };
                                if keep {
                                    contents[*node].write(offset + from, &bytes[from..to]);
                                }
                            }
                        }
                    }
                }
            }
        }
        names.into_iter().map(|(name, node)| (name, std::mem::take(&mut contents[node]))).collect()
    }
}

/// The parts of a write that lie in different sectors, as ranges of its bytes.
fn sectors(offset: usize, bytes: usize) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut from = 0;
    while from < bytes {
        let to = (from + SECTOR_BYTES - (offset + from) % SECTOR_BYTES).min(bytes);
        found.push((from, to));
        from = to;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back_what_was_written_across_chunks() {
        let mut content = Content::default();
        content.write(4090, b"0123456789ab");
        let mut read = [1; 14];
        assert_eq!(content.read(4089, &mut read), 13);
        assert_eq!(&read, b"\x000123456789ab\0");
        let before = content.clone();
        content.truncate(4093);
        assert_eq!((content.len(), before.len()), (4093, 4102));
        content.truncate(4096);
        assert_eq!(&content.to_bytes()[4090..], b"012\0\0\0");
    }

    #[test]
    fn a_cut_leaves_what_was_synced() {
        let disk = Disk::new(&Files::new());
        let mut inner = disk.lock();
        let node = inner.create("a");
        inner.write(node, 0, b"old");
        inner.sync(node);
        assert!(inner.survivors(Survival::Lost, 0).is_empty(), "its name is not synced");
        inner.sync_folder();
        inner.write(node, 0, b"new");
        assert_eq!(inner.survivors(Survival::Lost, 0)["a"].to_bytes(), b"old");
        assert_eq!(inner.survivors(Survival::Kept, 0)["a"].to_bytes(), b"new");
        inner.delete("a");
        assert_eq!(inner.survivors(Survival::Lost, 0)["a"].to_bytes(), b"old");
        assert!(inner.survivors(Survival::Kept, 0).is_empty());
    }

    #[test]
    fn writes_are_torn_at_sectors() {
        assert_eq!(sectors(500, 600), [(0, 12), (12, 524), (524, 600)]);
    }
}
