//! A guest that one types to.

/// Sends back what comes on COM1, until that is `q`, which ends the run with status 33.
pub(crate) const ECHO: &[u8] = &[
    0x66, 0xBA, 0xFD, 0x03, // start: mov dx, 3FDh
    0xEC, 0xA8, 0x01, 0x74, 0xFB, // l: in al, dx; test al, 1; jz l
    0x66, 0xBA, 0xF8, 0x03, 0xEC, // mov dx, 3F8h; in al, dx
    0x3C, b'q', 0x74, 0x03, // cmp al, 'q'; je end
    0xEE, 0xEB, 0xEB, // out dx, al; jmp start
    0xB0, 0x10, 0xE6, 0xF4, // end: mov al, 10h; out F4h, al
];
