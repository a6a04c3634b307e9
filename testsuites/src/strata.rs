//! Runs the `strata` command as a user would.
