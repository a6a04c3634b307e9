//! Sizes and offsets, against the numbers a C program printed from libxen-dev 4.17's headers.

use crate::xen::abi::Width;
use crate::xen::abi::layout::*;

/// Encodes `value`, whose fields are zero but for bytes EEh, and lists where they landed.
#[track_caller]
fn check<T: Layout>(width: Width, size: usize, value: T, offset: usize) {
    assert_eq!(T::size(width), size, "size");
    let mut raw = alloc::vec![0; T::MAX];
    value.encode(width, &mut raw);
    assert_eq!(raw.iter().position(|&byte| byte == 0xEE), Some(offset), "offset");
    assert!(raw[size..].iter().all(|&byte| byte == 0), "written beyond the structure");
}

macro_rules! row {
    ($width:ident $name:ident $size:literal . $field:ident $offset:literal) => {
        check(Width::$width, $size, $name { $field: 0xEE, ..Default::default() }, $offset)
    };
}

#[test]
fn long_layouts() {
    row!(Long AddToPhysmap 24 . gpfn 16);
    row!(Long AddToPhysmapBatch 32 . foreign_domid 6);
    row!(Long AddToPhysmapBatch 32 . idxs 8);
    row!(Long AddToPhysmapBatch 32 . errs 24);
    row!(Long RemoveFromPhysmap 16 . gpfn 8);
    row!(Long MemoryReservation 32 . mem_flags 20);
    row!(Long MemoryReservation 32 . domid 24);
    row!(Long MemoryMap 16 . buffer 8);
    row!(Long GnttabMap 32 . gref 12);
    row!(Long GnttabMap 32 . status 18);
    row!(Long GnttabMap 32 . handle 20);
    row!(Long GnttabMap 32 . dev_bus_addr 24);
    row!(Long GnttabUnmap 24 . handle 16);
    row!(Long GnttabUnmap 24 . status 20);
    row!(Long GnttabCopy 40 . source_dom 8);
    row!(Long GnttabCopy 40 . source_offset 10);
    row!(Long GnttabCopy 40 . dest 16);
    row!(Long GnttabCopy 40 . len 32);
    row!(Long GnttabCopy 40 . flags 34);
    row!(Long GnttabCopy 40 . status 36);
    row!(Long GnttabQuerySize 16 . nr_frames 4);
    row!(Long GnttabQuerySize 16 . max_nr_frames 8);
    row!(Long GnttabQuerySize 16 . status 12);
    row!(Long GnttabSetup 24 . frame_list 16);
    row!(Long GnttabGetVersion 8 . version 4);
    row!(Long SchedPoll 24 . nr_ports 8);
    row!(Long SchedPoll 24 . timeout 16);
    row!(Long SchedRemoteShutdown 8 . reason 4);
    row!(Long EvtchnStatus 24 . u0 16);
    row!(Long EvtchnStatus 24 . u1 20);
    row!(Long EvtchnBindInterdomain 12 . remote_port 4);
    row!(Long EvtchnBindInterdomain 12 . local_port 8);
    row!(Long MulticallHead 16 . result 8);
    row!(Long RunstateInfo 48 . state_entry_time 8);
    row!(Long HvmParam 16 . value 8);
    row!(Long UpcallVector 8 . vector 4);
    row!(Long SetSingleshotTimer 16 . flags 8);
    row!(Long RegisterVcpuInfo 16 . offset 8);
    row!(Long FeatureInfo 8 . submap 4);
    row!(Long TimeInfo 32 . tsc_to_system_mul 24);
}

#[test]
fn control_layouts() {
    row!(Long DomainInfo 112 . flags 4);
    row!(Long DomainInfo 112 . tot_pages 8);
    row!(Long DomainInfo 112 . max_pages 16);
    row!(Long DomainInfo 112 . shared_info_frame 48);
    row!(Long DomainInfo 112 . cpu_time 56);
    row!(Long DomainInfo 112 . nr_online_vcpus 64);
    row!(Long DomainInfo 112 . max_vcpu_id 68);
    row!(Long DomainInfo 112 . cpupool 92);
    row!(Long DomainInfo 112 . gpaddr_bits 96);
    row!(Long DomainInfo 112 . emulation_flags 104);
    row!(Long DomainInfoList 24 . buffer 8);
    row!(Long DomainInfoList 24 . num_domains 16);
    row!(Long PhysInfo 112 . nr_cpus 8);
    row!(Long PhysInfo 112 . cpu_khz 24);
    row!(Long PhysInfo 112 . capabilities 28);
    row!(Long PhysInfo 112 . total_pages 40);
    row!(Long PhysInfo 112 . max_mfn 72);
    row!(Long ReadConsole 24 . count 16);
    row!(Long DomctlScheduler 24 . cmd 4);
    row!(Long DomctlScheduler 24 . weight 8);
    row!(Long DomctlScheduler 24 . cap 10);
    row!(Long SysctlScheduler 32 . sched_id 4);
    row!(Long SysctlScheduler 32 . cmd 8);
    row!(Long SysctlScheduler 32 . ratelimit_us 16);
    row!(Long SetTime64 24 . mbz 12);
    row!(Long SetTime64 24 . system_time 16);
}

