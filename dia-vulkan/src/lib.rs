//! The Vulkan compute back end of `dia`, a difference-imaging tool.
//!
//! The costly part of a difference image is the same small product, a convolution, done many times
//! over large images. Any GPU does that well, and Vulkan runs on the GPUs of every vendor, where
//! CUDA runs on those of one. Vulkan also has software devices, so that the same code can be tested
//! on a machine without a GPU.
//!
//! [`VulkanDesignMatrix`] is the design matrix of difference imaging as compute shaders: direct products of `f32` pixels, each one command
//! buffer, with sums over pixels in twice that precision. [`DeviceVector`] holds data vectors, which stay on the device during a fit.
//!
//! The SPIR-V of the shaders is committed beside their GLSL, for the GLSL compiler is a large C++ program: the crate builds with Rust alone.
//! The Vulkan loader is opened at run time, so that a program built with this crate also starts where no loader is installed, and gets an
//! error that says what to install.
//!
//! ```
//! use dia_vulkan::{DeviceChoice, devices, select};
//!
//! match devices() {
//!     Ok(list) => {
//!         for device in &list {
//!             println!("{device}");
//!         }
//!         // Never a software device: that has to be asked for by index or by name.
//!         match select(&list, &DeviceChoice::Auto) {
//!             Ok(device) => println!("would run on {}", device.name),
//!             Err(error) => println!("would run on the CPU: {error}"),
//!         }
//!     }
//!     // No loader, no driver or no device.
//!     Err(error) => println!("no Vulkan here: {error}"),
//! }
//! ```

mod bands;
mod buffer;
mod choice;
mod commands;
mod context;
mod design_matrix;
mod device;
mod error;
mod grid;
mod listing;
mod shaders;
mod transfer;
mod vector;

pub use choice::{DeviceChoice, select};
pub use context::{ContextOptions, VulkanContext};
pub use design_matrix::{VulkanDesignMatrix, VulkanWorkspace};
pub use device::{ApiVersion, Device, DeviceKind};
pub use error::VulkanError;
pub use listing::devices;
pub use vector::DeviceVector;
