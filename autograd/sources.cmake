list(APPEND SLIMGRAD_SOURCES
     autograd/gradcheck.cpp
     autograd/ops.cpp
     autograd/saved.cpp
     autograd/tape.cpp)
