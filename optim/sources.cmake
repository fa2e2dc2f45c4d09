list(APPEND SLIMGRAD_SOURCES
     optim/adam.cpp
     optim/clip.cpp
     optim/optimizer.cpp
     optim/schedule.cpp
     optim/sgd.cpp
     optim/state.cpp)
