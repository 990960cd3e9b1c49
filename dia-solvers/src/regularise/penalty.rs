//! What is added to the normal matrix: the regularisation of the kernel, less the bias that the reference's noise leaves.
//!
//! The reference is R = R₀ + noise, so that the expectation of AᵀWA is A₀ᵀWA₀ plus a diagonal ν(u) = Σ_p w(p) σ_R²(p − u): a ridge that nobody asked
//! for, which shrinks the kernel and all fluxes with it (errors in variables; Fuller 1987, *Measurement Error Models*). It is Vᵀw with the
//! operator V that carries σ_R² into the model, one small correlation, and is subtracted. For a kernel that varies, the blocks are
//! ν_st(u) = Σ_p w(p) T_s(p) T_t(p) σ_R²(p − u), which Vᵀw holds as well, because T_s T_t is a sum of the polynomials of V.
//!
//! The regularisation is λ ν̄ Σ_u g(u) (L K)(u)², the roughness of the kernel (compare Becker et al. 2012, MNRAS 425, 1341). L is the
//! Laplacian of the kernel's grid, in which pixels beyond the support do not take part. Kernels are peaked in the middle and smooth far out, hence
//! g = (1 + |u|²/r²)³: the core is nearly free, and the wings, most of the pixels, cost few degrees of freedom. So a
//! wide kernel, which loses no flux at its edge, costs hardly more noise than a narrow one. ν̄, the mean of ν, makes λ a pure number.
//!
//! One kernel is free of it at any size: the Gaussian that fits best, see [`crate::regularise::seeing_kernel`]. Regularisation draws towards it and not towards zero, which would
//! draw at the photometric scale. With b = B k/√(kᵀBk), B − b bᵀ vanishes on that kernel k.
//!
//! Of the wings, those functions of the basis that are rings, more is known: see [`crate::regularise::wings`].
//!
//! A kernel that varies is little more than its mean over the stars, and what it differs by is weaker and as noisy: that has a λ and an r of its own. With
//! C_st the mean of T_s T_t, half over the energy of the stars and half over the pixels, and C = L_C L_Cᵀ, the kernels K′_r = Σ_t (L_C)_tr K_t belong
//! to polynomials that are orthonormal in this mean. K′_0 is the mean kernel, the others are deviations. Without the stars' half, polynomials would
//! not be orthogonal where the kernel is measured; without that of the pixels, a kernel far from all stars would be free, but for −ν:
//!
//! > Q = L_C diag(Q₀, Q₁, …, Q₁) L_Cᵀ − ν, Q_i = λ_i ν̄ Lᵀ diag(g_i) L.
//!
//! For a deviation, ν is in the mean ν₁ = Σ_{r>0} (L_C⁻¹ ν L_C⁻ᵀ)_rr / (number of deviations).
//!
//! Where the noise is less than is said of it, H − ν is not positive definite and no minimum exists; then a part of ν only is subtracted (Fuller 1987, section 2.5).

use std::sync::Arc;

use dia_core::{Design, Kernel, KernelBasis, KernelSupport};
use faer::Mat;

use crate::linear::augmented::PenaltyRows;
use crate::linear::cg::{axpy, dot};
use crate::precondition::basis_rows::BasisRows;
use crate::regularise::lambda::product;
use crate::regularise::laplacian::laplacian;
use crate::regularise::seeing_shape::SeeingShape;
use crate::regularise::wings::Wings;
use crate::{Cholesky, Preconditioner, SolveError};

/// Q over the terms of the kernel's variation.
#[derive(Clone, Debug)]
pub(crate) struct Penalty {
    design: Design,
    maps: Arc<PenaltyMaps>,
    /// ν_st(u) over the (2h + 1)² pixels, for s ≤ t.
    noise: Vec<Vec<f64>>,
    /// ν̄, the unit of λ.
    unit: f64,
    /// What the mean kernel may be without any penalty, if that is known.
    free: Option<Arc<FreeKernel>>,
    /// What takes the free kernel and its changes out of B = ν̄ Lᵀ diag(g₀) L, over the kernel's pixels.
    freed: Vec<Freed>,
    /// About P.
    scale: f64,
    /// ν of the mean kernel, ν₀₀, and ν₁.
    noises: [Vec<f64>; 2],
    /// L_C over the terms or more.
    terms: Cholesky,
    /// The share of the noise's bias that is taken out.
    share: f64,
    strengths: Strengths,
    /// g(u) of both.
    tapers: [Vec<f64>; 2],
    wings: Wings,
}

