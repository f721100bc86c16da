// DICOM whole-slide images (VL Whole Slide Microscopy Image Storage): one file, or the files of one
// series in a folder, which are its levels, their concatenations and its label, overview,
// thumbnail.
//
// The walk of dicom_file_internal.h finds the frames, DCMTK reads the header in front of the
// per-frame groups; frames are read and decoded one by one, and a few stay in memory.
//
// Read: TILED_FULL and TILED_SPARSE, one focal plane, one optical path, 8 bits a sample. Where a
// sparse level has no tile its pixels are 0.
//
// Source: DICOM PS3.3 A.32.8, C.8.12.4, C.7.6.17.
// Checked against: pydicom 2.3.1 on the same files (tests/reference/dicom_slides.py).
#include "med3d/io/formats/dicom.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"
#include "med3d/wsi/readers/dicom_file_internal.h"
#include "med3d/wsi/readers/dicom_frame_internal.h"
#include "med3d/wsi/readers/request_internal.h"
#include "med3d/wsi/slide.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;
using namespace dicom;

constexpr std::string_view kWholeSlide = "1.2.840.10008.5.1.4.1.1.77.1.6";
constexpr std::size_t kCacheBytes = 32 << 20;  // decoded frames that stay in memory
constexpr std::size_t kMaxFolderEntries = 100'000;
constexpr std::size_t kMaxSeriesFiles = 1'000;
constexpr std::int64_t kFar = 1LL << 40;  // level pixels: no slide has any there

[[noreturn]] void bad(const std::string& what) { throw Error(ErrorKind::kFormat, what); }
[[noreturn]] void unsupported(const std::string& what) {
  throw Error(ErrorKind::kUnsupported, what);
}

// --- The header of one file --------------------------------------------------------------------

enum class Flavor { kVolume, kLabel, kOverview, kThumbnail, kOther };

Flavor flavor_of(const std::string& image_type) {
  const auto values = split(image_type, '\\');
  const std::string_view third = values.size() > 2 ? std::string_view(values[2]) : "";
  if (third.empty() || third == "VOLUME") return Flavor::kVolume;  // some writers leave it out
  if (third == "LABEL") return Flavor::kLabel;
  if (third == "OVERVIEW") return Flavor::kOverview;
  if (third == "THUMBNAIL") return Flavor::kThumbnail;
  return Flavor::kOther;
}

struct Part {
  explicit Part(const fs::path& file) : path(file), reader(file) {}

  fs::path path;
  RandomReader reader;
  DicomIndex index;
  std::string instance_uid;
  Flavor flavor = Flavor::kVolume;
  std::int64_t width = 0;  // of the total pixel matrix
  std::int64_t height = 0;
  FrameFormat format;
  std::uint64_t frames = 0;
  bool sparse = false;
  std::string concatenation;      // its UID, or empty
  std::uint64_t first_frame = 0;  // of the concatenation
  std::vector<FrameSpan> spans;   // of encapsulated frames
  std::optional<double> mpp_x;
  std::optional<double> mpp_y;
  std::optional<double> objective_power;
  std::map<std::string, std::string> properties;
};

std::string text_at(DcmItem& item, const DcmTagKey& tag, unsigned long position = 0) {
  OFString value;
  if (item.findAndGetOFString(tag, value, position).bad()) return "";
  std::string out(value.c_str(), std::min<std::size_t>(value.size(), 256));
  while (!out.empty() && (out.back() == ' ' || out.back() == '\0')) out.pop_back();
  return out;
}

std::optional<double> number_at(DcmItem& item, const DcmTagKey& tag, unsigned long position = 0) {
  const auto number = parse_double(text_at(item, tag, position));
  return number && std::isfinite(*number) ? number : std::nullopt;
}

