// What a run on slides and scans would do, and what it would cost.
#include <fmt/format.h>
#include <stdlib.h>

#include <cmath>

#include "med3d/core/error.h"
#include "med3d/pipeline/run_work_internal.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

// Priors where this folder has no rate of its own: of two cores and encoders of the size of
// ResNet-50 and MedicalNet's ResNet-18 at its full size. They tell minutes from days, no more.
constexpr double kSecondsPerSlideMegabyteTiled = 0.2;
constexpr double kSecondsPerSlideMegabyteEncoded = 12.0;
constexpr double kSecondsPerMegavoxel = 1.5;
constexpr double kFeatureBytesPerSlideByte = 0.06;  // a tile of 20 kB of JPEG to 1,024 f32, twice
constexpr double kPictureBytesPerSlide = 300e3;
constexpr double kBytesPerScan = 6e3;
// Of the process with its libraries and an encoder, beside what the volumes of scans take.
constexpr double kMemoryBytes = 700e6;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "med3d-plan-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      throw Error(ErrorKind::kIo, "no temporary folder can be made");
    }
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// One kind of item at one stage.
struct Line {
  std::string stage;
  const char* kind;
  std::size_t items = 0;
  std::size_t kept = 0;
  double seconds = 0.0;
  bool measured = false;  // by this folder's own rate
  double disk_bytes = 0.0;

  Json to_json() const {
    return {{"stage", stage},
            {"kind", kind},
            {"items", items},
            {"to_do", items - kept},
            {"kept", kept},
            {"seconds", std::round(seconds)},
            {"rate", measured ? "this folder's" : "prior"},
            {"disk_bytes", std::round(disk_bytes)}};
  }
};

}  // namespace

Json plan_files(RunWork& run) {
  const auto& raw = run.settings.raw;
  std::unique_ptr<RunStore> store;
  if (RunStore::exists(run.out)) {
    StoreOptions read;
    read.use = StoreUse::kRead;
    store = std::make_unique<RunStore>(run.out, read);
  }
  const auto kept = [&](const std::string& stage, const std::string& item, const std::string& key) {
    if (!store) return false;
    const auto record = store->find(stage, item);
    return record && record->key == key && record->state != ItemState::kFailed;
  };
  const auto rate = [&](const std::string& stage) -> std::optional<double> {
    if (!store) return std::nullopt;
    for (const auto& record : store->stages()) {
      if (record.stage == stage && record.seconds_per_item()) return record.seconds_per_item();
    }
    return std::nullopt;
  };
  Json list = Json::array();
  double seconds = 0.0;
  double disk = 0.0;
  double memory = kMemoryBytes;
  const auto add = [&](const Line& line) {
    list.push_back(line.to_json());
    seconds += line.seconds;
    disk += line.disk_bytes;
  };
  if (raw.slides.used()) {
    const auto slides = run.taken_slides();
    for (const char* stage : {"tile", "extract"}) {
      const bool encode = std::string_view(stage) == "extract";
      Line line{stage, "slides"};
      line.items = slides.size();
      // Rates of extract are of slides and scans together: of slides alone only where there are no
      // scans.
      const auto own = encode && raw.scans.used() ? std::nullopt : rate(stage);
      line.measured = own.has_value();
      for (const auto& slide : slides) {
        if (kept(stage, slide.slide_id, run.item_key(stage, slide))) {
          ++line.kept;
          continue;
        }
        const double bytes = static_cast<double>(bytes_of(slide));
        line.seconds +=
            own ? *own
                : bytes / 1e6 *
                      (encode ? kSecondsPerSlideMegabyteEncoded : kSecondsPerSlideMegabyteTiled);
        line.disk_bytes += encode ? bytes * kFeatureBytesPerSlideByte : kPictureBytesPerSlide;
      }
      add(line);
    }
  }
  if (raw.scans.used()) {
    const TemporaryFolder temporary;
    fs::path index = run.series_index();
    if (!fs::exists(index)) {
      index = temporary.path() / "index.sqlite";
      index_volumes(index_options(raw.scans, index, run.options.threads), run.progress);
    }
    Line line{"extract", "scans"};
    const double voxels =
        static_cast<double>(raw.scans.size.at(0)) * raw.scans.size.at(1) * raw.scans.size.at(2);
    for (const auto& scan : items_of(choose_series(raw.scans, index), raw.scans.masks)) {
      if (!scan.kept || modality_folder(scan.modality).empty()) continue;
      if (!run.mine(scan.patient + "/" + scan.series)) continue;
      ++line.items;
      if (kept("extract", scan.patient + "/" + scan.series, run.item_key("extract", scan))) {
        ++line.kept;
        continue;
      }
      line.seconds += voxels / 1e6 * kSecondsPerMegavoxel;
      line.disk_bytes += kBytesPerScan;
    }
    // A scan as read, three prepared ones, and the encoder's first layers.
    memory += 40.0 * voxels;
    add(line);
  }
  return {{"output", run.out.string()},
          {"stages", list},
          {"seconds", std::round(seconds)},
          {"disk_bytes", std::round(disk)},
          {"memory_bytes", std::round(memory)}};
}

}  // namespace med3d::pipeline
