# What the library stands on. Everything comes as a Debian package; `./run` installs them.
find_package(PkgConfig REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(ZLIB REQUIRED)
find_package(nlohmann_json 3.10 REQUIRED)

# Debian keeps each variant of OpenBLAS in a directory of its own: ask for the OpenMP one by name, so that
# the library and BLAS share one set of threads.
set(ENV{PKG_CONFIG_PATH}
    "/usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp/pkgconfig:$ENV{PKG_CONFIG_PATH}")
pkg_check_modules(OPENBLAS REQUIRED IMPORTED_TARGET openblas)
# Vectors for every processor (libhwy-dev): the kernels of skinny products are written in it.
pkg_check_modules(HIGHWAY REQUIRED IMPORTED_TARGET libhwy)
# JPEG (libturbojpeg0-dev).
pkg_check_modules(TURBOJPEG REQUIRED IMPORTED_TARGET libturbojpeg)
# Unicode for the tokenizer (libutf8proc-dev).
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
find_library(LAPACKE_LIBRARY lapacke REQUIRED)
# oneDNN (libdnnl-dev). Its own CMake files ask for OpenCL, which a processor does not need.
if(SLIMGRAD_ONEDNN)
  find_library(DNNL_LIBRARY dnnl REQUIRED)
  find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.h REQUIRED)
endif()

# stb_image is one header (libstb-dev), compiled inside data/image_file.cpp.
find_path(STB_INCLUDE_DIR stb/stb_image.h REQUIRED)