// A whole number in [least, most]; `otherwise` where there is none.
std::uint64_t count_at(DcmItem& item,
                       const DcmTagKey& tag,
                       std::string_view name,
                       std::uint64_t least,
                       std::uint64_t most,
                       std::optional<std::uint64_t> otherwise = std::nullopt) {
  const std::string text = text_at(item, tag);
  if (text.empty()) {
    if (otherwise) return *otherwise;
    bad(fmt::format("no {}", name));
  }
  const auto number = parse_double(text);
  if (!number || !(*number >= static_cast<double>(least)) ||
      !(*number <= static_cast<double>(most)) || *number != std::floor(*number)) {
    bad(fmt::format("{} {}, expected {} to {}",
                    name,
                    number ? format_double(*number) : "that is no number",
                    least,
                    most));
  }
  return static_cast<std::uint64_t>(*number);
}

DcmItem* item_at(DcmItem& item, const DcmTagKey& sequence) {
  DcmItem* found = nullptr;
  return item.findAndGetSequenceItem(sequence, found, 0).good() ? found : nullptr;
}

Photometric photometric_of(DcmItem& dataset, int samples) {
  const std::string name = text_at(dataset, DCM_PhotometricInterpretation);
  constexpr std::pair<std::string_view, Photometric> kGrey[] = {
      {"MONOCHROME1", Photometric::kMonochrome1}, {"MONOCHROME2", Photometric::kMonochrome2}};
  constexpr std::pair<std::string_view, Photometric> kColour[] = {
      {"RGB", Photometric::kRgb},
      {"YBR_FULL", Photometric::kYbrFull},
      {"YBR_FULL_422", Photometric::kYbrFull422},
      {"YBR_ICT", Photometric::kYbrCodec},
      {"YBR_RCT", Photometric::kYbrCodec}};
  for (const auto& [word, value] : kGrey) {
    if (samples == 1 && name == word) return value;
  }
  for (const auto& [word, value] : kColour) {
    if (samples == 3 && name == word) return value;
  }
  unsupported(fmt::format(
      "{} samples a pixel and a photometric interpretation that do not make RGB or grey", samples));
}

FrameFormat frame_format(DcmItem& dataset, const std::string& transfer_syntax) {
  FrameFormat format;
  format.codec = codec_of(transfer_syntax);
  format.rows = static_cast<std::int64_t>(count_at(dataset, DCM_Rows, "Rows", 1, 65535));
  format.columns = static_cast<std::int64_t>(count_at(dataset, DCM_Columns, "Columns", 1, 65535));
  format.samples =
      static_cast<int>(count_at(dataset, DCM_SamplesPerPixel, "SamplesPerPixel", 1, 65535));
  const auto bits = count_at(dataset, DCM_BitsAllocated, "BitsAllocated", 1, 65535);
  if (bits != 8) unsupported(fmt::format("{} bits a sample, expected 8", bits));
  if (count_at(dataset, DCM_PixelRepresentation, "PixelRepresentation", 0, 1, 0) != 0) {
    unsupported("signed samples");
  }
  format.planar = count_at(dataset, DCM_PlanarConfiguration, "PlanarConfiguration", 0, 1, 0) == 1;
  format.photometric = photometric_of(dataset, format.samples);
  const bool half = format.photometric == Photometric::kYbrFull422;
  const bool codec_only = format.photometric == Photometric::kYbrCodec;
  if ((half && format.codec != Codec::kNative && format.codec != Codec::kJpeg) ||
      (half && format.codec == Codec::kNative && (format.planar || format.columns % 2 != 0)) ||
      (codec_only && format.codec != Codec::kJpeg2000)) {
    unsupported("a photometric interpretation that its transfer syntax does not have");
  }
  if (static_cast<std::uint64_t>(format.rows * format.columns * 3) > limits().tile_bytes) {
    bad(fmt::format("frames of {} x {} pixels, more than the limit of {} bytes",
                    format.columns,
                    format.rows,
                    limits().tile_bytes));
  }
  return format;
}

