//! The program itself, as a pod or a shell starts it: exit codes, reports and output.
#![allow(clippy::unwrap_used)]

mod build_database;
mod by_hand;
mod devices;
mod exports;
mod post_training;
mod stops;
mod world;
