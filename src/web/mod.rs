//! HTTP: endpoints and pages.

pub mod pages;
