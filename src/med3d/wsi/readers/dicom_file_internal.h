// Where things lie in a DICOM file of a slide: a walk over its elements that keeps only what grows
// with the number of frames (their offsets and positions) and loads no pixels.
//
// The walk checks the nesting, the number and the lengths of all elements against the file, so that
// DCMTK, which reads the rest of the header afterwards, meets no length that lies.
//
// Source: DICOM PS3.5 sections 7 and A.4, PS3.10 section 7.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace med3d::dicom {

constexpr std::uint64_t kMaxFrames = 1ULL << 22;

// A regular file that is read at any place; small reads come from a window of 64 KiB.
class RandomReader {
 public:
  explicit RandomReader(const std::filesystem::path& path);
  ~RandomReader();
  RandomReader(RandomReader&& other) noexcept;
  RandomReader& operator=(RandomReader&& other) noexcept;

  std::uint64_t size() const { return size_; }
  // Throws Error(kFormat) where the file ends before out is full, kIo if reading fails.
  void read(std::uint64_t offset, std::span<std::uint8_t> out);

 private:
  void fetch(std::uint64_t offset, std::span<std::uint8_t> out) const;

  int fd_ = -1;
  std::uint64_t size_ = 0;
  std::uint64_t window_at_ = 0;
  std::vector<std::uint8_t> window_;
};

// A tile's corner in its level, 1-based as stored.
struct TilePosition {
  std::int32_t column = std::numeric_limits<std::int32_t>::min();  // min = not said
  std::int32_t row = std::numeric_limits<std::int32_t>::min();
};

// Never shown: it may hold numbers of a patient's study.
struct DicomIndex {
  std::string sop_class;
  std::string transfer_syntax;
  std::string series_uid;
  std::string image_type;               // "ORIGINAL\PRIMARY\VOLUME\NONE"; may be empty
  std::string frame_spacing;            // PixelSpacing of the first frame that says its own
  std::vector<TilePosition> positions;  // of the frames; empty where there are no per-frame groups
  std::vector<std::uint64_t> extended_offsets;
  std::vector<std::uint64_t> extended_lengths;
  bool has_pixels = false;
  bool encapsulated = false;
  std::uint64_t pixel_offset = 0;  // of the value
  std::uint64_t pixel_length = 0;  // not for encapsulated
};

enum class Walk { kUntilSeries, kWhole };

// Throws Error(kFormat) for what is no DICOM file, a length beyond the file, more than 64 levels of
// sequences, too many elements or frames; kUnsupported for a deflated or big-endian file.
DicomIndex walk_dicom(RandomReader& reader, Walk walk);

// Where a frame's fragments lie: from the header of the first up to (not with) `end`.
struct FrameSpan {
  std::uint64_t begin = 0;  // 0 = the file ends before it
  std::uint64_t end = 0;
};

// By the extended offset table, else the basic one, else by a walk over the fragments.
// Throws Error(kFormat) if tables or fragments do not fit the number of frames.
std::vector<FrameSpan> encapsulated_frames(RandomReader& reader,
                                           const DicomIndex& index,
                                           std::uint64_t frames);

// The frame's fragments joined. Throws Error(kFormat) for what is no fragment, lies beyond the file
// or is larger than limits().tile_bytes.
void read_encapsulated_frame(RandomReader& reader, const FrameSpan& span, std::string& bytes);

}  // namespace med3d::dicom
