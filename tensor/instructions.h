#pragma once

namespace slimgrad {

/// Whether kernels keep to AVX2 though the processor may have AVX-512: to measure and to test here
/// what another processor would run. The environment variable SLIMGRAD_ISA=avx2 asks for it; ours,
/// oneDNN's and OpenBLAS's kernels heed it, plain loops stay as the compiler made them. Settled
/// when first asked, which blas() does before the first product. Throws Error if the variable says
/// something else, or where the processor has no AVX2.
bool limited_to_avx2();

}  // namespace slimgrad