// Passed on under OpenSlide's kind of name: only numbers, and words of the standard's own lists.
// Everything else (makers, comments, UIDs, dates, people) stays in the file.
void keep_properties(DcmItem& dataset, Part& part) {
  const auto word = [&](std::string_view name,
                        const DcmTagKey& tag,
                        std::initializer_list<std::string_view> known) {
    std::string joined;
    for (unsigned long i = 0; i < 8; ++i) {
      const std::string value = text_at(dataset, tag, i);
      if (std::ranges::find(known, value) == known.end()) continue;
      joined += (joined.empty() ? "" : "\\") + value;
    }
    if (!joined.empty()) part.properties[fmt::format("dicom.{}", name)] = joined;
  };
  const auto number = [&](std::string_view name, const DcmTagKey& tag) {
    if (const auto value = number_at(dataset, tag)) {
      part.properties[fmt::format("dicom.{}", name)] = format_double(*value);
    }
  };
  word("ImageType",
       DCM_ImageType,
       {"ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "VOLUME", "NONE", "RESAMPLED"});
  word("DimensionOrganizationType", DCM_DimensionOrganizationType, {"TILED_FULL", "TILED_SPARSE"});
  word("PhotometricInterpretation",
       DCM_PhotometricInterpretation,
       {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "MONOCHROME1", "MONOCHROME2"});
  word("LossyImageCompression", DCM_LossyImageCompression, {"00", "01"});
  word("LossyImageCompressionMethod",
       DCM_LossyImageCompressionMethod,
       {"ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_15444_15"});
  word("FocusMethod", DCM_FocusMethod, {"AUTO", "MANUAL"});
  word("ExtendedDepthOfField", DCM_ExtendedDepthOfField, {"YES", "NO"});
  word("SpecimenLabelInImage", DCM_SpecimenLabelInImage, {"YES", "NO"});
  word("BurnedInAnnotation", DCM_BurnedInAnnotation, {"YES", "NO"});
  number("LossyImageCompressionRatio", DCM_LossyImageCompressionRatio);
  number("ImagedVolumeWidth", DCM_ImagedVolumeWidth);
  number("ImagedVolumeHeight", DCM_ImagedVolumeHeight);
  number("ImagedVolumeDepth", DCM_ImagedVolumeDepth);
  number("TotalPixelMatrixColumns", DCM_TotalPixelMatrixColumns);
  number("TotalPixelMatrixRows", DCM_TotalPixelMatrixRows);
  part.properties["dicom.TransferSyntaxUID"] = part.index.transfer_syntax;  // one that is read
}

void read_scale(DcmItem& dataset, Part& part) {
  if (DcmItem* shared = item_at(dataset, DCM_SharedFunctionalGroupsSequence)) {
    if (DcmItem* measures = item_at(*shared, DCM_PixelMeasuresSequence)) {
      part.mpp_y = number_at(*measures, DCM_PixelSpacing, 0);  // between rows, then between columns
      part.mpp_x = number_at(*measures, DCM_PixelSpacing, 1);
    }
  }
  if (!part.mpp_x && !part.mpp_y) {
    const auto values = split(part.index.frame_spacing, '\\');
    if (values.size() == 2) {
      part.mpp_y = parse_double(values[0]);
      part.mpp_x = parse_double(values[1]);
    }
  }
  for (auto* spacing : {&part.mpp_x, &part.mpp_y}) {
    if (*spacing) **spacing *= 1000.0;  // mm to micrometres
  }
  if (DcmItem* path = item_at(dataset, DCM_OpticalPathSequence)) {
    part.objective_power = number_at(*path, DCM_ObjectiveLensPower);
  }
}

void read_header(Part& part) {
  DcmFileFormat file;
  const OFCondition status = file.loadFileUntilTag(part.path.c_str(),
                                                   EXS_Unknown,
                                                   EGL_noChange,
                                                   4096,
                                                   ERM_fileOnly,
                                                   DCM_PerFrameFunctionalGroupsSequence);
  if (status.bad()) bad(fmt::format("DCMTK: {}", status.text()));
  DcmDataset& dataset = *file.getDataset();

  part.format = frame_format(dataset, part.index.transfer_syntax);
  if ((part.format.codec != Codec::kNative) != part.index.encapsulated) {
    bad("pixel data that are not stored as the transfer syntax says");
  }
  const std::uint64_t side = limits().image_side;
  part.width = static_cast<std::int64_t>(count_at(dataset,
                                                  DCM_TotalPixelMatrixColumns,
                                                  "TotalPixelMatrixColumns",
                                                  1,
                                                  side,
                                                  part.format.columns));
  part.height = static_cast<std::int64_t>(count_at(
      dataset, DCM_TotalPixelMatrixRows, "TotalPixelMatrixRows", 1, side, part.format.rows));
  part.frames = count_at(dataset, DCM_NumberOfFrames, "NumberOfFrames", 1, kMaxFrames, 1);
  for (const auto& [tag, name] : {std::pair{DCM_TotalPixelMatrixFocalPlanes, "focal planes"},
                                  std::pair{DCM_NumberOfOpticalPaths, "optical paths"}}) {
    const std::uint64_t count = count_at(dataset, tag, name, 1, 65535, 1);
    if (count != 1) unsupported(fmt::format("{} {}, slides of one are read", count, name));
  }

  const std::string organization = text_at(dataset, DCM_DimensionOrganizationType);
  const bool placed = std::ranges::any_of(
      part.index.positions, [](const TilePosition& p) { return p.column > 0 && p.row > 0; });
  part.sparse = organization == "TILED_SPARSE" || (organization != "TILED_FULL" && placed);
  if (part.sparse && part.index.positions.size() != part.frames) {
    bad(fmt::format(
        "positions of {} tiles for {} frames", part.index.positions.size(), part.frames));
  }
  if (!part.sparse) std::vector<TilePosition>().swap(part.index.positions);

  part.instance_uid = text_at(dataset, DCM_SOPInstanceUID);
  part.concatenation = text_at(dataset, DCM_ConcatenationUID);
  part.first_frame = count_at(dataset,
                              DCM_ConcatenationFrameOffsetNumber,
                              "ConcatenationFrameOffsetNumber",
                              0,
                              kMaxFrames,
                              0);
  read_scale(dataset, part);
  keep_properties(dataset, part);

  if (part.format.codec == Codec::kNative) {
    const std::uint64_t needed =
        checked_multiply(part.frames, part.format.native_bytes(), "pixels");
    if (part.index.pixel_length < needed) {
      bad(fmt::format("{} bytes of pixels, expected {}", part.index.pixel_length, needed));
    }
  } else {
    part.spans = encapsulated_frames(part.reader, part.index, part.frames);
  }
}

// The walk, and the header of a whole-slide image.
Part open_part(const fs::path& path) {
  try {
    Part part(path);
    part.index = walk_dicom(part.reader, Walk::kWhole);
    if (part.index.sop_class != kWholeSlide) {
      unsupported(fmt::format("a DICOM file of the class {}, expected a whole-slide image",
                              shown_dicom_uid(part.index.sop_class)));
    }
    if (!part.index.has_pixels) bad("no pixel data");
    codec_of(part.index.transfer_syntax);  // by our own words, before DCMTK meets one it knows not
    part.flavor = flavor_of(part.index.image_type);
    read_header(part);
    return part;
  } catch (const Error&) {
    rethrow_with_context(path.string());
  }
}

// --- A level: the frames of one total pixel matrix ---------------------------------------------

class Matrix {
 public:
  // parts  of one size, at least one
  explicit Matrix(std::vector<Part> parts) : parts_(std::move(parts)) {
    std::ranges::stable_sort(parts_, {}, &Part::first_frame);
    const Part& first = parts_[0];
    columns_ = (first.width + first.format.columns - 1) / first.format.columns;
    const std::int64_t rows = (first.height + first.format.rows - 1) / first.format.rows;
    for (Part& part : parts_) {
      const auto check = [&](bool holds, const std::string& what) {
        if (!holds) bad(fmt::format("{}: {}", part.path.string(), what));
      };
      check(part.format.rows == first.format.rows && part.format.columns == first.format.columns,
            "tiles of another size than the other files of its level");
      check(part.sparse == first.sparse, "tiled in another way than the other files of its level");
      if (part.concatenation.empty() || part.concatenation != first.concatenation) {
        if (&part != &first && !part.sparse) {
          unsupported(
              fmt::format("{}: {} x {} pixels as another file, and no concatenation with it",
                          part.path.string(),
                          part.width,
                          part.height));
        }
      } else {
        check(
            part.first_frame == frames_,
            fmt::format(
                "frames {} to {} of its concatenation are in no file", frames_, part.first_frame));
      }
      starts_.push_back(frames_);
      frames_ += part.frames;
      if (part.sparse) place(part);
    }
    const auto expected = static_cast<std::uint64_t>(columns_ * rows);
    if (!first.sparse && frames_ != expected) {
      bad(fmt::format("{}: {} frames for a level of {} x {} tiles",
                      first.path.string(),
                      frames_,
                      columns_,
                      rows));
    }
    std::ranges::sort(cells_);
  }

  const Part& first() const { return parts_[0]; }

  // The frames that touch a rectangle of the level, in their order.
  std::vector<std::uint64_t> frames_in(std::int64_t left,
                                       std::int64_t top,
                                       std::int64_t right,
                                       std::int64_t bottom) const {
    const FrameFormat& format = parts_[0].format;
    left = std::max<std::int64_t>(left, 0);
    top = std::max<std::int64_t>(top, 0);
    right = std::min(right, parts_[0].width);
    bottom = std::min(bottom, parts_[0].height);
    std::vector<std::uint64_t> out;
    if (left >= right || top >= bottom) return out;
    for (std::int64_t row = top / format.rows; row <= (bottom - 1) / format.rows; ++row) {
      for (std::int64_t column = left / format.columns; column <= (right - 1) / format.columns;
           ++column) {
        const auto cell = static_cast<std::uint64_t>(row * columns_ + column);
        if (!parts_[0].sparse) {
          out.push_back(cell);
          continue;
        }
        const auto from = std::ranges::lower_bound(cells_, std::pair{cell, std::uint64_t{0}});
        for (auto it = from; it != cells_.end() && it->first == cell; ++it)
          out.push_back(it->second);
      }
    }
    std::ranges::sort(out);
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
  }

  // The corner of a frame, in pixels of the level from 0.
  std::pair<std::int64_t, std::int64_t> corner(std::uint64_t frame) const {
    const FrameFormat& format = parts_[0].format;
    if (parts_[0].sparse) {
      const auto [part, local] = find(frame);
      const TilePosition& position = parts_[part].index.positions[local];
      return {position.column - 1, position.row - 1};
    }
    const auto number = static_cast<std::int64_t>(frame);
    return {number % columns_ * format.columns, number / columns_ * format.rows};
  }

  // Decodes a frame into rgb. Throws an Error that names the file and the frame.
  void read(std::uint64_t frame, JpegDecoder& jpeg, std::span<std::uint8_t> rgb) {
    const auto [number, local] = find(frame);
    Part& part = parts_[number];
    try {
      if (part.format.codec == Codec::kNative) {
        const std::uint64_t size = part.format.native_bytes();
        bytes_.resize(size);
        part.reader.read(part.index.pixel_offset + local * size,
                         {reinterpret_cast<std::uint8_t*>(bytes_.data()), size});
      } else {
        read_encapsulated_frame(part.reader, part.spans[local], bytes_);
      }
      decode_frame(part.format, bytes_, jpeg, rgb);
    } catch (const Error&) {
      const auto [x, y] = corner(frame);
      rethrow_with_context(
          fmt::format("{}: frame {} at ({}, {})", part.path.string(), local + 1, x, y));
    }
  }

 private:
  std::pair<std::size_t, std::uint64_t> find(std::uint64_t frame) const {
    const auto above = std::ranges::upper_bound(starts_, frame);
    const auto part = static_cast<std::size_t>(above - starts_.begin()) - 1;
    return {part, frame - starts_[part]};
  }

  // Every cell of the grid that a tile touches; tiles need not lie on the grid.
  void place(const Part& part) {
    const FrameFormat& format = part.format;
    for (std::uint64_t i = 0; i < part.frames; ++i) {
      const TilePosition& at = part.index.positions[i];
      if (at.column < 1 || at.row < 1 || at.column > part.width || at.row > part.height) {
        bad(fmt::format("{}: frame {} lies outside the slide", part.path.string(), i + 1));
      }
      const auto place =
          static_cast<std::uint64_t>(at.row) << 32 | static_cast<std::uint32_t>(at.column);
      if (!taken_.insert(place).second) {
        unsupported(
            fmt::format("{}: frame {} lies where another does, slides of one plane are read",
                        part.path.string(),
                        i + 1));
      }
      const std::int64_t last_row =
          std::min(at.row - 2 + format.rows, part.height - 1) / format.rows;
      const std::int64_t last_column =
          std::min(at.column - 2 + format.columns, part.width - 1) / format.columns;
      for (std::int64_t row = (at.row - 1) / format.rows; row <= last_row; ++row) {
        for (std::int64_t c = (at.column - 1) / format.columns; c <= last_column; ++c) {
          cells_.emplace_back(static_cast<std::uint64_t>(row * columns_ + c), starts_.back() + i);
        }
      }
    }
  }

  std::vector<Part> parts_;
  std::vector<std::uint64_t> starts_;  // number of each part's first frame
  std::uint64_t frames_ = 0;
  std::int64_t columns_ = 0;                                    // tiles side by side
  std::vector<std::pair<std::uint64_t, std::uint64_t>> cells_;  // sparse: (cell, frame)
  std::set<std::uint64_t> taken_;
  std::string bytes_;
};

// --- The files of one slide --------------------------------------------------------------------

bool is_dicom(std::string_view head) { return head.size() >= 132 && head.substr(128, 4) == "DICM"; }

// The regular files of a folder, by name. Sub-folders are not entered.
std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (!it->is_regular_file(ignored)) continue;
    if (out.size() >= kMaxFolderEntries) {
      bad(fmt::format("{}: more than {} files", folder.string(), kMaxFolderEntries));
    }
    out.push_back(it->path());
  }
  if (error) {
    throw Error(ErrorKind::kIo, fmt::format("{}: {}", folder.string(), error.message()));
  }
  std::ranges::sort(out);
  return out;
}

