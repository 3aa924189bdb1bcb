//! Keeps the library mapped once it was loaded: hosts open a connection per request, and unmapping and mapping it again
//! each time costs more than all the rest of loading.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let has_elf = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| {
        ["linux", "freebsd", "netbsd", "openbsd", "android"].contains(&system.as_str())
    });
    if has_elf {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
