// What a DICOM file says: its elements, checked, and where its pixels lie. No pixel is decoded
// here.
//
// Read: explicit and implicit little endian, explicit big endian, deflated; with the preamble,
// without it, and without file meta information (the encoding is then told from the first element).
// Nesting, number and length of every element are checked against what holds them, so that nothing
// later meets a length that lies. Private elements are walked over and not kept.
//
// Values may name a patient: nothing read here belongs in a message, and no message here holds one.
//
// Source: DICOM PS3.5 sections 7, A.2, A.3, A.4, A.5; PS3.10 section 7.
// Checked against: pydicom 2.3.1 (tests/reference/dicom_series.py), every cut and bit flips of
// small files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace med3d {

using DicomTag = std::uint32_t;  // group << 16 | element

class DicomDataset;

struct DicomElement {
  DicomTag tag = 0;
  char vr[2] = {0, 0};  // of an implicit file from a small table of ours, else 0, 0
  bool big_endian = false;
  std::uint64_t offset = 0;         // of the value, in DicomFile::bytes
  std::uint64_t length = 0;         // bytes; 0 for a sequence
  std::vector<DicomDataset> items;  // of a sequence
};

// A data set, or an item of a sequence. Values are read on demand from the file's bytes.
class DicomDataset {
 public:
  const DicomElement* find(DicomTag tag) const;
  bool has(DicomTag tag) const { return find(tag) != nullptr; }

  // The stored characters without padding at their end; "" where there is none.
  std::string text(DicomTag tag) const;
  // One of the values separated by '\', without spaces around it.
  std::string text(DicomTag tag, std::size_t index) const;
  std::size_t count(DicomTag tag) const;  // how many values

  // A number, from text (DS, IS) or binary (US, SS, UL, SL, FL, FD). Nothing where there is none,
  // it is no number, or not finite.
  std::optional<double> number(DicomTag tag, std::size_t index = 0) const;

  // A whole number in [least, most]; `otherwise` where the element is missing or empty.
  // Throws Error(kFormat) naming `name` if it is missing without an otherwise, or out of range.
  std::int64_t integer(DicomTag tag,
                       std::string_view name,
                       std::int64_t least,
                       std::int64_t most,
                       std::optional<std::int64_t> otherwise = std::nullopt) const;

  // An item of a sequence; null if it is not there.
  const DicomDataset* item(DicomTag sequence, std::size_t index = 0) const;

  const std::vector<DicomElement>& elements() const { return elements_; }

 private:
  friend class DicomParser;
  std::string_view value(const DicomElement& element) const;

  const std::string* bytes_ = nullptr;
  std::vector<DicomElement> elements_;  // sorted by tag
};

struct DicomFragment {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

struct DicomPixels {
  bool present = false;
  bool encapsulated = false;
  bool big_endian = false;
  bool as_words = false;                    // OW: 16-bit words
  std::uint64_t offset = 0;                 // of a native value, in DicomFile::bytes
  std::uint64_t length = 0;                 // of a native value
  std::vector<std::uint32_t> offset_table;  // of encapsulated pixels; may be empty
  std::vector<std::uint64_t> extended_offsets;
  std::vector<DicomFragment> fragments;  // after the offset table
  std::uint64_t first_fragment = 0;      // where the header of the first one lies
};

enum class DicomPart {
  kHeader,  // up to the pixels, which are not read: `pixels` only says that they are there
  kWhole,
};

class DicomFile {
 public:
  // Reads a file. Throws as below, and as core/file.h's read_file.
  static DicomFile read(const std::filesystem::path& path, DicomPart part = DicomPart::kWhole);

  // bytes  a whole file
  // Throws Error(kFormat) for what is no DICOM file, is cut short, has an element beyond what holds
  // it, more than 64 levels of sequences, 2,000,000 elements or a top-level element twice, and for
  // deflated content beyond limits().image_bytes; kUnsupported for pixels as floating point.
  static DicomFile parse(std::string bytes, DicomPart part = DicomPart::kWhole);

  DicomFile(DicomFile&&) noexcept;
  DicomFile& operator=(DicomFile&&) noexcept;
  ~DicomFile();

  const DicomDataset& dataset() const;
  const std::string& transfer_syntax()
      const;  // UID; implied where the file has no meta information
  const DicomPixels& pixels() const;
  const std::string& bytes() const;

  // The stored bytes of one frame, fragments joined; for native pixels cut by size.
  //
  // frames        number of frames in the file
  // native_bytes  of one native frame
  //
  // Throws Error(kFormat) if the pixels are missing, shorter or longer than frames * native_bytes
  // (zeros behind them excepted), or tables and fragments do not fit the number of frames.
  std::string_view frame(std::uint64_t index,
                         std::uint64_t frames,
                         std::uint64_t native_bytes,
                         std::string& storage) const;

 private:
  friend class DicomParser;
  struct Impl;
  explicit DicomFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

bool detect_dicom(std::string_view head);  // DICM at byte 128

// A UID of the standard itself as it is, else "a UID that is not of the standard": it may be a
// study's.
std::string shown_dicom_uid(std::string_view uid);

// A frame of the transfer syntax "RLE lossless": its byte planes, one after the other as stored
// (for cells of several bytes the most significant first).
//
// planes  bytes a pixel: samples * bytes of a sample
// plane   pixels of the frame
//
// Memory for planes * plane bytes is taken only if the stream can hold so many (two bytes become at
// most 128). Throws Error(kFormat) naming the segment for what is damaged or ends early.
//
// Source: DICOM PS3.5 annex G (PackBits).
std::vector<std::uint8_t> decode_dicom_rle(std::string_view bytes,
                                           std::size_t planes,
                                           std::size_t plane);

// A frame of the transfer syntax "RLE lossless": its byte planes, one after the other as stored (for
// cells of several bytes the most significant first).
//
// planes  bytes a pixel: samples * bytes of a sample
// plane   pixels of the frame
//
// Memory for planes * plane bytes is taken only if the stream can hold so many (two bytes become at
// most 128). Throws Error(kFormat) naming the segment for what is damaged or ends early.
//
// Source: DICOM PS3.5 annex G (PackBits).
std::vector<std::uint8_t> decode_dicom_rle(std::string_view bytes,
                                           std::size_t planes,
                                           std::size_t plane);

}  // namespace med3d
