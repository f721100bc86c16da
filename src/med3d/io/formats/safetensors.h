// safetensors: a JSON header and raw arrays, the native format of our weights and features.
//
//   8 bytes   length N of the header, little-endian
//   N bytes   {"__metadata__": {string: string}, "name": {"dtype", "shape", "data_offsets"}, ...}
//   the rest  the arrays back to back, row-major, little-endian, offsets counted from here
//
// The reader refuses what the format forbids and what would make two readers disagree: a header
// beyond limits().json_header_bytes, a key that occurs twice, unknown keys, arrays that overlap or
// leave a hole, offsets that do not fit shape and type, bytes after the last array.
//
// Source: https://github.com/huggingface/safetensors, section "Format".
// Checked against: hand-made bytes (no reader of others was at hand), every cut and bit flip of
// small files.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/file_bytes.h"
#include "med3d/io/array.h"
#include "med3d/io/row_stream.h"
#include "med3d/io/stored_array.h"

namespace med3d {

struct FeatureFormat;

struct Safetensors {
  std::vector<NamedArray> tensors;              // by offset: the order of their bytes in the file
  std::map<std::string, std::string> metadata;  // "__metadata__"

  const Array* find(std::string_view name) const;  // nullptr if there is none
};

// bytes   a whole file
// source  its path, for messages
// Throws Error(kFormat) for a damaged file, kUnsupported for the 8-bit floating types.
Safetensors parse_safetensors(std::string_view bytes, std::string_view source);
// The same without the tensors' bytes, which are read one by one; the file is kept by what it
// returns.
std::vector<NamedStoredArray> stored_safetensors(const FileBytes& file, const std::string& source);
// A file of at most limits().weights_bytes.
Safetensors read_safetensors(const std::filesystem::path& path);

// A whole file. Arrays are laid out by element size, largest first, then by name, so that each is
// aligned to its type and the same arrays are the same bytes in any order; the header is filled
// with spaces to a multiple of 8.
// Throws Error(kUsage) if a name occurs twice or is "__metadata__", text is not UTF-8, or bytes and
// shape of an array disagree.
std::string safetensors_bytes(std::span<const NamedArray> tensors,
                              const std::map<std::string, std::string>& metadata = {});

// The file of one f32 tensor "features" (rows, cols), the bytes of safetensors_bytes, written
// atomically without ever holding it. Throws as RowStream::each_block; Error(kIo).
void write_safetensors_rows(const std::filesystem::path& path, const RowStream& rows);

extern const FeatureFormat safetensors_feature_format;

}  // namespace med3d