// What decides whether a file belongs to a slide; nothing for what is no DICOM slide image.
std::optional<DicomIndex> peek(const fs::path& path) {
  try {
    RandomReader reader(path);
    DicomIndex index = walk_dicom(reader, Walk::kUntilSeries);
    if (index.sop_class == kWholeSlide) return index;
  } catch (const Error&) {
    // Neighbours that cannot be read are none of ours to judge.
  }
  return std::nullopt;
}

// The files of the slide that `path` is or holds. A file that was asked for comes first.
std::vector<fs::path> slide_files(const fs::path& path) {
  const bool folder = fs::is_directory(path);
  std::string wanted;
  std::vector<fs::path> out;
  if (!folder) {
    const std::optional<DicomIndex> own = peek(path);
    out.push_back(path);
    if (!own || own->series_uid.empty()) return out;
    wanted = own->series_uid;
  }
  std::map<std::string, std::vector<fs::path>> series;
  std::set<std::string> slides;
  const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  for (const fs::path& file : files_in(folder ? path : parent)) {
    std::error_code ignored;
    if (!folder && (file == path || fs::equivalent(file, path, ignored))) continue;
    const std::optional<DicomIndex> index = peek(file);
    if (!index || (!folder && index->series_uid != wanted)) continue;
    series[index->series_uid].push_back(file);
    if (flavor_of(index->image_type) == Flavor::kVolume) slides.insert(index->series_uid);
  }
  if (folder) {
    if (slides.empty()) unsupported(path.string() + ": no DICOM whole-slide image in this folder");
    if (slides.size() > 1) {
      unsupported(fmt::format("{}: {} different slides in one folder, name a file of the one meant",
                              path.string(),
                              slides.size()));
    }
    wanted = *slides.begin();
  }
  out.insert(out.end(), series[wanted].begin(), series[wanted].end());
  if (out.size() > kMaxSeriesFiles) {
    bad(fmt::format("{}: {} files of one slide, expected at most {}",
                    path.string(),
                    out.size(),
                    kMaxSeriesFiles));
  }
  return out;
}

