# Turns files into C++ constants. As a script: cmake -DOUT=x.cpp -P embed.cmake -- NAME=FILE ...
# defines `extern const std::string_view NAME` in namespace slimgrad::assets for each file.
if(CMAKE_SCRIPT_MODE_FILE)
  set(text "#include <string_view>\n\nnamespace slimgrad::assets {\n")
  foreach(i RANGE ${CMAKE_ARGC})
    if("${CMAKE_ARGV${i}}" MATCHES "^([a-z_]+)=(.+)$")
      set(name ${CMAKE_MATCH_1})
      file(READ "${CMAKE_MATCH_2}" bytes HEX)
      string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
      string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
      string(APPEND text "static const char ${name}_bytes[] = {\n${bytes}};\n"
                         "extern const std::string_view ${name};\n"
                         "const std::string_view ${name}(${name}_bytes, sizeof(${name}_bytes));\n")
    endif()
  endforeach()
  file(WRITE "${OUT}" "${text}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad::assets\n")
  return()
endif()

set(SLIMGRAD_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})
# slimgrad_embed(OUT NAME=FILE ...): OUT is made anew whenever a file changes.
function(slimgrad_embed out)
  set(files)
  foreach(pair ${ARGN})
    string(REGEX REPLACE "^[a-z_]+=" "" file "${pair}")
    list(APPEND files "${file}")
  endforeach()
  add_custom_command(OUTPUT ${out} DEPENDS ${files} ${SLIMGRAD_EMBED_SCRIPT} VERBATIM
                     COMMAND ${CMAKE_COMMAND} -DOUT=${out} -P ${SLIMGRAD_EMBED_SCRIPT} -- ${ARGN})
endfunction()
