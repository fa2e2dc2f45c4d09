# `cmake --install build --prefix DIR`, after which find_package(slimgrad) finds DIR/lib/cmake/slimgrad.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(SLIMGRAD_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/slimgrad)
install(TARGETS slimgrad_base slimgrad slimgrad_f64 EXPORT slimgradTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT slimgradTargets NAMESPACE slimgrad:: DESTINATION ${SLIMGRAD_CMAKE_DIR})
install(FILES slimgrad.h LICENSE DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/slimgrad)
foreach(room ${SLIMGRAD_ROOMS})
  install(DIRECTORY ${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/slimgrad
          FILES_MATCHING PATTERN "*.h" PATTERN "embedded-*" EXCLUDE)
endforeach()
install(DIRECTORY data/embedded-images data/embedded-text DESTINATION ${CMAKE_INSTALL_DATADIR}/slimgrad)

configure_package_config_file(cmake/slimgradConfig.cmake.in slimgradConfig.cmake
                              INSTALL_DESTINATION ${SLIMGRAD_CMAKE_DIR})
write_basic_package_version_file(slimgradConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/slimgradConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/slimgradConfigVersion.cmake
        DESTINATION ${SLIMGRAD_CMAKE_DIR})
