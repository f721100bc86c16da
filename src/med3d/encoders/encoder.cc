#include "med3d/encoders/encoder.h"

#include <fmt/format.h>

#include "med3d/core/error.h"

namespace med3d {

Precision parse_precision(std::string_view name) {
  for (const Precision precision :
       {Precision::kAuto, Precision::kF32, Precision::kBf16, Precision::kInt8}) {
    if (name == to_string(precision)) return precision;
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("precision '{}', expected auto, f32, bf16 or int8", name));
}

std::string to_string(Precision precision) {
  switch (precision) {
    case Precision::kAuto:
      return "auto";
    case Precision::kF32:
      return "f32";
    case Precision::kBf16:
      return "bf16";
    case Precision::kInt8:
      return "int8";
  }
  throw Error(ErrorKind::kUsage, fmt::format("precision {}", static_cast<int>(precision)));
}

}  // namespace med3d
