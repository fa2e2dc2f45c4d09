# The code that README.md shows is a program: it is taken from there, built and run.
file(READ ${PROJECT_SOURCE_DIR}/README.md readme)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/README.md)
string(REGEX MATCH "```cpp\n([^`]*)```" code "${readme}")
file(CONFIGURE OUTPUT readme.cpp CONTENT "${CMAKE_MATCH_1}" @ONLY)
add_executable(example_readme ${CMAKE_CURRENT_BINARY_DIR}/readme.cpp)
target_link_libraries(example_readme PRIVATE slimgrad::slimgrad slimgrad_options)
target_precompile_headers(example_readme REUSE_FROM example_01_tensor)
add_test(NAME example.readme COMMAND example_readme)
