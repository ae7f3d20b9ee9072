//! Gives every binary and test of this package the place of libtorch, so that none needs
//! `LD_LIBRARY_PATH`, and compiles the calls into libtorch that tch does not bind.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // torch-sys declares `links = "tch"` and hands its library folder on under that name.
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    let Ok(libraries) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        return;
    };
    println!("cargo:rustc-link-arg=-Wl,-rpath,{libraries}");
    let calls = ["src/device/calls.cpp", "src/device/memory.cpp"];
    for file in calls {
        println!("cargo:rerun-if-changed={file}");
    }
    let headers = Path::new(&libraries).with_file_name("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .include(headers)
        .warnings(false)
        .files(calls)
        .compile("darwinlm_calls");
}
