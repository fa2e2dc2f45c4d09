list(APPEND SLIMGRAD_SOURCES
     nn/backward_rule.cpp
     nn/batch_norm.cpp
     nn/conv2d.cpp
     nn/gradcheck.cpp
     nn/init.cpp
     nn/linear.cpp
     nn/module.cpp
     nn/pooling.cpp)