/// The bias that the reference's noise leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bias<'a> {
    /// Vᵀw, w the curvature of the loss over σ²; zero where the reference's variance is not known.
    pub(crate) moments: &'a [f64],
    /// The share of it that is taken out.
    pub(crate) share: f64,
    /// The unit of λ where there is no noise.
    pub(crate) otherwise: f64,
    /// About P.
    pub(crate) scale: f64,
}

/// An image by its coefficients and by its pixels.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) coefficients: Vec<f64>,
    pub(crate) pixels: Vec<f64>,
    /// How much of it a kernel of unit sum is known to have, with its σ; that is infinite if it is not known.
    pub(crate) known: [f64; 2],
}

/// A kernel that costs nothing at any size.
#[derive(Clone, Debug)]
pub(crate) struct FreeKernel {
    /// The kernel, of unit sum, and its changes with centre, widths and 1/β, which cost what is known of these.
    pub(crate) members: Vec<Member>,
    /// J⁻¹ c within the kernels of the same family and the background, for the functional c that is the photometric scale, and J as far as a sample knows it.
    pub(crate) direction: Vec<f64>,
    /// The kernel that this is nearest to.
    pub(crate) shape: SeeingShape,
}

/// What depends on the basis alone.
#[derive(Clone, Debug)]
pub(crate) struct PenaltyMaps {
    /// E.
    kernel: BasisRows,
    /// L E.
    roughness: BasisRows,
}

impl PenaltyMaps {
    pub(crate) fn new(basis: &KernelBasis) -> Self {
        Self {
            kernel: BasisRows::new(basis, <[f64]>::to_vec),
            roughness: BasisRows::new(basis, |k| laplacian(basis.support(), k)),
        }
    }
}

/// That of the mean kernel, and that of the deviations from it.
pub(crate) type Strengths = [Strength; 2];

/// How rough a kernel may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Strength {
    /// λ.
    pub(crate) lambda: f64,
    /// r in pixels, the radius of the core.
    pub(crate) radius: f64,
}

impl Penalty {
    /// From Vᵀw, see [`Design::of_variance`]; and the factor of C over the terms or more.
    pub(crate) fn new(
        design: &Design,
        maps: Arc<PenaltyMaps>,
        bias: Bias<'_>,
        terms: Cholesky,
        strengths: Strengths,
    ) -> Self {
        let Bias { moments, share, otherwise, scale } = bias;
        let pixels = design.basis().support().side().pow(2);
        let known = (2 * design.inner_half_width() + 1).pow(2);
        let count = design.variation().len();
        let mut noise = Vec::with_capacity(count * (count + 1) / 2);
        for t in 0..count {
            for s in 0..=t {
                let mut sum = vec![0.0; known];
                for (term, factor) in design.variation().product(s, t) {
                    axpy(factor, &moments[term * known..(term + 1) * known], &mut sum);
                }
                noise.push(continued(design, sum));
            }
        }
        let mean = noise[0].iter().sum::<f64>() / pixels as f64;
        let unit = if mean > 0.0 { mean } else { otherwise };
        let mut noises = [noise[0].clone(), vec![0.0; pixels]];
        let inverse = inverse_columns(&terms, count);
        for (t, a) in inverse.iter().enumerate() {
            for (s, b) in inverse.iter().enumerate() {
                let (low, high) = (s.min(t), s.max(t));
                let share = dot(&a[1..], &b[1..]) / (count - 1).max(1) as f64;
                axpy(share, &noise[high * (high + 1) / 2 + low], &mut noises[1]);
            }
        }
        let tapers = tapers(design, strengths);
        let is_regularised = strengths[0].lambda > 0.0;
        let basis = design.basis();
        let wings = if is_regularised { Wings::new(basis, scale) } else { Wings::none(basis) };
        Self {
            design: design.clone(),
            maps,
            noise,
            unit,
            free: None,
            freed: Vec::new(),
            scale,
            noises,
            terms,
            share,
            strengths,
            tapers,
            wings,
        }
    }

    /// L_C.
    pub(crate) fn terms(&self) -> &Cholesky {
        &self.terms
    }

    /// λ and r.
    pub(crate) fn strengths(&self) -> Strengths {
        self.strengths
    }

    pub(crate) fn set_strengths(&mut self, strengths: Strengths) {
        self.tapers = tapers(&self.design, strengths);
        self.strengths = strengths;
        self.take_out();
    }

    pub(crate) fn set_share(&mut self, share: f64) {
        self.share = share;
    }

    /// The same with one mean kernel free of penalty.
    pub(crate) fn with_free(mut self, free: Option<Arc<FreeKernel>>) -> Self {
        self.free = free;
        self.take_out();
        self
    }

