//! Runs a data pipeline declared in YAML, and never computes the same thing twice.
