//! `xen_version`: who we say we are.

use super::super::abi::layout::{BuildId, FeatureInfo, PlatformParameters};
use super::super::abi::{Errno, OpResult, nr::version as op};
use super::super::cpuid::VERSION;
use super::{Args, Call};

const EXTRAVERSION: &[u8] = b".7-strata";
/// libxc looks for the guest types it may build.
const CAPABILITIES: &[u8] = b"hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ";
const CHANGESET: &[u8] = b"strata";
/// `XEN_VIRT_START` of a 64-bit Xen, which no HVM guest uses.
const VIRT_START: u64 = 0xFFFF_8000_0000_0000;

impl Call<'_> {
    pub(super) fn xen_version(&mut self, [cmd, arg, ..]: Args) -> OpResult {
        match cmd {
            op::VERSION => Ok(i64::from(VERSION)),
            op::EXTRAVERSION => self.text(arg, EXTRAVERSION, 16),
            op::COMPILE_INFO => self.compile_info(arg),
            op::CAPABILITIES => self.text(arg, CAPABILITIES, 1024),
            op::CHANGESET => self.text(arg, CHANGESET, 64),
            op::PLATFORM_PARAMETERS => {
                self.store(arg, &PlatformParameters { virt_start: VIRT_START }).map(|()| 0)
            }
            op::GET_FEATURES => self.features(arg),
            op::PAGESIZE => Ok(4096),
            op::GUEST_HANDLE => {
                let handle = self.xen.domain(self.c.dom)?.handle;
                self.c.write(self.host, arg, &handle)?;
                Ok(0)
            }
            op::COMMANDLINE => {
                let line = self.xen.commandline.clone();
                self.text(arg, line.as_bytes(), 1024)
            }
            op::BUILD_ID => self.build_id(arg),
            _ => Err(Errno::NoSys),
        }
    }

    /// Writes `text` as a NUL-terminated string into a field of `size` bytes.
    fn text(&mut self, arg: u64, text: &[u8], size: usize) -> OpResult {
        let len = text.len().min(size - 1);
        let mut field = alloc::vec![0; size];
        field[..len].copy_from_slice(&text[..len]);
        self.c.write(self.host, arg, &field)?;
        Ok(0)
    }

    /// Four fields: compiler (64), compiled by (16), domain (32), date (32).
    fn compile_info(&mut self, arg: u64) -> OpResult {
        let mut info = [0; 144];
        for (at, text) in [(0, "rustc"), (64, "strata"), (80, "local"), (112, "reproducible")] {
            info[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        self.c.write(self.host, arg, &info)?;
        Ok(0)
    }

    fn features(&mut self, arg: u64) -> OpResult {
        let mut info: FeatureInfo = self.load(arg)?;
        let dom0 = self.xen.domain(self.c.dom)?.privileged;
        info.submap = match info.submap_idx {
            0 => {
                let common = op::FEATURE_WRITABLE_PAGE_TABLES
                    | op::FEATURE_AUTO_TRANSLATED
                    | op::FEATURE_CALLBACK_VECTOR
                    | op::FEATURE_SAFE_PVCLOCK
                    | op::FEATURE_MEMORY_OP_VNODE
                    | op::FEATURE_NOT_DIRECT_MAPPED;
                common | if dom0 { op::FEATURE_DOM0 } else { 0 }
            }
            _ => return Err(Errno::Inval),
        };
        self.store(arg, &info).map(|()| 0)
    }

    /// The identifier of the build; with a null argument its length.
    fn build_id(&mut self, arg: u64) -> OpResult {
        const ID: [u8; 20] = *b"strata-hypervisor-id";
        if arg == 0 {
            return Ok(ID.len() as i64);
        }
        let asked: BuildId = self.load(arg)?;
        if asked.len == 0 {
            return Err(Errno::Inval);
        }
        if (asked.len as usize) < ID.len() {
            return Err(Errno::NoBufs);
        }
        self.c.write(self.host, arg.wrapping_add(4), &ID)?;
        Ok(ID.len() as i64)
    }
}
