//! The language of the device table: what one declaration in `table` becomes.
//!
//! ```text
//! name: Type = construction => {
//!     port (base, length, width, offset);         registers in port space
//!     memory (base, length, width, offset);       registers in memory space
//!     line irq => |device, now| level;            an ISA interrupt line of a soldered device
//!     lines |device| levels;                      ISA lines of an optional device, a bit each
//!     function bdf;                               a place on PCI bus 0
//!     is timed, ends, masters, controller, slow;  further capabilities
//! }
//! ```
//!
//! Parts stand in this order, and each may be left out. Nothing checks that a range is free.
//!
//! `timed`: the device is [`crate::device::Timed`] and gets a slot of the deadlines. `ends`: it is
//! [`crate::device::Ends`]. `masters`: an optional device is [`crate::device::Masters`]. `controller`: an access may change how lines are taken.
//! `configuration`: an access may change a PCI function's configuration space. `machine`: it may
//! change what the machine looks at itself, as that of a device that `ends` does. `slow`: it takes the
//! time of an access to the ISA bus. A device with a
//! `function` is a [`crate::devices::pci::function::PciFunction`]. An optional device's type may be
//! followed by what the configuration says of it; its deadline has no slot, but is asked for.

/// `Some(value)` if the word is in the list, else `None`.
macro_rules! when {
    (timed in [timed $($rest:ident)*] $value:expr) => { Some($value) };
    (ends in [ends $($rest:ident)*] $value:expr) => { Some($value) };
    (masters in [masters $($rest:ident)*] $value:expr) => { Some($value) };
    (controller in [controller $($rest:ident)*] $value:expr) => { Some($value) };
    (configuration in [configuration $($rest:ident)*] $value:expr) => { Some($value) };
    (machine in [machine $($rest:ident)*] $value:expr) => { Some($value) };
    (slow in [slow $($rest:ident)*] $value:expr) => { Some($value) };
    ($word:ident in [$other:ident $($rest:ident)*] $value:expr) => {
        when!($word in [$($rest)*] $value)
    };
    ($word:ident in [] $value:expr) => { None };
}

/// `Some(value)` if anything follows, else `None`.
macro_rules! when_any {
    ($value:expr;) => {
        None
    };
    ($value:expr; $($any:tt)+) => {
        Some($value)
    };
}