std::string_view name_of(Flavor flavor) {
  return flavor == Flavor::kLabel      ? "label"
         : flavor == Flavor::kOverview ? "macro"  // as OpenSlide calls it
                                       : "thumbnail";
}

class DicomSlide : public Slide {
 public:
  explicit DicomSlide(const fs::path& path) : path_(path) {
    prepare_dcmtk();
    std::map<std::pair<std::int64_t, std::int64_t>, std::vector<Part>> sizes;
    std::set<std::string> seen;
    for (const fs::path& file : slide_files(path)) {
      Part part = open_part(file);
      // The same object twice, under two names: the first counts.
      if (!part.instance_uid.empty() && !seen.insert(part.instance_uid).second) continue;
      if (part.flavor == Flavor::kVolume) {
        sizes[{-part.width, -part.height}].push_back(std::move(part));  // largest first
      } else if (part.flavor != Flavor::kOther) {
        const std::string name(name_of(part.flavor));
        std::vector<Part> alone;
        alone.push_back(std::move(part));
        associated_.try_emplace(name, std::move(alone));
      }
    }
    if (sizes.empty()) unsupported(path.string() + ": no image of the kind VOLUME among its files");
    for (auto& [size, parts] : sizes) levels_.emplace_back(std::move(parts));
    describe();
  }

