#include "med3d/radiology/dicom_series.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/parallel.h"
#include "med3d/io/formats/dicom.h"
#include "med3d/radiology/dicom_frame_internal.h"
#include "med3d/radiology/slice_stack_internal.h"
#include "med3d/radiology/volume_worker.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;
using radiology::FrameFormat;
using radiology::SlicePlace;
using radiology::StackPlan;

constexpr std::int64_t kMaxFrames = 1 << 16;
constexpr std::int64_t kMaxSlicePixels = 1 << 26;
constexpr std::size_t kMaxFolderFiles = 1'000'000;
constexpr double kMaxMillimetres = 1e6;

constexpr DicomTag kModality = 0x00080060;
constexpr DicomTag kSeriesUid = 0x0020000E;
constexpr DicomTag kPosition = 0x00200032;
constexpr DicomTag kOrientation = 0x00200037;
constexpr DicomTag kPixelSpacing = 0x00280030;
constexpr DicomTag kSliceThickness = 0x00180050;
constexpr DicomTag kSpacingBetween = 0x00180088;
constexpr DicomTag kIntercept = 0x00281052;
constexpr DicomTag kSlope = 0x00281053;
constexpr DicomTag kRescaleType = 0x00281054;

[[noreturn]] void bad(const std::string& what) { throw Error(ErrorKind::kFormat, what); }
[[noreturn]] void unsupported(const std::string& what) {
  throw Error(ErrorKind::kUnsupported, what);
}
[[noreturn]] void unusable(const std::string& what) { throw Error(ErrorKind::kData, what); }

// One frame: where it is, what it means, and which file holds it.
struct Slice {
  std::size_t file = 0;
  std::uint64_t frame = 0;
  SlicePlace place;
  FrameFormat format;
  bool hu = false;
};

struct FileHeader {
  std::string series_uid;  // never shown
  std::string modality;
  std::vector<Slice> slices;
};

std::string known_modality(const std::string& text) {
  constexpr std::array kKnown{"CT",
                              "MR",
                              "PT",
                              "NM",
                              "US",
                              "XA",
                              "CR",
                              "DX",
                              "MG",
                              "RF",
                              "OT",
                              "SC",
                              "SEG",
                              "OPT",
                              "RTDOSE"};
  return std::ranges::find(kKnown, text) != kKnown.end() ? text : "";
}

// A frame's own groups first, then those that all frames share, then the data set itself.
class Groups {
 public:
  Groups(const DicomDataset& dataset, std::uint64_t frame)
      : dataset_(dataset),
        own_(dataset.item(0x52009230, frame)),
        shared_(dataset.item(0x52009229)) {}

  // The item of `group` (0 = none) that has the tag.
  const DicomDataset* holding(DicomTag group, DicomTag tag) const {
    for (const DicomDataset* groups : {own_, shared_}) {
      const DicomDataset* item = groups != nullptr ? groups->item(group) : nullptr;
      if (item != nullptr && item->has(tag)) return item;
    }
    return dataset_.has(tag) ? &dataset_ : nullptr;
  }

 private:
  const DicomDataset& dataset_;
  const DicomDataset* own_;
  const DicomDataset* shared_;
};

template <std::size_t kCount>
std::optional<std::array<double, kCount>> numbers(const DicomDataset* from, DicomTag tag) {
  if (from == nullptr) return std::nullopt;
  std::array<double, kCount> out{};
  for (std::size_t i = 0; i < kCount; ++i) {
    const auto value = from->number(tag, i);
    if (!value || std::abs(*value) > kMaxMillimetres) return std::nullopt;
    out[i] = *value;
  }
  return out;
}

