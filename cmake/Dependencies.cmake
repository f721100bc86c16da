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
list(GET HDF5_C_LIBRARIES 0 MED3D_HDF5_LIBRARY)      # the others are what it is linked to

# Image codecs (io); TurboJPEG and OpenJPEG: one header and one library each, as Debian ships them.
find_package(PNG REQUIRED)
find_path(TURBOJPEG_INCLUDE_DIR turbojpeg.h REQUIRED)
find_library(TURBOJPEG_LIBRARY turbojpeg REQUIRED)
find_path(OPENJPEG_INCLUDE_DIR openjpeg.h PATH_SUFFIXES openjpeg-2.5 REQUIRED)
find_library(OPENJPEG_LIBRARY openjp2 REQUIRED)
find_package(CURL REQUIRED)                          # io (weights by HTTPS)
list(GET CURL_LIBRARIES 0 MED3D_CURL_LIBRARY)

find_package(SQLite3 REQUIRED)                       # io (indexes and the store of runs)

# oneDNN (kernels); its own CMake package asks for OpenCL's headers, which we do not need.
find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.hpp REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)         # kernels (oneDNN's threads)

# Slides (wsi). Of OpenCV the two parts without image files: its codecs bring GDCM into the process,
# which must not meet DCMTK there.
find_package(TIFF REQUIRED)
find_package(DCMTK REQUIRED)
find_path(OPENSLIDE_INCLUDE_DIR openslide.h PATH_SUFFIXES openslide REQUIRED)
find_library(OPENSLIDE_LIBRARY openslide REQUIRED)
find_path(OPENCV_INCLUDE_DIR opencv2/imgproc.hpp PATH_SUFFIXES opencv4 REQUIRED)
find_library(OPENCV_CORE_LIBRARY opencv_core REQUIRED)
find_library(OPENCV_IMGPROC_LIBRARY opencv_imgproc REQUIRED)

# RE2 (radiology): regular expressions whose time is linear in the text, whoever wrote them.
find_path(RE2_INCLUDE_DIR re2/re2.h REQUIRED)
find_library(RE2_LIBRARY re2 REQUIRED)

# XGBoost (tabular): Debian ships no CMake package, the C API is one header and one library.
find_path(XGBOOST_INCLUDE_DIR xgboost/c_api.h REQUIRED)
find_library(XGBOOST_LIBRARY xgboost REQUIRED)

# LibTorch (nn). A user's own CUDA build is found through CMAKE_PREFIX_PATH.
find_package(Torch REQUIRED)
