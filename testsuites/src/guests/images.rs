//! Kernels that are files of one package of Debian's: memtest86+ and GNU Mach.

use super::{BUILDING, cache, cached, kernel, list, packages};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

/// Debian's memtest86+, a bzImage for 64 bits and one for 32, fetched at the first call on this machine.
///
/// # Errors
/// When the package cannot be had, or does not hold the files.
pub fn memtest() -> Result<[PathBuf; 2]> {
    let dir = unpacked("memtest86+", |_| Ok(()))?;
    let images = ["x64", "ia32"].map(|bits| dir.join(format!("boot/memtest86+{bits}.bin")));
    ensure!(images.iter().all(|image| image.is_file()), "no images in memtest86+");
    Ok(images)
}

/// Debian's GNU Mach, a multiboot ELF file of 64 bits and one of 32, fetched at the first call on this machine.
///
/// # Errors
/// When the packages cannot be had, or do not hold the files.
pub fn mach() -> Result<[PathBuf; 2]> {
    let image = |package: &str| {
        let dir = unpacked(package, |out| {
            let packed = fs::read(out.join("boot/gnumach-1.8-486.gz")).context("no GNU Mach")?;
            Ok(fs::write(out.join("mach"), kernel::gunzip(&packed)?)?)
        })?;
        anyhow::Ok(dir.join("mach"))
    };
    Ok([image("gnumach-image-1.8-486")?, image("gnumach-image-1.8-486:i386")?])
}

/// The folder with what is in the package `name`, to which `add` has added.
fn unpacked(name: &str, add: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let package = packages::fetch(name, &cache().join("packages"))?;
    let stem = package.file.file_stem().context("a package has a name")?;
    let stem = stem.to_string_lossy().into_owned();
    cached(&stem, |tmp| {
        let out = tmp.join("out");
        fs::create_dir_all(&out)?;
        packages::unpack(&package, &out)?;
        add(&out)?;
        Ok(fs::write(out.join("packages.txt"), list(&[package])?)?)
    })
}
