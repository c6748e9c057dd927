//! What vectors are made of, and how they are compared.

use half::{bf16, f16};

/// Distance between two vectors; smaller is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// 1 - cosine similarity.
    Cosine,
    /// Squared Euclidean distance.
    L2,
    /// Negative inner product.
    Dot,
}

/// Element types that vector indexes store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Element {
    /// 16-bit float.
    F16,
    /// Brain float: the upper half of a 32-bit float.
    BF16,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 8-bit integer.
    I8,
    /// 16-bit integer.
    I16,
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// 8-bit unsigned integer.
    U8,
    /// 16-bit unsigned integer.
    U16,
    /// 32-bit unsigned integer.
    U32,
    /// 64-bit unsigned integer.
    U64,
    /// Two 32-bit floats: real and imaginary part.
    Complex64,
    /// Two 64-bit floats: real and imaginary part.
    Complex128,
}

impl Element {
    /// Every element type.
    pub const ALL: [Element; 14] = [
        Element::F16,
        Element::BF16,
        Element::F32,
        Element::F64,
        Element::I8,
        Element::I16,
        Element::I32,
        Element::I64,
        Element::U8,
        Element::U16,
        Element::U32,
        Element::U64,
        Element::Complex64,
        Element::Complex128,
    ];

    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            Element::I8 | Element::U8 => 1,
            Element::F16 | Element::BF16 | Element::I16 | Element::U16 => 2,
            Element::F32 | Element::I32 | Element::U32 => 4,
            Element::F64 | Element::I64 | Element::U64 | Element::Complex64 => 8,
            Element::Complex128 => 16,
        }
    }

    /// Whether elements have more range or precision than a 32-bit float, so that they are compared in sums of 64 bits.
    pub const fn is_wide(self) -> bool {
        matches!(
            self,
            Element::F64 | Element::I32 | Element::I64 | Element::U32 | Element::U64 | Element::Complex128
        )
    }

    /// Real numbers in one element: what a query has for each.
    pub const fn reals(self) -> usize {
        match self {
            Element::Complex64 | Element::Complex128 => 2,
            _ => 1,
        }
    }
}

/// A real number that kernels are defined for.
pub trait Number: Copy + Default + Send + Sync + 'static {
    /// The number as a 64-bit float; exact but for 64-bit integers above 2^53.
    fn wide(self) -> f64;
    /// The difference as a 64-bit float, rounded once.
    #[inline(always)]
    fn minus(self, other: Self) -> f64 {
        self.wide() - other.wide()
    }
}

macro_rules! numbers {
    ($($t:ty => |$x:ident| $wide:expr;)*) => {
        $(impl Number for $t {
            #[inline(always)]
            fn wide(self) -> f64 { let $x = self; $wide }
        })*
    };
}

numbers! {
    f16 => |x| x.to_f64();
    bf16 => |x| x.to_f64();
    f32 => |x| f64::from(x);
    f64 => |x| x;
    i8 => |x| f64::from(x);
    i16 => |x| f64::from(x);
    i32 => |x| f64::from(x);
    u8 => |x| f64::from(x);
    u16 => |x| f64::from(x);
    u32 => |x| f64::from(x);
}

macro_rules! wide_integers {
    ($($t:ty)*) => {
        $(impl Number for $t {
            #[inline(always)]
            fn wide(self) -> f64 { self as f64 }
            #[inline(always)]
            fn minus(self, other: Self) -> f64 { (i128::from(self) - i128::from(other)) as f64 }
        })*
    };
}

wide_integers!(i64 u64);
