//! SQLite's file system in terms of a [`Disk`]: each call asks whether it may, then does.

use super::disk::Disk;
use super::locks::Level;
use crate::fault::Call;
use libsqlite3_sys as ffi;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Arc, OnceLock};

/// What SQLite keeps of an open file. It allocates the room, we fill it in.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    open: *mut Open,
}

struct Open {
    disk: Arc<Disk>,
    node: usize,
    handle: u64,
    /// Its name, where it goes when it is closed.
    doomed: Option<String>,
    /// Its name in the folder is not synced yet: its first sync does that too.
    is_new: bool,
    is_mapped: bool,
}

struct System(*mut ffi::sqlite3_vfs);
// SAFETY: SQLite's own file system, registered for the process's life; its functions may be called by any thread.
unsafe impl Send for System {}
// SAFETY: as above.
unsafe impl Sync for System {}

static SYSTEM: OnceLock<System> = OnceLock::new();

fn system() -> *mut ffi::sqlite3_vfs {
    SYSTEM.get().map_or(std::ptr::null_mut(), |System(vfs)| *vfs)
}

/// The open file behind SQLite's pointer.
///
/// # Safety
/// `file` is one that [`open`] filled in and [`close`] has not seen.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Open {
    // SAFETY: the caller's promise; SQLite calls a file's methods one at a time.
    unsafe { &mut *(*file.cast::<File>()).open }
}

/// # Safety
/// `name` is null or a C string.
unsafe fn text<'a>(name: *const c_char) -> Option<&'a str> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(name) }.to_str().ok()
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives a file to fill in, `szOsFile` bytes of it.
    unsafe { (*file).pMethods = std::ptr::null() };
    // SAFETY: a name of SQLite's, or null for a temporary file.
    let path = unsafe { text(name) };
    let is_journal = flags
        & (ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_SUPER_JOURNAL)
        != 0;
    let found = match path {
        Some(path) => Disk::find(path).map(|(disk, name)| (disk, Some(name.to_owned()))),
        // It belongs to no disk, and no fault of a disk reaches it.
        None => Some((Disk::new(&super::Files::new()), None)),
    };
    let Some((disk, name)) = found else { return ffi::SQLITE_CANTOPEN };
    let mut inner = disk.lock();
    if !inner.allows(Call::Open) {
        return ffi::SQLITE_CANTOPEN;
    }
    let is_there = name.as_ref().is_some_and(|name| inner.names.contains_key(name));
    if name.is_some() && !is_there && flags & ffi::SQLITE_OPEN_CREATE == 0 {
        return ffi::SQLITE_CANTOPEN;
    }
    let node = match &name {
        Some(name) => inner.create(name),
        None => inner.anonymous(),
    };
    inner.next_handle += 1;
    inner.open += 1;
    let handle = inner.next_handle;
    drop(inner);
    let doomed = if flags & ffi::SQLITE_OPEN_DELETEONCLOSE == 0 { None } else { name };
    // As on a Unix system: the folder is synced with the first sync of a journal by each handle that may have made it.
    let is_new = is_journal && flags & ffi::SQLITE_OPEN_CREATE != 0;
    let open = Box::new(Open { disk, node, handle, doomed, is_new, is_mapped: false });
    // SAFETY: as above; `out_flags` is null or a number to fill in.
    unsafe {
        (*file.cast::<File>()).open = Box::into_raw(open);
        (*file).pMethods = &raw const METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file that was opened, once.
    let open = unsafe { Box::from_raw((*file.cast::<File>()).open) };
    let mut inner = open.disk.lock();
    inner.open -= 1;
    let node = &mut inner.nodes[open.node];
    node.locks.lower(open.handle, Level::None);
    node.shared_locks.unlock(open.handle, 0, 8);
    if let Some(name) = &open.doomed {
        inner.delete(name);
    }
    drop(inner);
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    into: *mut c_void,
    bytes: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: an open file, and a buffer of that many bytes.
    let (open, into) = unsafe {
        (opened(file), std::slice::from_raw_parts_mut(into.cast::<u8>(), bytes as usize))
    };
    let mut inner = open.disk.lock();
    if !inner.allows(Call::Read) {
        return ffi::SQLITE_IOERR_READ;
    }
    let there = inner.nodes[open.node].content.read(offset as usize, into);
    if there < into.len() { ffi::SQLITE_IOERR_SHORT_READ } else { ffi::SQLITE_OK }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    bytes: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: an open file, and that many bytes.
    let (open, from) =
        unsafe { (opened(file), std::slice::from_raw_parts(from.cast::<u8>(), bytes as usize)) };
    let mut inner = open.disk.lock();
    if inner.allows(Call::Write) {
        inner.write(open.node, offset as usize, from);
        return ffi::SQLITE_OK;
    }
    if inner.is_full() {
        inner.write(open.node, offset as usize, &from[..from.len() / 2]);
        return ffi::SQLITE_FULL;
    }
    ffi::SQLITE_IOERR_WRITE
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, bytes: i64) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { opened(file) };
    let mut inner = open.disk.lock();
    if !inner.allows(Call::Truncate) {
        return ffi::SQLITE_IOERR_TRUNCATE;
    }
    inner.truncate(open.node, bytes as usize);
    ffi::SQLITE_OK
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { opened(file) };
    let mut inner = open.disk.lock();
    if !inner.allows(Call::Sync) {
        return ffi::SQLITE_IOERR_FSYNC;
    }
    inner.sync(open.node);
    if std::mem::take(&mut open.is_new) {
        inner.sync_folder();
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, bytes: *mut i64) -> c_int {
    // SAFETY: an open file, and a number to fill in.
    let (open, bytes) = unsafe { (opened(file), &mut *bytes) };
    let mut inner = open.disk.lock();
    if !inner.allows(Call::Size) {
        return ffi::SQLITE_IOERR_FSTAT;
    }
    *bytes = inner.nodes[open.node].content.len() as i64;
    ffi::SQLITE_OK
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { opened(file) };
    let mut inner = open.disk.lock();
    if !inner.allows(Call::Lock) {
        return ffi::SQLITE_IOERR_LOCK;
    }
    let had = inner.nodes[open.node].locks.raise(open.handle, Level::from_number(level));
    if had { ffi::SQLITE_OK } else { ffi::SQLITE_BUSY }
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { opened(file) };
    // Never fails: a lock kept for ever is none of the faults that a disk has.
    open.disk.lock().nodes[open.node].locks.lower(open.handle, Level::from_number(level));
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved(file: *mut ffi::sqlite3_file, answer: *mut c_int) -> c_int {
    // SAFETY: an open file, and a number to fill in.
    let (open, answer) = unsafe { (opened(file), &mut *answer) };
    let mut inner = open.disk.lock();
    if !inner.allows(Call::Lock) {
        return ffi::SQLITE_IOERR_CHECKRESERVEDLOCK;
    }
    *answer = c_int::from(inner.nodes[open.node].locks.is_reserved());
    ffi::SQLITE_OK
}

unsafe extern "C" fn control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    super::SECTOR_BYTES as c_int
}

