# Headers that take a compiler longer to read than most of our files: each group of targets with equal flags reads
# them once. A file still includes all that it uses, which the builds by clang and ./run lint hold it to: the
# presets of clang set CMAKE_DISABLE_PRECOMPILE_HEADERS.
set(SLIMGRAD_HEAVY_HEADERS <algorithm> <cmath> <cstdint> <filesystem> <functional> <limits> <map> <memory> <optional>
                           <set> <span> <string> <string_view> <utility> <vector> <fmt/format.h>)

# slimgrad_precompile(TARGET header...): these, besides those above.
function(slimgrad_precompile target)
  target_precompile_headers(${target} PRIVATE ${SLIMGRAD_HEAVY_HEADERS} ${ARGN})
endfunction()

# ccache takes precompiled headers only from those who promise that no macro is defined behind its back.
if(CMAKE_CXX_COMPILER_LAUNCHER MATCHES "ccache$" AND NOT CMAKE_DISABLE_PRECOMPILE_HEADERS)
  list(PREPEND CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros)
endif()
