//! The whole program with real clients: `devops-lab` as a user calls it, driven by kubectl,
//! docker and skopeo, on clusters that exist only for one test.
//!
//! A test that needs a client which this machine lacks says so and is skipped; with `CI=true` it
//! fails instead. Clusters share one home, so that they never choose each other's ports, and are
//! deleted when their test ends, whichever way.
//!
//! Start reading at [`lab::Lab`], which every test begins with.

mod app;
mod http;
mod lab;
mod process;
mod tools;
mod wait;

mod autoscaling;
mod bad_input;
mod bundle;
mod ci;
mod docker_engine;
mod durability;
mod faults;
mod guide;
mod image_update;
mod journey;
mod kubectl;
mod labs;
mod lessons;
mod metrics;
mod offline;
mod process_engine;
mod registry;
mod rollouts;
mod screens;
mod services;
mod slides;
mod traffic;
