#include "med3d/core/error.h"

namespace med3d {

void rethrow_with_context(const std::string& context) {
  try {
    throw;
  } catch (const Error& error) {
    std::throw_with_nested(Error(error.kind(), context + ": " + error.what()));
  } catch (const std::exception& error) {
    std::throw_with_nested(Error(ErrorKind::kIo, context + ": " + error.what()));
  }
}

std::string describe(const std::exception& error) { return error.what(); }

std::string to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage:
      return "usage";
    case ErrorKind::kNotFound:
      return "not-found";
    case ErrorKind::kFormat:
      return "format";
    case ErrorKind::kUnsupported:
      return "unsupported";
    case ErrorKind::kData:
      return "data";
    case ErrorKind::kNumerical:
      return "numerical";
    case ErrorKind::kIo:
      return "io";
  }
  return "unknown";
}

}  // namespace med3d
