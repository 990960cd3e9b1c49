//! The design matrix of difference imaging on a Vulkan device.

use std::fmt;
use std::sync::Arc;

use dia_core::{
    Design, DesignMatrix, ImageView, Kernel, LinearOperator, Loss, Noise, OperatorError,
    PixelWeight, Polynomial2d, Traffic,
};
use vulkano::pipeline::ComputePipeline;

use crate::bands::Bands;
use crate::buffer::{DeviceBuffer, HostBuffer, Place};
use crate::commands::Commands;
use crate::context::VulkanContext;
use crate::grid::{Convolve, Correlate};
use crate::shaders::{CONVOLVE, CORRELATE, GATHER, MOMENTS, REDUCE};
use crate::transfer::workgroups;
use crate::vector::DeviceVector;

/// The design matrix A of a reference image on a device: (A x)(p) = Σ_t T_t(p) (R ⊗ K_t)(p) + Σ_j b_j φ_j(p) at the valid pixels p.
///
/// Direct products of `f32` pixels; sums over pixels have twice that precision. Every product is one command buffer: only the parameters go in
/// and only the sums come out. The results have the same bits every time on the same device.
///
/// ```
/// use dia_core::{Design, DesignMatrix, Image, KernelBasis, LinearOperator};
/// use dia_vulkan::{ContextOptions, DeviceChoice, VulkanContext, VulkanDesignMatrix};
///
/// // The first device, a software one if there is no other.
/// let Ok(context) = VulkanContext::open(&DeviceChoice::Index(0), ContextOptions::default()) else {
///     return Ok(());
/// };
/// let reference = Image::from_fn(40, 50, |y, x| ((y * y + 3 * x) % 17) as f32);
/// let design = Design::new(40, 50, KernelBasis::delta(2), Some(0))?;
/// let a = VulkanDesignMatrix::new(&context, reference.view(), design)?;
///
/// // The kernel that is one in the middle copies the reference; the last coefficient is the background.
/// let mut x = vec![0.0; a.ncols()];
/// (x[12], x[25]) = (1.0, 100.0);
/// let mut model = a.zeros()?;
/// a.apply(&x, &mut model, &mut a.workspace()?)?;
/// assert_eq!(a.download(model)?[0], reference.view().at(2, 2) + 100.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct VulkanDesignMatrix {
    context: Arc<VulkanContext>,
    design: Design,
    bands: Bands,
    /// R of each band, with 2h rows more than its data.
    reference: Arc<Vec<DeviceBuffer>>,
    /// P_i(x) at the valid columns, P_j(y) at the valid rows.
    factors: DeviceBuffer,
    /// Lines of the first.
    lines: usize,
    correlate_grid: Correlate,
    convolve: Arc<ComputePipeline>,
    correlate: Arc<ComputePipeline>,
    moments: Arc<ComputePipeline>,
    reduce: Arc<ComputePipeline>,
    gather: Arc<ComputePipeline>,
}

/// The memory of a [`VulkanDesignMatrix`]'s products, on the device and where both can reach it.
pub struct VulkanWorkspace {
    /// K_t.
    kernels: Vec<Kernel>,
    /// K_t and b, on their way to the device.
    parameters_in: HostBuffer,
    parameters: DeviceBuffer,
    partial: DeviceBuffer,
    sums: DeviceBuffer,
    /// Sums as hi + lo, on their way to the host.
    sums_out: HostBuffer,
    gradient: Vec<f64>,
    /// The model, in robust gradients.
    model: Option<DeviceVector>,
}

impl VulkanDesignMatrix {
    /// Uploads `reference`, whose pixels must be finite, with 0 where it is masked.
    ///
    /// # Errors
    /// If `reference` has not the shape of the design or holds a pixel that is not finite, or the device has too little memory or fails.
    pub fn new(
        context: &Arc<VulkanContext>,
        reference: ImageView<'_, f32>,
        design: Design,
    ) -> Result<Self, OperatorError> {
        let (height, width) = design.reference_shape();
        if reference.shape() != (height, width) {
            return Err(OperatorError::new(format!(
                "the reference has {} × {} pixels (rows × columns), the design takes {height} × {width}",
                reference.height(),
                reference.width(),
            )));
        }
        if let Some(i) = reference.pixels().iter().position(|r| !r.is_finite()) {
            return Err(OperatorError::new(format!(
                "the reference is {} at row {}, column {}; mask that pixel and set it to 0",
                reference.pixels()[i],
                i / width,
                i % width
            )));
        }
        let bands = Bands::new(&design, context.room())?;
        let halo = 2 * design.half_width();
        let bands_of_reference = bands.rows().zip(bands.places()).map(|(rows, place)| {
            let pixels = &reference.pixels()[rows.start * width..(rows.end + halo) * width];
            let buffer = DeviceBuffer::at(place, context, pixels.len())?;
            context.upload(pixels, &buffer)?;
            Ok(buffer)
        });
        let reference = Arc::new(bands_of_reference.collect::<Result<_, OperatorError>>()?);
        Self::of_parts(context, reference, bands, design)
    }