  const SlideInfo& info() const override { return info_; }

  void read_region(std::int64_t x,
                   std::int64_t y,
                   int level,
                   std::int64_t width,
                   std::int64_t height,
                   std::span<std::uint8_t> rgb) override {
    check_region_request(info_, level, width, height, rgb.size());
    std::fill(rgb.begin(), rgb.end(), std::uint8_t{0});
    const double downsample = info_.levels[static_cast<std::size_t>(level)].downsample;
    const double left = std::floor(static_cast<double>(x) / downsample + 0.5);
    const double top = std::floor(static_cast<double>(y) / downsample + 0.5);
    if (std::abs(left) > static_cast<double>(kFar) || std::abs(top) > static_cast<double>(kFar)) {
      return;
    }
    draw(
        level, static_cast<std::int64_t>(left), static_cast<std::int64_t>(top), width, height, rgb);
  }

  RgbImage associated_image(std::string_view name) override {
    const auto found = associated_.find(name);
    if (found == associated_.end()) {
      throw Error(ErrorKind::kNotFound,
                  fmt::format("{}: no image '{}'; there are: {}",
                              path_.string(),
                              name,
                              fmt::join(info_.associated, ", ")));
    }
    const Part& part = found->second.first();
    if (static_cast<std::uint64_t>(part.width * part.height) > limits().image_bytes / 3) {
      bad(fmt::format("{}: {} x {} pixels, more than the limit for a whole image",
                      part.path.string(),
                      part.width,
                      part.height));
    }
    RgbImage image(part.width, part.height);
    std::vector<std::uint8_t> tile(
        static_cast<std::size_t>(part.format.rows * part.format.columns * 3));
    for (const std::uint64_t frame : found->second.frames_in(0, 0, image.width, image.height)) {
      found->second.read(frame, jpeg_, tile);
      copy(found->second, frame, tile, 0, 0, image.width, image.height, image.pixels);
    }
    return image;
  }

