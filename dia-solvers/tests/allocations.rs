//! A second solve on the same workspace allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use dia_solvers::{
    CgOptions, CgWorkspace, FromFaer, Identity, LsqrOptions, LsqrWorkspace, NormalOperator,
    NormalWorkspace, cg, lsqr,
};
use faer::Mat;

/// Counts what the system allocator is asked for.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[allow(
    unsafe_code,
    reason = "an allocator is unsafe by its interface; it forwards to that of the system"
)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// One test, so that no other thread allocates while it counts.
#[test]
fn second_solves_allocate_nothing() {
    let (m, n) = (300, 20);
    let matrix = Mat::from_fn(m, n, |i, j| ((i * 7 + j * 13) % 23) as f64 - 11.0);
    let a = FromFaer(matrix.as_ref());
    let b: Vec<f64> = (0..m).map(|i| (i as f64).cos()).collect();
    let weights = vec![0.5; m];
    let mut x = vec![0.0; n];

    let mut workspace = LsqrWorkspace::new(&a).unwrap();
    let options = LsqrOptions { tolerance: 1e-9, damp: 0.1, ..Default::default() };
    let mut solve = || lsqr(&a, &Identity(n), &b, &mut x, &options, &mut workspace).unwrap();
    let first = solve();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let second = solve();
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before, "LSQR allocates");
    assert_eq!(first, second);

    let h = NormalOperator { operator: &a, weights: &weights };
    let mut memory = NormalWorkspace::new(&a).unwrap();
    let mut workspace = CgWorkspace::new(n);
    let g: Vec<f64> = (0..n).map(|i| 1.0 + i as f64).collect();
    let options = CgOptions { tolerance: 1e-9, ..Default::default() };
    let mut solve =
        || cg(&h, &Identity(n), &g, &mut x, &options, &mut workspace, &mut memory).unwrap();
    let first = solve();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let second = solve();
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before, "CG allocates");
    assert_eq!(first, second);
}