    /// With the reference on the device.
    fn of_parts(
        context: &Arc<VulkanContext>,
        reference: Arc<Vec<DeviceBuffer>>,
        bands: Bands,
        design: Design,
    ) -> Result<Self, OperatorError> {
        let (valid, side) = (design.valid(), design.basis().support().side() as u32);
        // The polynomial of the higher degree has the factors of both.
        let variation = design.variation();
        let polynomial = design.background().filter(|b| b.degree() > variation.degree());
        let polynomial = polynomial.unwrap_or(variation);
        let lines = polynomial.degree() + 1;
        let columns =
            (0..lines).flat_map(|i| &polynomial.factors_x(i)[valid.x..valid.x + valid.width]);
        let rows =
            (0..lines).flat_map(|j| &polynomial.factors_y(j)[valid.y..valid.y + valid.height]);
        let factors_of_both: Vec<f32> = columns.chain(rows).map(|p| *p as f32).collect();
        let factors = DeviceBuffer::new(context, factors_of_both.len())?;
        context.upload(&factors_of_both, &factors)?;

        let correlate_grid = Correlate::new(side);
        Ok(Self {
            convolve: context.pipeline(&CONVOLVE, &Convolve::new(side).constants())?,
            correlate: context.pipeline(&CORRELATE, &correlate_grid.constants())?,
            moments: context.pipeline(&MOMENTS, &[])?,
            reduce: context.pipeline(&REDUCE, &[])?,
            gather: context.pipeline(&GATHER, &[])?,
            context: Arc::clone(context),
            reference,
            bands,
            design,
            factors,
            lines,
            correlate_grid,
        })
    }

    /// The device it is on.
    pub fn context(&self) -> &Arc<VulkanContext> {
        &self.context
    }

    /// The part of the valid rows for which the device has no room: they lie in the host's memory, and every product reads them from there.
    pub fn part_on_host(&self) -> f64 {
        1.0 - self.bands.rows_on_device() as f64 / self.bands.height as f64
    }

    /// (2h + 1)².
    fn kernel_pixels(&self) -> usize {
        self.design.basis().support().side().pow(2)
    }

    /// Sums over pixels of one adjoint product.
    fn sums(&self) -> usize {
        self.design.variation().len() * self.kernel_pixels()
            + self.design.background().map_or(0, Polynomial2d::len)
    }