SlicePlace place_of(const DicomDataset& dataset, const Groups& groups) {
  SlicePlace out;
  out.columns = dataset.integer(0x00280011, "Columns", 1, 65535);
  out.rows = dataset.integer(0x00280010, "Rows", 1, 65535);
  if (out.columns * out.rows > kMaxSlicePixels) {
    bad(fmt::format(
        "{} x {} pixels, more than the limit of {}", out.columns, out.rows, kMaxSlicePixels));
  }
  const auto position = numbers<3>(groups.holding(0x00209113, kPosition), kPosition);
  if (!position) unusable("no ImagePositionPatient of three numbers: its place is not known");
  const auto directions = numbers<6>(groups.holding(0x00209116, kOrientation), kOrientation);
  if (!directions)
    unusable("no ImageOrientationPatient of six numbers: its direction is not known");
  out.position = *position;
  out.row = {(*directions)[0], (*directions)[1], (*directions)[2]};
  out.column = {(*directions)[3], (*directions)[4], (*directions)[5]};
  for (Vector3* direction : {&out.row, &out.column}) {
    const double length = norm(*direction);
    if (std::abs(length - 1.0) > 0.01) {
      unusable(fmt::format("a direction of length {:.4g} in ImageOrientationPatient, expected 1",
                           length));
    }
    for (double& value : *direction) value /= length;
  }
  const double cosine = dot(out.row, out.column);
  if (std::abs(cosine) > 0.01) {
    unusable(fmt::format(
        "rows and columns with a cosine of {:.4g} between them, expected right angles", cosine));
  }
  // Rounding in the file must not shear the grid.
  for (std::size_t i = 0; i < 3; ++i) out.column[i] -= cosine * out.row[i];
  const double length = norm(out.column);
  for (double& value : out.column) value /= length;

  const DicomDataset* measures = groups.holding(0x00289110, kPixelSpacing);
  const auto spacing = numbers<2>(measures, kPixelSpacing);
  if (!spacing || !((*spacing)[0] > 0.0) || !((*spacing)[1] > 0.0)) {
    unusable("no PixelSpacing of two numbers above 0");
  }
  out.spacing_y = (*spacing)[0];  // between rows
  out.spacing_x = (*spacing)[1];
  for (const DicomTag tag : {kSliceThickness, kSpacingBetween}) {
    const auto value = numbers<1>(groups.holding(0x00289110, tag), tag);
    if (value && (*value)[0] > 0.0 && out.thickness == 0.0) out.thickness = (*value)[0];
  }
  return out;
}

FrameFormat format_of(const DicomFile& file, const Groups& groups, const SlicePlace& place) {
  const DicomDataset& dataset = file.dataset();
  FrameFormat out;
  out.transfer_syntax = file.transfer_syntax();
  out.codec = radiology::codec_of(out.transfer_syntax);
  out.columns = place.columns;
  out.rows = place.rows;
  out.big_endian = file.pixels().big_endian;
  out.as_words = file.pixels().as_words;
  const auto bits = dataset.integer(0x00280100, "BitsAllocated", 1, 64);
  if (bits != 8 && bits != 16 && bits != 32) {
    unsupported(fmt::format("{} bits a pixel, expected 8, 16 or 32", bits));
  }
  out.bits_allocated = static_cast<int>(bits);
  if (out.big_endian && bits == 32) unsupported("32-bit pixels in big endian");
  out.bits_stored = static_cast<int>(dataset.integer(0x00280101, "BitsStored", 1, bits, bits));
  out.high_bit = static_cast<int>(
      dataset.integer(0x00280102, "HighBit", out.bits_stored - 1, bits - 1, out.bits_stored - 1));
  out.is_signed = dataset.integer(0x00280103, "PixelRepresentation", 0, 1, 0) == 1;
  if (dataset.item(0x00283000) != nullptr)
    unsupported("a modality LUT, expected slope and intercept");
  const DicomDataset* rescale = groups.holding(0x00289145, kSlope);
  if (rescale != nullptr) {
    const auto slope = rescale->number(kSlope);
    const auto intercept = rescale->number(kIntercept);
    if (!slope || *slope == 0.0) bad("a RescaleSlope that is 0 or no number");
    out.slope = *slope;
    out.intercept = intercept.value_or(0.0);
  }
  return out;
}

void require_grey(const DicomDataset& dataset) {
  const auto samples = dataset.integer(0x00280002, "SamplesPerPixel", 1, 65535, 1);
  if (samples != 1)
    unsupported(fmt::format("{} samples a pixel, expected 1: it is a picture", samples));
  const std::string photometric = dataset.text(0x00280004);
  if (photometric == "PALETTE COLOR") unsupported("pixels by a palette, expected grey");
  if (photometric != "MONOCHROME1" && photometric != "MONOCHROME2") {
    unsupported("a photometric interpretation other than MONOCHROME1 and MONOCHROME2");
  }
}

