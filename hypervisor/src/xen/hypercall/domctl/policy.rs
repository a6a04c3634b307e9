//! Descriptions of the processor: those of the machine and of a domain, by `domctl` and `sysctl`.

use super::super::super::abi::Errno;
use super::super::super::abi::layout::{
    CpuFeatureset, CpuidLeaf, DomainCpuPolicy, Layout, SystemCpuPolicy,
};
use super::super::super::abi::nr::ctl as op;
use super::super::super::cpu_policy::{BadLeaf, CpuPolicy, FEATURE_WORDS, MAX_LEAVES, MAX_MSRS};
use super::super::super::host_services::DomId;
use super::super::Call;
use alloc::vec::Vec;

impl Call<'_> {
    /// Writes a description where the tools want it; how many leaves there are, or may be.
    fn store_policy(&mut self, policy: &CpuPolicy, to: u64, room: u32) -> Result<u32, Errno> {
        if to == 0 {
            return Ok(MAX_LEAVES);
        }
        let leaves = policy.leaves();
        if leaves.len() > room as usize {
            return Err(Errno::NoBufs);
        }
        let mut raw = alloc::vec![0; leaves.len() * CpuidLeaf::MAX];
        for (leaf, place) in leaves.iter().zip(raw.chunks_exact_mut(CpuidLeaf::MAX)) {
            leaf.encode(self.c.width, place);
        }
        self.c.write(self.host, to, &raw)?;
        Ok(leaves.len() as u32)
    }

    /// The description of a domain's processor.
    fn policy_of(&self, dom: DomId) -> Result<CpuPolicy, Errno> {
        let own = self.xen.domain(dom)?.toolstack.policy.clone();
        Ok(own.unwrap_or_else(|| self.xen.guest_processor()))
    }

    pub(super) fn get_cpu_policy(&mut self, dom: DomId, at: u64) -> Result<(), Errno> {
        let mut arg: DomainCpuPolicy = self.load(at)?;
        let policy = self.policy_of(dom)?;
        arg.nr_leaves = self.store_policy(&policy, arg.leaves, arg.nr_leaves)?;
        arg.nr_msrs = if arg.msrs == 0 { MAX_MSRS } else { 0 };
        self.store(at, &arg)
    }

    pub(super) fn set_cpu_policy(&mut self, dom: DomId, at: u64) -> Result<(), Errno> {
        let mut arg: DomainCpuPolicy = self.load(at)?;
        let dom = self.other(dom)?;
        if self.xen.domain(dom)?.toolstack.started {
            return Err(Errno::Exist);
        }
        (arg.err_leaf, arg.err_subleaf, arg.err_msr) = (u32::MAX, u32::MAX, u32::MAX);
        let result = self.replace_policy(dom, &arg);
        if let Err((_, Some(BadLeaf { leaf, subleaf }))) = result {
            (arg.err_leaf, arg.err_subleaf) = (leaf, subleaf);
        }
        let Err((error, _)) = result else { return Ok(()) };
        self.store(at, &arg)?;
        Err(error)
    }

    fn replace_policy(
        &mut self,
        dom: DomId,
        arg: &DomainCpuPolicy,
    ) -> Result<(), (Errno, Option<BadLeaf>)> {
        // No MSR of a description is virtualised.
        if arg.nr_leaves > MAX_LEAVES || arg.nr_msrs > MAX_MSRS {
            return Err((Errno::TooBig, None));
        }
        let len = arg.nr_leaves as usize * CpuidLeaf::MAX;
        let raw = self.c.bytes(self.host, arg.leaves, len).map_err(|_| (Errno::Fault, None))?;
        let leaves: Vec<CpuidLeaf> = raw
            .chunks_exact(CpuidLeaf::MAX)
            .map(|raw| CpuidLeaf::decode(self.c.width, raw))
            .collect();
        let mut policy = self.policy_of(dom).map_err(|error| (error, None))?;
        policy.merge(&leaves).map_err(|bad| (Errno::Range, Some(bad)))?;
        policy.within(&self.xen.guest_processor()).map_err(|bad| (Errno::Inval, Some(bad)))?;
        self.xen.domain_mut(dom).map_err(|error| (error, None))?.toolstack.policy = Some(policy);
        Ok(())
    }

    /// `sysctl get_cpu_featureset`. PV domains do not exist.
    pub(in super::super) fn featureset(&mut self, at: u64) -> Result<(), Errno> {
        let mut arg: CpuFeatureset = self.load(at)?;
        if arg.features == 0 {
            arg.nr_features = FEATURE_WORDS as u32;
            return self.store(at, &arg);
        }
        let policy = match arg.index {
            op::FEATURESET_PV | op::FEATURESET_PV_MAX => return Err(Errno::OpNotSupp),
            op::POLICY_RAW | op::POLICY_HOST => self.xen.processor.clone(),
            2..op::FEATURESETS => self.xen.guest_processor(),
            _ => return Err(Errno::Inval),
        };
        let words = policy.features();
        let count = words.len().min(arg.nr_features as usize);
        let raw: Vec<u8> = words[..count].iter().flat_map(|word| word.to_le_bytes()).collect();
        self.c.write(self.host, arg.features, &raw)?;
        let cut = words.len() > arg.nr_features as usize;
        arg.nr_features = count as u32;
        self.store(at, &arg)?;
        if cut { Err(Errno::NoBufs) } else { Ok(()) }
    }

    /// `sysctl get_cpu_policy`.
    pub(in super::super) fn system_policy(&mut self, at: u64) -> Result<(), Errno> {
        let mut arg: SystemCpuPolicy = self.load(at)?;
        let policy = match arg.index {
            op::POLICY_PV_MAX | op::POLICY_PV_DEFAULT => return Err(Errno::OpNotSupp),
            op::POLICY_RAW | op::POLICY_HOST => self.xen.processor.clone(),
            2..op::FEATURESETS => self.xen.guest_processor(),
            _ => return Err(Errno::Inval),
        };
        arg.nr_leaves = self.store_policy(&policy, arg.leaves, arg.nr_leaves)?;
        arg.nr_msrs = if arg.msrs == 0 { MAX_MSRS } else { 0 };
        self.store(at, &arg)
    }
}
