//! A table's addresses in runs without holes.

use std::collections::BTreeMap;

/// Runs of consecutive addresses, in order; what lies between them does not exist.
#[derive(Debug)]
pub(super) struct Blocks<T> {
    blocks: Vec<Block<T>>,
}

#[derive(Debug)]
struct Block<T> {
    start: u16,
    cells: Vec<T>,
}

impl<T> Blocks<T> {
    pub(super) fn new(cells: BTreeMap<u16, T>) -> Self {
        let mut blocks: Vec<Block<T>> = Vec::new();
        for (address, cell) in cells {
            match blocks.last_mut() {
                Some(block) if usize::from(address - block.start) == block.cells.len() => {
                    block.cells.push(cell);
                }
                _ => blocks.push(Block { start: address, cells: vec![cell] }),
            }
        }
        for block in &mut blocks {
            block.cells.shrink_to_fit();
        }
        blocks.shrink_to_fit();
        Self { blocks }
    }

    /// The cells from `start`, if all of them exist.
    pub(super) fn slice(&self, start: u16, count: u16) -> Option<&[T]> {
        let (index, offset) = self.locate(start)?;
        self.blocks.get(index)?.cells.get(offset..offset + usize::from(count))
    }

    /// The same, to be changed.
    pub(super) fn slice_mut(&mut self, start: u16, count: u16) -> Option<&mut [T]> {
        let (index, offset) = self.locate(start)?;
        self.blocks.get_mut(index)?.cells.get_mut(offset..offset + usize::from(count))
    }

    fn locate(&self, start: u16) -> Option<(usize, usize)> {
        let index = self.blocks.partition_point(|block| block.start <= start).checked_sub(1)?;
        let block = self.blocks.get(index)?;
        Some((index, usize::from(start - block.start)))
    }
}
