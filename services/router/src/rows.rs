//! How do rows spelt out in messages become Arrow, and Arrow rows spelt out?

pub mod ids;
pub mod read;
pub mod values;
pub mod write;

pub use ids::{id_from_proto, id_to_proto};
pub use read::{Projection, found_rows, hits};
pub use write::batch_from_rows;
