//! Bare guests against the emulator: each takes as much of the host as it can get.

use crate::image::{self, bits32, bits64};
use crate::run::{Run, seconds};
use crate::vmx;
use std::path::Path;
use testsuites::outcome::Needed;

/// Bytes that the command may hold besides the guest's memory: docs/usage.md, "What a run holds".
pub(crate) const BESIDES: u64 = 384 << 20;
/// Bytes of the guests' memory.
const MEMORY: u64 = 64 << 20;
/// Seconds of processor time from the moment at which the end is asked for, with start and summary.
const GRACE: f64 = 0.2;
/// After how many of them the end is asked for by Ctrl-C.
const INTERRUPT: f64 = 0.3;

/// A guest, and how it is run.
struct Guest {
    name: &'static str,
    image: Vec<u8>,
    /// Further words of the command line.
    words: &'static str,
    /// A file for standard input.
    input: Option<&'static str>,
    /// The count of instructions that it has retired says how far it has come: time passes by instructions alone,
    /// not while a slow device is accessed.
    counts: bool,
}

impl Guest {
    fn new(name: &'static str, image: Vec<u8>) -> Guest {
        Guest { name, image, words: "", input: None, counts: true }
    }

    /// Starts the guest with more words on the command line.
    fn start(&self, kernel: &Path, more: &[&str]) -> Run {
        let memory = (MEMORY >> 20).to_string();
        let kernel = kernel.to_str().expect("a name in UTF-8");
        let base = ["run", "-kernel", kernel, "-m", &memory];
        let words =
            base.into_iter().chain(self.words.split_whitespace()).chain(more.iter().copied());
        let words: Vec<String> = words.map(str::to_owned).collect();
        Run::start(&words, self.input).needed("strata")
    }

    /// `--limit-seconds` and Ctrl-C end it in time, and in memory. With one processor the machine is then where a
    /// run to the same count of instructions is.
    #[track_caller]
    fn check(&self) {
        let kernel = image::file(self.name, &self.image).needed("a file");
        let limit = seconds().to_string();
        let late = self.start(&kernel, &["--limit-seconds", &limit]).wait().needed("strata");
        assert_eq!(late.status, Some(124), "{}", late.stderr);
        let most = MEMORY + MEMORY / 64 + BESIDES;
        assert!(late.memory <= most, "{} MiB resident", late.memory >> 20);
        assert!(late.cpu <= seconds() as f64 + GRACE, "{} s", late.cpu);

        let mut run = self.start(&kernel, &[]);
        let before = run.interrupt_after(INTERRUPT).needed("Ctrl-C");
        let ended = run.wait().needed("strata");
        assert_eq!(ended.status, Some(130), "{}", ended.stderr);
        assert!(ended.cpu <= before + GRACE, "Ctrl-C at {before} s, ended at {} s", ended.cpu);
        let (count, state) = ended.ended_at().needed("a summary");
        if self.counts {
            let again = self.start(&kernel, &["--limit-instructions", &count.max(1).to_string()]);
            let again = again.wait().needed("strata");
            assert_eq!(again.ended_at().needed("a summary"), (count, state), "{}", again.stderr);
        }
    }
}

