// Bounds on what a file may ask of us, and arithmetic that cannot wrap.
//
// Files are hostile: every size read from one passes through these before memory is allocated.
#pragma once

#include <cstdint>
#include <string_view>

namespace med3d {

struct Limits {
  std::uint64_t table_bytes = 512ULL << 20;    // a CSV or TSV file
  std::uint64_t table_columns = 100'000;       // columns of a table
  std::uint64_t table_cell_bytes = 1ULL << 20; // one cell
  std::uint64_t table_rows = 50'000'000;       // rows of a table
  std::uint64_t array_bytes = 4ULL << 30;      // one array in npy, npz, h5, pt, safetensors
  std::uint64_t weights_bytes = 16ULL << 30;   // a weights file as a whole
  std::uint64_t json_header_bytes = 100ULL << 20;  // the header of a safetensors file
  std::uint64_t json_depth = 64;               // nesting of a JSON document
  std::uint64_t zip_entries = 10'000;          // members of a zip container
  std::uint64_t zip_ratio = 256;               // inflated bytes for each stored byte
  std::uint64_t pickle_opcodes = 1'000'000;    // instructions of a pickle stream
  std::uint64_t pickle_memo = 1'000'000;       // remembered objects of a pickle stream
  std::uint64_t tensor_dimensions = 16;        // axes of one array
  std::uint64_t config_bytes = 4ULL << 20;     // a cohort or settings file
  std::uint64_t image_side = 1ULL << 20;       // width or height of a slide or an image, pixels
  std::uint64_t image_bytes = 1ULL << 30;      // pixels of an image that is decoded as a whole
  std::uint64_t tile_bytes = 64ULL << 20;      // one tile of a slide, stored or decoded
  std::uint64_t worker_bytes = 4ULL << 30;        // memory of a process that decodes files
  std::uint64_t worker_cpu_seconds = 300;         // its processor time for one request
  std::uint64_t worker_wall_seconds = 600;        // how long one request may take
};

// The limits in force for the whole process. Set once, at start-up.
const Limits& limits();
void set_limits(const Limits& limits);

// a * b and a + b, or Error(kFormat, "<what>: a size that does not fit in 64 bits").
std::uint64_t checked_multiply(std::uint64_t a, std::uint64_t b, std::string_view what);
std::uint64_t checked_add(std::uint64_t a, std::uint64_t b, std::string_view what);

}  // namespace med3d
