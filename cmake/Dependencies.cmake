# Every outside library, in one place; docs/dependencies.md says why each was taken.
# The module that may know a library is named beside it.

find_package(Threads REQUIRED)                       # core
find_package(fmt 9 REQUIRED)                         # core
find_package(nlohmann_json 3.11 REQUIRED)            # core
find_package(ZLIB REQUIRED)                          # io
find_package(tomlplusplus 3.3 REQUIRED)              # pipeline (settings people write)
find_package(Boost 1.74 REQUIRED)                    # stats (Boost.Math, headers only)

find_package(CLI11 2.1 REQUIRED)                     # cli

# HDF5 (io): the C library only, in its serial build.
set(HDF5_PREFER_PARALLEL OFF)
find_package(HDF5 REQUIRED COMPONENTS C)

# XGBoost (tabular): Debian ships no CMake package, the C API is one header and one library.
find_path(XGBOOST_INCLUDE_DIR xgboost/c_api.h REQUIRED)
find_library(XGBOOST_LIBRARY xgboost REQUIRED)

# LibTorch (nn). A user's own CUDA build is found through CMAKE_PREFIX_PATH.
find_package(Torch REQUIRED)