    /// The same without regularisation, with what is known of the wings and less the noise's bias.
    pub(crate) fn without_roughness(&self) -> Self {
        let mut same = self.clone();
        same.set_strengths(self.strengths.map(|strength| Strength { lambda: 0.0, ..strength }));
        same
    }

    /// The free kernel's [`direction`](FreeKernel::direction) as parameters of the design.
    pub(crate) fn free_direction(&self) -> Option<Vec<f64>> {
        let direction = &self.free.as_ref()?.direction;
        let mut x = vec![0.0; self.design.ncols()];
        let (kernel, background) = direction.split_at(self.design.basis().len());
        // Those of T₀ = 1 and of the mean kernel are the same, for L_C begins with a one.
        let first = self.design.kernel_terms().next()?;
        x[first.columns].copy_from_slice(&kernel[first.functions]);
        let place = self.design.kernel_ncols();
        x[place..place + background.len()].copy_from_slice(background);
        Some(x)
    }

    fn take_out(&mut self) {
        self.freed = match &self.free {
            Some(free) => self.freed(free, |member| &member.pixels, |k| self.roughness(k, 0)),
            None => Vec::new(),
        };
    }

    /// What takes the members of a free kernel, as `of` has them, out of B, one after the other.
    fn freed(
        &self,
        free: &FreeKernel,
        of: impl Fn(&Member) -> &Vec<f64>,
        roughness: impl Fn(&[f64]) -> Vec<f64>,
    ) -> Vec<Freed> {
        let mut freed: Vec<Freed> = Vec::new();
        // The free kernel's b over its size, by which b·x is that of the kernel in x.
        let mut whole_kernel: Option<Vec<f64>> = None;
        for member in &free.members {
            let (k, [mean, sigma]) = (of(member), member.known);
            let mut b = roughness(k);
            let whole = dot(k, &b);
            for before in &freed {
                axpy(-dot(&before.b, k), &before.b, &mut b);
            }
            let norm2 = dot(k, &b);
            // Where B does not press it, or those before it are the same.
            if norm2 > DEPENDENT * whole {
                let norm = norm2.sqrt();
                for b in &mut b {
                    *b /= norm;
                }
                let mut known = b.clone();
                match &whole_kernel {
                    Some(kernel) => axpy(-mean * norm, kernel, &mut known),
                    None => whole_kernel = Some(b.iter().map(|b| b / norm).collect()),
                }
                let precision = (self.scale * sigma).powi(-2) / norm2;
                freed.push(Freed { b, known, precision });
            }
        }
        freed
    }

    /// ν_st.
    fn noise(&self, s: usize, t: usize) -> &[f64] {
        let (s, t) = (s.min(t), s.max(t));
        &self.noise[t * (t + 1) / 2 + s]
    }

    /// g ← g + a Q x.
    pub(crate) fn add_product(&self, a: f64, x: &[f64], g: &mut [f64]) {
        let kernels = self.design.kernels(x);
        let (terms, pixels) = (kernels.len(), kernels[0].pixels().len());
        let l = self.terms.factor();
        let mut product = vec![0.0; terms * pixels];
        for r in 0..terms {
            let Strength { lambda, .. } = self.strengths[r.min(1)];
            let mut mixed = vec![0.0; pixels];
            for (t, kernel) in kernels.iter().enumerate().skip(r) {
                axpy(l[(t, r)], kernel.pixels(), &mut mixed);
            }
            let mut rough = self.roughness(&mixed, r.min(1));
            for Freed { b, known, precision } in self.freed.iter().filter(|f| f.is_free(r, lambda))
            {
                axpy(-dot(b, &mixed), b, &mut rough);
                axpy(precision / lambda * dot(known, &mixed), known, &mut rough);
            }
            for (t, sum) in product.chunks_exact_mut(pixels).enumerate().skip(r) {
                axpy(lambda * l[(t, r)], &rough, sum);
            }
        }
        if self.share > 0.0 {
            for (t, sum) in product.chunks_exact_mut(pixels).enumerate() {
                for (s, kernel) in kernels.iter().enumerate() {
                    let terms = self.noise(s, t).iter().zip(kernel.pixels());
                    sum.iter_mut()
                        .zip(terms)
                        .for_each(|(sum, (noise, k))| *sum -= self.share * noise * k);
                }
            }
        }
        let mut projected = vec![0.0; g.len()];
        self.design.project(&product, &mut projected);
        axpy(a, &projected, g);
        self.add_wings(a, x, g);
    }

