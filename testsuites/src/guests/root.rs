//! A guest's root as a folder of the host: Debian's programs with the libraries that they load.

use super::packages::{self, Package};
use super::{cache, cpio};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where guests have the libraries.
const LIBRARIES: &str = "lib/x86_64-linux-gnu";
/// The program loader.
const LOADER: &str = "ld-linux-x86-64.so.2";

/// A command with `root` as its root folder and an empty environment; the program and its words
/// are to be added.
pub(super) fn inside(root: &Path) -> Result<Command> {
    let words: &[&str] = match fs::metadata("/proc/self")?.uid() {
        0 => &["chroot"],
        _ => &["unshare", "--map-root-user", "--root"],
    };
    let mut command = Command::new("/usr/bin/env");
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(words).arg(root);
    Ok(command)
}

/// Fetches the packages `names`, which blanks part, and unpacks all of them into `pool`.
pub(super) fn unpack(names: &str, pool: &Path) -> Result<Vec<Package>> {
    let fetch = |name: &str| packages::fetch(name, &cache().join("packages"));
    let fetched = names.split_whitespace().map(fetch).collect::<Result<Vec<_>>>()?;
    fs::create_dir_all(pool)?;
    fetched.iter().try_for_each(|package| packages::unpack(package, pool))?;
    Ok(fetched)
}

/// Copies the `files` of `pool` to their places in `root`.
pub(super) fn copy(pool: &Path, root: &Path, files: &[&str]) -> Result<()> {
    files.iter().try_for_each(|file| install(&pool.join(file), root, file))
}

/// Copies the file `from` to the place `to` of `root`.
pub(super) fn install(from: &Path, root: &Path, to: &str) -> Result<()> {
    let to = root.join(to);
    fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
    fs::copy(from, &to).with_context(|| format!("no {}", from.display()))?;
    Ok(())
}

/// Copies the `programs` of `pool` to their places in `root`, with the loader and the libraries that
/// it finds for them.
pub(super) fn programs(pool: &Path, root: &Path, programs: &[&str]) -> Result<()> {
    copy(pool, root, programs)?;
    let loader = format!("{LIBRARIES}/{LOADER}");
    install(&pool.join(&loader), root, &format!("lib64/{LOADER}"))?;
    for program in programs {
        for library in libraries(pool, &loader, program)? {
            let name = Path::new(&library).file_name().context("a library has a name")?;
            let from = pool.join(library.trim_start_matches('/'));
            install(&from, root, &format!("{LIBRARIES}/{}", name.to_string_lossy()))?;
        }
    }
    Ok(())
}

/// What the `loader` would load for `program`: lines `NAME => PATH (ADDRESS)`.
fn libraries(pool: &Path, loader: &str, program: &str) -> Result<Vec<String>> {
    let mut command = inside(pool)?;
    let words = [format!("/{loader}"), "--list".into(), format!("/{program}")];
    let out = command.args(words).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "the loader does not take {program}: {text}{errors}");
    let path = |line: &str| Some(line.split_once(" => ")?.1.split(' ').next()?.to_owned());
    let found: Vec<String> = text.lines().filter_map(path).collect();
    let missing = found.iter().any(|path| !path.starts_with('/'));
    ensure!(!missing, "{program} needs more packages: {text}");
    Ok(found)
}

/// Writes the executable script `text` to the place `name` of `root`.
pub(super) fn script(root: &Path, name: &str, text: &str) -> Result<()> {
    fs::write(root.join(name), text)?;
    fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Makes the `folders` of `root`.
pub(super) fn folders(root: &Path, folders: &[&str]) -> Result<()> {
    Ok(folders.iter().try_for_each(|folder| fs::create_dir_all(root.join(folder)))?)
}

/// An archive, which is not packed, of everything in `root`.
pub(super) fn archive(root: &Path) -> Result<Vec<u8>> {
    let mut archive = cpio::Newc::default();
    add(&mut archive, root, "")?;
    Ok(archive.finish())
}

/// Adds what is in `folder`, sorted by name, under `name` (which ends in a slash, or is empty).
fn add(archive: &mut cpio::Newc, folder: &Path, name: &str) -> Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        let name = format!("{name}{}", entry.file_name().to_string_lossy());
        if kind.is_symlink() {
            archive.link(&name, &fs::read_link(&path)?.to_string_lossy());
        } else if kind.is_dir() {
            archive.folder(&name);
            add(archive, &path, &format!("{name}/"))?;
        } else {
            archive.file(&name, entry.metadata()?.mode() & 0o777, &fs::read(&path)?)?;
        }
    }
    Ok(())
}

/// Unpacks a kernel's package into `tmp`, and puts its modules `names` into `root` as `modules/N-NAME`: N counts in
/// the order of loading.
pub(super) fn modules(kernel: &Package, tmp: &Path, root: &Path, names: &[&str]) -> Result<()> {
    packages::unpack(kernel, tmp)?;
    for (name, bytes) in super::modules(tmp, names)? {
        fs::write(root.join("modules").join(name), bytes)?;
    }
    Ok(())
}
