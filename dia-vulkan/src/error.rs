//! What can be wrong with Vulkan on a machine, and what to do about it.

use std::error::Error;

/// No device can be listed, or none fits the choice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VulkanError {
    /// The loader, libvulkan, could not be opened.
    #[error(
        "cannot load the Vulkan loader ({detail}); install it (Debian and Ubuntu: libvulkan1, \
         Fedora: vulkan-loader, Windows: part of the GPU driver, macOS: the Vulkan SDK)"
    )]
    NoLoader {
        /// What the system's linker said.
        detail: String,
        /// The error of the Vulkan library.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    /// The loader is there, but it has no driver that works.
    #[error(
        "the Vulkan loader found no working driver; install the driver of the GPU, or a software \
         device (Debian and Ubuntu: mesa-vulkan-drivers), and look at VK_DRIVER_FILES and \
         VK_ICD_FILENAMES if they are set"
    )]
    NoDriver {
        /// The error of the Vulkan library.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    /// The loader or a driver failed in another way.
    #[error(
        "Vulkan failed to {step}; set VK_LOADER_DEBUG=all to see which driver fails, then update or \
         remove it"
    )]
    Failed {
        /// What was being done, such as "create an instance".
        step: &'static str,
        /// The error of the Vulkan library.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    /// Loader and driver work, but there is no device.
    #[error(
        "Vulkan works, but it has no device; check that this user may open the GPU (on Linux: the \
         groups video and render), or install a software device (Debian and Ubuntu: \
         mesa-vulkan-drivers)"
    )]
    NoDevices,

    /// [`DeviceChoice::Auto`](crate::DeviceChoice::Auto) found no GPU.
    #[error(
        "no GPU among the Vulkan devices: {}; choose one of these by index or name to use it all the same",
        .candidates.join(", ")
    )]
    NoGpu {
        /// Index, name and kind of each device there is.
        candidates: Vec<String>,
    },

    /// A device cannot run the shaders.
    #[error(
        "{device} offers {has} {what}, and {needs} are needed; choose another device or the CPU"
    )]
    Unsuitable {
        /// The name of the device.
        device: String,
        /// What there is too little of.
        what: &'static str,
        /// How much there is.
        has: u32,
        /// How much is needed.
        needs: u32,
    },

    /// No device has this index.
    #[error("no Vulkan device has the index {index}; there are: {}", .candidates.join(", "))]
    IndexOutOfRange {
        /// The index asked for.
        index: usize,
        /// Index, name and kind of each device there is.
        candidates: Vec<String>,
    },

    /// No device has a name with this text in it.
    #[error("no Vulkan device has {name:?} in its name; there are: {}", .candidates.join(", "))]
    NameNotFound {
        /// The text asked for.
        name: String,
        /// Index, name and kind of each device there is.
        candidates: Vec<String>,
    },

    /// An empty text was given for the choice of a device.
    #[error("the choice of a Vulkan device is empty; give auto, an index or a part of a name")]
    EmptyChoice,
}
