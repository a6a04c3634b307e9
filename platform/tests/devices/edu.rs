//! `edu` driven by a guest's program on a whole machine: configuration space, registers, transfers,
//! interrupts by line, by MSI and by MSI-X. All numbers are the documentation's.

use platform::boot::BootFile;
use platform::machine::{Boot, Config, Machine, MachineStop, OptionalDevice};

/// Where the image is loaded; its code follows 32 bytes of header.
const IMAGE: u32 = 0x10_0000;
/// The registers, first here, then there; the table of MSI-X.
const FIRST_BASE: u32 = 0xd000_0000;
const BASE: u32 = 0xe010_0000;
const TABLE: u32 = 0xe020_0000;
/// What the interrupt handlers count.
const COUNTS: u32 = 0x7100;
const EOI: u32 = 0xfee0_00b0;

/// A program of flat 32-bit code, with a number for each thing that it expects.
struct Program {
    code: Vec<u8>,
    expectations: u8,
}

impl Program {
    fn put(&mut self, bytes: &[u8]) {
        self.code.extend(bytes);
    }

    fn with(&mut self, opcode: &[u8], words: &[u32]) {
        self.put(opcode);
        words.iter().for_each(|word| self.put(&word.to_le_bytes()));
    }

    /// mov eax, value; mov dx, port; out dx, eax
    fn outd(&mut self, port: u16, value: u32) {
        self.with(&[0xb8], &[value]);
        self.put(&[0x66, 0xba, port as u8, (port >> 8) as u8, 0xef]);
    }

    /// mov dword [at], value
    fn store(&mut self, at: u32, value: u32) {
        self.with(&[0xc7, 0x05], &[at, value]);
    }

    /// Stores bytes, four at a time.
    fn copy(&mut self, at: u32, bytes: &[u8]) {
        for (chunk, at) in bytes.chunks(4).zip((at..).step_by(4)) {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            self.store(at, u32::from_le_bytes(word));
        }
    }

    /// je over: mov eax, number; out f4h, eax
    fn or_exit(&mut self) {
        self.put(&[0x74, 7]);
        self.expectations += 1;
        self.exit(self.expectations.into());
    }

    fn exit(&mut self, value: u32) {
        self.with(&[0xb8], &[value]);
        self.put(&[0xe7, 0xf4]);
    }

    /// cmp dword [at], value
    fn expect(&mut self, at: u32, value: u32) {
        self.with(&[0x81, 0x3d], &[at, value]);
        self.or_exit();
    }

    /// cmp eax, value
    fn expect_eax(&mut self, value: u32) {
        self.with(&[0x3d], &[value]);
        self.or_exit();
    }

    fn configure(&mut self, register: u32, value: u32) {
        self.outd(0xcf8, 0x8000_1800 | register);
        self.outd(0xcfc, value);
    }

    /// in eax, dx
    fn expect_configured(&mut self, register: u32, value: u32) {
        self.outd(0xcf8, 0x8000_1800 | register);
        self.put(&[0x66, 0xba, 0xfc, 0x0c, 0xed]);
        self.expect_eax(value);
    }

    /// sti; hlt; cli; cmp dword [count], value; jne to the sti
    fn wait(&mut self, vector: u32, count: u8) {
        self.with(&[0xfb, 0xf4, 0xfa, 0x83, 0x3d], &[COUNTS + 4 * (vector - 0x41)]);
        self.put(&[count, 0x75, 0xf4]);
    }

    /// test dword [at], 1; jne to it
    fn poll(&mut self, at: u32) {
        self.with(&[0xf7, 0x05], &[at, 1]);
        self.put(&[0x75, 0xf4]);
    }

    /// A transfer with a command; polls until it has ended if it does not interrupt.
    fn transfer(&mut self, source: u32, destination: u32, count: u32, command: u32) {
        for (at, value) in [(0x80, source), (0x88, destination), (0x90, count), (0x98, command)] {
            self.store(BASE + at, value);
        }
        if command & 4 == 0 {
            self.poll(BASE + 0x98);
        }
    }
}