/// Declares the board's devices.
macro_rules! devices {
    (
        ($config:ident)
        soldered { $(
            $name:ident: $type:ty = $new:expr => {
                $( port ($($port:expr),*); )*
                $( memory ($($memory:expr),*); )*
                $( line $irq:expr => |$d:pat_param, $now:pat_param| $level:expr; )*
                $( function $bdf:expr; )?
                $( is $($word:ident),*; )?
            }
        )* }
        optional { $(
            $(#[$doc:meta])*
            $oname:ident: $otype:ident $({ $( $(#[$fdoc:meta])* $field:ident: $ftype:ty),* })?
            = $onew:expr => {
                $( port ($($oport:expr),*); )*
                $( memory ($($omemory:expr),*); )*
                $( lines |$od:pat_param| $olevels:expr; )?
                $( function $obdf:expr; )?
                $( is $($oword:ident),*; )?
            }
        )* }
    ) => {
        /// Names a device of the board.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[expect(non_camel_case_types, reason = "a device has one name, that of its field")]
        pub(super) enum Id { $($name,)* $($oname,)* }

        impl Id {
            /// The name, for the user.
            pub(super) fn name(self) -> &'static str {
                match self {
                    $(Id::$name => stringify!($name),)*
                    $(Id::$oname => stringify!($oname),)*
                }
            }
        }

        /// A device that a machine may have.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum OptionalDevice { $(
            $(#[$doc])*
            $otype $({ $( $(#[$fdoc])* $field: $ftype),* })?,
        )* }

        /// The devices that are soldered in, and those that the configuration has added.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub(super) struct Devices {
            $(pub(super) $name: $type,)*
            pub(super) optional: Optional,
        }

        /// The optional devices. They are saved as a list, so that a machine's saved state does not
        /// tell of devices that it lacks.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(into = "Vec<Present>", from = "Vec<Present>")]
        pub(super) struct Optional { $($oname: Option<$otype>,)* }

        /// An optional device of the list.
        #[derive(Serialize, Deserialize)]
        enum Present { $($otype($otype),)* }

        impl From<Optional> for Vec<Present> {
            fn from(optional: Optional) -> Self {
                let Optional { $($oname),* } = optional;
                let mut present = Vec::new();
                $( present.extend($oname.map(Present::$otype)); )*
                present
            }
        }

        impl Optional {
            /// Which of the devices are there.
            pub(super) fn kinds(&self) -> Vec<Id> {
                let kinds = [$( self.$oname.as_ref().map(|_| Id::$oname), )*];
                kinds.into_iter().flatten().collect()
            }
        }

        impl From<Vec<Present>> for Optional {
            fn from(present: Vec<Present>) -> Self {
                let mut optional = Optional::default();
                for device in present {
                    match device { $( Present::$otype(device) => optional.$oname = Some(device), )* }
                }
                optional
            }
        }

        /// The rows of port space.
        pub(super) const PORTS: &[Row] = &[ $( $( Row::port(Id::$name, $($port),*), )* )* ];

        /// The rows of memory space.
        pub(super) const MEMORY: &[Row] = &[ $( $( Row::memory(Id::$name, $($memory),*), )* )* ];

        /// What is declared of each device that matters to time and lines.
        const DECLARED: &[Declared] = &[
            $( Declared {
                id: Id::$name,
                slot: matches!(when!(timed in [$($($word)*)?] true), Some(true)),
                slow: matches!(when!(slow in [$($($word)*)?] true), Some(true)),
                effect: if matches!(when!(timed in [$($($word)*)?] true), Some(true)) {
                    Effect::Timed(Id::$name)
                } else if matches!(when!(configuration in [$($($word)*)?] true), Some(true)) {
                    Effect::Configuration
                } else if matches!(when!(controller in [$($($word)*)?] true), Some(true))
                    || matches!(when_any!(true; $($irq)*), Some(true))
                {
                    Effect::Lines
                } else if matches!(when!(machine in [$($($word)*)?] true), Some(true))
                    || matches!(when!(ends in [$($($word)*)?] true), Some(true))
                {
                    Effect::Machine
                } else {
                    Effect::Nothing
                },
            }, )*
            $( Declared {
                id: Id::$oname,
                slot: false,
                slow: false,
                effect: if matches!(when!(timed in [$($($oword)*)?] true), Some(true)) {
                    Effect::Timed(Id::$oname)
                } else if matches!(when_any!(true; $($olevels)? $($obdf)?), Some(true)) {
                    Effect::Lines
                } else if matches!(when!(ends in [$($($oword)*)?] true), Some(true))
                    || matches!(when!(masters in [$($($oword)*)?] true), Some(true))
                {
                    Effect::Machine
                } else {
                    Effect::Nothing
                },
            }, )*
        ];

        /// The functions of PCI bus 0 and their places, if they are there.
        pub(super) const FUNCTIONS: &[(Id, Bdf)] =
            &[ $( $( (Id::$name, $bdf), )? )* $( $( (Id::$oname, $obdf), )? )* ];

        impl Devices {
            /// The devices at power-on.
            pub(super) fn new($config: &BoardConfig) -> Self {
                let mut optional = Optional::default();
                for device in first_of_each($config) {
                    match device { $(
                        #[allow(unused_variables, reason = "what rows alone need")]
                        OptionalDevice::$otype $({ $($field),* })? => {
                            optional.$oname = Some($onew);
                        }
                    )* }
                }
                Self { $($name: $new,)* optional }
            }

            /// The device's registers, if its rows say that there are any.
            pub(super) fn registers(&mut self, id: Id) -> Option<&mut dyn Device> {
                match id {
                    $( Id::$name => {
                        when_any!(&mut self.$name as &mut dyn Device; $(($($port),*))* $(($($memory),*))*)
                    } )*
                    $( Id::$oname => when_any!(
                        self.optional.$oname.as_mut().map(|device| device as &mut dyn Device);
                        $(($($oport),*))* $(($($omemory),*))*
                    ).flatten(), )*
                }
            }

            /// The device as one that changes as time passes, if it does.
            pub(super) fn timed(&mut self, id: Id) -> Option<&mut dyn Timed> {
                match id {
                    $( Id::$name => when!(timed in [$($($word)*)?] &mut self.$name as &mut dyn Timed), )*
                    $( Id::$oname => when!(
                        timed in [$($($oword)*)?]
                        self.optional.$oname.as_mut().map(|device| device as &mut dyn Timed)
                    ).flatten(), )*
                }
            }

            /// The optional devices that change as time passes.
            pub(super) fn optional_timed(&mut self) -> impl Iterator<Item = &mut dyn Timed> {
                let timed: [Option<&mut dyn Timed>; _] = [$(
                    when!(
                        timed in [$($($oword)*)?]
                        self.optional.$oname.as_mut().map(|device| device as &mut dyn Timed)
                    ).flatten(),
                )*];
                timed.into_iter().flatten()
            }

            /// The optional devices that reach memory by themselves.
            pub(super) fn masters(&mut self) -> impl Iterator<Item = &mut dyn Masters> {
                let masters: [Option<&mut dyn Masters>; _] = [$(
                    when!(
                        masters in [$($($oword)*)?]
                        self.optional.$oname.as_mut().map(|device| device as &mut dyn Masters)
                    ).flatten(),
                )*];
                masters.into_iter().flatten()
            }

            /// The device as a PCI function, if it is one.
            pub(super) fn function(&mut self, id: Id) -> Option<&mut dyn PciFunction> {
                match id {
                    $( Id::$name => {
                        when_any!(&mut self.$name as &mut dyn PciFunction; $($bdf)?)
                    } )*
                    $( Id::$oname => when_any!(
                        self.optional.$oname.as_mut().map(|device| device as &mut dyn PciFunction);
                        $($obdf)?
                    ).flatten(), )*
                }
            }

            /// The functions that want to assert their INTx: a bit for each of [`FUNCTIONS`].
            pub(super) fn intx_requests(&self) -> u32 {
                let requests = [
                    $( when_any!(self.$name.intx(); $($bdf)?), )*
                    $( when_any!(
                        self.optional.$oname.as_ref().is_some_and(PciFunction::intx); $($obdf)?
                    ), )*
                ];
                let requests = requests.into_iter().flatten().enumerate();
                requests.fold(0, |bits, (place, request)| bits | u32::from(request) << place)
            }

            /// A function has memory to move or messages to signal.
            pub(super) fn want_bus(&self) -> bool {
                $(
                    if when_any!(self.$name.wants_bus(); $($bdf)?) == Some(true) {
                        return true;
                    }
                )*
                $(
                    if when_any!(
                        self.optional.$oname.as_ref().is_some_and(PciFunction::wants_bus); $($obdf)?
                    ) == Some(true) {
                        return true;
                    }
                    if when!(
                        masters in [$($($oword)*)?]
                        self.optional.$oname.as_ref().is_some_and(Masters::wants_memory)
                    ) == Some(true) {
                        return true;
                    }
                )*
                false
            }

            /// The end of the run that the guest has asked for by one of the devices.
            pub(super) fn ending(&self) -> Option<Ending> {
                $(
                    let ending = when!(
                        ends in [$($($oword)*)?]
                        self.optional.$oname.as_ref().and_then(Ends::ending)
                    );
                    if let Some(ending) = ending.flatten() {
                        return Some(ending);
                    }
                )*
                $(
                    let ending = when!(ends in [$($($word)*)?] self.$name.ending());
                    if let Some(ending) = ending.flatten() {
                        return Some(ending);
                    }
                )*
                None
            }

            /// The levels of the ISA interrupt lines that the devices drive.
            pub(super) fn isa_lines(&self, instant: Icount) -> u16 {
                let mut lines = 0;
                $( $( {
                    let ($d, $now) = (&self.$name, instant);
                    lines |= u16::from($level) << $irq;
                } )* )*
                $( $( if let Some($od) = &self.optional.$oname {
                    lines |= $olevels;
                } )? )*
                lines
            }
        }

        /// The rows of the optional devices that the configuration asks for.
        pub(super) fn optional_rows(config: &BoardConfig) -> Vec<Row> {
            let mut rows = Vec::new();
            for device in first_of_each(config) {
                match device { $(
                    #[allow(unused_variables, reason = "what the construction alone needs")]
                    OptionalDevice::$otype $({ $($field),* })? => {
                        $( rows.push(Row::port(Id::$oname, $($oport),*)); )*
                        $( rows.push(Row::memory(Id::$oname, $($omemory),*)); )*
                    }
                )* }
            }
            rows
        }
    };
}

pub(super) use {devices, when, when_any};
