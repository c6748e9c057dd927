//! Every vectorised kernel says what its scalar twin says, within a stated error.
#![allow(clippy::unwrap_used)]

mod bits;
mod bitset;
mod codes;
mod complex;
mod dispatch;
mod hostile;
mod pair;
mod rotate;
mod rows;
mod twin;