/// Finds 1234:11E8 on bus 0, its device number unknown, and keeps its configuration address.
fn find(p: &mut Program) {
    // mov ecx, 80000000h; next: mov eax, ecx; out cf8h; in eax, cfch
    p.with(&[0xb9], &[0x8000_0000]);
    p.put(&[0x89, 0xc8, 0x66, 0xba, 0xf8, 0x0c, 0xef, 0x66, 0xba, 0xfc, 0x0c, 0xed]);
    // cmp eax, 11e81234h; je found; add ecx, 800h; jmp next; found: mov [7000h], ecx
    p.with(&[0x3d], &[0x11e8_1234]);
    p.with(&[0x74, 8, 0x81, 0xc1], &[0x800]);
    p.put(&[0xeb, 0xe5]);
    p.with(&[0x89, 0x0d], &[0x7000]);
    p.expect(0x7000, 0x8000_1800);
}

/// Sizes the range, puts it at one place and moves it to another.
fn place(p: &mut Program) {
    p.configure(0x10, 0xffff_ffff);
    p.expect_configured(0x10, 0xfff0_0000);
    p.configure(0x10, FIRST_BASE);
    p.expect(FIRST_BASE, 0xffff_ffff);
    p.configure(0x04, 6);
    p.expect(FIRST_BASE, 0x0100_00ed);
    p.configure(0x10, BASE);
    p.expect(FIRST_BASE, 0xffff_ffff);
    p.expect(BASE, 0x0100_00ed);
    p.store(BASE + 4, 0x0f0f_00ff);
    p.expect(BASE + 4, 0xf0f0_ff00);
}

/// Descriptors, a stack, handlers for vectors 41h to 44h that count, acknowledge and end, and the
/// local APIC.
fn set_up(p: &mut Program) {
    p.copy(0x5000, &[0; 8]);
    p.copy(0x5008, &0x00cf_9b00_0000_ffff_u64.to_le_bytes());
    p.copy(0x5010, &0x00cf_9300_0000_ffff_u64.to_le_bytes());
    p.copy(0x5100, &[0x17, 0, 0x00, 0x50, 0, 0]);
    p.copy(0x5110, &[0xff, 7, 0x00, 0x60, 0, 0]);
    for vector in 0x41..=0x44 {
        let at = 0x5800 + 0x40 * (vector - 0x41);
        // inc dword [count]; mov dword [acknowledge], all; mov dword [EOI], 0; iret
        let mut handler = Program { code: vec![], expectations: 0 };
        handler.with(&[0xff, 0x05], &[COUNTS + 4 * (vector - 0x41)]);
        handler.store(BASE + 0x64, 0xffff_ffff);
        handler.store(EOI, 0);
        handler.put(&[0xcf]);
        p.copy(at, &handler.code);
        p.store(0x6000 + 8 * vector, 0x0008_0000 | at);
        p.store(0x6004 + 8 * vector, 0x8e00);
        p.store(COUNTS + 4 * (vector - 0x41), 0);
    }
    // lgdt, lidt; jmp 8:here; mov ax, 10h; mov ds, es, ss; mov esp
    p.with(&[0x0f, 0x01, 0x15], &[0x5100]);
    p.with(&[0x0f, 0x01, 0x1d], &[0x5110]);
    let here = IMAGE + 32 + p.code.len() as u32 + 7;
    p.with(&[0xea], &[here]);
    p.put(&[8, 0, 0x66, 0xb8, 0x10, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0]);
    p.with(&[0xbc], &[0x7f00]);
    p.store(0xfee0_00f0, 0x1ff);
}

