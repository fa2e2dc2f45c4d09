list(APPEND SLIMGRAD_SOURCES
     autograd/function.cpp
     autograd/gradcheck.cpp
     autograd/matrix_basis.cpp
     autograd/ops.cpp
     autograd/saved.cpp
     autograd/tape.cpp)
