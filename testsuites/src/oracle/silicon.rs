//! Whose silicon an outcome is of.

use std::path::Path;

/// A maker of processors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Silicon {
    /// AMD, and those who make processors like AMD's.
    Amd,
    /// Intel, whose processors our models follow.
    Intel,
}

impl Silicon {
    /// The makers whose rows there are.
    pub const ALL: [Silicon; 2] = [Silicon::Amd, Silicon::Intel];

    /// The maker of the host's processor.
    #[cfg(target_arch = "x86_64")]
    pub fn host() -> Silicon {
        let name = std::arch::x86_64::__cpuid(0).ebx.to_le_bytes();
        if name == *b"Genu" { Silicon::Intel } else { Silicon::Amd }
    }

    /// What the names of its files of rows begin with.
    pub fn name(self) -> &'static str {
        match self {
            Silicon::Amd => "amd",
            Silicon::Intel => "intel",
        }
    }

    /// Whose rows a file holds.
    pub fn of_file(file: &Path) -> Option<Silicon> {
        let name = file.file_name()?.to_str()?;
        Silicon::ALL.into_iter().find(|s| name.starts_with(s.name()))
    }
}
