//! Guests built from Debian's packages, once, into `target/guests/`.
//!
//! [`linux`] gives the guest that every boot test uses: Debian's cloud kernel and a busybox
//! initramfs whose `/init` runs a fixed mix of work and powers off. Marker lines on its console:
//! `MARK name uptime-seconds`. [`Linux::work`] says what the work must print. [`linux32`] is the same
//! with Debian's 32-bit kernel. [`userland`] gives the programs of Debian that the 64-bit kernel runs
//! to compare them with the host; [`xen`] Xen with its tools, [`kvm`] KVM with QEMU; [`images`] kernels that need nothing
//! beside them; [`symbols`] what a debugger needs for the 64-bit kernel.

pub mod cpio;
pub mod images;
pub mod kernel;
pub mod kvm;
mod packages;
mod root;
pub mod symbols;
pub mod userland;
pub mod xen;

use anyhow::{Context, Result, bail};
use packages::Package;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The first process of the guest.
const INIT: &str = include_str!("init.sh");

/// Counts up when the builder makes something else of the same packages and [`INIT`].
const RECIPE: u32 = 1;

/// The modules that dom0 loads to mount `xenfs`, in the order of loading.
const DOM0_MODULES: [&str; 2] = ["xen-privcmd.ko", "xenfs.ko"];

/// Held while this process builds: tests of one program run on several threads.
static BUILDING: Mutex<()> = Mutex::new(());

/// A built Linux guest: the files of one folder.
#[derive(Debug, Clone)]
pub struct Linux {
    dir: PathBuf,
}

impl Linux {
    /// The names of the guest's files.
    pub const FILES: [&str; 7] = [
        "vmlinuz",
        "vmlinux",
        "dom0-vmlinux",
        "initrd.gz",
        "dom0-initrd.gz",
        "busybox",
        "packages.txt",
    ];

    /// The cloud kernel as shipped: a bzImage.
    pub fn vmlinuz(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    /// The cloud kernel's ELF payload, with its PVH note: bare or as domU.
    pub fn vmlinux(&self) -> PathBuf {
        self.dir.join("vmlinux")
    }

    /// The full flavour's ELF payload: the cloud flavour has no `CONFIG_XEN_DOM0`.
    pub fn dom0_vmlinux(&self) -> PathBuf {
        self.dir.join("dom0-vmlinux")
    }

    /// The path of the initramfs.
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd.gz")
    }

    /// The initramfs with the modules that dom0 needs for `xenfs`.
    pub fn dom0_initrd(&self) -> PathBuf {
        self.dir.join("dom0-initrd.gz")
    }

    /// The folder that holds [`Self::FILES`].
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The packages of which the guest was made, a line each: name, version, SHA-256.
    fn packages(&self) -> Result<String> {
        fs::read_to_string(self.dir.join("packages.txt")).context("packages.txt")
    }

    /// The package in line `n` of [`Self::packages`]; 0: the cloud kernel, 1: the full one. Modules of another version
    /// do not fit, and the lists may offer another by now.
    fn package(&self, n: usize) -> Result<Package> {
        let all = self.packages()?;
        let mut words = all.lines().nth(n).unwrap_or_default().split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else {
            bail!("packages.txt has no line {n}");
        };
        packages::fetch_version(name, version, &cache().join("packages"))
    }

    /// What the guest's work must print, line by line, `MARK` lines included but without their
    /// times: the same commands run on the host by the same busybox.
    pub fn work(&self) -> Result<Vec<String>> {
        let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        let scratch = cache().join(format!("work.{}", std::process::id()));
        fs::create_dir_all(&scratch)?;
        let found = run_work(&self.dir.join("busybox"), &scratch);
        fs::remove_dir_all(&scratch)?;
        found
    }
}

