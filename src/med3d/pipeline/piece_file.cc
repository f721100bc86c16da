#include "med3d/pipeline/piece_file.h"

#include "med3d/core/error.h"
#include "med3d/core/hash.h"

namespace med3d::pipeline {
namespace fs = std::filesystem;

void write_piece(const fs::path& path, const std::string& key, const Json& content) {
  Json piece = {{"key", key}, {"sha256", sha256_hex(dump_json(content))}};
  piece.update(content);
  write_json(path, piece);
}

std::optional<Json> read_piece(const fs::path& path, const std::string& key) {
  try {
    Json piece = read_json(path);
    if (!piece.is_object() || piece.value("key", "") != key) return std::nullopt;
    const std::string sha256 = piece.value("sha256", "");
    piece.erase("key");
    piece.erase("sha256");
    if (sha256_hex(dump_json(piece)) != sha256) return std::nullopt;
    return piece;
  } catch (const Error&) {
    return std::nullopt;
  } catch (const Json::exception&) {
    return std::nullopt;  // "key" of another type
  }
}

}  // namespace med3d::pipeline
