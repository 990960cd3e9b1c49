// Partial sums of Σ_p v(p) φ_j(p), the adjoint of the background.
//
// CPU twin:  dia_fft::FftDesignMatrix::apply_adjoint, compared in dia-vulkan/tests/twins.rs
// Host side: src/design_matrix.rs; reduce.comp adds the partial sums
// Dispatch:  groups × terms × 1; a workgroup takes every groups-th row
// Units:     those of v
#version 450
#extension GL_GOOGLE_include_directive : require
#include "compensated.glsl"
layout(local_size_x = 256) in;
layout(push_constant) uniform Params {
    uint width;      // valid columns
    uint rows;       // valid rows of the band
    uint first_row;  // of the band, among all valid rows
    uint height;     // valid rows of the image
    uint factors;    // lines of P_i(x)
    uint first;      // partial sums of other bands and of the kernel
    uint sums;       // of one workgroup
};
layout(set = 0, binding = 0) readonly buffer Factors { float factor[]; };   // see convolve.comp
layout(set = 1, binding = 0) readonly buffer Values { float values[]; };    // v, rows × width
layout(set = 2, binding = 0) writeonly buffer Partial { vec2 partial[]; };  // `sums` for each workgroup

shared vec2 tree[256];

void main() {
    uint local = gl_LocalInvocationIndex, t = gl_WorkGroupID.y, total = 0;
    while ((total + 1) * (total + 2) / 2 <= t) total++;
    uint j = t - total * (total + 1) / 2;
    vec2 sum = vec2(0);
    for (uint y = gl_WorkGroupID.x; y < rows; y += gl_NumWorkGroups.x) {
        float of_line = factor[factors * width + j * height + first_row + y];
        for (uint x = local; x < width; x += 256) {
            sum = add(sum, values[y * width + x] * (of_line * factor[(total - j) * width + x]));
        }
    }
    tree[local] = sum;
    for (uint half_size = 128; half_size > 0; half_size /= 2) {
        barrier();
        if (local < half_size) tree[local] = add_pairs(tree[local], tree[local + half_size]);
    }
    if (local == 0) partial[first + gl_WorkGroupID.x * sums + t] = tree[0];
}
