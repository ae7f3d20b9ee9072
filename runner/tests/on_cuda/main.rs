//! Every task on a CUDA device, without a GPU: on the stand-in of `fake-cuda`.
//!
//! A test holds `fake_cuda::exclusive()` from its first line: the device has to be there before
//! anything asks for CUDA, and its figures are the whole process's.
#![allow(non_snake_case, clippy::unwrap_used)]

mod bench;
mod caps;
mod memory;
mod runs;
#[path = "../core/tiny.rs"]
#[allow(dead_code, reason = "shared with the tests of the core")]
mod tiny;
mod transfers;
mod world;
