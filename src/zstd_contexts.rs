//! Contexts of zstd that are out of use, kept for whoever needs one next.
//!
//! Parquet makes a compressor and a decompressor for each column that it opens, to read as well as to write, and so does a
//! hundred times for each row group. With each, zstd asks the processor what it can do. On a virtual machine that
//! question (`cpuid`) goes to the host: 25 µs and more for a context, an eighth of the work of compaction. Parquet lets
//! nobody pass it a context; so the linker sends the calls that make and free them here (`build.rs`).
//!
//! A context that comes from here is as good as new: it was reset, parameters and all.

use std::cell::RefCell;
use std::ffi::{c_int, c_void};

/// What a thread keeps: a few compressors that have worked, for one works at a time …
const IDLE_COMPRESSOR_BYTES: usize = 4 << 20;
/// … and the decompressors of some 120 columns, for a reader of a whole row group has all of them at once.
const IDLE_DECOMPRESSOR_BYTES: usize = 12 << 20;
/// `ZSTD_reset_session_and_parameters`
const RESET_ALL: c_int = 3;

type Context = *mut c_void;

/// What zstd does with contexts of one kind.
struct Kind {
    create: unsafe extern "C" fn() -> Context,
    free: unsafe extern "C" fn(Context) -> usize,
    /// Not 0 for an error.
    reset: unsafe extern "C" fn(Context, c_int) -> usize,
    size: unsafe extern "C" fn(*const c_void) -> usize,
    /// That a thread keeps idle.
    most_bytes: usize,
}

#[allow(unsafe_code)]
unsafe extern "C" {
    // what the linker calls the functions of zstd themselves
    fn __real_ZSTD_createCCtx() -> Context;
    fn __real_ZSTD_freeCCtx(context: Context) -> usize;
    fn __real_ZSTD_createDCtx() -> Context;
    fn __real_ZSTD_freeDCtx(context: Context) -> usize;
    fn ZSTD_CCtx_reset(context: Context, directive: c_int) -> usize;
    fn ZSTD_DCtx_reset(context: Context, directive: c_int) -> usize;
    fn ZSTD_sizeof_CCtx(context: *const c_void) -> usize;
    fn ZSTD_sizeof_DCtx(context: *const c_void) -> usize;
}

static COMPRESSORS: Kind = Kind {
    create: __real_ZSTD_createCCtx,
    free: __real_ZSTD_freeCCtx,
    reset: ZSTD_CCtx_reset,
    size: ZSTD_sizeof_CCtx,
    most_bytes: IDLE_COMPRESSOR_BYTES,
};
static DECOMPRESSORS: Kind = Kind {
    create: __real_ZSTD_createDCtx,
    free: __real_ZSTD_freeDCtx,
    reset: ZSTD_DCtx_reset,
    size: ZSTD_sizeof_DCtx,
    most_bytes: IDLE_DECOMPRESSOR_BYTES,
};

thread_local! {
    static IDLE_COMPRESSORS: RefCell<Idle> = const { RefCell::new(Idle::of(&COMPRESSORS)) };
    static IDLE_DECOMPRESSORS: RefCell<Idle> = const { RefCell::new(Idle::of(&DECOMPRESSORS)) };
}

/// Contexts of a thread that are out of use, with their sizes.
struct Idle {
    kind: &'static Kind,
    contexts: Vec<(Context, usize)>,
    bytes: usize,
}

impl Idle {
    const fn of(kind: &'static Kind) -> Self {
        Self { kind, contexts: Vec::new(), bytes: 0 }
    }

    fn take(&mut self) -> Option<Context> {
        let (context, bytes) = self.contexts.pop()?;
        self.bytes -= bytes;
        Some(context)
    }

    /// False when there is no room for it: it is the caller's to free.
    #[allow(unsafe_code)]
    fn keep(&mut self, context: Context) -> bool {
        // SAFETY: whoever frees a context has it for himself, and it is of this kind.
        let (bytes, reset) = unsafe { ((self.kind.size)(context), (self.kind.reset)(context, RESET_ALL)) };
        if reset != 0 || self.bytes + bytes > self.kind.most_bytes {
            return false;
        }
        self.contexts.push((context, bytes));
        self.bytes += bytes;
        true
    }
}

impl Drop for Idle {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        for (context, _) in self.contexts.drain(..) {
            // SAFETY: nobody else has it.
            unsafe { (self.kind.free)(context) };
        }
    }
}

/// An idle context, or a new one; also while the thread ends and has none any more.
#[allow(unsafe_code)]
fn create(idle: &'static std::thread::LocalKey<RefCell<Idle>>, kind: &Kind) -> Context {
    let kept = idle.try_with(|idle| idle.borrow_mut().take()).ok().flatten();
    // SAFETY: it may be called at any time.
    kept.unwrap_or_else(|| unsafe { (kind.create)() })
}

#[allow(unsafe_code)]
fn free(idle: &'static std::thread::LocalKey<RefCell<Idle>>, kind: &Kind, context: Context) -> usize {
    if context.is_null() || idle.try_with(|idle| idle.borrow_mut().keep(context)).unwrap_or(false) {
        return 0;
    }
    // SAFETY: the caller gives it up, and it was not kept.
    unsafe { (kind.free)(context) }
}

#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn __wrap_ZSTD_createCCtx() -> Context {
    create(&IDLE_COMPRESSORS, &COMPRESSORS)
}

#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn __wrap_ZSTD_freeCCtx(context: Context) -> usize {
    free(&IDLE_COMPRESSORS, &COMPRESSORS, context)
}

#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn __wrap_ZSTD_createDCtx() -> Context {
    create(&IDLE_DECOMPRESSORS, &DECOMPRESSORS)
}

#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn __wrap_ZSTD_freeDCtx(context: Context) -> usize {
    free(&IDLE_DECOMPRESSORS, &DECOMPRESSORS, context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_that_was_freed_is_the_next_one_and_compresses_as_a_new_one() {
        let content: Vec<u8> = (0..100_000u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        let first = zstd::bulk::compress(&content, 3).unwrap();
        let address = IDLE_COMPRESSORS.with(|idle| idle.borrow().contexts.last().copied()).unwrap();
        for level in [9, 3] {
            let again = zstd::bulk::compress(&content, level).unwrap();
            assert_eq!(again == first, level == 3, "what a context was last set to does not count");
            assert_eq!(zstd::bulk::decompress(&again, content.len()).unwrap(), content);
            assert_eq!(IDLE_COMPRESSORS.with(|idle| idle.borrow().contexts.last().copied()).unwrap().0, address.0);
        }
    }

    #[test]
    fn idle_contexts_take_no_more_memory_than_they_may() {
        let all: Vec<Context> = (0..200).map(|_| __wrap_ZSTD_createDCtx()).collect();
        all.into_iter().for_each(|context| _ = __wrap_ZSTD_freeDCtx(context));
        IDLE_DECOMPRESSORS.with(|idle| {
            let idle = idle.borrow();
            assert!(
                idle.bytes <= IDLE_DECOMPRESSOR_BYTES && idle.contexts.len() > 10,
                "{} contexts",
                idle.contexts.len()
            );
            assert_eq!(idle.bytes, idle.contexts.iter().map(|(_, bytes)| bytes).sum::<usize>());
        });
    }
}
