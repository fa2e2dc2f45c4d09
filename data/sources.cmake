list(APPEND SLIMGRAD_BASE_SOURCES
     data/added_tokens.cpp
     data/file.cpp
     data/glue.cpp
     data/image_file.cpp
     data/jpeg_file.cpp
     data/json.cpp
     data/metrics.cpp
     data/picture_resize.cpp
     data/safetensors_header.cpp
     data/shipped.cpp
     data/text_data.cpp
     data/tokenizer.cpp
     data/tokenizer_files.cpp
     data/tokenizer_json.cpp
     data/tokenizer_save.cpp
     data/tsv.cpp
     data/unicode.cpp
     data/vocabulary.cpp
     data/wordpiece.cpp)
list(APPEND SLIMGRAD_SOURCES
     data/batch.cpp
     data/cifar.cpp
     data/embedded_images.cpp
     data/idx.cpp
     data/image_data.cpp
     data/loader.cpp
     data/npy.cpp
     data/picture_loader.cpp
     data/picture_source.cpp
     data/prefetcher.cpp
     data/safetensors.cpp
     data/sample_order.cpp
     data/text_loader.cpp)
include(GNUInstallDirs)
set_source_files_properties(data/shipped.cpp PROPERTIES COMPILE_DEFINITIONS
  "SLIMGRAD_SOURCE_DATA_DIR=\"${CMAKE_CURRENT_SOURCE_DIR}/data\";SLIMGRAD_INSTALL_DATA_DIR=\"${CMAKE_INSTALL_FULL_DATADIR}/slimgrad\"")
