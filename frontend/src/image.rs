//! `strata image`: the hypervisor and its embedded guests as an image that a PC's BIOS boots.

use crate::files::Blob;
use crate::launch;
use crate::status::{Failure, one_line};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes the main job as a bootable image to `out`.
pub(crate) fn write(out: &Path) -> Result<(), Failure> {
    let launch = launch::main_job()?;
    let tree = std::env::temp_dir().join(format!("strata-image.{}", std::process::id()));
    let result = fill(&tree, &launch.kernel, &launch.modules)
        .map_err(|e| {
            Failure::usage(tree.display(), format!("{e}; accepted is a folder for temporary files"))
        })
        .and_then(|()| rescue(&tree, out));
    fs::remove_dir_all(&tree).ok();
    result
}

/// Lays out the image's files.
fn fill(tree: &Path, kernel: &Blob, modules: &[Blob]) -> std::io::Result<()> {
    let boot = tree.join("boot");
    fs::create_dir_all(boot.join("grub"))?;
    fs::write(boot.join("hypervisor"), &kernel.bytes)?;
    for (n, module) in modules.iter().enumerate() {
        fs::write(boot.join(format!("module{n}")), &module.bytes)?;
    }
    fs::write(boot.join("grub/grub.cfg"), grub_cfg(kernel, modules))
}

/// GRUB's script: its own messages to COM1, no menu.
fn grub_cfg(kernel: &Blob, modules: &[Blob]) -> String {
    let mut script = String::from("serial --unit=0 --speed=115200\nterminal_output serial\n");
    script += "set timeout=0\n";
    script += format!("multiboot2 /boot/hypervisor {}", kernel.cmdline).trim_end();
    script.push('\n');
    for (n, module) in modules.iter().enumerate() {
        script += format!("module2 /boot/module{n} {}", module.cmdline).trim_end();
        script.push('\n');
    }
    script + "boot\n"
}

/// Packs `tree` by GRUB's own tool, and looks whether the result can boot.
fn rescue(tree: &Path, out: &Path) -> Result<(), Failure> {
    const TOOLS: &str = "needed are grub-mkrescue, xorriso and GRUB's i386-pc modules \
                         (Debian's packages grub-common, xorriso, grub-pc-bin)";
    let fails = |why: &str| Failure::usage("image", format!("{why}; {TOOLS}"));
    if let Some(parent) = out.parent().filter(|p| !p.as_os_str().is_empty() && !p.is_dir()) {
        let why = "no such folder; accepted is a file in a folder that exists";
        return Err(Failure::usage(parent.display(), why));
    }
    let made: PathBuf = tree.join("image.iso");
    let content = tree.join("boot");
    let output = Command::new("grub-mkrescue")
        .arg("-o")
        .arg(&made)
        .arg(format!("boot={}", content.display()))
        .output();
    let output = output.map_err(|e| fails(&format!("grub-mkrescue: {e}")))?;
    let image = match fs::read(&made) {
        Ok(image) if output.status.success() => image,
        _ => return Err(fails(&format!("grub-mkrescue failed: {}", last_line(&output.stderr)))),
    };
    // El Torito's boot record is the second volume descriptor: sector 17 of 2048 bytes.
    let record = image.get(17 * 2048 + 7..17 * 2048 + 30);
    if record != Some(b"EL TORITO SPECIFICATION") || !has_bios_modules(&image) {
        return Err(fails("grub-mkrescue made an image that a BIOS cannot boot"));
    }
    let failed =
        |e| Failure::usage(out.display(), format!("{e}; accepted is a file that can be written"));
    fs::write(out, image).map_err(failed)
}

/// GRUB's modules for a BIOS lie in the folder `i386-pc`.
fn has_bios_modules(image: &[u8]) -> bool {
    const FOLDER: &[u8] = b"i386-pc";
    image.windows(FOLDER.len()).any(|w| w.eq_ignore_ascii_case(FOLDER))
}

fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    one_line(text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it said nothing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script() {
        let blob = |cmdline: &str| Blob {
            name: String::new(),
            bytes: Vec::new(),
            cmdline: cmdline.into(),
        };
        let script = grub_cfg(&blob(""), &[blob("kernel name=dom0 -- "), blob("initrd")]);
        let (_, boot) = script.split_once("timeout=0\n").unwrap();
        let expect = "multiboot2 /boot/hypervisor\nmodule2 /boot/module0 kernel name=dom0 --\n\
                      module2 /boot/module1 initrd\nboot\n";
        assert_eq!(boot, expect);
    }

    #[test]
    fn no_folder() {
        let failure = rescue(Path::new("/tmp"), Path::new("/no/such/out.iso")).unwrap_err();
        assert_eq!(
            failure.text,
            "/no/such: no such folder; accepted is a file in a folder that exists"
        );
    }
}
