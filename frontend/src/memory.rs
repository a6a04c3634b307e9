//! The memory that the host must grant before a machine is made.

/// Bytes that the command may come to hold besides the guest's memory and what goes with that. See
/// docs/usage.md, "What a run holds".
const BESIDES: u64 = 384 << 20;
/// For each byte of the guest's memory one in so many goes with it: what pages are used for.
const TABLES: u64 = 64;

/// Asks the host for what a machine with `guest` bytes of memory may come to hold; why it is not granted.
pub(crate) fn grant(guest: u64) -> Result<(), String> {
    let bytes = guest.saturating_add(guest / TABLES).saturating_add(BESIDES);
    let granted =
        usize::try_from(bytes).is_ok_and(|n| Vec::<u8>::new().try_reserve_exact(n).is_ok());
    let why = || format!("{} MiB are needed, which the host does not grant", bytes >> 20);
    granted.then_some(()).ok_or_else(why)
}
