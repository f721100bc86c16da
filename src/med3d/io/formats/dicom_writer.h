// DICOM files from elements: explicit VR, little endian, pixels as they are.
//
// What our own synthetic scans need and no more: no sequences, no compression, no other transfer
// syntax. Elements are given in ascending order of tag, as the standard stores them.
//
// Source: DICOM PS3.5 sections 6.2 and 7, PS3.10 section 7.
// Checked against: our reader (dicom.h), pydicom 2.3.1 (tests/house/synthetic_files) and DCMTK's
// dcmdump 3.6.7.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "med3d/io/formats/dicom.h"

namespace med3d {

class DicomWriter {
 public:
  // UIDs of the object's class and of the object; both are written into the file's meta information
  // and as SOPClassUID and SOPInstanceUID when the elements reach (0008,0016) and (0008,0018).
  // Throws Error(kUsage) for what is no UID: 1 to 64 digits and single points.
  DicomWriter(std::string_view sop_class, std::string_view sop_instance);

  // A value of characters: AE AS CS DA DS IS LO PN SH TM UI. Values of one element are joined by
  // '\'; text is UTF-8 (the caller writes SpecificCharacterSet ISO_IR 192 where it is not ASCII).
  // Throws Error(kUsage) for a tag that does not ascend or is of group 2, another VR, a value
  // longer than the VR allows, and a character that the VR does not allow.
  void text(DicomTag tag, std::string_view vr, std::string_view value);

  // DS of numbers, at most 16 characters each: the shortest text that is the number again, rounded
  // where that is longer.
  void numbers(DicomTag tag, std::span<const double> values);

  // US, one value.
  void whole(DicomTag tag, std::uint16_t value);

  // PixelData, the last element: OW of words, OB of bytes. Throws as text, and for nothing at all.
  void pixels(std::span<const std::uint16_t> words);
  void pixels(std::span<const std::uint8_t> bytes);

  // The whole file: preamble, meta information, elements. The object is empty afterwards.
  std::string take();

 private:
  void add(DicomTag tag, std::string_view vr, std::string_view value, char padding);
  void write_objects_before(DicomTag tag);

  std::string sop_class_;
  std::string sop_instance_;
  DicomTag last_ = 0;
  std::string data_;
};

// A UID of 2.25 and a UUID's number, as PS3.5 B.2 lets everybody make without asking for a root.
// Equal arguments give equal UIDs; of different ones two are equal once in 2^61 pairs.
//
// seed, name  as derive_seed (core/random.h)
std::string dicom_uid_of(std::uint64_t seed,
                         std::string_view name,
                         std::initializer_list<std::uint64_t> numbers = {});

}  // namespace med3d
