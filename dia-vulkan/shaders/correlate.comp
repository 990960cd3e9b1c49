// Partial sums of G_t(u) = Σ_p T_t(p) v(p) R(p − u), the adjoint of the convolution, over the tiles of each workgroup.
//
// CPU twin:  dia_fft::FftDesignMatrix::apply_adjoint, compared in dia-vulkan/tests/twins.rs
// Host side: src/design_matrix.rs; tiles and slices are those of src/grid.rs; reduce.comp adds the partial sums
// Dispatch:  groups × terms × chunks of the kernel. An invocation owns BLOCK neighbouring kernel pixels and one of `SLICES` parts of the
//            tile's rows: for BLOCK pixels of v and BLOCK new ones of R it makes BLOCK² products in registers. The products of one tile
//            are added in float, those of tiles and slices in twice its precision, in a fixed order.
// Units:     R in ADU, v in any unit
#version 450
#extension GL_EXT_control_flow_attributes : require
#extension GL_GOOGLE_include_directive : require
#include "compensated.glsl"
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint CHUNK_H = 1;   // kernel rows of a chunk
layout(constant_id = 1) const uint BLOCK = 1;     // kernel columns of an invocation
layout(constant_id = 2) const uint BLOCKS = 1;    // of a row of the chunk
layout(constant_id = 3) const uint SLICES = 1;    // SLICES CHUNK_H BLOCKS ≤ 256
layout(constant_id = 4) const uint TILE_H = 1;    // a multiple of SLICES
layout(constant_id = 5) const uint TILE_W = 1;    // a multiple of BLOCK
const uint PITCH = (TILE_W + BLOCK * BLOCKS) | 1;
layout(push_constant) uniform Params {
    uint width;      // valid columns
    uint rows;       // valid rows of the band
    uint pitch;      // columns of R
    uint side;       // 2h + 1
    uint first_row;  // of the band, among all valid rows
    uint height;     // valid rows of the image
    uint factors;    // lines of P_i(x)
    uint first;      // partial sums of other bands
    uint sums;       // of one workgroup
};
layout(set = 0, binding = 0) readonly buffer Reference { float reference[]; };  // rows + 2h lines of `pitch`
layout(set = 1, binding = 0) readonly buffer Factors { float factor[]; };       // see convolve.comp
layout(set = 2, binding = 0) readonly buffer Values { float values[]; };        // v, rows × width
layout(set = 3, binding = 0) writeonly buffer Partial { vec2 partial[]; };      // G_t(u), `sums` for each workgroup

const uint TILE = (TILE_H + CHUNK_H - 1) * PITCH;
const uint SCRATCH = 256 * BLOCK;
shared float tile[TILE > SCRATCH ? TILE : SCRATCH];
shared float v[TILE_H * TILE_W];

void main() {
    uint local = gl_LocalInvocationIndex, units = CHUNK_H * BLOCKS;
    uint unit = local % units, slice = local / units;
    uint a = unit % CHUNK_H, b = unit / CHUNK_H * BLOCK;
    uint chunks_x = (side + BLOCK * BLOCKS - 1) / (BLOCK * BLOCKS);
    uint cy = gl_WorkGroupID.z / chunks_x * CHUNK_H, cx = gl_WorkGroupID.z % chunks_x * (BLOCK * BLOCKS);
    // Term t has powers (total − j, j).
    uint t = gl_WorkGroupID.y, total = 0;
    while ((total + 1) * (total + 2) / 2 <= t) total++;
    uint j = t - total * (total + 1) / 2;
    uint tiles_x = (width + TILE_W - 1) / TILE_W, tiles_y = (rows + TILE_H - 1) / TILE_H;

    vec2 sum[BLOCK];
    [[unroll]] for (uint k = 0; k < BLOCK; k++) sum[k] = vec2(0);
    for (uint index = gl_WorkGroupID.x; index < tiles_x * tiles_y; index += gl_NumWorkGroups.x) {
        uint x0 = index % tiles_x * TILE_W, y0 = index / tiles_x * TILE_H;
        barrier();
        for (uint i = local; i < TILE; i += 256) {
            uint ry = y0 + cy + i / PITCH, rx = x0 + cx + i % PITCH;
            bool inside = ry < rows + side - 1 && rx < pitch;
            tile[i] = inside ? reference[ry * pitch + rx] : 0.0;
        }
        for (uint i = local; i < TILE_H * TILE_W; i += 256) {
            uint y = y0 + i / TILE_W, x = x0 + i % TILE_W;
            float value = 0.0;
            if (y < rows && x < width) {
                float t_x = factor[(total - j) * width + x], t_y = factor[factors * width + j * height + first_row + y];
                value = values[y * width + x] * (t_x * t_y);
            }
            v[i] = value;
        }
        barrier();
        if (slice >= SLICES) continue;
        float acc[BLOCK];
        [[unroll]] for (uint k = 0; k < BLOCK; k++) acc[k] = 0.0;
        for (uint y = slice; y < TILE_H; y += SLICES) {
            uint base = (y + a) * PITCH + b;
            float w[2 * BLOCK];
            [[unroll]] for (uint k = 0; k < BLOCK; k++) w[k] = tile[base + k];
            for (uint x = 0; x < TILE_W; x += BLOCK) {
                [[unroll]] for (uint k = 0; k < BLOCK; k++) w[BLOCK + k] = tile[base + x + BLOCK + k];
                [[unroll]] for (uint i = 0; i < BLOCK; i++) {
                    float value = v[y * TILE_W + x + i];
                    [[unroll]] for (uint k = 0; k < BLOCK; k++) acc[k] += value * w[i + k];
                }
                [[unroll]] for (uint k = 0; k < BLOCK; k++) w[k] = w[k + BLOCK];
            }
        }
        [[unroll]] for (uint k = 0; k < BLOCK; k++) sum[k] = add(sum[k], acc[k]);
    }
    // Over the slices: first the high parts, then the low ones, through the memory of the tile.
    vec2 whole[BLOCK];
    [[unroll]] for (uint k = 0; k < BLOCK; k++) whole[k] = vec2(0);
    [[unroll]] for (uint part = 0; part < 2; part++) {
        barrier();
        [[unroll]] for (uint k = 0; k < BLOCK; k++) tile[k * 256 + local] = sum[k][part];
        barrier();
        if (slice == 0) {
            for (uint s = 0; s < SLICES; s++) {
                [[unroll]] for (uint k = 0; k < BLOCK; k++) whole[k] = add(whole[k], tile[k * 256 + s * units + unit]);
            }
        }
    }
    if (slice != 0 || cy + a >= side) return;
    [[unroll]] for (uint k = 0; k < BLOCK; k++) {
        uint column = cx + b + k;
        // The kernel runs backwards where R runs forwards.
        uint place = (t + 1) * side * side - 1 - ((cy + a) * side + column);
        if (column < side) partial[first + gl_WorkGroupID.x * sums + place] = whole[k];
    }
}
