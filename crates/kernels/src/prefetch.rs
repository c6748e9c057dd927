//! Asking for memory before it is needed.

pub(crate) const LINE: usize = 64;

/// Asks for the cache line at `address`; a hint without effect on what a program computes.
#[inline(always)]
pub fn prefetch_line(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: prefetching is a hint: it never faults, whatever the address. SSE is part of x86-64.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: `prfm` is a hint: it never faults, whatever the address.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = address;
}

/// Asks for the first `lines` cache lines from `address` on.
#[inline(always)]
pub fn prefetch_lines(address: *const u8, lines: usize) {
    for line in 0..lines {
        prefetch_line(address.wrapping_add(line * LINE));
    }
}
