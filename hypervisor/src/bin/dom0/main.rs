//! Placeholder.
#![no_std]
#![no_main]
#[global_allocator]
static HEAP: hypervisor::bare::heap::Heap = hypervisor::bare::heap::Heap::new();
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    hypervisor::bare::cpu::stop()
}
