//! Every page-table format through the same cases, on any host.
//!
//! A case is a function generic over the format; [`every_format`] makes a test of it for each.
//! Absent: real processors, which `gup-hosted` asks through KVM.

mod answers;
mod cases;
mod model;
mod oracles;
mod rig;
mod tlb;

/// One test for each format and each case named.
macro_rules! every_format {
    ($($case:ident),+ $(,)?) => {
        $crate::every_format! { @format x86_64, X86_64, $($case),+ }
        $crate::every_format! { @format x86_64_5_levels, X86_64L5, $($case),+ }
        $crate::every_format! { @format aarch64, AArch64, $($case),+ }
        $crate::every_format! { @format aarch64_hafdbs, AArch64<false, true>, $($case),+ }
        $crate::every_format! { @format aarch64_contiguous, AArch64Contiguous, $($case),+ }
        $crate::every_format! { @format sv39, Sv39, $($case),+ }
        $crate::every_format! { @format sv48, Sv48, $($case),+ }
        $crate::every_format! { @format sv57, Sv57, $($case),+ }
        $crate::every_format! { @format sv39_svnapot, Riscv<3, true>, $($case),+ }
        $crate::every_format! { @format sv57_svnapot, Riscv<5, true>, $($case),+ }
        $crate::every_format! { @format sv48_svadu, Riscv<4, false, true>, $($case),+ }
        $crate::every_format! { @format sv39_svnapot_svadu, Riscv<3, true, true>, $($case),+ }
    };
    (@format $name:ident, $format:ty, $($case:ident),+) => {
        mod $name {
            #[allow(unused_imports, reason = "each module names one")]
            use gup::pgtable::{
                AArch64, AArch64Contiguous, Riscv, Sv39, Sv48, Sv57, X86_64, X86_64L5,
            };

            $(#[test]
            fn $case() {
                super::$case::<$format>();
            })+
        }
    };
}
pub(crate) use every_format;
