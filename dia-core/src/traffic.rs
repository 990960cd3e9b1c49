//! What a back end with memory of its own has exchanged with it.

/// Counts since the back end was started; all zero where data vectors live in host memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Traffic {
    /// Bytes from the host to the device.
    pub bytes_in: u64,
    /// Bytes from the device to the host.
    pub bytes_out: u64,
    /// Shaders that were run.
    pub dispatches: u64,
    /// Command buffers that the host submitted and waited for.
    pub submits: u64,
}

impl Traffic {
    /// What has been added since an `earlier` count.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            bytes_in: self.bytes_in - earlier.bytes_in,
            bytes_out: self.bytes_out - earlier.bytes_out,
            dispatches: self.dispatches - earlier.dispatches,
            submits: self.submits - earlier.submits,
        }
    }
}