 private:
  struct Cached {
    int level;
    std::uint64_t frame;
    std::vector<std::uint8_t> rgb;
  };

  void describe() {
    info_.format = "dicom";
    const Part& base = levels_[0].first();
    for (const Matrix& matrix : levels_) {
      const Part& part = matrix.first();
      const double across = static_cast<double>(base.width) / static_cast<double>(part.width);
      const double down = static_cast<double>(base.height) / static_cast<double>(part.height);
      info_.levels.push_back(
          {part.width, part.height, (across + down) / 2.0, part.format.columns, part.format.rows});
    }
    info_.mpp_x = base.mpp_x;
    info_.mpp_y = base.mpp_y;
    if (base.mpp_x || base.mpp_y) info_.mpp_source = "dicom.PixelSpacing";
    info_.objective_power = base.objective_power;
    info_.properties = base.properties;
    for (const auto& [name, matrix] : associated_) info_.associated.push_back(name);
  }

  void draw(int level,
            std::int64_t left,
            std::int64_t top,
            std::int64_t width,
            std::int64_t height,
            std::span<std::uint8_t> rgb) {
    Matrix& matrix = levels_[static_cast<std::size_t>(level)];
    for (const std::uint64_t frame : matrix.frames_in(left, top, left + width, top + height)) {
      copy(matrix, frame, tile(matrix, level, frame), left, top, width, height, rgb);
    }
  }

