//! Debian's packages, by Debian's own tools: `apt-get download` and `dpkg-deb`.
//!
//! Packages of i386, whose names end in `:i386`, come by package lists of their own: what this
//! machine's `apt` knows and installs stays as it is.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A fetched package.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) file: PathBuf,
}

/// The image package that the meta package `meta` stands for now.
pub(super) fn kernel_of(meta: &str) -> Result<String> {
    if let Some(name) = depends_on_image(meta)? {
        return Ok(name);
    }
    update(meta)?;
    depends_on_image(meta)?.with_context(|| format!("Debian's lists know no kernel for {meta}"))
}

/// The first dependency of `meta` that is a kernel image.
fn depends_on_image(meta: &str) -> Result<Option<String>> {
    let out = apt("apt-cache", meta, &["depends", meta], Path::new("."))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let name = |line: &str| {
        let name = line.trim().strip_prefix("Depends: ")?;
        name.starts_with("linux-image-").then(|| name.to_owned())
    };
    Ok(text.lines().find_map(name))
}

/// Downloads `name` into `dir`, if the version that the lists offer is not there yet.
pub(super) fn fetch(name: &str, dir: &Path) -> Result<Package> {
    fs::create_dir_all(dir)?;
    let version = match candidate(name)? {
        Some(version) => version,
        None => {
            update(name)?;
            candidate(name)?.with_context(|| format!("Debian's lists know no package {name}"))?
        }
    };
    let (plain, arch) = name.split_once(':').unwrap_or((name, "amd64"));
    let file = dir.join(format!("{plain}_{}_{arch}.deb", version.replace(':', "%3a")));
    if !file.is_file() {
        download(name, &version, dir, &file)?;
    }
    Ok(Package { name: name.to_owned(), version, file })
}

/// The `version` of the package `name` in `dir`, downloaded if it is not there.
pub(super) fn fetch_version(name: &str, version: &str, dir: &Path) -> Result<Package> {
    let file = dir.join(format!("{name}_{}_amd64.deb", version.replace(':', "%3a")));
    if !file.is_file() {
        fs::create_dir_all(dir)?;
        download(name, version, dir, &file)?;
    }
    Ok(Package { name: name.to_owned(), version: version.to_owned(), file })
}

/// The download goes through a folder of its own, so that a half-fetched file is never taken.
fn download(name: &str, version: &str, dir: &Path, file: &Path) -> Result<()> {
    let tmp = dir.join(format!("tmp.{}", std::process::id()));
    fs::create_dir_all(&tmp)?;
    let out = apt("apt-get", name, &["-q", "download", &format!("{name}={version}")], &tmp)?;
    let deb = fs::read_dir(&tmp)?.filter_map(|e| Some(e.ok()?.path())).next();
    let moved = match deb {
        Some(deb) if out.status.success() => fs::rename(deb, file).map_err(Into::into),
        _ => Err(failed(&format!("apt-get download {name}"), &out)),
    };
    fs::remove_dir_all(&tmp)?;
    moved
}

/// The version that `apt-get` would take.
fn candidate(name: &str) -> Result<Option<String>> {
    let out = apt("apt-cache", name, &["policy", name], Path::new("."))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let found = text.lines().find_map(|l| l.trim().strip_prefix("Candidate: "));
    Ok(found.filter(|v| *v != "(none)").map(str::to_owned))
}

/// Fetches the package lists for `name`, which a fresh machine or container does not have.
fn update(name: &str) -> Result<()> {
    let out = apt("apt-get", name, &["-q", "update"], Path::new("."))?;
    // Some other archive of the machine may have failed: what counts is whether `name` is known now.
    let known = candidate(name)?.is_some();
    if out.status.success() || known { Ok(()) } else { Err(failed("apt-get update", &out)) }
}

/// Runs a program of `apt`, for the architecture of the package `name`.
fn apt(program: &str, name: &str, words: &[&str], dir: &Path) -> Result<Output> {
    if !name.ends_with(":i386") {
        return tool(program, words, dir);
    }
    let own = super::cache().join("apt-i386");
    fs::create_dir_all(own.join("lists/partial"))?;
    fs::create_dir_all(own.join("cache/archives/partial"))?;
    let own = fs::canonicalize(own)?;
    let own = own.display();
    let options = [
        "APT::Architectures::=amd64".into(),
        "APT::Architectures::=i386".into(),
        format!("Dir::State::lists={own}/lists"),
        format!("Dir::Cache={own}/cache"),
    ];
    let options = options.iter().flat_map(|option| ["-o", option]);
    let all: Vec<&str> = options.chain(words.iter().copied()).collect();
    tool(program, &all, dir)
}

/// Unpacks into `dir` what of `package` has a name that begins with `part`.
pub(super) fn unpack_part(package: &Package, part: &str, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    let [file, to] = [package.file.to_string_lossy(), dir.to_string_lossy()];
    let script = "dpkg-deb --fsys-tarfile \"$0\" | tar x -C \"$1\" --wildcards \"./$2*\"";
    let out = tool("sh", &["-c", script, &file, &to, part], Path::new("."))?;
    if out.status.success() { Ok(()) } else { Err(failed("dpkg-deb --fsys-tarfile", &out)) }
}

/// Unpacks into `dir` what of the archive `file` has a name like `pattern`.
pub(super) fn untar_part(file: &Path, pattern: &str, dir: &Path) -> Result<()> {
    let [file, to] = [file.to_string_lossy(), dir.to_string_lossy()];
    let out = tool("tar", &["xf", &file, "-C", &to, "--wildcards", pattern], Path::new("."))?;
    if out.status.success() { Ok(()) } else { Err(failed("tar", &out)) }
}

/// Unpacks `package` into `dir`.
pub(super) fn unpack(package: &Package, dir: &Path) -> Result<()> {
    let [file, to] = [package.file.to_string_lossy(), dir.to_string_lossy()];
    let out = tool("dpkg-deb", &["-x", &file, &to], Path::new("."))?;
    if out.status.success() { Ok(()) } else { Err(failed("dpkg-deb -x", &out)) }
}

/// Runs a program of Debian's in `dir`.
fn tool(program: &str, words: &[&str], dir: &Path) -> Result<Output> {
    let out = Command::new(program).args(words).current_dir(dir).env("LC_ALL", "C").output();
    out.with_context(|| format!("{program} is needed: the guests are Debian's packages"))
}

/// The error of a program that ran and failed: its last line says why.
fn failed(what: &str, out: &Output) -> anyhow::Error {
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let why = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it said nothing");
    match out.status.code() {
        Some(code) => anyhow::anyhow!("{what} failed with status {code}: {why}"),
        None => anyhow::anyhow!("{what} was killed: {why}"),
    }
}