/// Runs the part of [`INIT`] between `# work` and `# end of work` on the host, in `scratch`.
fn run_work(busybox: &Path, scratch: &Path) -> Result<Vec<String>> {
    let work = work_of(INIT).context("init.sh has lost its `# work` lines")?;
    let bin = scratch.join("bin");
    fs::create_dir_all(&bin)?;
    let status = Command::new(busybox).args(["--install", "-s"]).arg(&bin).status()?;
    if !status.success() {
        bail!("busybox --install failed: {status}");
    }
    let local = work.replace("/tmp/", "./").replace("/bin/busybox", &busybox.to_string_lossy());
    let out = Command::new(busybox)
        .args(["sh", "-c", &format!("mark() {{ echo \"MARK $1\"; }}\n{local}")])
        .env("PATH", &bin)
        .current_dir(scratch)
        .output()?;
    if !out.status.success() {
        bail!("the guest's work failed on the host: {}", String::from_utf8_lossy(&out.stderr));
    }
    Ok(String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect())
}

/// The lines between `# work` and `# end of work`.
fn work_of(init: &str) -> Option<&str> {
    let (_, rest) = init.split_once("# work\n")?;
    rest.split_once("# end of work\n").map(|(work, _)| work)
}

/// `target/guests/` of this workspace.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests")
}

/// The folder's name says what was built, so that a changed recipe builds anew.
fn stamp() -> String {
    let mut hash = Sha256::new();
    hash.update(RECIPE.to_le_bytes());
    hash.update(INIT);
    let sum = hash.finalize();
    format!("linux-{}", sum[..6].iter().map(|b| format!("{b:02x}")).collect::<String>())
}

/// The Linux guest, built at the first call on this machine.
///
/// # Errors
/// When Debian's packages cannot be had, or are not what the builder expects.
pub fn linux() -> Result<Linux> {
    let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    cached(&stamp(), build).map(|dir| Linux { dir })
}

/// The folder `name` of the cache; what `build` makes in `out` of the folder that it is given, if it
/// is not there yet. A finished folder holds `packages.txt`.
fn cached(name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let dir = cache().join(name);
    if dir.join("packages.txt").is_file() {
        return Ok(dir);
    }
    fs::create_dir_all(cache()).context("cannot create target/guests")?;
    let tmp = cache().join(format!("tmp.{}", std::process::id()));
    let built = build(&tmp).context("cannot build the Linux guest from Debian's packages");
    let renamed = built.and_then(|()| match fs::rename(tmp.join("out"), &dir) {
        Err(_) if dir.join("packages.txt").is_file() => Ok(()), // another process was faster
        other => other.context("cannot move the built guest in place"),
    });
    fs::remove_dir_all(&tmp).ok();
    renamed.map(|()| dir)
}

/// Debian's 32-bit kernel with PAE, as shipped, and an initramfs like that of [`linux`].
#[derive(Debug, Clone)]
pub struct Linux32 {
    dir: PathBuf,
}

impl Linux32 {
    /// The kernel: a bzImage.
    pub fn vmlinuz(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    /// The path of the initramfs.
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd.gz")
    }
}

/// The 32-bit Linux guest, built at the first call on this machine.
///
/// # Errors
/// When Debian's packages of i386 cannot be had, or are not what the builder expects.
pub fn linux32() -> Result<Linux32> {
    let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    cached(&stamp().replace("linux", "linux32"), build32).map(|dir| Linux32 { dir })
}

/// Builds the 32-bit guest in `tmp/out`.
fn build32(tmp: &Path) -> Result<()> {
    let out = tmp.join("out");
    fs::create_dir_all(&out)?;
    let deb = |name: &str| packages::fetch(name, &cache().join("packages"));
    let kernel = deb(&packages::kernel_of("linux-image-686-pae:i386")?)?;
    let busybox = deb("busybox-static:i386")?;
    let [k, b] = [tmp.join("kernel"), tmp.join("busybox")];
    packages::unpack(&kernel, &k)?;
    packages::unpack(&busybox, &b)?;
    fs::copy(find(&k.join("boot"), "vmlinuz-")?, out.join("vmlinuz"))?;
    let program = fs::read(busybox_of(&b)?)?;
    fs::write(out.join("initrd.gz"), initrd(&program, &[])?)?;
    fs::write(out.join("packages.txt"), list(&[kernel, busybox])?)?;
    Ok(())
}

/// The program in the unpacked package `busybox-static`.
fn busybox_of(root: &Path) -> Result<PathBuf> {
    let places = ["bin/busybox", "usr/bin/busybox"].map(|place| root.join(place));
    places.into_iter().find(|p| p.is_file()).context("no busybox in busybox-static")
}