// What a file of this size can hold at most: a header that claims more is a lie, and gets no
// memory.
void require_room(const std::vector<Slice>& slices,
                  const std::string& transfer_syntax,
                  const fs::path& path) {
  std::error_code failed;
  const std::uint64_t size = fs::file_size(path, failed);
  if (failed) throw Error(ErrorKind::kIo, fmt::format("cannot be read: {}", failed.message()));
  constexpr std::uint64_t kInflated = 1032;    // deflate's best
  constexpr std::uint64_t kRunLength = 64;     // two bytes become at most 128
  constexpr std::uint64_t kCompressed = 4096;  // an empty slice by JPEG-LS or JPEG 2000
  const radiology::Codec codec = slices.front().format.codec;
  std::uint64_t ratio = kCompressed;
  if (codec == radiology::Codec::kRle) ratio = kRunLength;
  if (codec == radiology::Codec::kNative) {
    ratio = transfer_syntax == "1.2.840.10008.1.2.1.99" ? kInflated : 1;
  }
  const std::uint64_t claimed = slices.front().format.native_bytes() * slices.size();
  if (claimed / ratio > size) {
    bad(fmt::format("{} bytes, too few for {} frames of {} x {} pixels",
                    size,
                    slices.size(),
                    slices.front().place.columns,
                    slices.front().place.rows));
  }
}

FileHeader header_of(const fs::path& path, std::size_t number) {
  const DicomFile file = DicomFile::read(path, DicomPart::kHeader);
  const DicomDataset& dataset = file.dataset();
  FileHeader out;
  out.series_uid = dataset.text(kSeriesUid);
  out.modality = known_modality(dataset.text(kModality));
  if (!file.pixels().present) unusable("no pixels: it is no image");
  radiology::codec_of(file.transfer_syntax());
  require_grey(dataset);
  const auto frames = dataset.integer(0x00280008, "NumberOfFrames", 1, kMaxFrames, 1);
  const DicomElement* own = dataset.find(0x52009230);
  if (frames > 1 && own == nullptr) {
    unusable(
        fmt::format("{} frames without groups of their own: their places are not known", frames));
  }
  if (own != nullptr && own->items.size() != static_cast<std::size_t>(frames)) {
    bad(fmt::format("{} groups of frames, expected {}", own->items.size(), frames));
  }
  const bool inverted = dataset.text(0x00280004) == "MONOCHROME1";
  for (std::int64_t frame = 0; frame < frames; ++frame) {
    const Groups groups(dataset, static_cast<std::uint64_t>(frame));
    Slice slice;
    slice.file = number;
    slice.frame = static_cast<std::uint64_t>(frame);
    slice.place = place_of(dataset, groups);
    slice.format = format_of(file, groups, slice.place);
    const DicomDataset* rescale = groups.holding(0x00289145, kSlope);
    const DicomDataset* type = groups.holding(0x00289145, kRescaleType);
    const std::string word = type != nullptr ? type->text(kRescaleType) : "";
    slice.hu = out.modality == "CT" && rescale != nullptr && (word.empty() || word == "HU");
    slice.format.inverted = inverted && !slice.hu;
    out.slices.push_back(std::move(slice));
  }
  require_room(out.slices, file.transfer_syntax(), path);
  return out;
}

// Whether slope and intercept could carry a sample of 32 bits beyond a float; of others no voxel
// has to be looked at.
bool may_overflow(const Slice& slice) {
  constexpr double kSamples = 4294967296.0;  // 2^32; inverting doubles the range
  return !(2.0 * std::abs(slice.format.slope) * kSamples + std::abs(slice.format.intercept) <
           static_cast<double>(std::numeric_limits<float>::max()));
}

std::string file_name(std::size_t number, std::size_t count) {
  return fmt::format("file {} of {}", number + 1, count);
}

struct Headers {
  std::vector<Slice> slices;
  std::vector<std::uint64_t> frames;  // of each file
  std::string modality;
};

