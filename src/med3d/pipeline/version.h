// The program's version, as CMake knows it.
#pragma once

#include <string>

namespace med3d::pipeline {

std::string version();  // "0.1.0"

}  // namespace med3d::pipeline