    /// Workgroups that share each band.
    fn groups(&self) -> impl Iterator<Item = u32> + '_ {
        let terms = self.design.variation().len() as u32;
        self.bands.rows().map(move |rows| {
            self.correlate_grid.groups(self.bands.width as u32, rows.len() as u32, terms)
        })
    }

    /// A vector must be one of this matrix.
    fn check(&self, y: &DeviceVector) {
        y.check(&self.context, self.bands.elements().map(|range| range.len()));
    }

    /// Leaves the kernels and the background of `x` where the device finds them.
    fn set_parameters(
        &self,
        x: &[f64],
        workspace: &mut VulkanWorkspace,
    ) -> Result<(), OperatorError> {
        let VulkanWorkspace { kernels, parameters_in, .. } = workspace;
        let background = self.design.split(x).1;
        self.design.expand(x, kernels);
        let values = kernels.iter().flat_map(Kernel::pixels).chain(background);
        parameters_in.write(self.sums(), |floats| {
            for (float, value) in floats.iter_mut().zip(values) {
                *float = *value as f32;
            }
        })?;
        self.context.count_in(self.sums());
        Ok(())
    }

    /// y ← A x for the parameters that [`set_parameters`](Self::set_parameters) left.
    fn record_model(
        &self,
        commands: &mut Commands<'_>,
        y: &DeviceVector,
        workspace: &VulkanWorkspace,
    ) {
        self.check(y);
        let VulkanWorkspace { parameters_in, parameters, .. } = workspace;
        assert_eq!(parameters.len(), self.sums());
        commands.copy(&parameters_in.floats, 0, &parameters.floats, 0, self.sums());
        let side = self.design.basis().support().side();
        let background = self.design.background().map_or(u32::MAX, |b| b.degree() as u32);
        for ((rows, reference), y) in self.bands.rows().zip(&*self.reference).zip(&y.bands) {
            let words = [
                self.bands.width as u32,
                rows.len() as u32,
                self.design.reference_shape().1 as u32,
                side as u32,
                rows.start as u32,
                self.bands.height as u32,
                self.design.variation().degree() as u32,
                background,
                self.lines as u32,
            ];
            let grid = Convolve::workgroups(self.bands.width as u32, rows.len() as u32);
            let buffers = [reference, &self.factors, parameters, y];
            commands.dispatch(&self.convolve, &buffers, &words, grid);
        }
    }

    /// Aᵀ y, as far as the memory of the host.
    fn record_adjoint(
        &self,
        commands: &mut Commands<'_>,
        y: &DeviceVector,
        workspace: &VulkanWorkspace,
    ) {
        self.check(y);
        let VulkanWorkspace { partial, sums, sums_out, .. } = workspace;
        assert_eq!(partial.len(), 2 * self.sums() * self.groups().sum::<u32>() as usize);
        let (width, n) = (self.bands.width as u32, self.sums() as u32);
        let terms = self.design.variation().len() as u32;
        let side = self.design.basis().support().side() as u32;
        let mut first = 0;
        let bands = self.bands.rows().zip(&*self.reference).zip(&y.bands).zip(self.groups());
        for (((rows, reference), y), groups) in bands {
            let (start, height) = (rows.start as u32, self.bands.height as u32);
            let (rows, lines) = (rows.len() as u32, self.lines as u32);
            let pitch = self.design.reference_shape().1 as u32;
            let words = [width, rows, pitch, side, start, height, lines, first, n];
            let grid = [groups, terms, self.correlate_grid.chunks()];
            let buffers = [reference, &self.factors, y, partial];
            commands.dispatch(&self.correlate, &buffers, &words, grid);
            if let Some(background) = self.design.background() {
                let after_kernel = first + terms * side * side;
                let words = [width, rows, start, height, lines, after_kernel, n];
                let grid = [groups, background.len() as u32, 1];
                commands.dispatch(&self.moments, &[&self.factors, y, partial], &words, grid);
            }
            first += groups * n;
        }
        let words = [self.groups().sum(), n];
        commands.dispatch(&self.reduce, &[partial, sums], &words, [n.div_ceil(32), 1, 1]);
        commands.copy(&sums.floats, 0, &sums_out.floats, 0, 2 * n as usize);
    }

    /// Takes what [`record_adjoint`](Self::record_adjoint) left.
    fn take_sums(
        &self,
        g: &mut [f64],
        workspace: &mut VulkanWorkspace,
    ) -> Result<(), OperatorError> {
        let VulkanWorkspace { sums_out, gradient, .. } = workspace;
        let (kernel, background) = self.design.split_mut(g);
        sums_out.read(2 * self.sums(), |sums| {
            let (of_kernel, of_background) = sums.split_at(2 * gradient.len());
            for (g, pair) in gradient.iter_mut().zip(of_kernel.chunks_exact(2)) {
                *g = f64::from(pair[0]) + f64::from(pair[1]);
            }
            for (g, pair) in background.iter_mut().zip(of_background.chunks_exact(2)) {
                *g = f64::from(pair[0]) + f64::from(pair[1]);
            }
        })?;
        self.design.project(gradient, kernel);
        self.context.count_out(2 * self.sums());
        Ok(())
    }
}

impl LinearOperator for VulkanDesignMatrix {
    type Data = DeviceVector;
    type Workspace = VulkanWorkspace;

    fn nrows(&self) -> usize {
        self.design.nrows()
    }

    fn ncols(&self) -> usize {
        self.design.ncols()
    }

    fn workspace(&self) -> Result<VulkanWorkspace, OperatorError> {
        let (context, n) = (&self.context, self.sums());
        let groups: u32 = self.groups().sum();
        let kernels = vec![Kernel::zero(self.design.half_width()); self.design.variation().len()];
        Ok(VulkanWorkspace {
            kernels,
            parameters_in: HostBuffer::new(Place::Upload, context, n)?,
            parameters: DeviceBuffer::new(context, n)?,
            partial: DeviceBuffer::new(context, 2 * n * groups as usize)?,
            sums: DeviceBuffer::new(context, 2 * n)?,
            sums_out: HostBuffer::new(Place::Download, context, 2 * n)?,
            gradient: vec![0.0; self.design.variation().len() * self.kernel_pixels()],
            model: None,
        })
    }

