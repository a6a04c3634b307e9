//! A link by which the program is called as QEMU.

use crate::qemu;
use crate::status::Failure;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Makes the link in `folder`, where there is none yet.
pub(crate) fn make(folder: &Path) -> Result<(), Failure> {
    let link = folder.join(qemu::NAME);
    let program = std::env::current_exe().map_err(Failure::emulator)?;
    if std::fs::read_link(&link).is_ok_and(|to| to == program) {
        return Ok(());
    }
    symlink(program, &link).map_err(|error| {
        let why = format!("{error}; accepted is a folder that can be written and has no such file");
        Failure::usage(link.display(), why)
    })
}
