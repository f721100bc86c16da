// Files a second of `volume index`: many small copies of one header, read for the first time with
// the page cache warm, then again unchanged; beside the time DicomFile takes for the headers alone.
//
//   index_volumes files=2000 threads=1 folder=/tmp/index_volumes
#include <filesystem>
#include <fstream>

#include "bench/measure.h"
#include "med3d/core/progress.h"
#include "med3d/io/formats/dicom.h"
#include "med3d/pipeline/volumes/series_index.h"

namespace med3d::bench {
namespace {

namespace fs = std::filesystem;

std::string little(std::uint64_t value, int size) {
  std::string out;
  for (int i = 0; i < size; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

std::string element(std::uint32_t tag, const char* vr, std::string value) {
  if (value.size() % 2 != 0) value += ' ';
  return little(tag >> 16, 2) + little(tag & 0xFFFF, 2) + vr + little(value.size(), 2) + value;
}

// A CT slice of 128 x 128 with the tags that the index reads.
std::string slice(int series, int number) {
  const std::string uid = fmt::format("1.2.3.{}", series);
  return std::string(128, '\0') + "DICM" +
         element(0x00020010, "UI", std::string("1.2.840.10008.1.2.1") + '\0') +
         element(0x00080008, "CS", "ORIGINAL\\PRIMARY\\AXIAL") +
         element(0x00080018, "UI", fmt::format("{}.{}", uid, number)) +
         element(0x00080060, "CS", "CT") + element(0x0008103E, "LO", "Venous phase 5.0") +
         element(0x00100020, "LO", fmt::format("C3L-{:05}", series)) +
         element(0x00180050, "DS", "5") + element(0x0020000D, "UI", uid + ".0") +
         element(0x0020000E, "UI", uid) +
         element(0x00200032, "DS", fmt::format("-100\\-100\\{}", 5 * number)) +
         element(0x00200037, "DS", "1\\0\\0\\0\\1\\0") + element(0x00280002, "US", little(1, 2)) +
         element(0x00280010, "US", little(128, 2)) + element(0x00280011, "US", little(128, 2)) +
         element(0x00280030, "DS", "0.7\\0.7") + element(0x00280100, "US", little(16, 2)) +
         little(0x00107FE0, 4) + "OW" + little(0, 2) + little(128 * 128 * 2, 4) +
         std::string(128 * 128 * 2, '\1');
}

int run(int argc, char** argv) {
  const Arguments arguments(
      argc, argv, {{"files", "2000"}, {"threads", "1"}, {"folder", "/tmp/med3d_index_volumes"}});
  const int files = arguments.count("files");
  const fs::path folder = arguments.text("folder");
  fs::remove_all(folder);
  constexpr int kSlices = 50;
  std::vector<fs::path> paths;
  for (int i = 0; i < files; ++i) {
    const fs::path path = folder / std::to_string(i / kSlices) / fmt::format("{}.dcm", i % kSlices);
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << slice(i / kSlices, i % kSlices);
    paths.push_back(path);
  }
  Stopwatch headers;
  std::size_t elements = 0;
  for (const fs::path& path : paths) {
    elements += DicomFile::read(path, DicomPart::kHeader).dataset().elements().size();
  }
  const double header_s = headers.wall_s();

  pipeline::VolumeIndexOptions options;
  options.folder = folder;
  options.threads = arguments.count("threads");
  Stopwatch first;
  const auto result = pipeline::index_volumes(options, silent_progress());
  const double first_s = first.wall_s();
  const double first_cpu = first.cpu_s();
  Stopwatch second;
  pipeline::index_volumes(options, silent_progress());
  const double second_s = second.wall_s();
  fs::remove_all(folder);

  Json json = {{"files", files},
               {"series", result.series},
               {"elements", elements},
               {"headers_files_per_s", files / header_s},
               {"index_files_per_s", files / first_s},
               {"unchanged_files_per_s", files / second_s},
               {"index_over_headers", first_s / header_s}};
  add_times(json, first_cpu, first_s);
  say(fmt::format(
          "{} files: {:.0f} a second into the index, {:.0f} unchanged; headers alone {:.0f}",
          files,
          files / first_s,
          files / second_s,
          files / header_s),
      json);
  return 0;
}

}  // namespace
}  // namespace med3d::bench

int main(int argc, char** argv) { return med3d::bench::guarded(med3d::bench::run, argc, argv); }