/// Builds everything in `tmp/out`.
fn build(tmp: &Path) -> Result<()> {
    let out = tmp.join("out");
    fs::create_dir_all(&out)?;
    let deb = |name: &str| packages::fetch(name, &cache().join("packages"));
    let cloud = deb(&packages::kernel_of("linux-image-cloud-amd64")?)?;
    let full = deb(&packages::kernel_of("linux-image-amd64")?)?;
    let busybox = deb("busybox-static")?;
    let [c, f, b] = [tmp.join("cloud"), tmp.join("full"), tmp.join("busybox")];
    packages::unpack(&cloud, &c)?;
    packages::unpack(&full, &f)?;
    packages::unpack(&busybox, &b)?;

    let vmlinuz = fs::read(find(&c.join("boot"), "vmlinuz-")?)?;
    fs::write(out.join("vmlinux"), kernel::payload(&vmlinuz)?)?;
    fs::write(out.join("vmlinuz"), vmlinuz)?;
    let dom0 = fs::read(find(&f.join("boot"), "vmlinuz-")?)?;
    fs::write(out.join("dom0-vmlinux"), kernel::payload(&dom0)?)?;

    let program = busybox_of(&b)?;
    fs::copy(&program, out.join("busybox"))?;
    let program = fs::read(program)?;
    fs::write(out.join("initrd.gz"), initrd(&program, &[])?)?;
    fs::write(out.join("dom0-initrd.gz"), initrd(&program, &modules(&f, &DOM0_MODULES)?)?)?;
    fs::write(out.join("packages.txt"), list(&[cloud, full, busybox])?)?;
    Ok(())
}

/// The modules `names` out of the unpacked kernel package `root`, as (name, bytes).
fn modules(root: &Path, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
    let lib = [root.join("lib/modules"), root.join("usr/lib/modules")];
    let lib = lib.iter().find(|p| p.is_dir()).context("no lib/modules in the kernel package")?;
    let load = |(n, name): (usize, &&str)| {
        let path = find_below(lib, name)?.with_context(|| format!("no module {name}"))?;
        let bytes = fs::read(&path)?;
        let plain =
            if path.extension().is_some_and(|e| e == "xz") { kernel::unxz(&bytes)? } else { bytes };
        Ok((format!("{n}-{name}"), plain))
    };
    names.iter().enumerate().map(load).collect()
}

/// A gzipped newc archive with `/init`, busybox and `modules` under `/modules`.
fn initrd(busybox: &[u8], modules: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut archive = cpio::Newc::default();
    for dir in ["bin", "dev", "modules", "proc", "sys", "tmp", "xen"] {
        archive.folder(dir);
    }
    archive.file("bin/busybox", 0o755, busybox)?;
    archive.file("init", 0o755, INIT.as_bytes())?;
    for (name, bytes) in modules {
        archive.file(&format!("modules/{name}"), 0o644, bytes)?;
    }
    cpio::gzip(&archive.finish())
}

/// One line for each package: name, version, SHA-256.
fn list(packages: &[Package]) -> Result<String> {
    let line = |p: &Package| {
        let sum = Sha256::digest(fs::read(&p.file)?);
        let hex: String = sum.iter().map(|b| format!("{b:02x}")).collect();
        Ok(format!("{} {} {hex}\n", p.name, p.version))
    };
    packages.iter().map(line).collect()
}

/// The file of `dir` whose name begins with `prefix`.
fn find(dir: &Path, prefix: &str) -> Result<PathBuf> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(dir)?.map(|e| Ok(e?.path())).collect::<std::io::Result<_>>()?;
    names.sort();
    let fits =
        |p: &&PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(prefix));
    names.iter().find(fits).cloned().with_context(|| format!("no {prefix}* in {}", dir.display()))
}

/// A file named `name`, or `name.xz`, anywhere below `dir`.
fn find_below(dir: &Path, name: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            if let Some(found) = find_below(&path, name)? {
                return Ok(Some(found));
            }
        } else if path.file_name().is_some_and(|n| n == name || *n == *format!("{name}.xz")) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
