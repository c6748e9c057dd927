//! Measuring Longbow's parts on data sets with known answers.

pub mod ann;
mod churn;
mod dataset;
mod exact;
mod measure;
mod npy;
mod npz;
mod report;
mod saved;
mod shares;
