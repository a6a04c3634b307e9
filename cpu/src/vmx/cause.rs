//! Instructions that exit without more to say than their name. SDM vol. 3, "Instructions That Cause VM
//! Exits". The controls that an instruction exits under, or is undefined without, name it in
//! [`super::controls`].

use super::reason;

/// What makes an instruction exit besides the controls of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Every execution exits.
    Always,
    /// Only a control makes the instruction exit.
    Controlled,
    /// The XSS-exiting bitmap decides.
    Xss,
}

macro_rules! causes {
    ($($cause:ident $reason:ident $when:ident;)*) => {
        /// An instruction that may exit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the names are the instructions'")]
        pub enum Cause { $($cause),* }

        impl Cause {
            /// All causes, in their order.
            pub(super) const ALL: &[Cause] = &[$(Cause::$cause),*];

            /// The basic exit reason.
            pub(super) fn reason(self) -> u32 {
                match self { $(Cause::$cause => reason::$reason),* }
            }

            /// What makes the instruction exit besides its controls.
            pub(super) fn when(self) -> When {
                match self { $(Cause::$cause => When::$when),* }
            }
        }
    };
}

causes! {
    Cpuid CPUID Always;
    Hlt HLT Controlled;
    Invd INVD Always;
    Wbinvd WBINVD Controlled;
    Rdpmc RDPMC Controlled;
    Rdtsc RDTSC Controlled;
    Rdtscp RDTSCP Controlled;
    Rdpid RDTSCP Controlled;
    Monitor MONITOR Controlled;
    Mwait MWAIT Controlled;
    Pause PAUSE Controlled;
    Xsetbv XSETBV Always;
    Invpcid INVPCID Controlled;
    Xsaves XSAVES Xss;
    Xrstors XRSTORS Xss;
}