/// A test for each guest.
macro_rules! guests {
    ($($(#[$doc:meta])* $name:ident: $image:expr $(, $field:ident: $value:expr)*;)*) => {$(
        $(#[$doc])*
        #[test]
        fn $name() {
            #[allow(unused_mut, reason = "most need no more than an image")]
            let mut guest = Guest::new(stringify!($name), $image);
            $(guest.$field = $value;)*
            guest.check();
        }
    )*};
}

/// Stores above a page directory of 512 entries, each of which leads to 512 pages, and walks again.
const STORES_ABOVE: &str = "
    mov rsi, 0x40000000; mov ecx, 512
    l: mov al, [rsi]; add rsi, 0x201000; loop l
    mov rbx, 0x401008; mov rax, [rbx]; mov rsi, 0x40000000
    m: mov [rbx], rax; mov cl, [rsi]; jmp m";

/// A call into a page that is now one frame, now another.
const TOGGLED: &str = "
    mov rbx, 0x501000; mov byte [rbx], 0xc3; add rbx, 0x1000; mov byte [rbx], 0xc3
    mov rbx, 0x404008; mov qword [rbx], 0x501003; mov esp, 0x300000
    l: call 0x40001000; xor qword [rbx], 0x3000; jmp l";

/// Jumps of two bytes, each taken, to the next: a block begins at each of them.
const SLED: &str = "
    mov edi, 0x1000000; mov ecx, 0x800000; mov eax, 0x74; cld; rep stosw
    mov byte [edi], 0xe9; mov dword [edi+1], 0xfefffffb; cmp eax, eax; mov edi, 0x1000000; jmp edi";

/// A page full of the begins of blocks, overwritten and run again.
const REWRITTEN: &str = "
    mov esp, 0x300000; cld
    l: mov edi, 0x1000000; mov ecx, 0x7fe; mov eax, 0x74; rep stosw; mov word [edi], 0xc3; cmp eax, eax
    mov edi, 0x1000000; call edi; jmp l";

/// RDMSR of every number, the most of which do not exist: the handler of #GP skips the instruction.
const UNKNOWN_MSRS: &str = "
    mov esp, 0x300000; mov word [0x201000], 0x7ff; mov dword [0x201002], 0x200000
    mov dword [0x200068], 0x00080000; mov dword [0x20006c], 0x00218e00
    mov dword [0x210000], 0x8304c483; mov dword [0x210004], 0xcf022404
    lidt [0x201000]
    l: rdmsr; add ecx, 1; jmp l";

/// Counts of 2 on the interval timer, whose interrupts are masked.
const TICKS: &str = "
    mov al, 0x34; out 0x43, al; mov al, 2; out 0x40, al; mov al, 0; out 0x40, al
    l: jmp l";

/// Starts all other processors, which halt, and sends them NMIs.
const STORM: &str = "
    mov dword [0x6000], 0xfdebf4fb; mov dword [8], 0x6100; mov byte [0x6100], 0xcf
    mov dword [0xfee000f0], 0x1ff; mov dword [0xfee00300], 0xc4500; mov dword [0xfee00300], 0xc4606
    l: mov dword [0xfee00300], 0xc4400; jmp l";

guests! {
    spins: bits32("l: jmp l");
    loads_strings: bits32("cld; l: mov esi, 0x200000; mov ecx, 0x3000000; rep lodsb; jmp l");
    loads_short_strings: bits32("cld; l: mov esi, 0x200000; mov ecx, 0x3ff0; rep lodsb; jmp l");
    compares_strings: bits32("cld; l: mov esi, 0x200000; mov edi, 0x2000000; mov ecx, 0x3ff0; repe cmpsb; jmp l");
    scans_strings: bits32("cld; mov al, 1; l: mov edi, 0x200000; mov ecx, 0x2000000; repne scasb; jmp l");
    /// Each element overlaps the one before, backwards, across pages.
    moves_strings: bits32("std; l: mov esi, 0x2fffffe; mov edi, 0x2fffffd; mov ecx, 0x3ff0; rep movsd; jmp l");
    /// Elements of one at a time, to a page that holds code.
    moves_over_code: bits32("cld; l: mov esi, 0x100800; mov edi, 0x100801; mov ecx, 0x700; rep movsb; jmp l");
    writes_to_the_debug_port: bits32("mov al, 0x78; l: out 0xe9, al; jmp l");
    sends_strings: bits32("cld; mov edx, 0xe9; l: mov esi, 0x200000; mov ecx, 0x3000000; rep outsb; jmp l");
    /// Nobody is behind the second port.
    sends_on_com2: bits32("mov edx, 0x2f8; mov al, 0x78; l: out dx, al; jmp l"), counts: false;
    sends_on_com1: bits32("mov edx, 0x3f8; mov al, 0x78; l: out dx, al; jmp l"), counts: false;
    stores_above_page_tables: bits64(STORES_ABOVE);
    misses_the_tlb: bits64("l: mov rsi, 0x40000000; mov ecx, 0x40000; m: mov al, [rsi]; add rsi, 0x1000; loop m; jmp l");
    links_into_a_page_that_changes: bits64(TOGGLED);
    jumps_through_a_sled: bits32(SLED);
    rewrites_its_code: bits32(REWRITTEN);
    reads_unknown_msrs: bits32(UNKNOWN_MSRS);
    runs_beside_quick_ticks: bits32(TICKS), counts: false;
    enters_ever_new_guests: bits64(&vmx::ever_new_ept_pointers());
    resets: bits32("mov al, 0xfe; out 0x64, al; l: jmp l");
    traces_code: bits32(SLED), words: "-d in_asm -D /dev/null";
    traces_instructions: bits32("l: jmp l"), words: "-d exec,int -D /dev/null";
    storms: bits32(STORM), words: "-smp 8", counts: false;
    compares_strings_twice: bits32("cld; l: mov esi, 0x200000; mov edi, 0x2000000; mov ecx, 0x3ff0; repe cmpsb; jmp l"), words: "-smp 2", counts: false;
    /// Input that never ends, and is not taken.
    leaves_its_input: bits32("l: jmp l"), input: Some("/dev/zero"), counts: false;
    takes_its_input: bits32("mov edx, 0x3f8; l: in al, dx; jmp l"), input: Some("/dev/zero"), counts: false;
}
