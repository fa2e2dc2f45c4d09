list(APPEND SLIMGRAD_SOURCES
     tensor/kernels/bits.cpp
     tensor/kernels/convolution.cpp
     tensor/kernels/convolution_onednn.cpp
     tensor/kernels/convolution_unfolded.cpp
     tensor/kernels/elementwise.cpp
     tensor/kernels/gelu.cpp
     tensor/kernels/gemm.cpp
     tensor/kernels/im2col.cpp
     tensor/kernels/layer_norm.cpp
     tensor/kernels/skinny.cpp
     tensor/kernels/transcendental.cpp
     tensor/ledger.cpp
     tensor/linalg.cpp
     tensor/meter.cpp
     tensor/ops.cpp
     tensor/random.cpp
     tensor/tensor.cpp)
