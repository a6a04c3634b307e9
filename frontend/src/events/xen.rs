//! The names of Xen's hypercalls, by number. Xen's public header `xen.h`.

/// Names from 0 on; an empty one is no call.
const NAMES: [&str; 43] = [
    "set_trap_table",
    "mmu_update",
    "set_gdt",
    "stack_switch",
    "set_callbacks",
    "fpu_taskswitch",
    "sched_op_compat",
    "platform_op",
    "set_debugreg",
    "get_debugreg",
    "update_descriptor",
    "",
    "memory_op",
    "multicall",
    "update_va_mapping",
    "set_timer_op",
    "event_channel_op_compat",
    "xen_version",
    "console_io",
    "physdev_op_compat",
    "grant_table_op",
    "vm_assist",
    "update_va_mapping_otherdomain",
    "iret",
    "vcpu_op",
    "set_segment_base",
    "mmuext_op",
    "xsm_op",
    "nmi_op",
    "sched_op",
    "callback_op",
    "xenoprof_op",
    "event_channel_op",
    "physdev_op",
    "hvm_op",
    "sysctl",
    "domctl",
    "kexec_op",
    "tmem_op",
    "argo_op",
    "xenpmu_op",
    "dm_op",
    "hypfs_op",
];

/// The name of the call that RAX numbers.
pub(super) fn hypercall(rax: u64) -> Option<&'static str> {
    let name = usize::try_from(rax).ok().and_then(|n| NAMES.get(n)).copied();
    name.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (number, name) in [
            (12, "memory_op"),
            (18, "console_io"),
            (20, "grant_table_op"),
            (29, "sched_op"),
            (32, "event_channel_op"),
            (34, "hvm_op"),
            (36, "domctl"),
            (41, "dm_op"),
        ] {
            assert_eq!(hypercall(number), Some(name));
        }
        assert_eq!([hypercall(11), hypercall(43), hypercall(u64::MAX)], [None; 3]);
    }
}
