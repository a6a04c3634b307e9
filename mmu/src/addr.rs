//! The three kinds of address. Translation is the only conversion between them.

use core::fmt;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// The first byte of the 4 KiB page that holds this address.
            #[must_use]
            #[inline]
            pub const fn page(self) -> Self {
                Self(self.0 & !0xfff)
            }

            /// The offset in the 4 KiB page.
            #[must_use]
            #[inline]
            pub const fn offset(self) -> u64 {
                self.0 & 0xfff
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }
    };
}

address!(
    /// A linear address: what segmentation yields.
    Linear
);
address!(
    /// A guest-physical address: what guest paging yields. Without EPT it equals the [`HostPhys`].
    GuestPhys
);
address!(
    /// A physical address of the emulated machine: what EPT yields.
    HostPhys
);
