//! Tables that guests make grow: by a page at a time, and with an error where the hypervisor has no
//! memory left. They never shrink, so a domain holds no more than its limits say.

use super::abi::Errno;
use super::host_services::PAGE_SIZE;
use alloc::vec::Vec;

/// Entries by number. A free one is `T::default()`.
#[derive(Debug, Clone)]
pub struct Table<T> {
    blocks: Vec<Vec<T>>,
    /// Entries below it are in use.
    low: usize,
}

impl<T: Copy + Default + PartialEq> Table<T> {
    /// Entries of a block: as many as fit a page.
    const BLOCK: usize = PAGE_SIZE / size_of::<T>();

    /// A table without entries. [`Table::insert`] never gives the numbers below `first`.
    pub fn new(first: usize) -> Self {
        Self { blocks: Vec::new(), low: first }
    }

    /// How many entries there are, free ones included.
    pub fn len(&self) -> usize {
        self.blocks.len() * Self::BLOCK
    }

    /// True before the table has grown.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The entry `index`.
    pub fn get(&self, index: usize) -> Option<&T> {
        self.blocks.get(index / Self::BLOCK)?.get(index % Self::BLOCK)
    }

    /// The entry `index`, to change. Frees none: that is for [`Table::remove`].
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.blocks.get_mut(index / Self::BLOCK)?.get_mut(index % Self::BLOCK)
    }

    /// The entries that are in use.
    pub fn used(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten().filter(|entry| **entry != T::default())
    }

    /// Makes the table at least `len` entries long; [`Errno::NoMem`] if there is no memory.
    pub fn grow(&mut self, len: usize) -> Result<(), Errno> {
        while self.len() < len {
            let mut block = Vec::new();
            block.try_reserve_exact(Self::BLOCK).map_err(|_| Errno::NoMem)?;
            block.resize(Self::BLOCK, T::default());
            self.blocks.try_reserve(1).map_err(|_| Errno::NoMem)?;
            self.blocks.push(block);
        }
        Ok(())
    }

    /// Puts `value` into the lowest free entry below `limit`; its number. [`Errno::NoSpc`] if all
    /// are in use, [`Errno::NoMem`] if there is no memory for another.
    pub fn insert(&mut self, value: T, limit: usize) -> Result<usize, Errno> {
        let mut index = self.low;
        while self.get(index).is_some_and(|entry| *entry != T::default()) {
            index += 1;
        }
        if index >= limit {
            return Err(Errno::NoSpc);
        }
        self.grow(index + 1)?;
        self.blocks[index / Self::BLOCK][index % Self::BLOCK] = value;
        self.low = index + 1;
        Ok(index)
    }

    /// Frees an entry; what it held.
    pub fn remove(&mut self, index: usize) -> T {
        let old = self.get_mut(index).map(core::mem::take).unwrap_or_default();
        if old != T::default() {
            self.low = self.low.min(index);
        }
        old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_entry_is_taken() {
        let mut table = Table::new(1);
        let limit = 2000;
        for expected in 1..limit {
            assert_eq!(table.insert(Some(7_u32), limit), Ok(expected));
        }
        assert_eq!(table.insert(Some(7), limit), Err(Errno::NoSpc));
        assert_eq!(
            [table.remove(1999), table.remove(3), table.remove(3)],
            [Some(7), Some(7), None]
        );
        assert_eq!([3, 1999].map(|_| table.insert(Some(8), limit)), [Ok(3), Ok(1999)]);
        assert_eq!(table.used().count(), 1999);
        assert_eq!((table.get(0), table.get(1999)), (Some(&None), Some(&Some(8))));
        assert_eq!(table.get(table.len()), None);
        assert_eq!(table.remove(usize::MAX), None);
    }
}
