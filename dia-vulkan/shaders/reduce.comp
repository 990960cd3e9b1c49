// sum[n] ← Σ_g partial[g][n], in a fixed order.
//
// CPU twin:  the sum in f64, compared in dia-vulkan/tests/twins.rs through dot.comp and correlate.comp
// Host side: src/vector.rs and src/design_matrix.rs
// Dispatch:  ceil(sums / 32) × 1 × 1; eight invocations share a sum
// Units:     those of the partial sums, as hi + lo
#version 450
#extension GL_GOOGLE_include_directive : require
#include "compensated.glsl"
layout(local_size_x = 32, local_size_y = 8) in;
layout(push_constant) uniform Params {
    uint groups;
    uint sums;
};
layout(set = 0, binding = 0) readonly buffer Partial { vec2 partial[]; };  // groups × sums
layout(set = 1, binding = 0) writeonly buffer Sum { vec2 sum[]; };         // sums

shared vec2 tree[256];

void main() {
    uint local = gl_LocalInvocationIndex, n = gl_GlobalInvocationID.x;
    vec2 mine = vec2(0);
    if (n < sums) {
        for (uint g = gl_LocalInvocationID.y; g < groups; g += 8) mine = add_pairs(mine, partial[g * sums + n]);
    }
    tree[local] = mine;
    for (uint half_size = 128; half_size >= 32; half_size /= 2) {
        barrier();
        if (local < half_size) tree[local] = add_pairs(tree[local], tree[local + half_size]);
    }
    if (local < 32 && n < sums) sum[n] = tree[local];
}
