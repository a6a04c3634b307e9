//! Debian's Xen, with Debian's Linux as dom0, Xen's tools and QEMU as the device model, and as domU.
//!
//! dom0's first process (`xen/dom0.sh`) says which domUs it creates. The domU is the guest of
//! [`linux`]: with `work=none` it says that it has come to userspace, and powers off. `small` makes a
//! kernel of one sector.

mod small;

use super::{BUILDING, Linux, Linux32, cached, kernel, linux, linux32, list, root};
use crate::strata::{self, Ended};
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::PoisonError;

/// Counts up when the builder makes something else of the same packages and script.
const RECIPE: u32 = 4;

const INIT: &str = include_str!("xen/dom0.sh");
/// The first process of a domU with a disk and a network.
const DEVICES: &str = include_str!("xen/devices.sh");
/// Parts of dom0's first process, and what `xl` runs in dom0 for disks and network cards.
const SCRIPTS: [(&str, &str); 5] = [
    ("pairs.sh", include_str!("xen/pairs.sh")),
    ("systems.sh", include_str!("xen/systems.sh")),
    ("watch.sh", include_str!("xen/watch.sh")),
    ("etc/xen/scripts/block", include_str!("xen/block.sh")),
    ("etc/xen/scripts/vif-bridge", include_str!("xen/vif-bridge.sh")),
];

/// What dom0 runs with the word `commands`: a shell's line each.
pub const COMMANDS: &str = include_str!("xen/commands.txt");

/// Xen, its tools, the device model with its ROMs, the libraries that these need, and what HVM domUs boot beside Linux.
const PACKAGES: &str = "\
    gnumach-image-1.8-486:i386 ipxe ipxe-qemu memtest86+ \
    libbz2-1.0 libc6 libdw1 libelf1 libfdt1 libffi8 libgcc-s1 libglib2.0-0 \
    libgstreamer-plugins-base1.0-0 libgstreamer1.0-0 libjpeg62-turbo liblz4-1 liblzma5 libopus0 \
    liborc-0.4-0 libpcre2-8-0 libpixman-1-0 libsasl2-2 libspice-server1 libssl3 libstdc++6 \
    libudev1 libunwind8 libusb-1.0-0 libuuid1 libxencall1 libxendevicemodel1 libxenevtchn1 \
    libxenforeignmemory1 libxengnttab1 libxenhypfs1 libxenmisc4.17 libxenstore4 libxentoolcore1 \
    libxentoollog1 libyajl2 libzstd1 qemu-system-data qemu-system-xen seabios \
    xen-hypervisor-4.17-amd64 xen-utils-4.17 xenstore-utils zlib1g";

const PROGRAMS: [&str; 12] = [
    "usr/bin/xenstore-exists",
    "usr/bin/xenstore-list",
    "usr/bin/xenstore-ls",
    "usr/bin/xenstore-read",
    "usr/bin/xenstore-write",
    "usr/lib/xen-4.17/bin/lsevtchn",
    "usr/lib/xen-4.17/bin/xen-init-dom0",
    "usr/lib/xen-4.17/bin/xenconsoled",
    "usr/lib/xen-4.17/bin/xenstored",
    "usr/lib/xen-4.17/bin/xl",
    "usr/lib/xen-4.17/bin/libxl-save-helper",
    "usr/libexec/xen-qemu-system-i386",
];

/// What `xl` and the device model load into an HVM domU, and what they read themselves.
const FILES: [&str; 8] = [
    "usr/lib/ipxe/qemu/efi-rtl8139.rom",
    "usr/lib/xen-4.17/boot/hvmloader",
    "usr/share/qemu/keymaps/en-us",
    "usr/share/qemu/kvmvapic.bin",
    "usr/share/qemu/linuxboot.bin",
    "usr/share/qemu/linuxboot_dma.bin",
    "usr/share/seabios/bios-256k.bin",
    "usr/share/seabios/vgabios-stdvga.bin",
];

