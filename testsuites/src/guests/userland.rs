//! Debian's programs as a guest, and the same bytes on the host.
//!
//! [`userland`] unpacks packages into one folder, which is at once the guest's initial root and, by
//! `chroot`, a root on the host. The scripts of `userland/` run in both; every line that they print
//! follows from what the processor computes: digests, arithmetic, x87 and vector code that
//! libraries choose by CPUID.

use super::root::{self, inside};
use super::{BUILDING, Linux, cached, linux, list};
use anyhow::{Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::PoisonError;

/// Counts up when the builder makes something else of the same packages and scripts.
const RECIPE: u32 = 1;

/// What the checks run, and the libraries that it needs.
const PACKAGES: &str = "\
    argon2 b3sum bc bzip2 coreutils dash diffutils flac gawk libacl1 libargon2-1 libattr1 \
    libbz2-1.0 libc6 libcrypt1 libexpat1 libffi8 libflac12 libgcc-s1 libgmp10 libhogweed6 \
    libjpeg-turbo-progs libjpeg62-turbo liblz4-1 liblzma5 libmpfr6 libnettle8 libogg0 \
    libpcre2-8-0 libpython3.11-minimal libpython3.11-stdlib libreadline8 libselinux1 \
    libsigsegv2 libsqlite3-0 libssl3 libstdc++6 libtinfo6 libturbojpeg0 libzstd1 lua5.4 \
    nettle-bin openssl perl-base python3.11-minimal sed sqlite3 xz-utils zlib1g zstd";

/// The scripts, which come to lie in `/checks`.
const CHECKS: &[(&str, &str)] = &[
    ("crypto.py", include_str!("userland/crypto.py")),
    ("float.awk", include_str!("userland/float.awk")),
    ("init.sh", include_str!("userland/init.sh")),
    ("keys.sh", include_str!("userland/keys.sh")),
    ("lite.sql", include_str!("userland/lite.sql")),
    ("lua.lua", include_str!("userland/lua.lua")),
    ("maths.py", include_str!("userland/maths.py")),
    ("perl.pl", include_str!("userland/perl.pl")),
    ("picture.py", include_str!("userland/picture.py")),
    ("rsa.py", include_str!("userland/rsa.py")),
    ("run.sh", include_str!("userland/run.sh")),
    ("strings.py", include_str!("userland/strings.py")),
    ("values.py", include_str!("userland/values.py")),
];

/// Folders that the checks never open.
const UNUSED: &[&str] = &[
    "usr/share",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/x86_64-linux-gnu/perl-base/unicore/lib",
    "usr/lib/python3.11/asyncio",
    "usr/lib/python3.11/email",
    "usr/lib/python3.11/pydoc_data",
    "usr/lib/python3.11/unittest",
    "usr/lib/python3.11/xml",
];

/// How much the checks do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// Every check, each with few values.
    Quick,
    /// Several times as many values.
    Full,
}

impl Set {
    /// The word for `run.sh`, and after `set=` for the guest's kernel.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Set::Quick => "quick",
            Set::Full => "full",
        }
    }
}

/// The built guest: Debian's kernel from [`Linux`], and a root of its own.
#[derive(Debug, Clone)]
pub struct Userland {
    linux: Linux,
    dir: PathBuf,
}

impl Userland {
    /// The path of the kernel.
    pub fn vmlinuz(&self) -> PathBuf {
        self.linux.vmlinuz()
    }

    /// The initramfs, not packed: it is large.
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd")
    }

    /// What the checks print on the host.
    ///
    /// # Errors
    /// When the host neither is root nor lets its users make namespaces, or a check fails.
    pub fn expected(&self, set: Set) -> Result<Vec<String>> {
        let out = inside(&self.dir.join("root"))?
            .args(["/bin/dash", "/checks/run.sh", set.word()])
            .stdin(Stdio::null())
            .output()?;
        let errors = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.success() && errors.is_empty(), "the checks fail here: {errors}");
        Ok(String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect())
    }
}

/// The userland guest, built at the first call on this machine.
///
/// # Errors
/// When Debian's packages cannot be had, or are not what the builder expects.
pub fn userland() -> Result<Userland> {
    let linux = linux()?;
    let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = cached(&stamp(), |tmp| build(tmp, &linux))?;
    Ok(Userland { linux, dir })
}

/// As for the Linux guest: the folder's name says what was built.
fn stamp() -> String {
    let mut hash = Sha256::new();
    hash.update(RECIPE.to_le_bytes());
    hash.update(PACKAGES);
    hash.update(UNUSED.concat());
    CHECKS.iter().for_each(|(name, text)| hash.update([*name, *text].concat()));
    let sum = hash.finalize();
    format!("userland-{}", sum[..6].iter().map(|b| format!("{b:02x}")).collect::<String>())
}

/// Builds everything in `tmp/out`.
fn build(tmp: &Path, linux: &Linux) -> Result<()> {
    let out = tmp.join("out");
    let root = out.join("root");
    root::folders(&root, &["bin", "checks", "dev", "proc", "sys", "tmp"])?;
    let fetched = root::unpack(PACKAGES, &root)?;
    for folder in UNUSED.iter().map(|name| root.join(name)).filter(|folder| folder.is_dir()) {
        fs::remove_dir_all(folder)?;
    }
    fs::copy(linux.dir().join("busybox"), root.join("bin/busybox"))?;
    symlink("dash", root.join("bin/sh")).or_else(exists)?;
    // Shells open it for what they start in the background; the guest mounts its devices over it.
    fs::write(root.join("dev/null"), "")?;
    for (name, text) in CHECKS {
        fs::write(root.join("checks").join(name), text)?;
    }
    root::script(&root, "init", include_str!("userland/init.sh"))?;
    compile_python(&root)?;
    fs::write(out.join("initrd"), root::archive(&root)?)?;
    fs::write(out.join("packages.txt"), list(&fetched)?)?;
    Ok(())
}

fn exists(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

/// Compiles Python's modules, as the package's installation would: the guest should not have to.
fn compile_python(root: &Path) -> Result<()> {
    let words = ["/usr/bin/python3.11", "-I", "-S", "-m", "compileall", "-q"];
    let mode = ["--invalidation-mode", "unchecked-hash", "/usr/lib/python3.11"];
    let out = inside(root)?.args(words).args(mode).output()?;
    if !out.status.success() {
        bail!("Python's modules do not compile: {}", String::from_utf8_lossy(&out.stderr));
    }
    Ok(())
}
