// Sums of twice the precision of float: a value is hi + lo with |lo| ≤ ulp(hi)/2 (Knuth's two-sum; Dekker 1971, Numer. Math. 18, 224).
//
// `precise` forbids the compiler to contract or reorder, which would make the rounding error vanish. No device needs float64 for it.

// s ← s + v
vec2 add(vec2 s, float v) {
    precise float sum = s.x + v;
    precise float back = sum - s.x;
    precise float lost = (s.x - (sum - back)) + (v - back);
    precise float low = s.y + lost;
    precise float hi = sum + low;
    precise float lo = low - (hi - sum);
    return vec2(hi, lo);
}

// a + b
vec2 add_pairs(vec2 a, vec2 b) {
    precise vec2 s = add(a, b.x);
    precise float low = s.y + b.y;
    precise float hi = s.x + low;
    precise float lo = low - (hi - s.x);
    return vec2(hi, lo);
}