    fn zeros(&self) -> Result<DeviceVector, OperatorError> {
        let vector = DeviceVector::new(&self.context, &self.bands)?;
        let mut commands = Commands::new(&self.context)?;
        for band in &vector.bands {
            commands.clear(band);
        }
        commands.submit()?;
        Ok(vector)
    }

    fn apply(
        &self,
        x: &[f64],
        y: &mut DeviceVector,
        workspace: &mut VulkanWorkspace,
    ) -> Result<(), OperatorError> {
        self.set_parameters(x, workspace)?;
        let mut commands = Commands::new(&self.context)?;
        self.record_model(&mut commands, y, workspace);
        commands.submit()
    }

    fn apply_adjoint(
        &self,
        y: &DeviceVector,
        x: &mut [f64],
        workspace: &mut VulkanWorkspace,
    ) -> Result<(), OperatorError> {
        let mut commands = Commands::new(&self.context)?;
        self.record_adjoint(&mut commands, y, workspace);
        commands.submit()?;
        self.take_sums(x, workspace)
    }

    /// One command buffer; `scratch` holds W A x afterwards.
    fn apply_normal(
        &self,
        x: &[f64],
        weights: &DeviceVector,
        g: &mut [f64],
        scratch: &mut DeviceVector,
        workspace: &mut VulkanWorkspace,
    ) -> Result<(), OperatorError> {
        self.set_parameters(x, workspace)?;
        let mut commands = Commands::new(&self.context)?;
        self.record_model(&mut commands, scratch, workspace);
        scratch.record_multiply(&mut commands, weights)?;
        self.record_adjoint(&mut commands, scratch, workspace);
        commands.submit()?;
        self.take_sums(g, workspace)
    }
}

impl DesignMatrix for VulkanDesignMatrix {
    type Pixel = f32;

    fn design(&self) -> &Design {
        &self.design
    }

    fn with_degrees_of(&self, design: Design) -> Result<Self, OperatorError> {
        assert!(self.design.differs_in_degrees_alone(&design));
        let (reference, bands) = (Arc::clone(&self.reference), self.bands.clone());
        Self::of_parts(&self.context, reference, bands, design)
    }

    fn upload(&self, values: Vec<f32>) -> Result<DeviceVector, OperatorError> {
        assert_eq!(values.len(), self.nrows());
        let vector = DeviceVector::new(&self.context, &self.bands)?;
        for (band, range) in vector.bands.iter().zip(self.bands.elements()) {
            self.context.upload(&values[range], band)?;
        }
        Ok(vector)
    }

    fn download(&self, data: DeviceVector) -> Result<Vec<f32>, OperatorError> {
        let mut values = vec![0.0; self.nrows()];
        for (band, range) in data.bands.iter().zip(self.bands.elements()) {
            self.context.download(band, &mut values[range])?;
        }
        Ok(values)
    }

    /// One command buffer.
    fn robust_gradient(
        &self,
        x: &[f64],
        data: &DeviceVector,
        noise: &Noise<DeviceVector>,
        loss: Loss,
        g: &mut [f64],
        workspace: &mut VulkanWorkspace,
    ) -> Result<(), OperatorError> {
        self.set_parameters(x, workspace)?;
        let model = match workspace.model.take() {
            Some(model) => model,
            None => DeviceVector::new(&self.context, &self.bands)?,
        };
        let mut commands = Commands::new(&self.context)?;
        self.record_model(&mut commands, &model, workspace);
        data.record_reweight(&mut commands, noise, loss, PixelWeight::Robust, true, &model)?;
        self.record_adjoint(&mut commands, &model, workspace);
        commands.submit()?;
        workspace.model = Some(model);
        self.take_sums(g, workspace)
    }

    /// One command buffer for each 65 536 rows.
    fn gather(
        &self,
        data: &DeviceVector,
        rows: &[usize],
        values: &mut [f64],
    ) -> Result<(), OperatorError> {
        self.check(data);
        self.context.gather(rows, values, |commands, len, indices, gathered| {
            for (band, range) in data.bands.iter().zip(self.bands.elements()) {
                let words = [len as u32, range.start as u32, range.end as u32];
                let buffers = [indices, band, gathered];
                commands.dispatch(&self.gather, &buffers, &words, workgroups(len));
            }
        })
    }

    fn traffic(&self) -> Traffic {
        self.context.traffic()
    }
}

impl fmt::Debug for VulkanDesignMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VulkanDesignMatrix")
            .field("nrows", &self.nrows())
            .field("ncols", &self.ncols())
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for VulkanWorkspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VulkanWorkspace").field("partial", &self.partial).finish_non_exhaustive()
    }
}
