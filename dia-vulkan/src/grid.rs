//! How the products are cut into workgroups.

/// Most rows and columns of the kernel at a time: the tiles then fit into 32 KiB of shared memory.
const CHUNK: u32 = 28;

/// Pixels of the tile of `convolve.comp`.
const CONVOLVE: [u32; 2] = [64, 32];

/// The constants of `convolve.comp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Convolve {
    chunk_h: u32,
    chunk_w: u32,
}

/// The constants of `correlate.comp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Correlate {
    side: u32,
    chunk_h: u32,
    block: u32,
    blocks: u32,
    slices: u32,
    tile_h: u32,
    tile_w: u32,
}

/// The size of equal chunks.
fn balanced(side: u32, most: u32) -> u32 {
    side.div_ceil(side.div_ceil(most))
}

impl Convolve {
    pub(crate) fn new(side: u32) -> Self {
        let chunk = balanced(side, CHUNK);
        Self { chunk_h: chunk, chunk_w: chunk.next_multiple_of(4) }
    }

    pub(crate) fn constants(self) -> Vec<u32> {
        vec![self.chunk_h, self.chunk_w]
    }

    pub(crate) fn workgroups(width: u32, rows: u32) -> [u32; 3] {
        [width.div_ceil(CONVOLVE[0]), rows.div_ceil(CONVOLVE[1]), 1]
    }
}

impl Correlate {
    pub(crate) fn new(side: u32) -> Self {
        let chunk = balanced(side, CHUNK);
        let blocks = chunk.div_ceil(10);
        let block = chunk.div_ceil(blocks);
        let slices = (256 / (chunk * blocks)).min(24);
        let tile_h = 24 / slices * slices;
        Self { side, chunk_h: chunk, block, blocks, slices, tile_h, tile_w: 60 / block * block }
    }

    pub(crate) fn constants(self) -> Vec<u32> {
        vec![self.chunk_h, self.block, self.blocks, self.slices, self.tile_h, self.tile_w]
    }

    /// Chunks of the kernel.
    pub(crate) fn chunks(self) -> u32 {
        self.side.div_ceil(self.chunk_h) * self.side.div_ceil(self.block * self.blocks)
    }

    /// Workgroups that share the tiles of a band for each of `terms`: enough to fill a large GPU, few enough for small partial sums.
    pub(crate) fn groups(self, width: u32, rows: u32, terms: u32) -> u32 {
        let tiles = width.div_ceil(self.tile_w) * rows.div_ceil(self.tile_h);
        tiles.min((1024 / (terms * self.chunks())).max(64))
    }
}

#[cfg(test)]
mod tests {
    use super::{Convolve, Correlate};

    #[test]
    fn tiles_fit_and_chunks_cover_the_kernel() {
        for side in (1..200).step_by(2) {
            let Convolve { chunk_h, chunk_w } = Convolve::new(side);
            assert!(chunk_w.is_multiple_of(4) && chunk_h <= chunk_w);
            let bytes = 4 * ((31 + chunk_h) * (65 + chunk_w) + chunk_h * chunk_w);
            assert!(bytes <= 32768, "{side}: {bytes}");
            let grid = Correlate::new(side);
            assert!(grid.block * grid.blocks >= grid.chunk_h);
            assert!((1..=256).contains(&(grid.slices * grid.chunk_h * grid.blocks)));
            assert!(
                grid.tile_h.is_multiple_of(grid.slices) && grid.tile_w.is_multiple_of(grid.block)
            );
            let pitch = (grid.tile_w + grid.block * grid.blocks) | 1;
            let tile = ((grid.tile_h + grid.chunk_h - 1) * pitch).max(256 * grid.block);
            assert!(4 * (tile + grid.tile_h * grid.tile_w) <= 32768, "{side}");
        }
    }
}