unsafe extern "C" fn characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    0
}

unsafe extern "C" fn shared_map(
    file: *mut ffi::sqlite3_file,
    index: c_int,
    bytes: c_int,
    make: c_int,
    memory: *mut *mut c_void,
) -> c_int {
    // SAFETY: an open file, and a pointer to fill in.
    let (open, memory) = unsafe { (opened(file), &mut *memory) };
    *memory = std::ptr::null_mut();
    let mut inner = open.disk.lock();
    if !inner.allows(Call::Map) {
        return ffi::SQLITE_IOERR_SHMMAP;
    }
    let node = &mut inner.nodes[open.node];
    node.mapped += usize::from(!std::mem::replace(&mut open.is_mapped, true));
    let regions = &mut node.regions;
    *memory = regions.region(index as usize, bytes as usize, make != 0).cast();
    if memory.is_null() && make != 0 { ffi::SQLITE_NOMEM } else { ffi::SQLITE_OK }
}

unsafe extern "C" fn shared_lock(
    file: *mut ffi::sqlite3_file,
    from: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { opened(file) };
    let mut inner = open.disk.lock();
    let (from, count) = (from as usize, count as usize);
    if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        inner.nodes[open.node].shared_locks.unlock(open.handle, from, count);
        return ffi::SQLITE_OK;
    }
    if !inner.allows(Call::Lock) {
        return ffi::SQLITE_IOERR_SHMLOCK;
    }
    let is_exclusive = flags & ffi::SQLITE_SHM_EXCLUSIVE != 0;
    let locks = &mut inner.nodes[open.node].shared_locks;
    let had = locks.lock(open.handle, from, count, is_exclusive);
    if had { ffi::SQLITE_OK } else { ffi::SQLITE_BUSY }
}

unsafe extern "C" fn shared_barrier(_: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

unsafe extern "C" fn shared_unmap(file: *mut ffi::sqlite3_file, _delete: c_int) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { opened(file) };
    if std::mem::take(&mut open.is_mapped) {
        let mut inner = open.disk.lock();
        let node = &mut inner.nodes[open.node];
        node.mapped -= 1;
        if node.mapped == 0 {
            node.regions.clear();
        }
    }
    ffi::SQLITE_OK
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved),
    xFileControl: Some(control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(shared_map),
    xShmLock: Some(shared_lock),
    xShmBarrier: Some(shared_barrier),
    xShmUnmap: Some(shared_unmap),
    xFetch: None,
    xUnfetch: None,
};

