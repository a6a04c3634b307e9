//! The services behind the interrupt vectors: what a minimal BIOS answers, until firmware runs here.
//! tidy: table
//!
//! Real-mode code in bytes, each instruction's mnemonic beside it. A service that ends in `ok` or `fail`
//! clears or sets CF in the caller's flags. Segment 40h is the BIOS data area; what INT 15h tells of memory
//! is data in front of the code.
//!
//! INT 10h has text modes on the text display; INT 13h has no drives; INT 15h has E820h, E801h, 88h, C0h,
//! C1h, 24h and 86h; INT 16h reads the keys that are in the ring; INT 18h and 19h start the machine anew.
//! IBM Personal Computer AT Technical Reference, "BIOS"; ACPI 5.1, "System Address Map Interfaces".

/// An instruction, or a label.
pub(super) enum Row {
    /// The label of what follows.
    At(&'static str),
    /// A whole instruction.
    Bytes(&'static [u8]),
    /// An opcode, then the distance of a label in one byte.
    Short(&'static [u8], &'static str),
    /// An opcode, then the distance of a label in two bytes.
    Near(&'static [u8], &'static str),
}
use Row::{At, Bytes, Near, Short};

/// Code of all services.
#[rustfmt::skip]
pub(super) const CODE: &[Row] = &[
    At("done"),
    Bytes(&[0xcf]), // iret
    At("ok"),
    Bytes(&[0x55]), // push bp
    Bytes(&[0x89, 0xe5]), // mov bp, sp
    Bytes(&[0x80, 0x66, 0x06, 0xfe]), // and byte [bp+6], 0xfe
    Bytes(&[0x5d]), // pop bp
    Bytes(&[0xcf]), // iret
    At("unsupported"),
    Bytes(&[0xb4, 0x86]), // mov ah, 0x86
    At("fail"),
    Bytes(&[0x55]), // push bp
    Bytes(&[0x89, 0xe5]), // mov bp, sp
    Bytes(&[0x80, 0x4e, 0x06, 0x01]), // or byte [bp+6], 1
    Bytes(&[0x5d]), // pop bp
    Bytes(&[0xcf]), // iret
    At("no_drive"),
    Bytes(&[0xb4, 0x01]), // mov ah, 1
    Short(&[0xeb], "fail"), // jmp
    At("equipment"),
    Bytes(&[0x1e]), // push ds
    Bytes(&[0x6a, 0x40]), // push 0x40
    Bytes(&[0x1f]), // pop ds
    Bytes(&[0xa1, 0x10, 0x00]), // mov ax, [0x10]
    Bytes(&[0x1f]), // pop ds
    Bytes(&[0xcf]), // iret
    At("memory_size"),
    Bytes(&[0x1e]), // push ds
    Bytes(&[0x6a, 0x40]), // push 0x40
    Bytes(&[0x1f]), // pop ds
    Bytes(&[0xa1, 0x13, 0x00]), // mov ax, [0x13]
    Bytes(&[0x1f]), // pop ds
    Bytes(&[0xcf]), // iret
    At("timer"),
    Bytes(&[0x1e]), // push ds
    Bytes(&[0x50]), // push ax
    Bytes(&[0x6a, 0x40]), // push 0x40
    Bytes(&[0x1f]), // pop ds
    Bytes(&[0x66, 0xff, 0x06, 0x6c, 0x00]), // inc dword [0x6c]
    Bytes(&[0x66, 0x81, 0x3e, 0x6c, 0x00, 0xb0, 0x00, 0x18, 0x00]), // cmp dword [0x6c], 0x1800b0
    Short(&[0x72], "timer_user"), // jb
    Bytes(&[0x66, 0x83, 0x26, 0x6c, 0x00, 0x00]), // and dword [0x6c], byte 0
    Bytes(&[0xfe, 0x06, 0x70, 0x00]), // inc byte [0x70]
    At("timer_user"),
    Bytes(&[0xcd, 0x1c]), // int 0x1c
    Bytes(&[0x58]), // pop ax
    Bytes(&[0x1f]), // pop ds
    Short(&[0xeb], "master_end"), // jmp
    At("keyboard"),
    Bytes(&[0x50]), // push ax
    Bytes(&[0xe4, 0x60]), // in al, 0x60
    Bytes(&[0x58]), // pop ax
    At("master_end"),
    Bytes(&[0x50]), // push ax
    Bytes(&[0xb0, 0x20]), // mov al, 0x20
    Bytes(&[0xe6, 0x20]), // out 0x20, al
    Bytes(&[0x58]), // pop ax
    Bytes(&[0xcf]), // iret
    At("clock"),
    Bytes(&[0x50]), // push ax
    Bytes(&[0xb0, 0x0c]), // mov al, 0x0c
    Bytes(&[0xe6, 0x70]), // out 0x70, al
    Bytes(&[0xe4, 0x71]), // in al, 0x71
    Bytes(&[0x58]), // pop ax
    At("slave_end"),
    Bytes(&[0x50]), // push ax
    Bytes(&[0xb0, 0x20]), // mov al, 0x20
    Bytes(&[0xe6, 0xa0]), // out 0xa0, al
    Bytes(&[0x58]), // pop ax
    Short(&[0xeb], "master_end"), // jmp
    At("master_line"),
    Bytes(&[0x50]), // push ax
    Bytes(&[0xb0, 0x0b]), // mov al, 0x0b
    Bytes(&[0xe6, 0x20]), // out 0x20, al
    Bytes(&[0xe4, 0x20]), // in al, 0x20
    Bytes(&[0x84, 0xc0]), // test al, al
    Bytes(&[0x58]), // pop ax
    Short(&[0x75], "master_end"), // jnz
    Bytes(&[0xcf]), // iret
    At("slave_line"),
    Bytes(&[0x50]), // push ax
    Bytes(&[0xb0, 0x0b]), // mov al, 0x0b
    Bytes(&[0xe6, 0xa0]), // out 0xa0, al
    Bytes(&[0xe4, 0xa0]), // in al, 0xa0
    Bytes(&[0x84, 0xc0]), // test al, al
    Bytes(&[0x58]), // pop ax
    Short(&[0x75], "slave_end"), // jnz
    Short(&[0xeb], "master_end"), // jmp
    At("drive"),
    Bytes(&[0x80, 0xfc, 0x15]), // cmp ah, 0x15
    Short(&[0x75], "no_drive"), // jne
    Bytes(&[0xb4, 0x00]), // mov ah, 0
    Near(&[0xe9], "ok"), // jmp
    At("system"),
    Bytes(&[0x3d, 0x20, 0xe8]), // cmp ax, 0xe820
    Short(&[0x74], "memory_map"), // je
    Bytes(&[0x3d, 0x01, 0xe8]), // cmp ax, 0xe801
    Short(&[0x74], "memory_blocks"), // je
    Bytes(&[0x80, 0xfc, 0x88]), // cmp ah, 0x88
    Short(&[0x74], "extended_memory"), // je
    Bytes(&[0x80, 0xfc, 0xc0]), // cmp ah, 0xc0
    Short(&[0x74], "configuration"), // je
    Bytes(&[0x80, 0xfc, 0xc1]), // cmp ah, 0xc1
    Short(&[0x74], "extended_area"), // je
    Bytes(&[0x80, 0xfc, 0x24]), // cmp ah, 0x24
    Short(&[0x74], "gate_a20"), // je
    Bytes(&[0x80, 0xfc, 0x86]), // cmp ah, 0x86
    Near(&[0x0f, 0x84], "wait_time"), // je
    At("other_function"),
    Near(&[0xe9], "unsupported"), // jmp
    At("memory_map"),
    Bytes(&[0x66, 0x81, 0xfa, 0x50, 0x41, 0x4d, 0x53]), // cmp edx, 0x534d4150
    Short(&[0x75], "other_function"), // jne
    Bytes(&[0x66, 0x83, 0xf9, 0x14]), // cmp ecx, 20
    Short(&[0x72], "other_function"), // jb
    Bytes(&[0x2e, 0x66, 0x0f, 0xb7, 0x06, 0x00, 0xe0]), // movzx eax, word [cs:COUNT]
    Bytes(&[0x66, 0x39, 0xc3]), // cmp ebx, eax
    Short(&[0x73], "map_end"), // jae
    Bytes(&[0x56]), // push si
    Bytes(&[0x57]), // push di
    Bytes(&[0x6b, 0xf3, 0x14]), // imul si, bx, 20
    Bytes(&[0x81, 0xc6, 0x10, 0xe0]), // add si, TABLE
    Bytes(&[0xb9, 0x0a, 0x00]), // mov cx, 10
    Bytes(&[0xfc]), // cld
    Bytes(&[0xf3, 0x2e, 0xa5]), // cs rep movsw
    Bytes(&[0x5f]), // pop di
    Bytes(&[0x5e]), // pop si
    Bytes(&[0x66, 0x43]), // inc ebx
    Bytes(&[0x66, 0x39, 0xc3]), // cmp ebx, eax
    Short(&[0x72], "map_more"), // jb
    Bytes(&[0x66, 0x31, 0xdb]), // xor ebx, ebx
    At("map_more"),
    Bytes(&[0x66, 0xb9, 0x14, 0x00, 0x00, 0x00]), // mov ecx, 20
    Bytes(&[0x66, 0x89, 0xd0]), // mov eax, edx
    Short(&[0xeb], "answer"), // jmp
    At("map_end"),
    Bytes(&[0xb8, 0x00, 0x86]), // mov ax, 0x8600
    Short(&[0xeb], "refuse"), // jmp
    At("memory_blocks"),
    Bytes(&[0x2e, 0xa1, 0x02, 0xe0]), // mov ax, [cs:E801_LOW]
    Bytes(&[0x89, 0xc1]), // mov cx, ax
    Bytes(&[0x2e, 0x8b, 0x1e, 0x04, 0xe0]), // mov bx, [cs:E801_HIGH]
    Bytes(&[0x89, 0xda]), // mov dx, bx
    At("answer"),
    Near(&[0xe9], "ok"), // jmp
    At("refuse"),
    Near(&[0xe9], "fail"), // jmp
    At("extended_memory"),
    Bytes(&[0x2e, 0xa1, 0x06, 0xe0]), // mov ax, [cs:EXT]
    Short(&[0xeb], "answer"), // jmp
    At("configuration"),
    Bytes(&[0x0e]), // push cs
    Bytes(&[0x07]), // pop es
    Bytes(&[0xbb, 0xf0, 0xe1]), // mov bx, CONFIG
    Bytes(&[0xb4, 0x00]), // mov ah, 0
    Short(&[0xeb], "answer"), // jmp
    At("extended_area"),
    Bytes(&[0x1e]), // push ds
    Bytes(&[0x6a, 0x40]), // push 0x40
    Bytes(&[0x1f]), // pop ds
    Bytes(&[0x8e, 0x06, 0x0e, 0x00]), // mov es, [0x0e]
    Bytes(&[0x1f]), // pop ds
    Short(&[0xeb], "answer"), // jmp
    At("gate_a20"),
    Bytes(&[0x3c, 0x03]), // cmp al, 3
    Short(&[0x77], "other_function"), // ja
    Short(&[0x75], "a20_status"), // jne
    Bytes(&[0xbb, 0x03, 0x00]), // mov bx, 3
    At("a20_status"),
    Bytes(&[0x3c, 0x02]), // cmp al, 2
    Short(&[0x75], "a20_done"), // jne
    Bytes(&[0xb0, 0x01]), // mov al, 1
    At("a20_done"),
    Bytes(&[0xb4, 0x00]), // mov ah, 0
    Short(&[0xeb], "answer"), // jmp
    At("wait_time"),
    Bytes(&[0x66, 0x50]), // push eax
    Bytes(&[0x66, 0x51]), // push ecx
    Bytes(&[0x66, 0x52]), // push edx
    Bytes(&[0x89, 0xc8]), // mov ax, cx
    Bytes(&[0x66, 0xc1, 0xe0, 0x10]), // shl eax, 16
    Bytes(&[0x89, 0xd0]), // mov ax, dx
    Bytes(&[0x66, 0x31, 0xd2]), // xor edx, edx
    Bytes(&[0x66, 0xb9, 0x0f, 0x00, 0x00, 0x00]), // mov ecx, 15
    Bytes(&[0x66, 0xf7, 0xf1]), // div ecx
    Bytes(&[0x66, 0x89, 0xc1]), // mov ecx, eax
    Bytes(&[0x66, 0x41]), // inc ecx
    Bytes(&[0xe4, 0x61]), // in al, 0x61
    Bytes(&[0x24, 0x10]), // and al, 0x10
    Bytes(&[0x88, 0xc4]), // mov ah, al
    At("wait_change"),
    Bytes(&[0xe4, 0x61]), // in al, 0x61
    Bytes(&[0x24, 0x10]), // and al, 0x10
    Bytes(&[0x38, 0xe0]), // cmp al, ah
    Short(&[0x74], "wait_change"), // je
    Bytes(&[0x88, 0xc4]), // mov ah, al
    Bytes(&[0x66, 0x49]), // dec ecx
    Short(&[0x75], "wait_change"), // jnz
    Bytes(&[0x66, 0x5a]), // pop edx
    Bytes(&[0x66, 0x59]), // pop ecx
    Bytes(&[0x66, 0x58]), // pop eax
    Bytes(&[0xb4, 0x00]), // mov ah, 0
    Short(&[0xeb], "answer"), // jmp
    At("keys"),
    Bytes(&[0x1e]), // push ds
    Bytes(&[0x53]), // push bx
    Bytes(&[0x6a, 0x40]), // push 0x40
    Bytes(&[0x1f]), // pop ds
    Bytes(&[0x80, 0xe4, 0xef]), // and ah, 0xef
    Short(&[0x74], "key_wait"), // jz
    Bytes(&[0xfe, 0xcc]), // dec ah
    Short(&[0x74], "key_look"), // jz
    Bytes(&[0xfe, 0xcc]), // dec ah
    Short(&[0x74], "key_flags"), // jz
    At("keys_done"),
    Bytes(&[0x5b]), // pop bx
    Bytes(&[0x1f]), // pop ds
    Bytes(&[0xcf]), // iret
    At("key_flags"),
    Bytes(&[0xa0, 0x17, 0x00]), // mov al, [0x17]
    Short(&[0xeb], "keys_done"), // jmp
    At("key_wait"),
    Bytes(&[0xfa]), // cli
    Bytes(&[0x8b, 0x1e, 0x1a, 0x00]), // mov bx, [0x1a]
    Bytes(&[0x3b, 0x1e, 0x1c, 0x00]), // cmp bx, [0x1c]
    Short(&[0x75], "key_take"), // jne
    Bytes(&[0xfb]), // sti
    Bytes(&[0xf4]), // hlt
    Short(&[0xeb], "key_wait"), // jmp
    At("key_take"),
    Bytes(&[0x8b, 0x07]), // mov ax, [bx]
    Bytes(&[0x43]), // inc bx
    Bytes(&[0x43]), // inc bx
    Bytes(&[0x3b, 0x1e, 0x82, 0x00]), // cmp bx, [0x82]
    Short(&[0x72], "key_next"), // jb
    Bytes(&[0x8b, 0x1e, 0x80, 0x00]), // mov bx, [0x80]
    At("key_next"),
    Bytes(&[0x89, 0x1e, 0x1a, 0x00]), // mov [0x1a], bx
    Short(&[0xeb], "keys_done"), // jmp
    At("key_look"),
    Bytes(&[0x8b, 0x1e, 0x1a, 0x00]), // mov bx, [0x1a]
    Bytes(&[0x3b, 0x1e, 0x1c, 0x00]), // cmp bx, [0x1c]
    Short(&[0x74], "key_none"), // je
    Bytes(&[0x8b, 0x07]), // mov ax, [bx]
    Bytes(&[0x5b]), // pop bx
    Bytes(&[0x1f]), // pop ds
    Bytes(&[0x55]), // push bp
    Bytes(&[0x89, 0xe5]), // mov bp, sp
    Bytes(&[0x80, 0x66, 0x06, 0xbf]), // and byte [bp+6], 0xbf
    Bytes(&[0x5d]), // pop bp
    Bytes(&[0xcf]), // iret
    At("key_none"),
    Bytes(&[0x5b]), // pop bx
    Bytes(&[0x1f]), // pop ds
    Bytes(&[0x55]), // push bp
    Bytes(&[0x89, 0xe5]), // mov bp, sp
    Bytes(&[0x80, 0x4e, 0x06, 0x40]), // or byte [bp+6], 0x40
    Bytes(&[0x5d]), // pop bp
    Bytes(&[0xcf]), // iret
    At("time"),
    Bytes(&[0x80, 0xfc, 0x02]), // cmp ah, 2
    Short(&[0x74], "time_read"), // je
    Bytes(&[0x80, 0xfc, 0x04]), // cmp ah, 4
    Short(&[0x74], "date_read"), // je
    Bytes(&[0x80, 0xfc, 0x01]), // cmp ah, 1
    Short(&[0x77], "time_refuse"), // ja
    Bytes(&[0x1e]), // push ds
    Bytes(&[0x6a, 0x40]), // push 0x40
    Bytes(&[0x1f]), // pop ds
    Short(&[0x74], "ticks_set"), // je
    Bytes(&[0xfa]), // cli
    Bytes(&[0x8b, 0x16, 0x6c, 0x00]), // mov dx, [0x6c]
    Bytes(&[0x8b, 0x0e, 0x6e, 0x00]), // mov cx, [0x6e]
    Bytes(&[0xb0, 0x00]), // mov al, 0
    Bytes(&[0x86, 0x06, 0x70, 0x00]), // xchg al, [0x70]
    At("ticks_done"),
    Bytes(&[0xb4, 0x00]), // mov ah, 0
    Bytes(&[0x1f]), // pop ds
    Near(&[0xe9], "ok"), // jmp
    At("ticks_set"),
    Bytes(&[0xfa]), // cli
    Bytes(&[0x89, 0x16, 0x6c, 0x00]), // mov [0x6c], dx
    Bytes(&[0x89, 0x0e, 0x6e, 0x00]), // mov [0x6e], cx
    Bytes(&[0xc6, 0x06, 0x70, 0x00, 0x00]), // mov byte [0x70], 0
    Short(&[0xeb], "ticks_done"), // jmp
    At("time_refuse"),
    Bytes(&[0xb4, 0x81]), // mov ah, 0x81
    Near(&[0xe9], "fail"), // jmp
    At("time_read"),
    Near(&[0xe8], "update_over"), // call
    Bytes(&[0xb0, 0x00]), // mov al, 0
    Near(&[0xe8], "cmos"), // call
    Bytes(&[0x88, 0xc6]), // mov dh, al
    Bytes(&[0xb0, 0x02]), // mov al, 2
    Near(&[0xe8], "cmos"), // call
    Bytes(&[0x88, 0xc1]), // mov cl, al
    Bytes(&[0xb0, 0x04]), // mov al, 4
    Near(&[0xe8], "cmos"), // call
    Bytes(&[0x88, 0xc5]), // mov ch, al
    Bytes(&[0xb0, 0x0b]), // mov al, 0x0b
    Near(&[0xe8], "cmos"), // call
    Bytes(&[0x24, 0x01]), // and al, 1
    Bytes(&[0x88, 0xc2]), // mov dl, al
    Near(&[0xe9], "ok"), // jmp
    At("date_read"),
    Near(&[0xe8], "update_over"), // call
    Bytes(&[0xb0, 0x07]), // mov al, 7
    Near(&[0xe8], "cmos"), // call
    Bytes(&[0x88, 0xc2]), // mov dl, al
    Bytes(&[0xb0, 0x08]), // mov al, 8
    Near(&[0xe8], "cmos"), // call
    Bytes(&[0x88, 0xc6]), // mov dh, al
    Bytes(&[0xb0, 0x09]), // mov al, 9
    Near(&[0xe8], "cmos"), // call
    Bytes(&[0x88, 0xc1]), // mov cl, al
    Bytes(&[0xb0, 0x32]), // mov al, 0x32
    Near(&[0xe8], "cmos"), // call
    Bytes(&[0x88, 0xc5]), // mov ch, al
    Near(&[0xe9], "ok"), // jmp
    At("update_over"),
    Bytes(&[0xb0, 0x0a]), // mov al, 0x0a
    Near(&[0xe8], "cmos"), // call
    Bytes(&[0xa8, 0x80]), // test al, 0x80
    Short(&[0x75], "update_over"), // jnz
    Bytes(&[0xc3]), // ret
    At("cmos"),
    Bytes(&[0xe6, 0x70]), // out 0x70, al
    Bytes(&[0xe4, 0x71]), // in al, 0x71
    Bytes(&[0xc3]), // ret
    At("video"),
    Bytes(&[0x1e]), // push ds
    Bytes(&[0x06]), // push es
    Bytes(&[0x60]), // pusha
    Bytes(&[0x6a, 0x40]), // push 0x40
    Bytes(&[0x1f]), // pop ds
    Bytes(&[0x68, 0x00, 0xb8]), // push 0xb800
    Bytes(&[0x07]), // pop es
    Bytes(&[0xfc]), // cld
    Bytes(&[0x89, 0xe5]), // mov bp, sp
    Bytes(&[0x80, 0xfc, 0x0e]), // cmp ah, 0x0e
    Near(&[0x0f, 0x84], "video_type"), // je
    Bytes(&[0x80, 0xfc, 0x03]), // cmp ah, 0x03
    Short(&[0x74], "video_where"), // je
    Bytes(&[0x80, 0xfc, 0x02]), // cmp ah, 0x02
    Short(&[0x74], "video_move"), // je
    Bytes(&[0x80, 0xfc, 0x00]), // cmp ah, 0x00
    Short(&[0x74], "video_mode"), // je
    Bytes(&[0x80, 0xfc, 0x01]), // cmp ah, 0x01
    Short(&[0x74], "video_shape"), // je
    Bytes(&[0x80, 0xfc, 0x08]), // cmp ah, 0x08
    Short(&[0x74], "video_look"), // je
    Bytes(&[0x80, 0xfc, 0x09]), // cmp ah, 0x09
    Short(&[0x74], "video_fill"), // je
    Bytes(&[0x80, 0xfc, 0x0a]), // cmp ah, 0x0a
    Short(&[0x74], "video_fill"), // je
    Bytes(&[0x80, 0xfc, 0x0f]), // cmp ah, 0x0f
    Short(&[0x74], "video_state"), // je
    At("video_done"),
    Bytes(&[0x61]), // popa
    Bytes(&[0x07]), // pop es
    Bytes(&[0x1f]), // pop ds
    Bytes(&[0xcf]), // iret
    At("video_shape"),
    Bytes(&[0x89, 0x0e, 0x60, 0x00]), // mov [0x60], cx
    Short(&[0xeb], "video_done"), // jmp
    At("video_move"),
    Near(&[0xe8], "move_cursor"), // call
    Short(&[0xeb], "video_done"), // jmp
    At("video_where"),
    Bytes(&[0xa1, 0x50, 0x00]), // mov ax, [0x50]
    Bytes(&[0x89, 0x46, 0x0a]), // mov [bp+10], ax
    Bytes(&[0xa1, 0x60, 0x00]), // mov ax, [0x60]
    Bytes(&[0x89, 0x46, 0x0c]), // mov [bp+12], ax
    Short(&[0xeb], "video_done"), // jmp
    At("video_state"),
    Bytes(&[0xa1, 0x49, 0x00]), // mov ax, [0x49]
    Bytes(&[0x89, 0x46, 0x0e]), // mov [bp+14], ax
    Bytes(&[0xa0, 0x62, 0x00]), // mov al, [0x62]
    Bytes(&[0x88, 0x46, 0x09]), // mov [bp+9], al
    Short(&[0xeb], "video_done"), // jmp
    At("video_look"),
    Near(&[0xe8], "cell"), // call
    Bytes(&[0x26, 0x8b, 0x05]), // mov ax, [es:di]
    Bytes(&[0x89, 0x46, 0x0e]), // mov [bp+14], ax
    Short(&[0xeb], "video_done"), // jmp
    At("video_mode"),
    Bytes(&[0x24, 0x7f]), // and al, 0x7f
    Bytes(&[0x3c, 0x03]), // cmp al, 3
    Short(&[0x77], "video_done"), // ja
    Bytes(&[0xa2, 0x49, 0x00]), // mov [0x49], al
    Bytes(&[0xb8, 0x20, 0x07]), // mov ax, 0x0720
    Bytes(&[0x31, 0xff]), // xor di, di
    Bytes(&[0xb9, 0x00, 0x40]), // mov cx, 0x4000
    Bytes(&[0xf3, 0xab]), // rep stosw
    Bytes(&[0x31, 0xd2]), // xor dx, dx
    Near(&[0xe8], "move_cursor"), // call
    Short(&[0xeb], "video_done"), // jmp
    At("video_fill"),
    Bytes(&[0x50]), // push ax
    Near(&[0xe8], "cell"), // call
    Bytes(&[0x58]), // pop ax
    Bytes(&[0x80, 0xfc, 0x0a]), // cmp ah, 0x0a
    Bytes(&[0x88, 0xdc]), // mov ah, bl
    Short(&[0xe3], "video_done"), // jcxz
    Short(&[0x74], "fill_text"), // je
    Bytes(&[0xf3, 0xab]), // rep stosw
    Short(&[0xeb], "video_done"), // jmp
    At("fill_text"),
    Bytes(&[0xaa]), // stosb
    Bytes(&[0x47]), // inc di
    Short(&[0xe2], "fill_text"), // loop
    Short(&[0xeb], "video_done"), // jmp
    At("video_type"),
    Bytes(&[0x8b, 0x16, 0x50, 0x00]), // mov dx, [0x50]
    Bytes(&[0x3c, 0x07]), // cmp al, 0x07
    Short(&[0x74], "video_done"), // je
    Bytes(&[0x3c, 0x08]), // cmp al, 0x08
    Short(&[0x74], "type_back"), // je
    Bytes(&[0x3c, 0x0a]), // cmp al, 0x0a
    Short(&[0x74], "type_line"), // je
    Bytes(&[0x3c, 0x0d]), // cmp al, 0x0d
    Short(&[0x74], "type_return"), // je
    Near(&[0xe8], "cell"), // call
    Bytes(&[0x26, 0x88, 0x05]), // mov [es:di], al
    Bytes(&[0x42]), // inc dx
    Bytes(&[0x80, 0xfa, 0x50]), // cmp dl, 80
    Short(&[0x72], "type_move"), // jb
    Bytes(&[0xb2, 0x00]), // mov dl, 0
    At("type_line"),
    Bytes(&[0xfe, 0xc6]), // inc dh
    Bytes(&[0x80, 0xfe, 0x19]), // cmp dh, 25
    Short(&[0x72], "type_move"), // jb
    Bytes(&[0xfe, 0xce]), // dec dh
    Near(&[0xe8], "scroll"), // call
    At("type_move"),
    Near(&[0xe8], "move_cursor"), // call
    Near(&[0xe9], "video_done"), // jmp
    At("type_return"),
    Bytes(&[0xb2, 0x00]), // mov dl, 0
    Short(&[0xeb], "type_move"), // jmp
    At("type_back"),
    Bytes(&[0x80, 0xea, 0x01]), // sub dl, 1
    Short(&[0x73], "type_move"), // jnc
    Near(&[0xe9], "video_done"), // jmp
    At("scroll"),
    Bytes(&[0x1e]), // push ds
    Bytes(&[0x06]), // push es
    Bytes(&[0x1f]), // pop ds
    Bytes(&[0x31, 0xff]), // xor di, di
    Bytes(&[0xbe, 0xa0, 0x00]), // mov si, 160
    Bytes(&[0xb9, 0x80, 0x07]), // mov cx, 1920
    Bytes(&[0xf3, 0xa5]), // rep movsw
    Bytes(&[0xb8, 0x20, 0x07]), // mov ax, 0x0720
    Bytes(&[0xb9, 0x50, 0x00]), // mov cx, 80
    Bytes(&[0xf3, 0xab]), // rep stosw
    Bytes(&[0x1f]), // pop ds
    Bytes(&[0xc3]), // ret
    At("cell"),
    Bytes(&[0x50]), // push ax
    Bytes(&[0x52]), // push dx
    Bytes(&[0x8b, 0x16, 0x50, 0x00]), // mov dx, [0x50]
    Bytes(&[0xb0, 0x50]), // mov al, 80
    Bytes(&[0xf6, 0xe6]), // mul dh
    Bytes(&[0xb6, 0x00]), // mov dh, 0
    Bytes(&[0x01, 0xd0]), // add ax, dx
    Bytes(&[0x01, 0xc0]), // add ax, ax
    Bytes(&[0x89, 0xc7]), // mov di, ax
    Bytes(&[0x5a]), // pop dx
    Bytes(&[0x58]), // pop ax
    Bytes(&[0xc3]), // ret
    At("move_cursor"),
    Bytes(&[0x89, 0x16, 0x50, 0x00]), // mov [0x50], dx
    Near(&[0xe8], "cell"), // call
    Bytes(&[0xd1, 0xef]), // shr di, 1
    Bytes(&[0x89, 0xfb]), // mov bx, di
    Bytes(&[0x8b, 0x16, 0x63, 0x00]), // mov dx, [0x63]
    Bytes(&[0xb0, 0x0e]), // mov al, 0x0e
    Bytes(&[0x88, 0xfc]), // mov ah, bh
    Bytes(&[0xef]), // out dx, ax
    Bytes(&[0xb0, 0x0f]), // mov al, 0x0f
    Bytes(&[0x88, 0xdc]), // mov ah, bl
    Bytes(&[0xef]), // out dx, ax
    Bytes(&[0xc3]), // ret
    At("restart"),
    Bytes(&[0xfa]), // cli
    Bytes(&[0xba, 0xf9, 0x0c]), // mov dx, 0xcf9
    Bytes(&[0xb0, 0x02]), // mov al, 2
    Bytes(&[0xee]), // out dx, al
    Bytes(&[0xb0, 0x06]), // mov al, 6
    Bytes(&[0xee]), // out dx, al
    Bytes(&[0xb0, 0xfe]), // mov al, 0xfe
    Bytes(&[0xe6, 0x64]), // out 0x64, al
    At("restart_wait"),
    Bytes(&[0xf4]), // hlt
    Short(&[0xeb], "restart_wait"), // jmp
];
