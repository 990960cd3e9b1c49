//! Products in a loop allocate nothing on the host.

#[path = "all/hosted/mod.rs"]
mod hosted;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use dia_core::{
    DataVector, Design, DesignMatrix, KernelBasis, KernelShape, KernelSupport, LinearOperator,
    Loss, Noise, Photon, PixelWeight, Resolution, Reweight,
};
use dia_vulkan::VulkanDesignMatrix;
use hosted::{context, image, values};

/// Counts what this thread asks the allocator for; threads of a software device have their own.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

#[allow(
    unsafe_code,
    reason = "an allocator is unsafe by its interface; it forwards to that of the system"
)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn products_allocate_nothing() {
    let Some(context) = context("products_allocate_nothing") else { return };
    let basis = KernelBasis::mixed_resolution(
        KernelSupport::new(5, KernelShape::Circle),
        Resolution { core: 2.0, spacing: 2, inner: 4.0 },
        true,
    );
    let design = Design::new(60, 70, basis, Some(2)).unwrap().with_variation(0, 2).unwrap();
    let a = VulkanDesignMatrix::new(&context, image(60, 70, 1).view(), design).unwrap();
    let mut workspace = a.workspace().unwrap();
    let (x, mut g) = (values(a.ncols(), 1), vec![0.0; a.ncols()]);
    let (mut y, mut weights) = (a.zeros().unwrap(), a.zeros().unwrap());
    let ones = a.upload(vec![1.0; a.nrows()]).unwrap();
    let fixed = a.upload(vec![2.0; a.nrows()]).unwrap();
    let noise = Noise { fixed, photon: Photon::Uniform(0.1), reference: None };
    let mut products = || {
        a.apply(&x, &mut y, &mut workspace).unwrap();
        a.apply_adjoint(&y, &mut g, &mut workspace).unwrap();
        a.apply_normal(&x, &ones, &mut g, &mut weights, &mut workspace).unwrap();
        a.robust_gradient(&x, &ones, &noise, Loss::HUBER, &mut g, &mut workspace).unwrap();
        ones.reweight(&noise, Loss::HUBER, PixelWeight::Robust, &mut weights).unwrap();
        y.axpby(0.5, &ones, 2.0).unwrap();
        y.scale(2.0).unwrap();
        y.multiply(&ones).unwrap();
        weights.square_root_of(&ones).unwrap();
        ones.dot(&ones).unwrap()
    };
    let first = products();
    let before = ALLOCATIONS.get();
    let second = products();
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!(first, second);
}
