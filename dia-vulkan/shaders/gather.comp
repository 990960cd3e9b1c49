// v[k] ← x[rows[k]].
//
// CPU twin:  dia_core::DesignMatrix::gather of dia_fft, compared in dia-vulkan/tests/twins.rs
// Host side: src/design_matrix.rs
// Dispatch:  groups × 1 × 1; an invocation takes every (256 groups)-th element
// Units:     those of x
#version 450
layout(local_size_x = 256) in;
layout(push_constant) uniform Params {
    uint len;    // of v
    uint begin;  // the rows of the band that x is,
    uint end;    // one past the last
};
layout(set = 0, binding = 0) readonly buffer Rows { uint rows[]; };
layout(set = 1, binding = 0) readonly buffer X { float x[]; };
layout(set = 2, binding = 0) writeonly buffer V { float v[]; };

void main() {
    for (uint i = gl_GlobalInvocationID.x; i < len; i += 256 * gl_NumWorkGroups.x) {
        uint row = rows[i];
        if (row >= begin && row < end) v[i] = x[row - begin];
    }
}
