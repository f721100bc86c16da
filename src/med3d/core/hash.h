// SHA-256 (FIPS 180-4): names the content of files in manifests, caches and model bundles.
// Checked against: the standard's vectors for "", "abc" and one million 'a'.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace med3d {

class Sha256 {
 public:
  Sha256();
  void update(const void* data, std::size_t size);
  void update(std::string_view text) { update(text.data(), text.size()); }
  std::string hex();  // 64 lower-case digits; the object may not be used afterwards

 private:
  std::array<std::uint32_t, 8> state_;
  std::array<std::uint8_t, 64> buffer_;
  std::uint64_t length_ = 0;
};

std::string sha256_hex(std::string_view bytes);

// Reads the file in pieces. Throws Error(kNotFound | kIo).
std::string sha256_file(const std::filesystem::path& path);

}  // namespace med3d
