//! The tests of the back end, one program for all of them: linking costs more than compiling. What counts allocations, and
//! what needs the compiler of shaders, has its own.

mod devices;
mod fits;
mod hosted;
mod operator;
mod selection;
mod twins;
