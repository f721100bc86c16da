#include "med3d/core/small_files.h"

#include <fstream>

#include "med3d/core/error.h"

namespace med3d {

void write_small_file(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) throw Error(ErrorKind::kIo, path.string() + ": cannot be written");
}

}  // namespace med3d