/// A factorial, and transfers both ways; what is not a bus master moves nothing.
fn compute_and_move(p: &mut Program) {
    p.store(BASE + 8, 10);
    p.poll(BASE + 0x20);
    p.expect(BASE + 8, 3_628_800);
    p.store(0x2_0000, 0x1122_3344);
    p.store(0x2_0ffc, 0x5566_7788);
    p.store(0x2_1000, 0);
    p.transfer(0x2_0000, 0x4_0000, 0x1000, 1);
    p.configure(0x04, 2);
    p.transfer(0x4_0000, 0x2_1000, 0x1000, 3);
    p.expect(0x2_1000, 0);
    p.configure(0x04, 6);
    p.transfer(0x4_0000, 0x2_1000, 0x1000, 3);
    p.expect(0x2_1000, 0x1122_3344);
    p.expect(0x2_1ffc, 0x5566_7788);
}

/// Code that has run is replaced by a transfer, and what runs then is the new one.
fn replace_code(p: &mut Program) {
    // mov eax, n; ret
    let code = |n| [0xb8, n, 0, 0, 0, 0xc3];
    p.copy(0x2_2000, &code(1));
    p.copy(0x2_3000, &code(2));
    // mov ecx, 22000h; call ecx
    p.with(&[0xb9], &[0x2_2000]);
    p.put(&[0xff, 0xd1]);
    p.expect_eax(1);
    p.transfer(0x2_3000, 0x4_0000, 6, 1);
    p.transfer(0x4_0000, 0x2_2000, 6, 3);
    p.with(&[0xb9], &[0x2_2000]);
    p.put(&[0xff, 0xd1]);
    p.expect_eax(2);
}

/// The end of a transfer by MSI: 64-bit address, vector 41h.
fn signal_by_msi(p: &mut Program) {
    p.expect_configured(0x40, 0x0080_0005);
    for (register, value) in [(0x44, 0xfee0_0000), (0x48, 0), (0x4c, 0x41), (0x40, 0x0001_0000)] {
        p.configure(register, value);
    }
    p.transfer(0x4_0000, 0x2_1000, 4, 7);
    p.expect(BASE + 0x24, 0);
    p.wait(0x41, 1);
    p.store(BASE + 0x60, 0x5a);
    p.wait(0x41, 2);
    p.configure(0x40, 0);
}

/// By MSI-X: vector 42h after a factorial; 43h waits for its mask to go.
fn signal_by_msix(p: &mut Program) {
    p.expect_configured(0x50, 0x0001_4011);
    p.expect_configured(0x54, 2);
    p.configure(0x18, 0xffff_ffff);
    p.configure(0x1c, 0xffff_ffff);
    p.expect_configured(0x18, 0xffff_f004);
    p.expect_configured(0x1c, 0xffff_ffff);
    p.configure(0x18, TABLE);
    p.configure(0x1c, 0);
    for (at, value) in [(0, 0xfee0_0000), (4, 0), (8, 0x42), (12, 0)] {
        p.store(TABLE + at, value);
    }
    for (at, value) in [(0x10, 0xfee0_0000), (0x14, 0), (0x18, 0x43)] {
        p.store(TABLE + at, value);
    }
    p.configure(0x50, 0x8000_0000);
    p.store(BASE + 0x20, 0x80);
    p.store(BASE + 8, 5);
    p.wait(0x42, 1);
    p.expect(BASE + 8, 120);
    p.transfer(0x4_0000, 0x2_1000, 4, 7);
    p.poll(BASE + 0x98);
    p.expect(TABLE + 0x800, 2);
    p.store(TABLE + 0x1c, 0);
    p.wait(0x43, 1);
    p.expect(TABLE + 0x800, 0);
    p.configure(0x50, 0);
}

/// By INTA, which is input 19 of the I/O APIC, level triggered; not while it is disabled.
fn signal_by_line(p: &mut Program) {
    p.store(0xfec0_0000, 0x36);
    p.store(0xfec0_0010, 0x8044);
    p.store(BASE + 0x60, 1);
    p.wait(0x44, 1);
    p.configure(0x04, 0x406);
    p.store(BASE + 0x60, 1);
    p.expect_configured(0x04, 0x0018_0406);
    p.store(BASE + 0x64, 1);
    p.expect_configured(0x04, 0x0010_0406);
    p.expect(COUNTS + 12, 1);
    p.configure(0x04, 6);
}

