//! Measuring Longbow's parts on data sets with known answers.

pub mod ann;
mod answers;
mod bounds;
mod churn;
mod dataset;
mod exact;
#[cfg(test)]
mod made;
mod measure;
mod npy;
mod npz;
mod report;
mod saved;
mod shares;
