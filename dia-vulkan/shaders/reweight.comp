// M ← the weight of a pixel, a function of z = (I − M)/σ(M) over σ², or with RESIDUALS M ← w (I − M).
//
// CPU twin:  dia_core::Reweight::reweight of Vec<f32>, compared in dia-vulkan/tests/twins.rs
// Host side: src/vector.rs
// Dispatch:  groups × 1 × 1; an invocation takes every (256 groups)-th element
// Units:     I and M in ADU, variances in ADU², weights in ADU⁻²
#version 450
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint LOSS = 0;  // Gaussian, Huber, Tukey, Cauchy, Student-t
layout(constant_id = 1) const uint KIND = 0;  // ψ(z)/z, ψ′(z), ψ(z)²
layout(constant_id = 2) const bool RESIDUALS = false;
layout(push_constant) uniform Params {
    uint len;
    float c;              // the tuning constant; of Student-t ν
    float photon;         // where it is the same everywhere
    uint has_photon;      // whether `photons` counts
    uint has_reference;   // whether `reference` counts
};
layout(set = 0, binding = 0) readonly buffer Data { float data[]; };            // I
layout(set = 1, binding = 0) readonly buffer Fixed { float fixed_part[]; };     // +∞ where masked
layout(set = 2, binding = 0) readonly buffer Photons { float photons[]; };      // ADU
layout(set = 3, binding = 0) readonly buffer Reference { float reference[]; };  // K² ⊗ σ_R²
layout(set = 4, binding = 0) buffer Model { float model[]; };                   // M, then what is made of it

const uint GAUSSIAN = 0, HUBER = 1, TUKEY = 2, CAUCHY = 3;

// ψ(z)/z
float weight(float z) {
    if (LOSS == GAUSSIAN) return 1.0;
    if (LOSS == HUBER) return c / max(abs(z), c);
    if (LOSS == TUKEY) {
        float u = max(1.0 - z * z / (c * c), 0.0);
        return u * u;
    }
    if (LOSS == CAUCHY) return c * c / (c * c + z * z);
    return (c + 1.0) / (c + z * z);
}

// ψ′(z)
float curvature(float z) {
    if (LOSS == GAUSSIAN) return 1.0;
    if (LOSS == HUBER) return abs(z) <= c ? 1.0 : 0.0;
    if (LOSS == TUKEY) {
        float u2 = z * z / (c * c);
        return max(1.0 - u2, 0.0) * (1.0 - 5.0 * u2);
    }
    float scale = LOSS == CAUCHY ? c * c : c;
    return weight(z) * (1.0 - 2.0 * z * z / (scale + z * z));
}

void main() {
    for (uint i = gl_GlobalInvocationID.x; i < len; i += 256 * gl_NumWorkGroups.x) {
        float m = model[i];
        float variance = fixed_part[i] + (has_photon != 0 ? photons[i] : photon) * max(m, 0.0);
        if (has_reference != 0) variance += reference[i];
        // What is masked has an infinite variance.
        float inverse = variance < 3.0e38 ? 1.0 / variance : 0.0;
        float residual = data[i] - m;
        float z = sqrt(residual * residual * inverse);
        float w = KIND == 0 ? weight(z) : KIND == 1 ? curvature(z) : z * z * weight(z) * weight(z);
        w *= inverse;
        model[i] = RESIDUALS ? w * residual : w;
    }
}
