list(APPEND SLIMGRAD_SOURCES
     autograd/saved.cpp
     autograd/tape.cpp)
