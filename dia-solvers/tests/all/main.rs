//! The tests of the solvers, one program for all of them: linking costs more than compiling. What counts allocations has its own.

mod agreement;
mod exactness;
mod few_stars;
mod field;
mod iterations;
mod near_equal_seeing;
mod oracles;
mod sandwich;
mod scattered_light;
mod series;
mod shared_noise;
mod spatial;
mod statistics;
