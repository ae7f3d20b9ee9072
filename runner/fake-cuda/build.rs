//! Compiles the C++ half against the libtorch that torch-sys found.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=csrc/fake_cuda.cpp");
    // torch-sys declares `links = "tch"` and hands its library folder on under that name.
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    let Ok(libraries) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        return;
    };
    let headers = Path::new(&libraries).with_file_name("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        // Every operation of a test passes through here; debug info doubles the time to compile.
        .opt_level(2)
        .debug(false)
        .include(&headers)
        .include(headers.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .file("csrc/fake_cuda.cpp")
        .compile("fake_cuda");
    println!("cargo:rustc-link-search=native={libraries}");
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{libraries}");
}