#[test]
fn toolstack_layouts() {
    row!(Long CreateDomain 64 . flags 20);
    row!(Long CreateDomain 64 . iommu_opts 24);
    row!(Long CreateDomain 64 . max_vcpus 28);
    row!(Long CreateDomain 64 . max_evtchn_port 32);
    row!(Long CreateDomain 64 . max_grant_frames 36);
    row!(Long CreateDomain 64 . grant_opts 44);
    row!(Long CreateDomain 64 . vmtrace_size 48);
    row!(Long CreateDomain 64 . cpupool_id 52);
    row!(Long CreateDomain 64 . emulation_flags 56);
    row!(Long Bitmap 16 . nr_bits 8);
    row!(Long VcpuAffinity 8 . flags 4);
    row!(Long VcpuInfo 24 . online 4);
    row!(Long VcpuInfo 24 . running 6);
    row!(Long VcpuInfo 24 . cpu_time 8);
    row!(Long VcpuInfo 24 . cpu 16);
    row!(Long SendTrigger 8 . vcpu 4);
    row!(Long HvmContext 16 . buffer 8);
    row!(Long HvmContextPartial 24 . bufsz 8);
    row!(Long HvmContextPartial 24 . buffer 16);
    row!(Long TscInfo 24 . incarnation 8);
    row!(Long TscInfo 24 . elapsed_nsec 16);
    row!(Long DomainCpuPolicy 40 . msrs 16);
    row!(Long DomainCpuPolicy 40 . err_msr 32);
    row!(Long CpuidLeaf 24 . d 20);
    row!(Long ShadowOp 40 . dirty_bitmap 16);
    row!(Long ShadowOp 40 . pages 24);
    row!(Long ShadowOp 40 . fault_count 32);
    row!(Long ShadowOp 40 . dirty_count 36);
    row!(Long VcpuContext 16 . ctxt 8);
    row!(Long DebugKeys 16 . nr_keys 8);
    row!(Long PciTopoInfo 24 . devs 8);
    row!(Long PciTopoInfo 24 . nodes 16);
    row!(Long PageFrameInfo 16 . array 8);
    row!(Long CpupoolOp 40 . n_dom 20);
    row!(Long CpupoolOp 40 . bitmap 24);
    row!(Long CpuTopoInfo 16 . cputopo 8);
    row!(Long NumaInfo 24 . distance 16);
    row!(Long MemInfo 16 . memfree 8);
    row!(Long CpuFeatureset 16 . features 8);
    row!(Long SystemCpuPolicy 32 . leaves 16);
    row!(Long GetCpuInfo 24 . nr_cpus 16);
    row!(Long AvailHeap 24 . avail_bytes 16);
    row!(Long AcquireResource 32 . id 4);
    row!(Long AcquireResource 32 . frame 16);
    row!(Long AcquireResource 32 . frame_list 24);
    row!(Long ForeignMemoryMap 24 . nr_entries 8);
    row!(Long ForeignMemoryMap 24 . buffer 16);
    row!(Long PodTarget 40 . pod_entries 24);
    row!(Long PodTarget 40 . domid 32);
}

#[test]
fn compat_layouts() {
    row!(Compat AddToPhysmap 16 . gpfn 12);
    row!(Compat AddToPhysmapBatch 20 . errs 16);
    row!(Compat MemoryReservation 20 . domid 16);
    row!(Compat MemoryMap 8 . buffer 4);
    row!(Compat GnttabMap 32 . dev_bus_addr 24);
    row!(Compat GnttabUnmap 24 . status 20);
    row!(Compat GnttabCopy 24 . status 20);
    row!(Compat GnttabSetup 16 . frame_list 12);
    row!(Compat SchedPoll 16 . timeout 8);
    row!(Compat MulticallHead 8 . result 4);
    row!(Compat RunstateInfo 44 . running 12);
    row!(Compat SetSingleshotTimer 12 . flags 8);
}

#[test]
fn shared_info_places() {
    let places = |width| {
        use shared_info as s;
        [s::pending_sel(width), s::mask(width), s::wallclock(width), s::wallclock_hi(width)]
    };
    assert_eq!(places(Width::Long), [8, 2560, 3072, 3084]);
    assert_eq!(places(Width::Compat), [4, 2176, 2304, 2340]);
}

/// A layout with every byte of its fields set survives the trip through memory.
#[test]
fn decode_undoes_encode() {
    let entry = GrantEntry { flags: 0x1234, domid: 0x5678, frame: 0x9ABC_DEF0 };
    let copy = GnttabCopy {
        source: 0x1111_2222,
        source_dom: 3,
        source_offset: 4,
        dest: 5,
        dest_dom: 6,
        dest_offset: 7,
        len: 8,
        flags: 9,
        status: -10,
    };
    for width in [Width::Long, Width::Compat] {
        let mut raw = [0; 64];
        entry.encode(width, &mut raw);
        assert_eq!(GrantEntry::decode(width, &raw), entry);
        copy.encode(width, &mut raw);
        assert_eq!(GnttabCopy::decode(width, &raw), copy);
    }
}