const FOLDERS: [&str; 14] = [
    "bin",
    "dev",
    "domu",
    "etc/xen/scripts",
    "lib64",
    "modules",
    "proc",
    "run",
    "sys",
    "tmp",
    "usr/bin",
    "var/lib/xen",
    "var/lib/xenstored",
    "var/log/xen",
];

/// The modules that dom0 loads, in the order of loading: the first five always, the others for disks and network cards.
const MODULES: [&str; 12] = [
    "xen-evtchn.ko",
    "xen-gntdev.ko",
    "xen-gntalloc.ko",
    "xen-privcmd.ko",
    "xenfs.ko",
    "loop.ko",
    "xen-blkback.ko",
    "llc.ko",
    "stp.ko",
    "bridge.ko",
    "xen-netback.ko",
    "tun.ko",
];

/// The modules of a domU with a disk and a network.
const FRONTENDS: [&str; 2] = ["xen-blkfront.ko", "xen-netfront.ko"];

/// The menu of the CD.
const MENU: &str = "\
set timeout=0
serial --unit=0 --speed=115200
terminal_output serial
linux /boot/vmlinuz console=hvc0 work=none
initrd /boot/initrd
boot
";

/// The menu of the CD with GNU Mach, whose console is the screen.
const MACH: &str = "\
set timeout=0
multiboot /boot/mach
boot
";

/// The configuration of GRUB without a menu.
const PROMPT: &str = "\
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
";

/// The built guest: the files of one folder, and dom0's kernel from [`Linux`].
#[derive(Debug, Clone)]
pub struct Xen {
    linux: Linux,
    dir: PathBuf,
}

impl Xen {
    /// The path of Xen: an ELF file with a multiboot header.
    pub fn xen(&self) -> PathBuf {
        self.dir.join("xen")
    }

    /// The path of dom0's kernel: an ELF file.
    pub fn kernel(&self) -> PathBuf {
        self.linux.dom0_vmlinux()
    }

    /// The path of dom0's initramfs, not packed.
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("dom0.cpio")
    }

    /// Runs the guest to its end, at most `limit` instructions, with `append` on the command line of dom0's kernel.
    ///
    /// # Errors
    /// When there is no `strata`, and it cannot be built.
    pub fn run(&self, hypervisor: Hypervisor, append: &str, limit: &str) -> Result<Ended> {
        self.run_with([512, 1024], hypervisor, append, &["--limit-instructions", limit])
    }

    /// The same with dom0's MiB, the machine's, and more words for `strata`.
    ///
    /// # Errors
    /// As for [`Xen::run`].
    pub fn run_with(
        &self,
        memory: [u32; 2],
        hypervisor: Hypervisor,
        append: &str,
        more: &[&str],
    ) -> Result<Ended> {
        let words = self.words(memory, hypervisor, append);
        let words: Vec<&str> =
            words.iter().map(String::as_str).chain(more.iter().copied()).collect();
        strata::run(&words)
    }

    /// The words for `strata` that run the guest.
    pub fn words(
        &self,
        [dom0_mib, mib]: [u32; 2],
        hypervisor: Hypervisor,
        append: &str,
    ) -> Vec<String> {
        let append = append.replace(',', ",,");
        let [xen, kernel, initrd] =
            [self.xen(), self.kernel(), self.initrd()].map(|path| path.display().to_string());
        let modules = format!("{kernel} console=hvc0 {append},{initrd}");
        let dom0 = format!(
            "kernel={kernel},initrd={initrd},memory={dom0_mib}M,append=console=hvc0 {append}"
        );
        let options = format!("console=com1 com1=115200,8n1 dom0_mem={dom0_mib}M,max:{dom0_mib}M");
        let memory = format!("{mib}M");
        let words = match hypervisor {
            Hypervisor::Xen => {
                let words = ["run", "-m", &memory, "-kernel", &xen, "-initrd", &modules];
                [&words[..], &["-append", &options, "-display", "none", "-no-reboot"]].concat()
            }
            Hypervisor::Strata => vec!["host", "--memory", &memory, "--dom0", &dom0],
        };
        let serial = ["-serial", "stdio"];
        words.into_iter().chain(serial).map(str::to_owned).collect()
    }
}

