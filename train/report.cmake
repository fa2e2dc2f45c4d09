# Pages with charts: their style, their scripts and Chart.js embedded in the library.
include(${PROJECT_SOURCE_DIR}/cmake/embed.cmake)
slimgrad_embed(${CMAKE_CURRENT_BINARY_DIR}/report_assets.cpp
               chart_js=${PROJECT_SOURCE_DIR}/third_party/chart.js/chart.min.js
               chart_style_js=${CMAKE_CURRENT_LIST_DIR}/chart_style.js
               figures_js=${CMAKE_CURRENT_LIST_DIR}/figures.js
               report_js=${CMAKE_CURRENT_LIST_DIR}/report.js
               report_css=${CMAKE_CURRENT_LIST_DIR}/report.css
               trace_js=${CMAKE_CURRENT_LIST_DIR}/trace.js
               trace_css=${CMAKE_CURRENT_LIST_DIR}/trace.css)
target_sources(slimgrad_train PRIVATE ${CMAKE_CURRENT_LIST_DIR}/report.cpp
                                      ${CMAKE_CURRENT_LIST_DIR}/report_data.cpp
                                      ${CMAKE_CURRENT_LIST_DIR}/timeline_page.cpp
                                      ${CMAKE_CURRENT_BINARY_DIR}/report_assets.cpp)