Headers read_headers(std::span<const fs::path> files, int threads) {
  std::vector<FileHeader> headers(files.size());
  parallel_for(files.size(), threads, [&](std::size_t i) {
    try {
      headers[i] = header_of(files[i], i);
    } catch (...) {
      rethrow_with_context(file_name(i, files.size()));
    }
  });
  Headers out;
  out.modality = headers.front().modality;
  for (std::size_t i = 0; i < headers.size(); ++i) {
    if (headers[i].series_uid != headers.front().series_uid) {
      unusable(fmt::format("{}: of another series than file 1, expected files of one series",
                           file_name(i, files.size())));
    }
    if (headers[i].modality != out.modality) {
      unusable(fmt::format("{}: of another modality than file 1", file_name(i, files.size())));
    }
    out.frames.push_back(headers[i].slices.size());
    std::ranges::move(headers[i].slices, std::back_inserter(out.slices));
  }
  const auto hu = static_cast<std::size_t>(std::ranges::count_if(out.slices, &Slice::hu));
  if (hu != 0 && hu != out.slices.size()) {
    unusable(fmt::format(
        "Hounsfield units in {} of {} images, expected all or none", hu, out.slices.size()));
  }
  return out;
}

}  // namespace

void SeriesOptions::validate() const {
  if (!(position_tolerance > 0.0) || !(position_tolerance <= 0.45)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("a position tolerance of {} steps, expected above 0 and at most 0.45",
                            position_tolerance));
  }
  if (threads < 1) {
    throw Error(ErrorKind::kUsage, fmt::format("{} threads, expected at least 1", threads));
  }
}

SeriesVolume load_series(std::span<const fs::path> files, const SeriesOptions& options) {
  options.validate();
  if (files.empty()) throw Error(ErrorKind::kUsage, "no files, expected those of one series");
  if (auto isolated = isolated_load_series(files, options)) return std::move(*isolated);
  radiology::prepare_dcmtk();
  const Headers headers = read_headers(files, options.threads);
  std::vector<SlicePlace> places;
  places.reserve(headers.slices.size());
  for (const Slice& slice : headers.slices) places.push_back(slice.place);
  const StackPlan plan = radiology::plan_stack(places, options);

  const SlicePlace& first = places.front();
  const std::size_t count = checked_voxels(
      {first.columns, first.rows, static_cast<std::int64_t>(plan.places.size())}, "series");
  const auto pixels = static_cast<std::size_t>(first.columns * first.rows);
  // The first image of each place makes the volume; the others are compared with it.
  std::vector<std::size_t> target(headers.slices.size());
  std::vector<bool> is_first(headers.slices.size(), false);
  for (std::size_t k = 0; k < plan.places.size(); ++k) {
    for (const std::size_t i : plan.places[k]) target[i] = k;
    is_first[plan.places[k].front()] = true;
  }
  std::vector<float> voxels(count);
  const auto pass = [&](bool firsts, const auto& use) {
    std::vector<std::vector<std::size_t>> of_file(files.size());
    for (std::size_t i = 0; i < headers.slices.size(); ++i) {
      if (is_first[i] == firsts) of_file[headers.slices[i].file].push_back(i);
    }
    parallel_for(files.size(), options.threads, [&](std::size_t f) {
      if (of_file[f].empty()) return;
      try {
        const DicomFile file = DicomFile::read(files[f]);
        std::string storage;
        for (const std::size_t i : of_file[f]) {
          const Slice& slice = headers.slices[i];
          use(slice,
              file.frame(slice.frame, headers.frames[f], slice.format.native_bytes(), storage),
              std::span(voxels).subspan(target[i] * pixels, pixels));
        }
      } catch (...) {
        rethrow_with_context(file_name(f, files.size()));
      }
    });
  };
  pass(true, [](const Slice& slice, std::string_view bytes, std::span<float> out) {
    radiology::decode_grey_frame(slice.format, bytes, out);
  });
  SeriesVolume out;
  out.images = headers.slices.size();
  out.duplicates = headers.slices.size() - plan.places.size();
  if (out.duplicates > 0) {
    const auto several = static_cast<std::size_t>(
        std::ranges::count_if(plan.places, [](const auto& images) { return images.size() > 1; }));
    pass(false, [&](const Slice& slice, std::string_view bytes, std::span<float> kept) {
      std::vector<float> other(pixels);
      radiology::decode_grey_frame(slice.format, bytes, other);
      if (!std::ranges::equal(other, kept)) {
        unusable(
            fmt::format("images with different pixels at one place ({} of {} places hold more than "
                        "one), expected one: several phases, echoes or times in one series",
                        several,
                        plan.places.size()));
      }
    });
  }
  out.volume = radiology::build_volume(plan, places, std::move(voxels), options);
  out.volume.units = headers.slices.front().hu ? VoxelUnits::kHu : VoxelUnits::kArbitrary;
  out.modality = headers.modality;
  out.plane = plane_of(first.row, first.column);
  out.interpolated = plan.grid_slices - std::min(plan.grid_slices, plan.places.size());
  out.tilt_degrees = plan.tilt_degrees;
  out.notes = plan.notes;
  if (out.duplicates > 0) {
    out.notes.push_back(
        fmt::format("{} images there twice with equal pixels; dropped", out.duplicates));
  }
  if (std::ranges::any_of(headers.slices, may_overflow)) {
    for (const float voxel : out.volume.voxels) {
      if (!std::isfinite(voxel)) unusable("voxels beyond the range of a float after rescaling");
    }
  }
  return out;
}

