//! VMX as data: the fields of the VMCS, the controls this hypervisor asks for, the exits it gets.
//! SDM vol. 3, "Virtual Machine Control Structures" and "VMX Capability Reporting Facility".

pub mod bitmaps;
pub mod controls;
pub mod cr0;
pub mod exit;
pub mod field;
