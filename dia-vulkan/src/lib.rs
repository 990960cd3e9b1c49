//! The Vulkan compute back end of `dia`, a difference-imaging tool.
//!
//! The costly part of a difference image is the same small product, a convolution, done many times
//! over large images. Any GPU does that well, and Vulkan runs on the GPUs of every vendor, where
//! CUDA runs on those of one. Vulkan also has software devices, so that the same code can be tested
//! on a machine without a GPU.
//!
//! **What it holds now:** the listing and the selection of devices. There is no operator and no
//! shader yet: nothing is computed on a device.
//!
//! **What comes:** the products of `dia`'s operators as compute shaders. Their SPIR-V will be
//! committed beside the GLSL it comes from, for the GLSL compiler is a large C++ program that takes
//! many minutes to build. With the compiled words in the repository, the crate builds with Rust
//! alone. The Vulkan loader is opened at run time, so that a program built with this crate also
//! starts where no loader is installed, and gets an error that says what to install.
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
