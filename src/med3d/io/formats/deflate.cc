#include "med3d/io/formats/deflate.h"

#include <fmt/format.h>
#include <zlib.h>

#include "med3d/core/error.h"

namespace med3d {

std::string zlib_compress(std::string_view bytes, int level) {
  if (level < 0 || level > 9) {
    throw Error(ErrorKind::kUsage, fmt::format("deflate level {}, expected 0 to 9", level));
  }
  uLongf size = compressBound(bytes.size());
  std::string out(size, '\0');
  const int status = compress2(reinterpret_cast<Bytef*>(out.data()),
                               &size,
                               reinterpret_cast<const Bytef*>(bytes.data()),
                               bytes.size(),
                               level);
  if (status != Z_OK) throw Error(ErrorKind::kIo, "deflate: zlib has no memory left");
  out.resize(size);
  return out;
}

}  // namespace med3d
