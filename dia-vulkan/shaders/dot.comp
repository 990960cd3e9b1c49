// Partial sums of Σ a b.
//
// CPU twin:  dia_core::DataVector::dot of Vec<f32>, compared in dia-vulkan/tests/twins.rs
// Host side: src/vector.rs; reduce.comp adds the partial sums
// Dispatch:  groups × 1 × 1; a workgroup takes every groups-th 256 elements
// Units:     those of a b; each product is rounded to float
#version 450
#extension GL_GOOGLE_include_directive : require
#include "compensated.glsl"
layout(local_size_x = 256) in;
layout(push_constant) uniform Params {
    uint len;    // elements of a and b
    uint first;  // partial sums of other bands
};
layout(set = 0, binding = 0) readonly buffer A { float a[]; };
layout(set = 1, binding = 0) readonly buffer B { float b[]; };
layout(set = 2, binding = 0) writeonly buffer Partial { vec2 partial[]; };  // one for each workgroup

shared vec2 tree[256];

void main() {
    uint local = gl_LocalInvocationIndex;
    vec2 sum = vec2(0);
    for (uint i = gl_GlobalInvocationID.x; i < len; i += 256 * gl_NumWorkGroups.x) sum = add(sum, a[i] * b[i]);
    tree[local] = sum;
    for (uint half_size = 128; half_size > 0; half_size /= 2) {
        barrier();
        if (local < half_size) tree[local] = add_pairs(tree[local], tree[local + half_size]);
    }
    if (local == 0) partial[first + gl_WorkGroupID.x] = tree[0];
}