/// A page table entry in use is replaced by a transfer: after INVLPG the new page is there.
fn replace_translation(p: &mut Program) {
    // 4 MiB pages at themselves; 40000000h by a table at 31000h.
    for (at, entry) in [(0, 0x83), (0xe00, 0xe000_0083), (0xfec, 0xfec0_0083), (0x400, 0x3_1003)] {
        p.store(0x3_0000 + at, entry);
    }
    p.store(0x3_1000, 0x2_4003);
    p.store(0x2_4000, 0xaaaa);
    p.store(0x2_5000, 0xbbbb);
    p.store(0x2_6000, 0x2_5003);
    // mov eax, 10h; mov cr4, eax; mov eax, 30000h; mov cr3, eax; mov eax, cr0; or; mov cr0, eax
    p.with(&[0xb8], &[0x10]);
    p.put(&[0x0f, 0x22, 0xe0]);
    p.with(&[0xb8], &[0x3_0000]);
    p.put(&[0x0f, 0x22, 0xd8, 0x0f, 0x20, 0xc0]);
    p.with(&[0x0d], &[0x8000_0000]);
    p.put(&[0x0f, 0x22, 0xc0]);
    p.expect(0x4000_0000, 0xaaaa);
    p.transfer(0x2_6000, 0x4_0000, 4, 1);
    p.transfer(0x4_0000, 0x3_1000, 4, 3);
    p.with(&[0x0f, 0x01, 0x3d], &[0x4000_0000]);
    p.expect(0x4000_0000, 0xbbbb);
}

fn program() -> Vec<u8> {
    let mut p = Program { code: vec![], expectations: 0 };
    find(&mut p);
    place(&mut p);
    set_up(&mut p);
    compute_and_move(&mut p);
    replace_code(&mut p);
    signal_by_msi(&mut p);
    signal_by_msix(&mut p);
    signal_by_line(&mut p);
    replace_translation(&mut p);
    p.exit(0x7f);
    p.code
}

fn machine(code: &[u8], vcpus: u32) -> Machine {
    let (magic, flags) = (0x1bad_b002u32, 1u32 << 16);
    let words = [magic, flags, 0u32.wrapping_sub(magic + flags), IMAGE, IMAGE, 0, 0, IMAGE + 32];
    let header: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let image = [&header, code].concat();
    let exit = OptionalDevice::DebugExit { base: 0xf4, length: 4 };
    let devices = vec![exit, OptionalDevice::Edu { msix: true }];
    let mut machine = Machine::new(&Config { vcpus, devices, ..Config::default() }).unwrap();
    let kernel = BootFile { name: "edu", bytes: &image };
    machine.boot(&Boot { kernel, modules: &[], cmdline: "" }).unwrap();
    machine
}

/// Runs in slices to the end, or for 20 million instructions: the exit status, the instructions,
/// the state.
fn run(code: &[u8], vcpus: u32, slice: u64) -> (MachineStop, u64, [u8; 32]) {
    let mut machine = machine(code, vcpus);
    let mut stops = (0..20_000_000 / slice).map(|_| machine.run(slice));
    let stop = stops.find(|stop| *stop != MachineStop::Budget);
    let stop = stop.unwrap_or(MachineStop::Budget);
    (stop, machine.retired(), machine.state_hash())
}

/// The program says 7Fh, or the number of the expectation that was not met; and how the run is
/// sliced does not matter.
#[test]
fn a_guest_drives_edu() {
    let code = program();
    let whole = run(&code, 1, 20_000_000);
    assert_eq!(whole.0, MachineStop::DebugExit(0xff));
    assert_eq!(run(&code, 1, 97), whole);
    assert_eq!(run(&code, 2, 20_000_000).0, MachineStop::DebugExit(0xff));
}