unsafe extern "C" fn delete(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    sync_folder: c_int,
) -> c_int {
    // SAFETY: a name of SQLite's.
    let Some((disk, name)) = (unsafe { text(name) }).and_then(Disk::find) else {
        return ffi::SQLITE_IOERR_DELETE;
    };
    let mut inner = disk.lock();
    if !inner.allows(Call::Delete) {
        return ffi::SQLITE_IOERR_DELETE;
    }
    if !inner.delete(name) {
        return ffi::SQLITE_IOERR_DELETE_NOENT;
    }
    if sync_folder != 0 {
        inner.sync_folder();
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn access(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    answer: *mut c_int,
) -> c_int {
    // SAFETY: a name of SQLite's, and a number to fill in.
    let (found, answer) = unsafe { (text(name).and_then(Disk::find), &mut *answer) };
    *answer = 0;
    let Some((disk, name)) = found else { return ffi::SQLITE_OK };
    let mut inner = disk.lock();
    if !inner.allows(Call::Access) {
        return ffi::SQLITE_IOERR_ACCESS;
    }
    let node = inner.names.get(name).map(|node| &inner.nodes[*node]);
    // SQLite asks whether a file is there to know whether there is anything in it.
    let is_there =
        node.is_some_and(|node| flags != ffi::SQLITE_ACCESS_EXISTS || !node.content.is_empty());
    *answer = c_int::from(is_there);
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_path(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    bytes: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: a C string, and room for that many bytes.
    unsafe {
        let name = CStr::from_ptr(name).to_bytes_with_nul();
        if name.len() > bytes as usize {
            return ffi::SQLITE_CANTOPEN;
        }
        std::ptr::copy_nonoverlapping(name.as_ptr().cast(), out, name.len());
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn randomness(_: *mut ffi::sqlite3_vfs, bytes: c_int, out: *mut c_char) -> c_int {
    // SAFETY: room for that many bytes. SQLite seeds its own generator with them, once a process.
    unsafe { std::ptr::write_bytes(out, 7, bytes as usize) };
    bytes
}

/// Nobody waits here: a busy timeout passes at once.
unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    microseconds
}

unsafe extern "C" fn last_error(_: *mut ffi::sqlite3_vfs, _: c_int, _: *mut c_char) -> c_int {
    0
}

unsafe extern "C" fn load(_: *mut ffi::sqlite3_vfs, name: *const c_char) -> *mut c_void {
    // SAFETY: SQLite's own function, called as SQLite would call it.
    unsafe { (*system()).xDlOpen.map_or(std::ptr::null_mut(), |load| load(system(), name)) }
}

unsafe extern "C" fn load_error(_: *mut ffi::sqlite3_vfs, bytes: c_int, out: *mut c_char) {
    // SAFETY: as above.
    unsafe {
        if let Some(load_error) = (*system()).xDlError {
            load_error(system(), bytes, out);
        }
    }
}

type Symbol = Option<unsafe extern "C" fn(*mut ffi::sqlite3_vfs, *mut c_void, *const c_char)>;

unsafe extern "C" fn symbol(
    _: *mut ffi::sqlite3_vfs,
    library: *mut c_void,
    name: *const c_char,
) -> Symbol {
    // SAFETY: as above.
    unsafe { (*system()).xDlSym.and_then(|symbol| symbol(system(), library, name)) }
}

unsafe extern "C" fn unload(_: *mut ffi::sqlite3_vfs, library: *mut c_void) {
    // SAFETY: as above.
    unsafe {
        if let Some(unload) = (*system()).xDlClose {
            unload(system(), library);
        }
    }
}

unsafe extern "C" fn current_time(_: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: as above.
    unsafe { (*system()).xCurrentTime.map_or(ffi::SQLITE_ERROR, |now| now(system(), out)) }
}

unsafe extern "C" fn current_time_ms(_: *mut ffi::sqlite3_vfs, out: *mut i64) -> c_int {
    // SAFETY: as above.
    unsafe { (*system()).xCurrentTimeInt64.map_or(ffi::SQLITE_ERROR, |now| now(system(), out)) }
}

/// Registers the file system under [`super::VFS_NAME`]; SQLite's own stays the default.
pub(super) fn install() -> Result<(), String> {
    // SAFETY: initializes SQLite and finds its default file system, which stays for the process's life.
    let found = unsafe {
        ffi::sqlite3_initialize();
        ffi::sqlite3_vfs_find(std::ptr::null())
    };
    if found.is_null() {
        return Err("SQLite has no file system here".to_owned());
    }
    SYSTEM.get_or_init(|| System(found));
    let vfs = Box::new(ffi::sqlite3_vfs {
        iVersion: 2,
        szOsFile: size_of::<File>() as c_int,
        mxPathname: 512,
        pNext: std::ptr::null_mut(),
        zName: super::VFS_NAME.as_ptr(),
        pAppData: std::ptr::null_mut(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_path),
        xDlOpen: Some(load),
        xDlError: Some(load_error),
        xDlSym: Some(symbol),
        xDlClose: Some(unload),
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: Some(last_error),
        xCurrentTimeInt64: Some(current_time_ms),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    });
    // SAFETY: leaked, because SQLite keeps it for the process's life.
    let code = unsafe { ffi::sqlite3_vfs_register(Box::into_raw(vfs), 0) };
    if code == ffi::SQLITE_OK {
        Ok(())
    } else {
        Err(format!("the file system is refused ({code})"))
    }
}
