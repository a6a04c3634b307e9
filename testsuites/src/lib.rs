//! testsuites.
