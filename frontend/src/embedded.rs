//! The freestanding programs that this command carries, built by build.rs.

/// The hypervisor, an ELF image.
pub(crate) const HYPERVISOR: &[u8] = include_bytes!(env!("STRATA_HYPERVISOR_ELF"));
/// The guest that is dom0 where the user names no kernel.
pub(crate) const DOM0: &[u8] = include_bytes!(env!("STRATA_DOM0_ELF"));
/// The guest that is a domU where the user names no kernel.
pub(crate) const DOMU: &[u8] = include_bytes!(env!("STRATA_DOMU_ELF"));
