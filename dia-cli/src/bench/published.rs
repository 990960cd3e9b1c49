//! What Hitchcock et al. (2021, MNRAS 504, 3561) measured: the printed output of `Tests/Section 3.3 - Simulation Results Analysis.ipynb`
//! (github.com/jah1994/PyTorchDIA, blob aacd0f10), of 80 770 pairs.
//!
//! All 142² pixels were fitted, the reference padded with zeros. "B08" is the direct solution of Bramich (2008, MNRAS 386, L77) in double precision, with
//! three rounds of noise reweighting; PyTorchDIA minimises the Gaussian likelihood in single precision. Medians, but for MPB and MPV, which are mean and
//! variance after clipping. The MSE is the mean D²: their noiseless image is overwritten when noise is added to it.

use serde::Serialize;

/// One line of the table.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Published {
    pub(crate) method: &'static str,
    pub(crate) photometric_scale: f64,
    pub(crate) mean_d2: f64,
    pub(crate) mfb: f64,
    pub(crate) mfv: f64,
    pub(crate) mpb: f64,
    pub(crate) mpv: f64,
}

/// P, mean D², MFB, MFV, MPB, MPV of B08 and of PyTorchDIA, in the order of [`Cell::all`](super::hitchcock2021::Cell::all).
const TABLE: [[[f64; 6]; 2]; 12] = [
    [
        [1.0014, 531.38, -0.0001, 0.9858, -0.044, 1.140],
        [1.0001, 531.39, 0.0002, 0.9859, -0.053, 1.151],
    ],
    [
        [0.9948, 538.51, -0.0002, 0.9913, 0.711, 0.995],
        [0.9941, 538.50, -0.0001, 0.9913, 0.685, 0.997],
    ],
    [
        [1.0023, 544.63, -0.0001, 0.9869, -0.190, 1.289],
        [0.9977, 544.63, 0.0001, 0.9870, -0.207, 1.327],
    ],
    [
        [0.9940, 555.38, -0.0004, 0.9983, 0.654, 1.553],
        [0.9891, 555.35, -0.0004, 0.9984, 0.607, 1.665],
    ],
    [
        [1.0024, 555.08, -0.0002, 0.9913, -1.119, 2.080],
        [1.0019, 555.09, 0.0000, 0.9914, -1.146, 2.138],
    ],
    [
        [0.9999, 552.20, -0.0003, 0.9962, -0.247, 1.193],
        [0.9993, 552.75, -0.0003, 0.9963, -0.275, 1.220],
    ],
    [
        [1.0045, 557.72, -0.0002, 0.9965, -1.500, 2.973],
        [1.0031, 557.73, -0.0002, 0.9966, -1.572, 3.216],
    ],
    [
        [1.0011, 575.89, -0.0005, 1.0062, -0.642, 2.185],
        [0.9994, 577.44, -0.0005, 1.0069, -0.685, 2.247],
    ],
    [
        [0.9966, 650.79, -0.0005, 1.0241, -2.910, 4.858],
        [0.9958, 651.60, -0.0020, 1.0243, -3.001, 5.288],
    ],
    [
        [0.9989, 620.22, -0.0005, 1.0124, -1.064, 1.679],
        [0.9976, 623.70, -0.0019, 1.0133, -1.109, 1.775],
    ],
    [
        [1.0003, 727.28, -0.0012, 1.0724, -3.820, 7.607],
        [1.0000, 728.99, -0.0028, 1.0728, -4.089, 8.882],
    ],
    [
        [1.0012, 805.24, -0.0011, 1.0596, -1.972, 3.373],
        [1.0006, 812.55, -0.0037, 1.0627, -2.191, 4.163],
    ],
];

/// Both lines of regime `cell` of [`Cell::all`](super::hitchcock2021::Cell::all).
pub(crate) fn published(cell: usize) -> [Published; 2] {
    let line = |method, [photometric_scale, mean_d2, mfb, mfv, mpb, mpv]: [f64; 6]| Published {
        method,
        photometric_scale,
        mean_d2,
        mfb,
        mfv,
        mpb,
        mpv,
    };
    let [b08, pytorch] = TABLE[cell];
    [line("B08, published", b08), line("PyTorchDIA, published", pytorch)]
}
