#include "med3d/radiology/volume_worker.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/radiology/nifti.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMostThings = 1'000'000;  // files, notes
// Voxels go through memory that stays in the caches, again and again: faster than one large piece,
// every page of which would be new to both.
constexpr std::uint64_t kWindowVoxels = 256 << 10;

enum class Ask : std::uint8_t {
  kSeries,       // options, files -> SeriesVolume without voxels
  kInspect,      // options, files -> SeriesInfo
  kNifti,        // path -> Volume without voxels
  kNiftiHeader,  // path -> Volume without voxels
  kVoxels,       // first, count -> voxels of the last one
};

MessageWriter ask(Ask what) {
  MessageWriter out;
  out.value(static_cast<std::uint8_t>(what));
  return out;
}

void put(MessageWriter& out, const SeriesOptions& options, std::span<const fs::path> files) {
  out.value(options.tilt).value(options.gaps).value(options.position_tolerance);
  out.value(options.threads).value(static_cast<std::uint64_t>(files.size()));
  for (const fs::path& file : files) out.text(file.string());
}

std::vector<fs::path> get_files(MessageReader& in, SeriesOptions& options) {
  options.tilt = in.choice(TiltHandling::kRefuse);
  options.gaps = in.choice(GapHandling::kInterpolate);
  options.position_tolerance = in.value<double>();
  options.threads = in.value<int>();
  std::vector<fs::path> files;
  for (auto n = in.count(kMostThings); n > 0; --n) files.emplace_back(in.text());
  return files;
}

void put(MessageWriter& out, const Vector3& vector) {
  for (const double x : vector) out.value(x);
}

Vector3 get_vector(MessageReader& in) {
  Vector3 out{};
  for (double& x : out) x = in.value<double>();
  return out;
}

void put(MessageWriter& out, const std::vector<std::string>& texts) {
  out.value(static_cast<std::uint64_t>(texts.size()));
  for (const std::string& text : texts) out.text(text);
}

std::vector<std::string> get_texts(MessageReader& in) {
  std::vector<std::string> out;
  for (auto n = in.count(kMostThings); n > 0; --n) out.push_back(in.text());
  return out;
}

// All but the voxels.
void put(MessageWriter& out, const Volume& volume) {
  for (const std::int64_t side : volume.size) out.value(side);
  put(out, volume.spacing_mm);
  for (const auto& row : volume.patient_from_voxel.m) {
    for (const double x : row) out.value(x);
  }
  out.value(volume.units);
}

Volume get_volume(MessageReader& in) {
  Volume volume;
  for (std::int64_t& side : volume.size) side = in.value<std::int64_t>();
  checked_voxels(volume.size, "a scan");
  volume.spacing_mm = get_vector(in);
  for (auto& row : volume.patient_from_voxel.m) {
    for (double& x : row) {
      x = in.value<double>();
      if (!std::isfinite(x)) MessageReader::nonsense();
    }
  }
  volume.units = in.choice(VoxelUnits::kHu);
  return volume;
}

void put(MessageWriter& out, const SeriesVolume& series) {
  put(out, series.volume);
  out.text(series.modality).value(series.plane);
  out.value(static_cast<std::uint64_t>(series.images));
  out.value(static_cast<std::uint64_t>(series.duplicates));
  out.value(static_cast<std::uint64_t>(series.interpolated));
  out.value(series.tilt_degrees);
  put(out, series.notes);
}

SeriesVolume get_series(MessageReader& in) {
  SeriesVolume out;
  out.volume = get_volume(in);
  out.modality = in.text();
  out.plane = in.choice(Plane::kOblique);
  out.images = in.value<std::uint64_t>();
  out.duplicates = in.value<std::uint64_t>();
  out.interpolated = in.value<std::uint64_t>();
  out.tilt_degrees = in.value<double>();
  out.notes = get_texts(in);
  return out;
}

void put(MessageWriter& out, const SeriesInfo& info) {
  out.text(info.modality);
  for (const std::int64_t side : info.size) out.value(side);
  put(out, info.spacing_mm);
  out.text(info.orientation).value(info.plane).value(info.units);
  out.value(info.bits_stored).value(info.is_signed);
  put(out, info.transfer_syntaxes);
  out.value(static_cast<std::uint64_t>(info.images));
  out.value(static_cast<std::uint64_t>(info.places));
  out.value(info.tilt_degrees);
  put(out, info.notes);
}

