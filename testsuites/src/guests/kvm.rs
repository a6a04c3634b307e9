//! Debian's Linux with KVM, and Debian's QEMU that uses it, to any depth.
//!
//! The guest's first process (`kvm/init.sh`) runs the plain guest of [`linux`] by KVM, or, with
//! `levels=2` on its kernel's command line, a guest of its own kind, which does.

use super::{BUILDING, Linux, cached, linux, list, root};
use anyhow::Result;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

/// Counts up when the builder makes something else of the same packages and script.
const RECIPE: u32 = 1;

const INIT: &str = include_str!("kvm/init.sh");

/// QEMU, its ROMs, and the libraries that it needs.
const PACKAGES: &str = "\
    libaio1 libblkid1 libbpf1 libc6 libcapstone4 libdaxctl1 libelf1 libfdt1 libffi8 libfuse3-3 \
    libgcc-s1 libglib2.0-0 libgmp10 libgnutls30 libhogweed6 libibverbs1 libidn2-0 \
    libjpeg62-turbo libkmod2 liblzma5 libmount1 libndctl6 libnettle8 libnl-3-200 \
    libnl-route-3-200 libnuma1 libp11-kit0 libpcre2-8-0 libpixman-1-0 libpmem1 libpng16-16 \
    librdmacm1 libsasl2-2 libseccomp2 libselinux1 libslirp0 libssl3 libtasn1-6 libudev1 \
    libunistring2 liburing2 libuuid1 libvdeplug2 libzstd1 qemu-system-data qemu-system-x86 \
    seabios zlib1g";

const PROGRAM: &str = "usr/bin/qemu-system-x86_64";

/// What QEMU loads into its guest.
const FILES: [&str; 4] = [
    "usr/share/qemu/kvmvapic.bin",
    "usr/share/qemu/linuxboot.bin",
    "usr/share/qemu/linuxboot_dma.bin",
    "usr/share/seabios/bios-256k.bin",
];

const FOLDERS: [&str; 8] = ["bin", "dev", "guest", "lib64", "modules", "proc", "sys", "tmp"];

/// The modules of KVM, in the order of loading.
const MODULES: [&str; 3] = ["irqbypass.ko", "kvm.ko", "kvm-intel.ko"];

/// The built guest: an initramfs, and the kernel of [`Linux`].
#[derive(Debug, Clone)]
pub struct Kvm {
    linux: Linux,
    dir: PathBuf,
}

impl Kvm {
    /// The path of the kernel: a bzImage.
    pub fn vmlinuz(&self) -> PathBuf {
        self.linux.vmlinuz()
    }

    /// The path of the initramfs, not packed.
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd")
    }
}

/// The KVM guest, built at the first call on this machine.
///
/// # Errors
/// When Debian's packages cannot be had, or are not what the builder expects.
pub fn kvm() -> Result<Kvm> {
    let linux = linux()?;
    let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = cached(&stamp(&linux)?, |tmp| build(tmp, &linux))?;
    Ok(Kvm { linux, dir })
}

/// As for the Linux guest, of which this one is made: the folder's name says what was built.
fn stamp(linux: &Linux) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(RECIPE.to_le_bytes());
    hash.update([INIT, PACKAGES].concat());
    hash.update(linux.packages()?);
    let sum = hash.finalize();
    Ok(format!("kvm-{}", sum[..6].iter().map(|b| format!("{b:02x}")).collect::<String>()))
}

/// Builds everything in `tmp/out`.
fn build(tmp: &Path, linux: &Linux) -> Result<()> {
    let [out, pool, root] = ["out", "pool", "root"].map(|name| tmp.join(name));
    fs::create_dir_all(&out)?;
    let mut fetched = root::unpack(PACKAGES, &pool)?;
    root::folders(&root, &FOLDERS)?;
    root::programs(&pool, &root, &[PROGRAM])?;
    root::copy(&pool, &root, &FILES)?;
    root::install(&linux.dir().join("busybox"), &root, "bin/busybox")?;
    root::script(&root, "init", INIT)?;
    let kernel = tmp.join("kernel");
    let package = linux.package(0)?;
    root::modules(&package, &kernel, &root, &MODULES)?;
    fetched.push(package);
    root::install(&linux.vmlinuz(), &root, "guest/vmlinuz")?;
    root::install(&linux.initrd(), &root, "guest/plain")?;
    fs::write(root.join("guest/nested"), root::archive(&root)?)?;
    fs::write(out.join("initrd"), root::archive(&root)?)?;
    fs::write(out.join("packages.txt"), list(&fetched)?)?;
    Ok(())
}