    /// yᵀQ y.
    pub(crate) fn form(&self, y: &[f64]) -> f64 {
        let mut product = vec![0.0; y.len()];
        self.add_product(1.0, y, &mut product);
        dot(y, &product)
    }

    /// What is known of the wings.
    pub(crate) fn wings(&self) -> &Wings {
        &self.wings
    }

    /// g ← g + a W x, see [`Wings`].
    pub(crate) fn add_wings(&self, a: f64, x: &[f64], g: &mut [f64]) {
        self.wings.add_product(a, &self.design, &self.terms, x, g);
    }

    /// The same with the wings of the free kernel expected.
    pub(crate) fn with_expected_wings(mut self) -> Self {
        if let Some(free) = &self.free {
            self.wings.expect(self.design.basis(), &free.members[0].coefficients);
        }
        self
    }

    /// The two parts of Q over the functions of the basis, for the mean kernel (`row` 0) or a deviation: EᵀB E for a given radius, without all that is free, which λ
    /// multiplies; and the share of −Eᵀ diag ν E, with what is known of the free kernel's changes where λ is not less than that.
    pub(crate) fn parts(&self, row: usize, radius: f64) -> [Mat<f64>; 2] {
        let (mut rough, freed) = self.rough(row, radius);
        let mut known = self.noise_of_basis(row, -self.share);
        for freed in &freed {
            add_outer(-1.0, &freed.b, &mut rough);
            add_outer(freed.precision, &freed.known, &mut known);
        }
        [rough, known]
    }

    /// EᵀB E for a given radius, and what takes out of it what is free.
    fn rough(&self, row: usize, radius: f64) -> (Mat<f64>, Vec<Freed>) {
        let taper = taper(self.design.basis().support(), radius);
        let rough = self.maps.roughness.gram(|u| self.unit * taper[u]);
        let freed = match &self.free {
            Some(free) if row == 0 => {
                self.freed(free, |member| &member.coefficients, |x| product(&rough, x))
            }
            _ => Vec::new(),
        };
        (rough, freed)
    }

    /// λ EᵀB E and the priors of the rings.
    fn regularisation(&self, row: usize) -> Mat<f64> {
        let Strength { lambda, radius } = self.strengths[row];
        let (mut sum, freed) = self.rough(row, radius);
        sum *= faer::Scale(lambda);
        for Freed { b, known, precision } in freed.iter().filter(|f| f.is_free(row, lambda)) {
            add_outer(-lambda, b, &mut sum);
            add_outer(*precision, known, &mut sum);
        }
        self.wings.add_to(1.0, row, &mut sum);
        sum
    }

    /// Eᵀ diag ν E of the mean kernel or of a deviation, if any of it is taken out.
    pub(crate) fn bias(&self, row: usize) -> Option<Mat<f64>> {
        let least = self.noises[row].iter().copied().fold(f64::INFINITY, f64::min);
        (self.share > 0.0 && least > 0.0).then(|| self.noise_of_basis(row, 1.0))
    }

    /// λ ν̄ EᵀLᵀ diag(g) L E − Eᵀ diag ν E and the priors of the rings, of the mean kernel and of a deviation.
    pub(crate) fn matrices(&self) -> [Mat<f64>; 2] {
        [0, 1].map(|row| self.regularisation(row) + self.noise_of_basis(row, -self.share))
    }

    /// a Eᵀ diag ν E of the mean kernel, or of a deviation.
    fn noise_of_basis(&self, row: usize, a: f64) -> Mat<f64> {
        self.maps.kernel.gram(|u| a * self.noises[row][u])
    }

    /// H ← H + Q, in both triangles.
    pub(crate) fn add_to(&self, h: &mut Mat<f64>) {
        let mut unit = vec![0.0; h.ncols()];
        for j in 0..self.design.kernel_ncols() {
            unit[j] = 1.0;
            self.add_product(1.0, &unit, h.col_as_slice_mut(j));
            unit[j] = 0.0;
        }
    }

    /// Rows for a least-squares solver, S with SᵀS = L_C diag(B₀, B₁, …, B₁) L_Cᵀ, B_i = Q_i + diag ν_i: definite, and as large as Q.
    pub(crate) fn rows(&self) -> Result<PenaltyRows, SolveError> {
        let factor = |row: usize| {
            let mut sum = self.regularisation(row) + self.noise_of_basis(row, 1.0);
            // Where there is no noise, something has to hold what is free of the penalty: as little as does not change a step.
            let ridge =
                1e-9 * (0..sum.ncols()).map(|i| sum[(i, i)]).fold(f64::MIN_POSITIVE, f64::max);
            for i in 0..sum.ncols() {
                sum[(i, i)] += ridge;
            }
            Cholesky::new(&sum)
        };
        let terms = self.terms.leading(self.design.variation().len());
        // Without deviations, their noise is zero.
        let deviations = if terms.dim() > 1 { factor(1)? } else { factor(0)? };
        Ok(PenaltyRows::new(&self.design, terms.factor().to_owned(), [factor(0)?, deviations]))
    }

