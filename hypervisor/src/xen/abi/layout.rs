//! The ABI's structures: each a row of fields with their offsets, for 64-bit and 32-bit callers.
//!
//! Decoding and encoding go through bytes, never through a cast, so padding is never read from
//! the hypervisor and a structure of a guest may lie at any alignment.

use super::Width;

/// A field's representation in memory: little endian.
pub trait Field: Copy {
    /// Reads the field from the start of `bytes`.
    fn load(bytes: &[u8]) -> Self;
    /// Writes the field to the start of `bytes`.
    fn store(self, bytes: &mut [u8]);
}

macro_rules! int_field {
    ($($t:ty)*) => {$(
        impl Field for $t {
            fn load(bytes: &[u8]) -> Self {
                let mut raw = [0; size_of::<$t>()];
                raw.copy_from_slice(&bytes[..size_of::<$t>()]);
                <$t>::from_le_bytes(raw)
            }
            fn store(self, bytes: &mut [u8]) {
                bytes[..size_of::<$t>()].copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
int_field!(u8 u16 u32 u64 i16);

impl<const N: usize> Field for [u8; N] {
    fn load(bytes: &[u8]) -> Self {
        let mut raw = [0; N];
        raw.copy_from_slice(&bytes[..N]);
        raw
    }
    fn store(self, bytes: &mut [u8]) {
        bytes[..N].copy_from_slice(&self);
    }
}

/// A structure of the ABI.
pub trait Layout: Copy + Default {
    /// The largest of the two sizes.
    const MAX: usize;
    /// The structure's size for a caller of that width.
    fn size(width: Width) -> usize;
    /// Decodes `bytes`, which holds at least `size(width)` bytes.
    fn decode(width: Width, bytes: &[u8]) -> Self;
    /// Encodes into `bytes`; bytes that no field covers stay as they are.
    fn encode(&self, width: Width, bytes: &mut [u8]);
}

/// Declares structures: `field: type @ offset in 64-bit [, compat type @ offset in 32-bit]`.
macro_rules! layouts {
    ($($(#[$doc:meta])* $name:ident: $long:literal / $compat:literal {
        $($field:ident: $lt:ty = $lo:literal / $ct:ty = $co:literal),* $(,)?
    })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the field names are those of Xen's headers")]
        pub struct $name { $(pub $field: $lt),* }

        impl Layout for $name {
            const MAX: usize = if $long > $compat { $long } else { $compat };
            fn size(width: Width) -> usize {
                match width { Width::Long => $long, Width::Compat => $compat }
            }
            #[allow(clippy::useless_conversion)]
            fn decode(width: Width, bytes: &[u8]) -> Self {
                match width {
                    Width::Long => Self { $($field: <$lt>::load(&bytes[$lo..])),* },
                    Width::Compat => Self { $($field: <$lt>::from(<$ct>::load(&bytes[$co..]))),* },
                }
            }
            #[allow(clippy::cast_possible_truncation, clippy::unnecessary_cast)]
            fn encode(&self, width: Width, bytes: &mut [u8]) {
                match width {
                    Width::Long => { $(self.$field.store(&mut bytes[$lo..]);)* }
                    Width::Compat => { $(narrow::<$lt, $ct>(self.$field).store(&mut bytes[$co..]);)* }
                }
            }
        }
    )*};
}

/// Cuts a field to its 32-bit representation; the upper half is lost, as in Xen's compat layer.
fn narrow<L: Narrow<C>, C>(value: L) -> C {
    value.narrow()
}

trait Narrow<C> {
    fn narrow(self) -> C;
}

impl<T: Field> Narrow<T> for T {
    fn narrow(self) -> T {
        self
    }
}

impl Narrow<u32> for u64 {
    fn narrow(self) -> u32 {
        self as u32
    }
}

#[rustfmt::skip]
layouts! {
    /// `multicall_entry` without its arguments, which follow at 16 (8 in compat).
    MulticallHead: 16 / 8 { op: u64 = 0 / u32 = 0, result: u64 = 8 / u32 = 4 }

    /// `xen_dm_op_buf`.
    DmOpBuf: 16 / 8 { h: u64 = 0 / u32 = 0, size: u64 = 8 / u32 = 4 }
    /// `xen_add_to_physmap`.
    AddToPhysmap: 24 / 16 {
        domid: u16 = 0 / u16 = 0, size: u16 = 2 / u16 = 2, space: u32 = 4 / u32 = 4,
        idx: u64 = 8 / u32 = 8, gpfn: u64 = 16 / u32 = 12,
    }
    /// `xen_add_to_physmap_batch`.
    AddToPhysmapBatch: 32 / 20 {
        domid: u16 = 0 / u16 = 0, space: u16 = 2 / u16 = 2, size: u16 = 4 / u16 = 4,
        foreign_domid: u16 = 6 / u16 = 6,
        idxs: u64 = 8 / u32 = 8, gpfns: u64 = 16 / u32 = 12, errs: u64 = 24 / u32 = 16,
    }
    /// `xen_remove_from_physmap`.
    RemoveFromPhysmap: 16 / 8 { domid: u16 = 0 / u16 = 0, gpfn: u64 = 8 / u32 = 4 }
    /// `xen_memory_reservation`.
    MemoryReservation: 32 / 20 {
        extent_start: u64 = 0 / u32 = 0, nr_extents: u64 = 8 / u32 = 4,
        extent_order: u32 = 16 / u32 = 8, mem_flags: u32 = 20 / u32 = 12, domid: u16 = 24 / u16 = 16,
    }
    /// `xen_mem_acquire_resource`.
    AcquireResource: 32 / 32 {
        domid: u16 = 0 / u16 = 0, kind: u16 = 2 / u16 = 2, id: u32 = 4 / u32 = 4,
        nr_frames: u32 = 8 / u32 = 8, pad: u32 = 12 / u32 = 12, frame: u64 = 16 / u64 = 16,
        frame_list: u64 = 24 / u32 = 24,
    }
    /// `xen_foreign_memory_map`, whose `xen_memory_map` follows at 8 (4 in compat).
    ForeignMemoryMap: 24 / 12 {
        domid: u16 = 0 / u16 = 0, nr_entries: u32 = 8 / u32 = 4, buffer: u64 = 16 / u32 = 8,
    }
    /// `xen_pod_target`.
    PodTarget: 40 / 40 {
        target_pages: u64 = 0 / u64 = 0, tot_pages: u64 = 8 / u64 = 8,
        pod_cache_pages: u64 = 16 / u64 = 16, pod_entries: u64 = 24 / u64 = 24,
        domid: u16 = 32 / u16 = 32,
    }
    /// `xen_memory_map`.
    MemoryMap: 16 / 8 { nr_entries: u32 = 0 / u32 = 0, buffer: u64 = 8 / u32 = 4 }
    /// `xen_memory_domain`.
    MemoryDomain: 2 / 2 { domid: u16 = 0 / u16 = 0 }
    /// An e820 entry of `XENMEM_memory_map`'s answer.
    E820Entry: 20 / 20 { addr: u64 = 0 / u64 = 0, size: u64 = 8 / u64 = 8, kind: u32 = 16 / u32 = 16 }

    /// `evtchn_alloc_unbound`.
    EvtchnAllocUnbound: 8 / 8 {
        dom: u16 = 0 / u16 = 0, remote_dom: u16 = 2 / u16 = 2, port: u32 = 4 / u32 = 4,
    }
    /// `evtchn_bind_interdomain`.
    EvtchnBindInterdomain: 12 / 12 {
        remote_dom: u16 = 0 / u16 = 0, remote_port: u32 = 4 / u32 = 4, local_port: u32 = 8 / u32 = 8,
    }
    /// `evtchn_bind_virq`.
    EvtchnBindVirq: 12 / 12 { virq: u32 = 0 / u32 = 0, vcpu: u32 = 4 / u32 = 4, port: u32 = 8 / u32 = 8 }
    /// `evtchn_bind_ipi`.
    EvtchnBindIpi: 8 / 8 { vcpu: u32 = 0 / u32 = 0, port: u32 = 4 / u32 = 4 }
    /// `evtchn_close`, `evtchn_send`, `evtchn_unmask`.
    EvtchnPort: 4 / 4 { port: u32 = 0 / u32 = 0 }
    /// `evtchn_bind_vcpu`.
    EvtchnBindVcpu: 8 / 8 { port: u32 = 0 / u32 = 0, vcpu: u32 = 4 / u32 = 4 }
    /// `evtchn_status`; `u0` and `u1` are the words of its union.
    EvtchnStatus: 24 / 24 {
        dom: u16 = 0 / u16 = 0, port: u32 = 4 / u32 = 4, status: u32 = 8 / u32 = 8,
        vcpu: u32 = 12 / u32 = 12, u0: u32 = 16 / u32 = 16, u1: u32 = 20 / u32 = 20,
    }
    /// `evtchn_reset`.
    EvtchnReset: 2 / 2 { dom: u16 = 0 / u16 = 0 }
    /// `evtchn_init_control`.
    EvtchnInitControl: 24 / 24 {
        control_gfn: u64 = 0 / u64 = 0, offset: u32 = 8 / u32 = 8, vcpu: u32 = 12 / u32 = 12,
        link_bits: u8 = 16 / u8 = 16,
    }
    /// `evtchn_expand_array`.
    EvtchnExpandArray: 8 / 8 { array_gfn: u64 = 0 / u64 = 0 }
    /// `evtchn_set_priority`.
    EvtchnSetPriority: 8 / 8 { port: u32 = 0 / u32 = 0, priority: u32 = 4 / u32 = 4 }

    /// `gnttab_map_grant_ref`.
    GnttabMap: 32 / 32 {
        host_addr: u64 = 0 / u64 = 0, flags: u32 = 8 / u32 = 8, gref: u32 = 12 / u32 = 12,
        dom: u16 = 16 / u16 = 16, status: i16 = 18 / i16 = 18, handle: u32 = 20 / u32 = 20,
        dev_bus_addr: u64 = 24 / u64 = 24,
    }
    /// `gnttab_unmap_grant_ref`.
    GnttabUnmap: 24 / 24 {
        host_addr: u64 = 0 / u64 = 0, dev_bus_addr: u64 = 8 / u64 = 8,
        handle: u32 = 16 / u32 = 16, status: i16 = 20 / i16 = 20,
    }
    /// `gnttab_setup_table`.
    GnttabSetup: 24 / 16 {
        dom: u16 = 0 / u16 = 0, nr_frames: u32 = 4 / u32 = 4, status: i16 = 8 / i16 = 8,
        frame_list: u64 = 16 / u32 = 12,
    }
    /// `gnttab_copy`; `source` and `dest` are a reference or a frame number.
    GnttabCopy: 40 / 24 {
        source: u64 = 0 / u32 = 0, source_dom: u16 = 8 / u16 = 4, source_offset: u16 = 10 / u16 = 6,
        dest: u64 = 16 / u32 = 8, dest_dom: u16 = 24 / u16 = 12, dest_offset: u16 = 26 / u16 = 14,
        len: u16 = 32 / u16 = 16, flags: u16 = 34 / u16 = 18, status: i16 = 36 / i16 = 20,
    }
    /// `gnttab_query_size`.
    GnttabQuerySize: 16 / 16 {
        dom: u16 = 0 / u16 = 0, nr_frames: u32 = 4 / u32 = 4, max_nr_frames: u32 = 8 / u32 = 8,
        status: i16 = 12 / i16 = 12,
    }
    /// `gnttab_set_version`.
    GnttabSetVersion: 4 / 4 { version: u32 = 0 / u32 = 0 }
    /// `gnttab_get_version`.
    GnttabGetVersion: 8 / 8 { dom: u16 = 0 / u16 = 0, version: u32 = 4 / u32 = 4 }
    /// `grant_entry_v1`.
    GrantEntry: 8 / 8 { flags: u16 = 0 / u16 = 0, domid: u16 = 2 / u16 = 2, frame: u32 = 4 / u32 = 4 }

    /// `sched_shutdown`.
    SchedShutdown: 4 / 4 { reason: u32 = 0 / u32 = 0 }
    /// `sched_remote_shutdown`.
    SchedRemoteShutdown: 8 / 8 { domid: u16 = 0 / u16 = 0, reason: u32 = 4 / u32 = 4 }
    /// `sched_poll`.
    SchedPoll: 24 / 16 { ports: u64 = 0 / u32 = 0, nr_ports: u32 = 8 / u32 = 4, timeout: u64 = 16 / u64 = 8 }

    /// `vcpu_register_vcpu_info`.
    RegisterVcpuInfo: 16 / 16 { mfn: u64 = 0 / u64 = 0, offset: u32 = 8 / u32 = 8 }
    /// `vcpu_register_runstate_memory_area` and its time twin: a union that is 8 bytes wide.
    RegisterArea: 8 / 8 { addr: u64 = 0 / u64 = 0 }
    /// `vcpu_set_periodic_timer`.
    SetPeriodicTimer: 8 / 8 { period_ns: u64 = 0 / u64 = 0 }
    /// `vcpu_set_singleshot_timer`.
    SetSingleshotTimer: 16 / 12 { timeout_abs_ns: u64 = 0 / u64 = 0, flags: u32 = 8 / u32 = 8 }
    /// `vcpu_get_physid`.
    GetPhysid: 8 / 8 { phys_id: u64 = 0 / u64 = 0 }
    /// `vcpu_runstate_info`.
    RunstateInfo: 48 / 44 {
        state: u32 = 0 / u32 = 0, state_entry_time: u64 = 8 / u64 = 4,
        running: u64 = 16 / u64 = 12, runnable: u64 = 24 / u64 = 20, blocked: u64 = 32 / u64 = 28,
        offline: u64 = 40 / u64 = 36,
    }
    /// `vcpu_time_info`: the pvclock.
    TimeInfo: 32 / 32 {
        version: u32 = 0 / u32 = 0, tsc_timestamp: u64 = 8 / u64 = 8, system_time: u64 = 16 / u64 = 16,
        tsc_to_system_mul: u32 = 24 / u32 = 24, tsc_shift: u8 = 28 / u8 = 28, flags: u8 = 29 / u8 = 29,
    }

    /// `xen_hvm_param`.
    HvmParam: 16 / 16 { domid: u16 = 0 / u16 = 0, index: u32 = 4 / u32 = 4, value: u64 = 8 / u64 = 8 }
    /// `xen_hvm_evtchn_upcall_vector`.
    UpcallVector: 8 / 8 { vcpu: u32 = 0 / u32 = 0, vector: u8 = 4 / u8 = 4 }
    /// `xen_hvm_get_time`.
    HvmTime: 8 / 8 { now: u64 = 0 / u64 = 0 }

    /// `xen_feature_info`.
    FeatureInfo: 8 / 8 { submap_idx: u32 = 0 / u32 = 0, submap: u32 = 4 / u32 = 4 }
    /// `xen_platform_parameters`.
    PlatformParameters: 8 / 4 { virt_start: u64 = 0 / u32 = 0 }
    /// `xen_build_id` without its bytes.
    BuildId: 4 / 4 { len: u32 = 0 / u32 = 0 }

    /// The head of `xen_domctl`; its union starts at 16.
    DomctlHead: 16 / 16 {
        cmd: u32 = 0 / u32 = 0, interface_version: u32 = 4 / u32 = 4, domain: u16 = 8 / u16 = 8,
    }
    /// `xen_domctl_getdomaininfo`.
    DomainInfo: 112 / 112 {
        domain: u16 = 0 / u16 = 0, flags: u32 = 4 / u32 = 4, tot_pages: u64 = 8 / u64 = 8,
        max_pages: u64 = 16 / u64 = 16, outstanding_pages: u64 = 24 / u64 = 24,
        shr_pages: u64 = 32 / u64 = 32, paged_pages: u64 = 40 / u64 = 40,
        shared_info_frame: u64 = 48 / u64 = 48, cpu_time: u64 = 56 / u64 = 56,
        nr_online_vcpus: u32 = 64 / u32 = 64, max_vcpu_id: u32 = 68 / u32 = 68,
        ssidref: u32 = 72 / u32 = 72, handle: [u8; 16] = 76 / [u8; 16] = 76,
        cpupool: u32 = 92 / u32 = 92, gpaddr_bits: u8 = 96 / u8 = 96,
        emulation_flags: u32 = 104 / u32 = 104, misc_flags: u32 = 108 / u32 = 108,
    }
    /// `xen_domctl_createdomain` with x86's part.
    CreateDomain: 64 / 64 {
        ssidref: u32 = 0 / u32 = 0, handle: [u8; 16] = 4 / [u8; 16] = 4, flags: u32 = 20 / u32 = 20,
        iommu_opts: u32 = 24 / u32 = 24, max_vcpus: u32 = 28 / u32 = 28,
        max_evtchn_port: u32 = 32 / u32 = 32, max_grant_frames: u32 = 36 / u32 = 36,
        max_maptrack_frames: u32 = 40 / u32 = 40, grant_opts: u32 = 44 / u32 = 44,
        vmtrace_size: u32 = 48 / u32 = 48, cpupool_id: u32 = 52 / u32 = 52,
        emulation_flags: u32 = 56 / u32 = 56, misc_flags: u32 = 60 / u32 = 60,
    }
    /// `xenctl_bitmap`.
    Bitmap: 16 / 16 { bitmap: u64 = 0 / u64 = 0, nr_bits: u32 = 8 / u32 = 8 }
    /// `xen_domctl_vcpuaffinity`: its two bitmaps follow at 8 and 24.
    VcpuAffinity: 8 / 8 { vcpu: u32 = 0 / u32 = 0, flags: u32 = 4 / u32 = 4 }
    /// `xen_domctl_getvcpuinfo`.
    VcpuInfo: 24 / 24 {
        vcpu: u32 = 0 / u32 = 0, online: u8 = 4 / u8 = 4, blocked: u8 = 5 / u8 = 5,
        running: u8 = 6 / u8 = 6, cpu_time: u64 = 8 / u64 = 8, cpu: u32 = 16 / u32 = 16,
    }
    /// `xen_domctl_max_vcpus`.
    MaxVcpus: 4 / 4 { max: u32 = 0 / u32 = 0 }
    /// `xen_domctl_setdomainhandle`.
    DomainHandle: 16 / 16 { handle: [u8; 16] = 0 / [u8; 16] = 0 }
    /// `xen_domctl_sendtrigger`.
    SendTrigger: 8 / 8 { trigger: u32 = 0 / u32 = 0, vcpu: u32 = 4 / u32 = 4 }
    /// `xen_domctl_hvmcontext`.
    HvmContext: 16 / 16 { size: u32 = 0 / u32 = 0, buffer: u64 = 8 / u64 = 8 }
    /// `xen_domctl_hvmcontext_partial`.
    HvmContextPartial: 24 / 24 {
        kind: u32 = 0 / u32 = 0, instance: u32 = 4 / u32 = 4, bufsz: u64 = 8 / u64 = 8,
        buffer: u64 = 16 / u64 = 16,
    }
    /// `xen_domctl_vcpucontext`.
    VcpuContext: 16 / 16 { vcpu: u32 = 0 / u32 = 0, ctxt: u64 = 8 / u64 = 8 }
    /// `xen_domctl_tsc_info`.
    TscInfo: 24 / 24 {
        tsc_mode: u32 = 0 / u32 = 0, gtsc_khz: u32 = 4 / u32 = 4, incarnation: u32 = 8 / u32 = 8,
        elapsed_nsec: u64 = 16 / u64 = 16,
    }
    /// `xen_domctl_cpu_policy`.
    DomainCpuPolicy: 40 / 40 {
        nr_leaves: u32 = 0 / u32 = 0, nr_msrs: u32 = 4 / u32 = 4, leaves: u64 = 8 / u64 = 8,
        msrs: u64 = 16 / u64 = 16, err_leaf: u32 = 24 / u32 = 24, err_subleaf: u32 = 28 / u32 = 28,
        err_msr: u32 = 32 / u32 = 32,
    }
    /// `xen_cpuid_leaf`.
    CpuidLeaf: 24 / 24 {
        leaf: u32 = 0 / u32 = 0, subleaf: u32 = 4 / u32 = 4, a: u32 = 8 / u32 = 8,
        b: u32 = 12 / u32 = 12, c: u32 = 16 / u32 = 16, d: u32 = 20 / u32 = 20,
    }
    /// `xen_domctl_getpageframeinfo3`.
    PageFrameInfo: 16 / 16 { num: u64 = 0 / u64 = 0, array: u64 = 8 / u64 = 8 }
    /// `xen_domctl_paging_mempool`.
    PagingMempool: 8 / 8 { size: u64 = 0 / u64 = 0 }
    /// `xen_domctl_shadow_op`.
    ShadowOp: 40 / 40 {
        op: u32 = 0 / u32 = 0, mode: u32 = 4 / u32 = 4, mb: u32 = 8 / u32 = 8,
        dirty_bitmap: u64 = 16 / u64 = 16, pages: u64 = 24 / u64 = 24,
        fault_count: u32 = 32 / u32 = 32, dirty_count: u32 = 36 / u32 = 36,
    }
    /// `xen_domctl_max_mem`.
    MaxMem: 8 / 8 { max_memkb: u64 = 0 / u64 = 0 }
    /// `xen_domctl_scheduler_op` with the second credit scheduler's part of its union.
    DomctlScheduler: 24 / 24 {
        sched_id: u32 = 0 / u32 = 0, cmd: u32 = 4 / u32 = 4,
        weight: u16 = 8 / u16 = 8, cap: u16 = 10 / u16 = 10,
    }
    /// The head of `xen_platform_op`; its union starts at 8.
    PlatformHead: 8 / 8 { cmd: u32 = 0 / u32 = 0, interface_version: u32 = 4 / u32 = 4 }
    /// `xenpf_settime64`.
    SetTime64: 24 / 24 {
        secs: u64 = 0 / u64 = 0, nsecs: u32 = 8 / u32 = 8, mbz: u32 = 12 / u32 = 12,
        system_time: u64 = 16 / u64 = 16,
    }
    /// The head of `xen_sysctl`; its union starts at 8.
    SysctlHead: 8 / 8 { cmd: u32 = 0 / u32 = 0, interface_version: u32 = 4 / u32 = 4 }
    /// `xen_sysctl_getdomaininfolist`.
    DomainInfoList: 24 / 24 {
        first_domain: u16 = 0 / u16 = 0, max_domains: u32 = 4 / u32 = 4, buffer: u64 = 8 / u64 = 8,
        num_domains: u32 = 16 / u32 = 16,
    }
    /// `xen_sysctl_physinfo`.
    PhysInfo: 112 / 112 {
        threads_per_core: u32 = 0 / u32 = 0, cores_per_socket: u32 = 4 / u32 = 4,
        nr_cpus: u32 = 8 / u32 = 8, max_cpu_id: u32 = 12 / u32 = 12, nr_nodes: u32 = 16 / u32 = 16,
        max_node_id: u32 = 20 / u32 = 20, cpu_khz: u32 = 24 / u32 = 24, capabilities: u32 = 28 / u32 = 28,
        arch_capabilities: u32 = 32 / u32 = 32, total_pages: u64 = 40 / u64 = 40,
        free_pages: u64 = 48 / u64 = 48, scrub_pages: u64 = 56 / u64 = 56,
        outstanding_pages: u64 = 64 / u64 = 64, max_mfn: u64 = 72 / u64 = 72,
    }
    /// `xen_sysctl_readconsole`.
    ReadConsole: 24 / 24 {
        clear: u8 = 0 / u8 = 0, incremental: u8 = 1 / u8 = 1, index: u32 = 4 / u32 = 4,
        buffer: u64 = 8 / u64 = 8, count: u32 = 16 / u32 = 16,
    }
    /// `xen_sysctl_debug_keys`.
    DebugKeys: 16 / 16 { keys: u64 = 0 / u64 = 0, nr_keys: u32 = 8 / u32 = 8 }
    /// `xen_sysctl_pcitopoinfo`.
    PciTopoInfo: 24 / 24 {
        num_devs: u32 = 0 / u32 = 0, devs: u64 = 8 / u64 = 8, nodes: u64 = 16 / u64 = 16,
    }
    /// `xen_sysctl_scheduler_op` with the second credit scheduler's part of its union.
    SysctlScheduler: 32 / 32 {
        cpupool_id: u32 = 0 / u32 = 0, sched_id: u32 = 4 / u32 = 4, cmd: u32 = 8 / u32 = 8,
        ratelimit_us: u32 = 16 / u32 = 16,
    }
    /// `xen_sysctl_cpupool_op`.
    CpupoolOp: 40 / 40 {
        op: u32 = 0 / u32 = 0, cpupool_id: u32 = 4 / u32 = 4, sched_id: u32 = 8 / u32 = 8,
        domid: u32 = 12 / u32 = 12, cpu: u32 = 16 / u32 = 16, n_dom: u32 = 20 / u32 = 20,
        bitmap: u64 = 24 / u64 = 24, nr_bits: u32 = 32 / u32 = 32,
    }
    /// `xen_sysctl_cputopoinfo`.
    CpuTopoInfo: 16 / 16 { num_cpus: u32 = 0 / u32 = 0, cputopo: u64 = 8 / u64 = 8 }
    /// `xen_sysctl_cputopo`.
    CpuTopo: 12 / 12 { core: u32 = 0 / u32 = 0, socket: u32 = 4 / u32 = 4, node: u32 = 8 / u32 = 8 }
    /// `xen_sysctl_numainfo`.
    NumaInfo: 24 / 24 {
        num_nodes: u32 = 0 / u32 = 0, meminfo: u64 = 8 / u64 = 8, distance: u64 = 16 / u64 = 16,
    }
    /// `xen_sysctl_meminfo`.
    MemInfo: 16 / 16 { memsize: u64 = 0 / u64 = 0, memfree: u64 = 8 / u64 = 8 }
    /// `xen_sysctl_cpu_featureset`.
    CpuFeatureset: 16 / 16 {
        index: u32 = 0 / u32 = 0, nr_features: u32 = 4 / u32 = 4, features: u64 = 8 / u64 = 8,
    }
    /// `xen_sysctl_cpu_policy`.
    SystemCpuPolicy: 32 / 32 {
        index: u32 = 0 / u32 = 0, nr_leaves: u32 = 4 / u32 = 4, nr_msrs: u32 = 8 / u32 = 8,
        leaves: u64 = 16 / u64 = 16, msrs: u64 = 24 / u64 = 24,
    }
    /// `xen_sysctl_getcpuinfo`.
    GetCpuInfo: 24 / 24 {
        max_cpus: u32 = 0 / u32 = 0, info: u64 = 8 / u64 = 8, nr_cpus: u32 = 16 / u32 = 16,
    }
    /// `xen_sysctl_availheap`.
    AvailHeap: 24 / 24 {
        min_bitwidth: u32 = 0 / u32 = 0, max_bitwidth: u32 = 4 / u32 = 4, node: u32 = 8 / u32 = 8,
        avail_bytes: u64 = 16 / u64 = 16,
    }
    /// `xen_sysctl_sched_id`.
    SchedId: 4 / 4 { sched_id: u32 = 0 / u32 = 0 }
}

/// `shared_info`: a page whose layout follows the domain's latched width.
pub mod shared_info {
    use super::Width;

    /// The number of `vcpu_info` entries in the page.
    pub const LEGACY_VCPUS: usize = 32;
    /// The size of a `vcpu_info`, in both widths.
    pub const VCPU_INFO_SIZE: u16 = 64;
    /// `vcpu_info.evtchn_upcall_pending`, one byte.
    pub const UPCALL_PENDING: u16 = 0;
    /// `vcpu_info.time`, in both widths.
    pub const TIME: u16 = 32;

    /// The offset of `vcpu_info.evtchn_pending_sel`.
    pub fn pending_sel(width: Width) -> u16 {
        match width {
            Width::Long => 8,
            Width::Compat => 4,
        }
    }

    /// The size of a word of the port bitmaps and of the selector, in bytes.
    pub fn word(width: Width) -> u16 {
        match width {
            Width::Long => 8,
            Width::Compat => 4,
        }
    }

    /// The number of ports the two-level bitmaps hold.
    pub fn ports(width: Width) -> u32 {
        match width {
            Width::Long => 4096,
            Width::Compat => 1024,
        }
    }

    /// The offset of `evtchn_pending`.
    pub const PENDING: u16 = 2048;

    /// The offset of `evtchn_mask`.
    pub fn mask(width: Width) -> u16 {
        match width {
            Width::Long => 2560,
            Width::Compat => 2176,
        }
    }

    /// The offset of `wc_version`; `wc_sec` and `wc_nsec` follow.
    pub fn wallclock(width: Width) -> u16 {
        match width {
            Width::Long => 3072,
            Width::Compat => 2304,
        }
    }

    /// The offset of the upper half of the wall-clock seconds.
    pub fn wallclock_hi(width: Width) -> u16 {
        match width {
            Width::Long => 3084,
            Width::Compat => 2340,
        }
    }
}
