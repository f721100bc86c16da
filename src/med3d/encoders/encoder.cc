#include "med3d/encoders/encoder.h"

#include <fmt/format.h>

#include "med3d/core/error.h"
#include "med3d/kernels/cpu.h"

namespace med3d {

void Encoder::submit(std::span<const std::uint8_t> /*rgb*/) {
  throw Error(ErrorKind::kUsage, "this encoder takes one batch at a time");
}

void Encoder::collect(std::span<float> /*embeddings*/) {
  throw Error(ErrorKind::kUsage, "this encoder takes one batch at a time");
}

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

Precision available_precision(Precision wanted) {
  switch (wanted) {
    case Precision::kF32:
      return Precision::kF32;
    case Precision::kAuto:
    case Precision::kBf16:
      return native_bf16() ? Precision::kBf16 : Precision::kF32;
    case Precision::kInt8:
      break;
  }
  throw Error(ErrorKind::kUnsupported, "precision int8 is not available; take f32 or bf16");
}

}  // namespace med3d