    /// ν̄ Lᵀ diag(g) L k with the g of the mean kernel (`row` 0) or the deviations.
    fn roughness(&self, k: &[f64], row: usize) -> Vec<f64> {
        let support = self.design.basis().support();
        let mut rough = laplacian(support, k);
        rough.iter_mut().zip(&self.tapers[row]).for_each(|(r, g)| *r *= self.unit * g);
        laplacian(support, &rough)
    }
}

/// b = B k/√(kᵀBk), so that B − b bᵀ vanishes on k and is otherwise as near to B as can be.
#[derive(Clone, Debug)]
struct Freed {
    b: Vec<f64>,
    /// What is known of how much of k there is: ε (c·x)² is half of what its prior adds to χ².
    known: Vec<f64>,
    /// ε.
    precision: f64,
}

impl Freed {
    /// Whether k is taken out of λ B of the mean kernel (`row` 0): where that presses it harder than its prior does.
    fn is_free(&self, row: usize, lambda: f64) -> bool {
        row == 0 && lambda > self.precision
    }
}

/// Part of kᵀBk that the members before leave, if k is one of their sums but for rounding.
const DEPENDENT: f64 = 1e-6;

/// M ← M + a b bᵀ.
fn add_outer(a: f64, b: &[f64], matrix: &mut Mat<f64>) {
    for (j, factor) in b.iter().enumerate() {
        axpy(a * factor, b, matrix.col_as_slice_mut(j));
    }
}

/// The columns of L⁻¹ for the first `n` rows of the matrix.
fn inverse_columns(l: &Cholesky, n: usize) -> Vec<Vec<f64>> {
    let l = l.leading(n);
    let column = |j: usize| {
        let mut unit = vec![0.0; n];
        unit[j] = 1.0;
        l.solve_lower(&mut unit);
        unit
    };
    (0..n).map(column).collect()
}

/// ν over the whole square: known over that of a kernel without rings, it goes on as its mean along the edge, for far from the stars that both w and σ_R² depend on,
/// it is one.
fn continued(design: &Design, inner: Vec<f64>) -> Vec<f64> {
    let (h, reach) = (design.half_width() as isize, design.inner_half_width() as isize);
    if reach == h {
        return inner;
    }
    let known =
        |dy: isize, dx: isize| inner[((dy + reach) * (2 * reach + 1) + dx + reach) as usize];
    let along = (-reach..=reach)
        .map(|d| known(-reach, d) + known(reach, d) + known(d, -reach) + known(d, reach));
    let edge = along.sum::<f64>() / (4 * (2 * reach + 1)) as f64;
    let outside = |d: isize| d.abs() > reach;
    Kernel::from_fn(
        h as usize,
        |dy, dx| {
            if outside(dy) || outside(dx) { edge } else { known(dy, dx) }
        },
    )
    .pixels()
    .to_vec()
}

fn tapers(design: &Design, strengths: Strengths) -> [Vec<f64>; 2] {
    strengths.map(|strength| taper(design.basis().support(), strength.radius))
}

/// g(u) over the square.
fn taper(support: &KernelSupport, radius: f64) -> Vec<f64> {
    let mut g = vec![0.0; support.side().pow(2)];
    for ((dy, dx), place) in support.offsets().zip(support.places()) {
        g[place] = (1.0 + (dy * dy + dx * dx) as f64 / (radius * radius)).powi(STEEPNESS);
    }
    g
}

/// The mean of g over the support, but for the wings.
pub(crate) fn mean_taper(basis: &KernelBasis, radius: f64) -> f64 {
    let (g, most) = (taper(basis.support(), radius), basis.inner_radius().powi(2));
    let places = basis.support().offsets().zip(basis.support().places());
    let inner = places
        .filter(|((dy, dx), _)| basis.rings().is_empty() || (dy * dy + dx * dx) as f64 <= most);
    let (sum, count) = inner.fold((0.0, 0.0), |(sum, n), (_, place)| (sum + g[place], n + 1.0));
    sum / count
}

/// The power of g. Of 0, 1, 2, 3, 4, this one and the next gave the smallest errors of the model on simulated fields.
const STEEPNESS: i32 = 3;

#[cfg(test)]
mod tests;
