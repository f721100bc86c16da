#include "med3d/core/limits.h"

#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/output.h"

namespace med3d {
namespace {

struct Row {
  std::string_view name;
  std::uint64_t Limits::*value;
  bool bytes;
  std::string_view meaning;
};

constexpr Row kRows[] = {
    {"table_bytes", &Limits::table_bytes, true, "a CSV or TSV file"},
    {"table_columns", &Limits::table_columns, false, "columns of a table"},
    {"table_cell_bytes", &Limits::table_cell_bytes, true, "one cell of a table"},
    {"table_rows", &Limits::table_rows, false, "rows of a table"},
    {"array_bytes", &Limits::array_bytes, true, "one array in npy, npz, h5, pt, safetensors"},
    {"weights_bytes", &Limits::weights_bytes, true, "a weights file as a whole"},
    {"json_header_bytes",
     &Limits::json_header_bytes,
     true,
     "a JSON file, or the header of a safetensors file"},
    {"json_depth", &Limits::json_depth, false, "nesting of a JSON document"},
    {"zip_entries", &Limits::zip_entries, false, "members of a zip container"},
    {"zip_ratio", &Limits::zip_ratio, false, "inflated bytes for each stored byte"},
    {"pickle_opcodes", &Limits::pickle_opcodes, false, "instructions of a pickle stream"},
    {"pickle_memo", &Limits::pickle_memo, false, "remembered objects of a pickle stream"},
    {"tensor_dimensions", &Limits::tensor_dimensions, false, "axes of one array"},
    {"config_bytes", &Limits::config_bytes, true, "a cohort or settings file"},
    {"image_side", &Limits::image_side, false, "width or height of a slide or an image, pixels"},
    {"image_bytes", &Limits::image_bytes, true, "pixels of an image that is decoded as a whole"},
    {"tile_bytes", &Limits::tile_bytes, true, "one tile of a slide, stored or decoded"},
    {"worker_bytes", &Limits::worker_bytes, true, "memory of a process that decodes files"},
    {"worker_cpu_seconds",
     &Limits::worker_cpu_seconds,
     false,
     "its processor time for one request, seconds"},
    {"worker_wall_seconds",
     &Limits::worker_wall_seconds,
     false,
     "how long it may take for one request, seconds"},
};
// A limit that is added to the struct must be shown: every field is one 64-bit number.
static_assert(sizeof(Limits) == std::size(kRows) * sizeof(std::uint64_t),
              "a field of Limits is missing from the table");

std::string shown(std::uint64_t value, bool bytes) {
  constexpr std::uint64_t kMiB = 1ULL << 20;
  constexpr std::uint64_t kGiB = 1ULL << 30;
  if (bytes && value % kGiB == 0) return fmt::format("{} GiB", value / kGiB);
  if (bytes && value % kMiB == 0) return fmt::format("{} MiB", value / kMiB);
  return bytes ? fmt::format("{} bytes", value) : fmt::format("{}", value);
}

int run(const Options& options) {
  if (options.json()) {
    Json document;
    for (const Row& row : kRows) document[row.name] = limits().*row.value;
    print_json(document);
    return kExitDone;
  }
  for (const Row& row : kRows) {
    print(fmt::format("{:<19} {:>10}", row.name, shown(limits().*row.value, row.bytes)));
    print(options.quiet() ? "\n" : fmt::format("  {}\n", row.meaning));
  }
  return kExitDone;
}

}  // namespace

extern const Command limits_command;
const Command limits_command = {
    .name = "limits",
    .summary = "Show how much a file may ask for before it is refused",
    .reference = "",
    .examples = {{"med3d limits", "Show the table"},
                 {"med3d limits --json", "The same as numbers, sizes in bytes"}},
    .declare = [](Schema&) {},
    .run = run,
};

}  // namespace med3d