SeriesInfo inspect_series(std::span<const fs::path> files, const SeriesOptions& options) {
  options.validate();
  if (files.empty()) throw Error(ErrorKind::kUsage, "no files, expected those of one series");
  if (auto isolated = isolated_inspect_series(files, options)) return std::move(*isolated);
  const Headers headers = read_headers(files, options.threads);
  std::vector<SlicePlace> places;
  std::set<std::string> syntaxes;
  for (const Slice& slice : headers.slices) {
    places.push_back(slice.place);
    syntaxes.emplace(radiology::syntax_name(slice.format.transfer_syntax));
  }
  const StackPlan plan = radiology::plan_stack(places, options);
  const Slice& first = headers.slices.front();
  SeriesInfo out;
  out.modality = headers.modality;
  out.size = {first.place.columns, first.place.rows, static_cast<std::int64_t>(plan.grid_slices)};
  out.spacing_mm = {first.place.spacing_x, first.place.spacing_y, plan.step_mm};
  Affine axes;
  for (std::size_t i = 0; i < 3; ++i) {
    axes.m[i][0] = first.place.row[i];
    axes.m[i][1] = first.place.column[i];
    axes.m[i][2] = plan.normal[i];
  }
  out.orientation = orientation_code(axes);
  out.plane = plane_of(first.place.row, first.place.column);
  out.units = first.hu ? VoxelUnits::kHu : VoxelUnits::kArbitrary;
  out.bits_stored = first.format.bits_stored;
  out.is_signed = first.format.is_signed;
  out.transfer_syntaxes.assign(syntaxes.begin(), syntaxes.end());
  out.images = headers.slices.size();
  out.places = plan.places.size();
  out.tilt_degrees = plan.tilt_degrees;
  out.notes = plan.notes;
  return out;
}

FolderSeries find_series(const fs::path& folder, int threads) {
  std::error_code failed;
  if (!fs::is_directory(folder, failed)) {
    throw Error(ErrorKind::kNotFound, "no folder of that name to look for DICOM files in");
  }
  std::vector<fs::path> files;
  for (fs::recursive_directory_iterator
           at(folder, fs::directory_options::skip_permission_denied, failed),
       end;
       !failed && at != end;
       at.increment(failed)) {
    std::error_code ignored;
    if (at->is_symlink(ignored) || !at->is_regular_file(ignored)) continue;
    if (files.size() >= kMaxFolderFiles) {
      bad(fmt::format("more than {} files in one folder", kMaxFolderFiles));
    }
    files.push_back(at->path());
  }
  if (failed)
    throw Error(ErrorKind::kIo, fmt::format("a folder cannot be read: {}", failed.message()));
  return group_series(files, threads);
}

FolderSeries group_series(std::span<const fs::path> given, int threads) {
  std::vector<fs::path> files(given.begin(), given.end());
  std::ranges::sort(files);
  std::vector<std::string> uids(files.size());
  parallel_for(files.size(), threads, [&](std::size_t i) {
    try {
      const DicomFile file = DicomFile::read(files[i], DicomPart::kHeader);
      if (file.pixels().present) uids[i] = file.dataset().text(kSeriesUid);
    } catch (const Error&) {
      uids[i].clear();
    }
  });
  FolderSeries out;
  std::map<std::string, std::size_t> known;
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (uids[i].empty()) {
      ++out.other_files;
      continue;
    }
    const auto [found, fresh] = known.try_emplace(uids[i], out.series.size());
    if (fresh) out.series.push_back({uids[i], {}});
    out.series[found->second].files.push_back(std::move(files[i]));
  }
  return out;
}

}  // namespace med3d
