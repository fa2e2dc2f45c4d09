list(APPEND SLIMGRAD_SOURCES
     nn/backward_rule.cpp
     nn/gradcheck.cpp
     nn/init.cpp
     nn/linear.cpp
     nn/module.cpp)
