//! Everything that is tested from outside, as one program: its tests share the machine's cores to the last, and what they
//! share of code is built once.

mod base_image;
mod cluster;
mod cluster_image;
mod cluster_migrate;
mod crash;
mod fleet;
mod found;
mod harness;
mod image;
mod image_fetch;
mod image_plan;
mod image_proxy;
mod image_server;
mod input;
mod install;
mod migrate;
mod migrate_asked;
mod migrate_killed;
mod migrate_live;
mod migrate_lost;
mod migrate_proof;
mod migrate_setup;
mod migrate_ways;
mod pictures;
mod prompts;
mod recovery;
mod status;
mod support;
