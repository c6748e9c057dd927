//! Forcing an instruction set.

use longbow_kernels::Simd;

#[test]
fn what_the_machine_has_can_be_forced() {
    for simd in Simd::ALL {
        let forced = Simd::forced(&format!(" {} ", simd.as_str().to_uppercase()));
        if simd.is_supported() {
            assert_eq!(forced, Ok(Some(simd)));
        } else {
            let error = forced.unwrap_err().to_string();
            assert!(
                error.contains("does not have it") && error.contains("scalar"),
                "{error}"
            );
        }
    }
    assert_eq!(Simd::forced(" "), Ok(None));
    assert!(Simd::best().is_supported() && Simd::active().is_supported());
}

#[test]
fn a_name_of_nothing_is_told_what_there_is() {
    let error = Simd::forced("avx1024").unwrap_err().to_string();
    for name in [
        "avx1024",
        "scalar",
        "neon",
        "avx2",
        "avx512",
        Simd::best().as_str(),
    ] {
        assert!(error.contains(name), "{error}");
    }
}
