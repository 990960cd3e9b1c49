// y ← √x, element by element.
//
// CPU twin:  dia_core::DataVector::square_root_of of Vec<f32>, compared in dia-vulkan/tests/twins.rs
// Host side: src/vector.rs
// Dispatch:  groups × 1 × 1; an invocation takes every (256 groups)-th element
// Units:     any
#version 450
layout(local_size_x = 256) in;
layout(push_constant) uniform Params { uint len; };
layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 1, binding = 0) writeonly buffer Y { float y[]; };

void main() {
    for (uint i = gl_GlobalInvocationID.x; i < len; i += 256 * gl_NumWorkGroups.x) y[i] = sqrt(x[i]);
}