SeriesInfo get_series_info(MessageReader& in) {
  SeriesInfo out;
  out.modality = in.text();
  for (std::int64_t& side : out.size) side = in.value<std::int64_t>();
  checked_voxels(out.size, "a scan");
  out.spacing_mm = get_vector(in);
  out.orientation = in.text();
  out.plane = in.choice(Plane::kOblique);
  out.units = in.choice(VoxelUnits::kHu);
  out.bits_stored = in.value<int>();
  out.is_signed = in.value<bool>();
  out.transfer_syntaxes = get_texts(in);
  out.images = in.value<std::uint64_t>();
  out.places = in.value<std::uint64_t>();
  out.tilt_degrees = in.value<double>();
  out.notes = get_texts(in);
  return out;
}

// ---- in the worker

class VolumeSession : public WorkerSession {
 public:
  void serve(MessageReader& request,
             std::span<std::uint8_t> shared,
             MessageWriter& answer) override {
    const auto what = static_cast<Ask>(request.value<std::uint8_t>());
    SeriesOptions options;
    if (what == Ask::kSeries) {
      const auto files = get_files(request, options);
      SeriesVolume series = load_series(files, options);
      put(answer, series);
      voxels_ = std::move(series.volume.voxels);
    } else if (what == Ask::kInspect) {
      const auto files = get_files(request, options);
      put(answer, inspect_series(files, options));
    } else if (what == Ask::kNifti) {
      Volume volume = read_nifti(request.text());
      put(answer, volume);
      voxels_ = std::move(volume.voxels);
    } else if (what == Ask::kNiftiHeader) {
      put(answer, read_nifti_header(request.text()));
    } else if (what == Ask::kVoxels) {
      const auto first = request.value<std::uint64_t>();
      const auto count = request.value<std::uint64_t>();
      if (first > voxels_.size() || count > voxels_.size() - first ||
          shared.size() / sizeof(float) < count) {
        throw Error(ErrorKind::kUsage, "voxels that are not there");
      }
      std::memcpy(shared.data(), voxels_.data() + first, count * sizeof(float));
    }
  }

 private:
  std::vector<float> voxels_;
};

// ---- in the program that asks

std::unique_ptr<IsolatedSession> start() { return IsolatedSession::start("volume", ""); }

// The answer to `request` by `get`, which throws where it makes no sense.
template <class Get>
auto answer_of(IsolatedSession& session, const MessageWriter& request, const Get& get) {
  const std::string bytes = session.call(request);
  try {
    MessageReader reader(bytes);
    auto out = get(reader);
    reader.end();
    return out;
  } catch (const Error&) {
    session.nonsense();
  }
}

void fetch_voxels(IsolatedSession& session, Volume& volume) {
  const std::uint64_t count = checked_voxels(volume.size, "a scan");
  volume.voxels.reserve(count);
  for (std::uint64_t first = 0; first < count;) {
    const std::uint64_t taken = std::min(kWindowVoxels, count - first);
    session.call(ask(Ask::kVoxels).value(first).value(taken), taken * sizeof(float));
    const auto* window = reinterpret_cast<const float*>(session.shared().data());
    volume.voxels.insert(volume.voxels.end(), window, window + taken);
    first += taken;
  }
}

}  // namespace

extern const WorkerService volume_worker_service = {
    "volume", [] { return std::unique_ptr<WorkerSession>(std::make_unique<VolumeSession>()); }};

std::optional<SeriesVolume> isolated_load_series(std::span<const fs::path> files,
                                                 const SeriesOptions& options) {
  const auto session = start();
  if (!session) return std::nullopt;
  MessageWriter request = ask(Ask::kSeries);
  put(request, options, files);
  SeriesVolume series = answer_of(*session, request, get_series);
  fetch_voxels(*session, series.volume);
  return series;
}

std::optional<SeriesInfo> isolated_inspect_series(std::span<const fs::path> files,
                                                  const SeriesOptions& options) {
  const auto session = start();
  if (!session) return std::nullopt;
  MessageWriter request = ask(Ask::kInspect);
  put(request, options, files);
  return answer_of(*session, request, get_series_info);
}

std::optional<Volume> isolated_read_nifti(const fs::path& path) {
  const auto session = start();
  if (!session) return std::nullopt;
  Volume volume = answer_of(*session, ask(Ask::kNifti).text(path.string()), get_volume);
  fetch_voxels(*session, volume);
  return volume;
}

std::optional<Volume> isolated_read_nifti_header(const fs::path& path) {
  const auto session = start();
  if (!session) return std::nullopt;
  return answer_of(*session, ask(Ask::kNiftiHeader).text(path.string()), get_volume);
}

}  // namespace med3d