/// Under which dom0 runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hypervisor {
    /// Debian's Xen: dom0 is paravirtualised.
    Xen,
    /// The bundled one: dom0 is of Xen's kind PVH.
    Strata,
}

/// The Xen guest, built at the first call on this machine.
///
/// # Errors
/// When Debian's packages cannot be had, or are not what the builder expects, or `grub-mkrescue` is
/// not there.
pub fn xen() -> Result<Xen> {
    let (linux, linux32) = (linux()?, linux32()?);
    let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = cached(&stamp(&linux)?, |tmp| build(tmp, &linux, &linux32))?;
    Ok(Xen { linux, dir })
}

/// As for the Linux guest, of which this one is made: the folder's name says what was built.
fn stamp(linux: &Linux) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(RECIPE.to_le_bytes());
    hash.update([INIT, DEVICES, COMMANDS, PACKAGES, MENU, PROMPT, MACH].concat());
    hash.update(SCRIPTS.map(|(_, text)| text).concat());
    hash.update([PROGRAMS.concat(), FILES.concat()].concat());
    hash.update(linux.packages()?);
    let sum = hash.finalize();
    Ok(format!("xen-{}", sum[..6].iter().map(|b| format!("{b:02x}")).collect::<String>()))
}

/// Builds everything in `tmp/out`.
fn build(tmp: &Path, linux: &Linux, linux32: &Linux32) -> Result<()> {
    let [out, pool, root] = ["out", "pool", "root"].map(|name| tmp.join(name));
    fs::create_dir_all(&out)?;
    let mut fetched = root::unpack(PACKAGES, &pool)?;
    let packed = fs::read(pool.join("boot/xen-4.17-amd64.gz")).context("no Xen")?;
    fs::write(out.join("xen"), kernel::gunzip(&packed)?)?;

    root::folders(&root, &FOLDERS)?;
    root::programs(&pool, &root, &PROGRAMS)?;
    root::copy(&pool, &root, &FILES)?;
    root::install(&linux.dir().join("busybox"), &root, "bin/busybox")?;
    root::script(&root, "init", INIT)?;
    SCRIPTS.iter().try_for_each(|(name, text)| root::script(&root, name, text))?;
    fs::write(root.join("commands"), COMMANDS)?;
    fs::write(root.join("etc/xen/xl.conf"), "autoballoon=\"off\"\n")?;
    let package = linux.package(1)?;
    root::modules(&package, &tmp.join("kernel"), &root, &MODULES)?;
    fetched.push(package);
    root::install(&linux.vmlinuz(), &root, "domu/vmlinuz")?;
    root::install(&linux.initrd(), &root, "domu/initrd")?;
    fs::write(root.join("domu/devices"), devices(tmp, linux)?)?;
    fs::write(root.join("domu/disk.qcow2"), qcow2(256 << 20))?;
    cd(&tmp.join("cd"), &root)?;
    systems(&pool, linux32, &root)?;
    fs::write(root.join("domu/small"), small::bzimage())?;
    fs::write(root.join("domu/ticks"), small::ticks())?;
    small::cd(&tmp.join("small"), &root.join("domu/small.iso"))?;
    fs::write(out.join("dom0.cpio"), root::archive(&root)?)?;
    fs::write(out.join("packages.txt"), list(&fetched)?)?;
    Ok(())
}

