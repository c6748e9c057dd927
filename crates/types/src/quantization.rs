//! What the search graph of a vector column is walked on: the vectors, or codes that stand for them.

use std::fmt;

/// Codes beside the vectors of a column. Answers are always refined on the vectors themselves, which are kept whatever
/// is chosen: codes cost memory and win speed.
///
/// Where the codes of a vector would not take fewer cache lines (of 64 bytes) than the vector, there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Quantization {
    /// No codes.
    None,
    /// One byte per dimension.
    #[default]
    Sq8,
    /// Half a byte per dimension.
    Sq4,
    /// One bit per dimension.
    Bit1,
}

impl Quantization {
    /// Every choice.
    pub const ALL: [Self; 4] = [Self::None, Self::Sq8, Self::Sq4, Self::Bit1];

    /// Stable text of the choice.
    pub const fn as_str(self) -> &'static str {
        match self {
            Quantization::None => "none",
            Quantization::Sq8 => "sq8",
            Quantization::Sq4 => "sq4",
            Quantization::Bit1 => "bit1",
        }
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
