//! How the mappings of a domain's frames are written in the leaves of its EPT.

use crate::ept::{self, Leaf};
use crate::xen::host_services::{Mapping, P2mKind};

/// The leaf of a mapping.
pub fn leaf_of(mapping: Mapping) -> Leaf {
    let (kind, flags) = match mapping.kind {
        P2mKind::Ram => (0, ept::ALL | ept::WRITE_BACK),
        P2mKind::RamRo => (1, ept::READ | ept::EXECUTE | ept::WRITE_BACK),
        P2mKind::MmioDirect => (2, ept::READ | ept::WRITE | ept::UNCACHED),
        P2mKind::GrantRw => (3, ept::READ | ept::WRITE | ept::WRITE_BACK),
        P2mKind::GrantRo => (4, ept::READ | ept::WRITE_BACK),
        P2mKind::Foreign => (5, ept::READ | ept::WRITE | ept::WRITE_BACK),
    };
    Leaf { mfn: mapping.mfn, flags, kind }
}

/// The mapping that [`leaf_of`] made a leaf of.
pub fn mapping_of(leaf: Leaf) -> Mapping {
    let kind = match leaf.kind {
        0 => P2mKind::Ram,
        1 => P2mKind::RamRo,
        2 => P2mKind::MmioDirect,
        3 => P2mKind::GrantRw,
        4 => P2mKind::GrantRo,
        _ => P2mKind::Foreign,
    };
    Mapping { mfn: leaf.mfn, kind }
}