/// What HVM domUs boot beside the 64-bit Linux: a 32-bit one, GNU Mach, iPXE, memtest86+, and GRUB without a menu.
fn systems(pool: &Path, linux32: &Linux32, root: &Path) -> Result<()> {
    root::install(&linux32.vmlinuz(), root, "domu/vmlinuz32")?;
    root::install(&linux32.initrd(), root, "domu/initrd32")?;
    root::install(&pool.join("boot/ipxe.lkrn"), root, "domu/ipxe")?;
    root::install(&pool.join("boot/memtest86+x64.bin"), root, "domu/memtest")?;
    let tree = root.join("../grub");
    root::folders(&tree, &["boot/grub"])?;
    fs::write(tree.join("boot/grub/grub.cfg"), PROMPT)?;
    let modules = "--install-modules=biosdisk iso9660 serial terminal normal";
    grub("grub.iso", &[modules, &tree.display().to_string()], root)?;
    // QEMU's own loader of multiboot kernels wants a way to the files that it does not have with Xen.
    let tree = root.join("../mach");
    root::folders(&tree, &["boot/grub"])?;
    fs::write(tree.join("boot/grub/grub.cfg"), MACH)?;
    let packed = fs::read(pool.join("boot/gnumach-1.8-486.gz")).context("no GNU Mach")?;
    fs::write(tree.join("boot/mach"), kernel::gunzip(&packed)?)?;
    let modules = "--install-modules=biosdisk iso9660 multiboot normal boot";
    grub("mach.iso", &[modules, &tree.display().to_string()], root)
}

/// The initramfs of a domU with a disk and a network.
fn devices(tmp: &Path, linux: &Linux) -> Result<Vec<u8>> {
    let root = tmp.join("devices");
    root::folders(&root, &["bin", "dev", "modules", "proc", "sys", "tmp"])?;
    root::install(&linux.dir().join("busybox"), &root, "bin/busybox")?;
    root::script(&root, "init", DEVICES)?;
    root::modules(&linux.package(0)?, &tmp.join("cloud"), &root, &FRONTENDS)?;
    root::archive(&root)
}

/// A disk of `size` bytes in QEMU's format qcow2, version 2, with nothing on it. QEMU, docs/interop/qcow2.txt.
fn qcow2(size: u64) -> Vec<u8> {
    const CLUSTER: u64 = 1 << 16;
    let [table, block, l1] = [1, 2, 3].map(|n| n * CLUSTER);
    let l1_entries = size.div_ceil(CLUSTER * CLUSTER / 8) as u32;
    let mut disk = [&b"QFI\xfb"[..], &2_u32.to_be_bytes()].concat();
    // No file behind it; clusters of 2^16 bytes; no encryption; one cluster of the table of references; no snapshots.
    disk.extend([&[0; 12][..], &16_u32.to_be_bytes(), &size.to_be_bytes(), &[0; 4]].concat());
    disk.extend([&l1_entries.to_be_bytes()[..], &l1.to_be_bytes(), &table.to_be_bytes()].concat());
    disk.extend([&1_u32.to_be_bytes()[..], &[0; 12]].concat());
    disk.resize(4 * CLUSTER as usize, 0);
    disk[table as usize..][..8].copy_from_slice(&block.to_be_bytes());
    // One reference to each of the four clusters that there are.
    disk[block as usize..][..8].copy_from_slice(&[0, 1, 0, 1, 0, 1, 0, 1]);
    disk
}

/// Makes `domu/cd.iso` in `root`: the domU's kernel behind GRUB, for a BIOS, by way of `tree`.
fn cd(tree: &Path, root: &Path) -> Result<()> {
    root::folders(tree, &["boot/grub"])?;
    fs::write(tree.join("boot/grub/grub.cfg"), MENU)?;
    for name in ["vmlinuz", "initrd"] {
        fs::copy(root.join("domu").join(name), tree.join("boot").join(name))?;
    }
    let modules = "--install-modules=biosdisk iso9660 linux serial terminal normal boot";
    grub("cd.iso", &[modules, &tree.display().to_string()], root)
}

/// Makes the CD `name` in `root`'s `domu`: GRUB, for a BIOS.
fn grub(name: &str, words: &[&str], root: &Path) -> Result<()> {
    let mut make = Command::new("grub-mkrescue");
    make.arg("-o").arg(root.join("domu").join(name)).arg("--compress=no").args(words);
    // What is on the CD has the time of the recipe.
    let made = make.env("SOURCE_DATE_EPOCH", "1700000000").output().context("grub-mkrescue")?;
    let said = String::from_utf8_lossy(&made.stderr);
    ensure!(made.status.success(), "grub-mkrescue: {said}");
    Ok(())
}
