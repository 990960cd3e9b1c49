// y ← a y.
//
// CPU twin:  dia_core::DataVector::scale of Vec<f32>, compared in dia-vulkan/tests/twins.rs
// Host side: src/vector.rs
// Dispatch:  groups × 1 × 1; an invocation takes every (256 groups)-th element
// Units:     any
#version 450
layout(local_size_x = 256) in;
layout(push_constant) uniform Params {
    uint len;
    float a;
};
layout(set = 0, binding = 0) buffer Y { float y[]; };

void main() {
    for (uint i = gl_GlobalInvocationID.x; i < len; i += 256 * gl_NumWorkGroups.x) y[i] *= a;
}