  // A tile goes no further than the level: the rest of those at its edge is filling.
  static void copy(const Matrix& matrix,
                   std::uint64_t frame,
                   const std::vector<std::uint8_t>& tile,
                   std::int64_t left,
                   std::int64_t top,
                   std::int64_t width,
                   std::int64_t height,
                   std::span<std::uint8_t> rgb) {
    const Part& part = matrix.first();
    const auto [x, y] = matrix.corner(frame);
    copy_overlap(tile.data(),
                 part.format.columns,
                 std::min(part.format.columns, part.width - x),
                 std::min(part.format.rows, part.height - y),
                 x - left,
                 y - top,
                 rgb,
                 width,
                 height);
  }

  // Decoded, from the cache if it is there; the one used last is in front.
  const std::vector<std::uint8_t>& tile(Matrix& matrix, int level, std::uint64_t frame) {
    const auto found = std::ranges::find_if(
        cache_, [&](const Cached& c) { return c.level == level && c.frame == frame; });
    if (found != cache_.end()) {
      cache_.splice(cache_.begin(), cache_, found);
      return cache_.front().rgb;
    }
    const FrameFormat& format = matrix.first().format;
    const auto size = static_cast<std::size_t>(format.rows * format.columns * 3);
    while (!cache_.empty() && cached_bytes_ + size > kCacheBytes) {
      cached_bytes_ -= cache_.back().rgb.size();
      cache_.pop_back();
    }
    Cached fresh{level, frame, std::vector<std::uint8_t>(size)};
    matrix.read(frame, jpeg_, fresh.rgb);  // may throw: then nothing is kept
    cache_.push_front(std::move(fresh));
    cached_bytes_ += size;
    return cache_.front().rgb;
  }

  fs::path path_;
  SlideInfo info_;
  std::vector<Matrix> levels_;
  std::map<std::string, Matrix, std::less<>> associated_;
  JpegDecoder jpeg_;
  std::list<Cached> cache_;
  std::size_t cached_bytes_ = 0;
};

bool detect(const fs::path& path, std::string_view head) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return is_dicom(head);
  return std::ranges::any_of(files_in(path),
                             [](const fs::path& file) { return peek(file).has_value(); });
}

}  // namespace

extern const SlideFormat dicom_slide_format;
const SlideFormat dicom_slide_format = {
    .name = "dicom",
    .extensions = {".dcm", ".dicom"},
    .detect = detect,
    .open = [](const fs::path& path) -> std::unique_ptr<Slide> {
      return std::make_unique<DicomSlide>(path);
    },
};

}  // namespace med3d
