//! Has the linker send the calls that make and free contexts of zstd to `src/zstd_contexts.rs`.

const WRAPPED: [&str; 4] = ["ZSTD_createCCtx", "ZSTD_freeCCtx", "ZSTD_createDCtx", "ZSTD_freeDCtx"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        WRAPPED.iter().for_each(|name| println!("cargo:rustc-link-arg-bin=mosso=-Wl,--wrap={name}"));
    }
}
