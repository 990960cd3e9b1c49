// M ← Σ_t T_t (R ⊗ K_t) + Σ_j b_j φ_j at the valid pixels of one band.
//
// CPU twin:  dia_fft::FftDesignMatrix::apply, compared in dia-vulkan/tests/twins.rs
// Host side: src/design_matrix.rs; the tile is that of src/grid.rs
// Dispatch:  ceil(width / 64) × ceil(rows / 32) × 1. A workgroup makes a tile of 64 × 32 pixels, an invocation eight neighbours of a row,
//            from a tile of R in shared memory that a window of twelve registers slides over. Kernels wider than a chunk are cut.
// Units:     R and b in ADU, K in ADU of the target per ADU of the reference, T and φ dimensionless
#version 450
#extension GL_EXT_control_flow_attributes : require
// x: rows of the tile, so that neighbours read from different banks of the shared memory; y: columns, by eights.
layout(local_size_x = 32, local_size_y = 8) in;
layout(constant_id = 0) const uint CHUNK_H = 1;  // kernel rows at a time
layout(constant_id = 1) const uint CHUNK_W = 4;  // kernel columns at a time, a multiple of 4
const uint TILE_W = 64, TILE_H = 32;
const uint PITCH = TILE_W + CHUNK_W + 1;  // odd
layout(push_constant) uniform Params {
    uint width;              // valid columns
    uint rows;               // valid rows of the band
    uint pitch;              // columns of R
    uint side;               // 2h + 1
    uint first_row;          // of the band, among all valid rows
    uint height;             // valid rows of the image
    uint degree;             // of T
    uint background_degree;  // of φ, or ~0
    uint factors;            // lines of P_i(x)
};
layout(set = 0, binding = 0) readonly buffer Reference { float reference[]; };    // rows + 2h lines of `pitch`
layout(set = 1, binding = 0) readonly buffer Factors { float factor[]; };         // P_i(x), `factors` × width; P_j(y), `factors` × height
layout(set = 2, binding = 0) readonly buffer Parameters { float parameter[]; };   // K_t, side² each; b
layout(set = 3, binding = 0) writeonly buffer Model { float model[]; };           // rows × width

shared float tile[(TILE_H + CHUNK_H - 1) * PITCH];
shared vec4 kernel[CHUNK_H * CHUNK_W / 4];

void main() {
    uint lane = gl_LocalInvocationID.x, group = gl_LocalInvocationID.y;
    uint x0 = gl_WorkGroupID.x * TILE_W, y0 = gl_WorkGroupID.y * TILE_H;
    uint x = x0 + 8 * group, y = y0 + lane, line = min(first_row + y, height - 1);
    uint of_y = factors * width + line;
    float sum[8] = float[8](0, 0, 0, 0, 0, 0, 0, 0);
    for (uint cy = 0; cy < side; cy += CHUNK_H) {
        for (uint cx = 0; cx < side; cx += CHUNK_W) {
            uint tile_rows = TILE_H + CHUNK_H - 1;
            barrier();
            for (uint i = gl_LocalInvocationIndex; i < tile_rows * PITCH; i += 256) {
                uint ry = y0 + cy + i / PITCH, rx = x0 + cx + i % PITCH;
                bool inside = ry < rows + side - 1 && rx < pitch;
                tile[i] = inside ? reference[ry * pitch + rx] : 0.0;
            }
            uint t = 0;
            for (uint total = 0; total <= degree; total++) {
                for (uint j = 0; j <= total; j++) {
                    barrier();
                    // The kernel backwards, so that R is read forwards; zero where the chunk is wider than the kernel.
                    for (uint i = gl_LocalInvocationIndex; i < CHUNK_H * CHUNK_W; i += 256) {
                        uint a = cy + i / CHUNK_W, b = cx + i % CHUNK_W;
                        bool inside = a < side && b < side;
                        float k = inside ? parameter[(t + 1) * side * side - 1 - (a * side + b)] : 0.0;
                        kernel[i / 4][i % 4] = k;
                    }
                    barrier();
                    float acc[8] = float[8](0, 0, 0, 0, 0, 0, 0, 0);
                    for (uint a = 0; a < min(CHUNK_H, side - cy); a++) {
                        uint base = (lane + a) * PITCH + 8 * group;
                        float w[12];
                        [[unroll]] for (uint i = 0; i < 8; i++) w[i] = tile[base + i];
                        [[unroll]] for (uint b = 0; b < CHUNK_W; b += 4) {
                            vec4 k = kernel[(a * CHUNK_W + b) / 4];
                            [[unroll]] for (uint i = 0; i < 4; i++) w[8 + i] = tile[base + b + 8 + i];
                            [[unroll]] for (uint i = 0; i < 8; i++) {
                                acc[i] += k.x * w[i] + k.y * w[i + 1] + k.z * w[i + 2] + k.w * w[i + 3];
                            }
                            [[unroll]] for (uint i = 0; i < 8; i++) w[i] = w[i + 4];
                        }
                    }
                    float of_line = factor[of_y + j * height];
                    [[unroll]] for (uint i = 0; i < 8; i++) {
                        float of_column = factor[(total - j) * width + min(x + i, width - 1)];
                        sum[i] += of_line * of_column * acc[i];
                    }
                    t++;
                }
            }
        }
    }
    if (y >= rows) return;
    uint k = (degree + 1) * (degree + 2) / 2 * side * side;
    if (background_degree != ~0u) {
        for (uint total = 0; total <= background_degree; total++) {
            for (uint j = 0; j <= total; j++) {
                float b = parameter[k++] * factor[of_y + j * height];
                [[unroll]] for (uint i = 0; i < 8; i++) {
                    sum[i] += b * factor[(total - j) * width + min(x + i, width - 1)];
                }
            }
        }
    }
    [[unroll]] for (uint i = 0; i < 8; i++) {
        if (x + i < width) model[y * width + x + i] = sum[i];
    }
}
