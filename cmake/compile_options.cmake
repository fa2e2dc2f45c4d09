# Warnings, processor and sanitizers, for our own targets only.
add_library(slimgrad_options INTERFACE)
target_compile_options(slimgrad_options INTERFACE -Wall -Wextra -Wpedantic
                       -fno-math-errno -fno-trapping-math
                       $<$<BOOL:${SLIMGRAD_NATIVE}>:-march=native>
                       $<$<BOOL:${SLIMGRAD_WERROR}>:-Werror>)
if(SLIMGRAD_WERROR AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # What GCC says of bounds follows from what it inlined, hence from the processor, and of std::string it is sometimes
  # wrong (GCC bug 105651). It stays a warning; the sanitizers decide.
  target_compile_options(slimgrad_options INTERFACE -Wno-error=array-bounds -Wno-error=restrict
                         -Wno-error=stringop-overflow -Wno-error=stringop-overread)
endif()
if(SLIMGRAD_SANITIZE)
  # Quick to compile: a report needs no more than line numbers, and O1 removes most needless checks.
  target_compile_options(slimgrad_options INTERFACE -O1 -g1 -fsanitize=${SLIMGRAD_SANITIZE}
                         -fno-omit-frame-pointer -fno-sanitize-recover=all
                         # Between checks clang leaves loops scalar.
                         $<$<CXX_COMPILER_ID:Clang>:-Wno-pass-failed>)
  target_link_options(slimgrad_options INTERFACE -fsanitize=${SLIMGRAD_SANITIZE})
endif()
if(SLIMGRAD_FUZZ)
  # Coverage that libFuzzer is led by.
  target_compile_options(slimgrad_options INTERFACE -fsanitize=fuzzer-no-link)
  # The name that other libraries use: checksums, which no mutation hits, are not looked at.
  target_compile_definitions(slimgrad_options INTERFACE FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION)
endif()
