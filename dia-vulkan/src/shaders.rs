//! The shaders of `shaders/`, as committed words.

/// A compiled shader and what it binds.
#[derive(Debug)]
pub(crate) struct Shader {
    pub(crate) name: &'static str,
    pub(crate) spirv: &'static [u8],
    /// Buffers: one descriptor set each.
    pub(crate) buffers: usize,
    /// Push constants, in words.
    pub(crate) words: usize,
}

macro_rules! shaders {
    ($($constant:ident = $name:literal, $buffers:literal, $words:literal;)*) => {
        $(pub(crate) const $constant: Shader = Shader {
            name: $name,
            spirv: include_bytes!(concat!("../shaders/", $name, ".spv")),
            buffers: $buffers,
            words: $words,
        };)*
    };
}

shaders! {
    AXPBY = "axpby", 2, 3;
    CONVOLVE = "convolve", 4, 9;
    CORRELATE = "correlate", 4, 9;
    DOT = "dot", 3, 2;
    GATHER = "gather", 3, 3;
    MOMENTS = "moments", 3, 7;
    MULTIPLY = "multiply", 2, 1;
    REDUCE = "reduce", 2, 2;
    REWEIGHT = "reweight", 5, 5;
    SCALE = "scale", 1, 2;
    SQUARE_ROOT = "square_root", 2, 1;
}

/// The most buffers that a shader binds.
pub(crate) const MOST_BUFFERS: usize = 5;
