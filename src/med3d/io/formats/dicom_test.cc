#include "med3d/io/formats/dicom.h"

#include <gtest/gtest.h>

#include <string>

#include "med3d/core/error.h"
#include "med3d/io/formats/deflate.h"

namespace med3d {
namespace {

struct Coding {
  bool implicit = false;
  bool big = false;
};

std::string number(std::uint64_t value, int size, bool big) {
  std::string out(static_cast<std::size_t>(size), '\0');
  for (int i = 0; i < size; ++i) {
    const int at = big ? size - 1 - i : i;
    out[static_cast<std::size_t>(at)] = static_cast<char>(value >> (8 * i));
  }
  return out;
}

std::string element(DicomTag tag, std::string_view vr, std::string value, Coding coding = {}) {
  if (value.size() % 2 != 0) value += vr == "UI" ? '\0' : ' ';
  std::string out = number(tag >> 16, 2, coding.big) + number(tag & 0xFFFF, 2, coding.big);
  const bool wide = vr == "OB" || vr == "OW" || vr == "SQ" || vr == "UN";
  if (!coding.implicit) out += vr;
  if (!coding.implicit && wide) out += std::string(2, '\0');
  return out + number(value.size(), coding.implicit || wide ? 4 : 2, coding.big) + value;
}

std::string item(const std::string& content, Coding coding = {}) {
  return number(0xFFFE, 2, coding.big) + number(0xE000, 2, coding.big) +
         number(content.size(), 4, coding.big) + content;
}

std::string meta(const std::string& syntax) {
  return std::string(128, '\0') + "DICM" + element(0x00020010, "UI", syntax);
}

std::string data(Coding coding) {
  return element(0x00080060, "CS", "CT", coding) + element(0x00091001, "LO", "private", coding) +
         element(0x00200032, "DS", "-1.5\\2\\ 3e1 ", coding) +
         element(0x00280010, "US", number(2, 2, coding.big), coding) +
         element(0x00280011, "US", number(3, 2, coding.big), coding) +
         element(0x52009229,
                 "SQ",
                 item(element(0x00289110,
                              "SQ",
                              item(element(0x00280030, "DS", "0.5\\0.25", coding), coding),
                              coding),
                      coding),
                 coding) +
         element(0x7FE00010, "OW", std::string("abcdefghijkl"), coding);
}

void check(const DicomFile& file) {
  const DicomDataset& dataset = file.dataset();
  EXPECT_EQ(dataset.text(0x00080060), "CT");
  EXPECT_FALSE(dataset.has(0x00091001));
  EXPECT_EQ(dataset.count(0x00200032), 3U);
  EXPECT_EQ(dataset.number(0x00200032, 0), -1.5);
  EXPECT_EQ(dataset.number(0x00200032, 2), 30.0);
  EXPECT_FALSE(dataset.number(0x00200032, 3));
  EXPECT_EQ(dataset.integer(0x00280010, "Rows", 1, 10), 2);
  EXPECT_EQ(dataset.integer(0x00280011, "Columns", 1, 10), 3);
  EXPECT_EQ(dataset.integer(0x00280002, "Samples", 1, 10, 1), 1);
  const DicomDataset* shared = dataset.item(0x52009229);
  ASSERT_NE(shared, nullptr);
  ASSERT_NE(shared->item(0x00289110), nullptr);
  EXPECT_EQ(shared->item(0x00289110)->number(0x00280030, 1), 0.25);
  EXPECT_EQ(shared->item(0x00289110, 1), nullptr);
  std::string storage;
  EXPECT_EQ(file.frame(1, 2, 6, storage), "ghijkl");
}

TEST(Dicom, ReadsEveryEncodingWithAndWithoutPreamble) {
  const std::string explicit_little = meta("1.2.840.10008.1.2.1") + data({});
  check(DicomFile::parse(explicit_little));
  check(DicomFile::parse(explicit_little.substr(132)));  // no preamble
  check(DicomFile::parse(data({})));                     // no meta information
  check(DicomFile::parse(data({true, false})));
  check(DicomFile::parse(data({false, true})));
  check(DicomFile::parse(meta("1.2.840.10008.1.2") + data({true, false})));
  const DicomFile big = DicomFile::parse(meta("1.2.840.10008.1.2.2") + data({false, true}));
  EXPECT_TRUE(big.pixels().big_endian);
  check(big);
  const std::string packed = zlib_compress(data({}));
  check(DicomFile::parse(meta("1.2.840.10008.1.2.1.99") + packed.substr(2, packed.size() - 6)));
}

TEST(Dicom, ReadsSequencesOfUndefinedLengthAndUnknownOnes) {
  const std::string end_item("\xFE\xFF\x0D\xE0\0\0\0\0", 8);
  const std::string end_sequence("\xFE\xFF\xDD\xE0\0\0\0\0", 8);
  const std::string open_item("\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF", 8);
  const std::string open = element(0x00081140, "SQ", "").substr(0, 8) + "\xFF\xFF\xFF\xFF" +
                           open_item + element(0x00081150, "UI", "1.2") + end_item + end_sequence;
  // Of unknown representation and undefined length: stored as implicit (PS3.5 6.2.2).
  const std::string unknown = element(0x00082112, "UN", "").substr(0, 8) + "\xFF\xFF\xFF\xFF" +
                              open_item + element(0x00081150, "UI", "1.3", {true, false}) +
                              end_item + end_sequence;
  const DicomFile file = DicomFile::parse(meta("1.2.840.10008.1.2.1") + open + unknown +
                                          element(0x00280010, "UN", number(7, 2, false)));
  EXPECT_EQ(file.dataset().item(0x00081140)->text(0x00081150), "1.2");
  EXPECT_EQ(file.dataset().item(0x00082112)->text(0x00081150), "1.3");
  EXPECT_EQ(file.dataset().integer(0x00280010, "Rows", 1, 9), 7);
}

std::string encapsulated(const std::string& table, const std::vector<std::string>& fragments) {
  std::string out = meta("1.2.840.10008.1.2.5") + element(0x00080060, "CS", "CT") +
                    element(0x7FE00010, "OB", "").substr(0, 8) + "\xFF\xFF\xFF\xFF" + item(table);
  for (const std::string& fragment : fragments) out += item(fragment);
  return out + std::string("\xFE\xFF\xDD\xE0\0\0\0\0", 8);
}

TEST(Dicom, JoinsFragmentsByTheirOffsetTable) {
  std::string storage;
  const DicomFile one = DicomFile::parse(encapsulated("", {"ab", "cd"}));
  EXPECT_EQ(one.frame(0, 1, 99, storage), "abcd");
  EXPECT_EQ(one.frame(1, 2, 99, storage), "cd");
  EXPECT_THROW(one.frame(0, 3, 99, storage), Error);
  // Frame 0 = the first two fragments: each has a header of 8 bytes, so frame 1 begins at 20.
  const DicomFile two = DicomFile::parse(
      encapsulated(number(0, 4, false) + number(20, 4, false), {"ab", "cd", "ef"}));
  EXPECT_EQ(two.frame(0, 2, 99, storage), "abcd");
  EXPECT_EQ(two.frame(1, 2, 99, storage), "ef");
  const DicomFile lies = DicomFile::parse(
      encapsulated(number(0, 4, false) + number(21, 4, false), {"ab", "cd", "ef"}));
  EXPECT_THROW(lies.frame(0, 2, 99, storage), Error);
}

void expect_refused(const std::string& bytes, const std::string& part) {
  try {
    DicomFile::parse(bytes);
    ADD_FAILURE() << "accepted, expected: " << part;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Dicom, NamesWhatIsWrong) {
  const std::string head = meta("1.2.840.10008.1.2.1");
  expect_refused("", "no DICM at byte 128");
  expect_refused(std::string(200, 'x'), "no DICM at byte 128");
  expect_refused(head + std::string("\x08\0\x60\0!!\x02\0CT", 10),
                 "without a value representation");
  expect_refused(head + element(0x00080060, "CS", "CT").substr(0, 9), "goes beyond");
  expect_refused(head + element(0x00080060, "CS", "CT") + element(0x00080060, "CS", "MR"),
                 "element (0008,0060) twice");
  std::string deep;
  for (int i = 0; i < 70; ++i) deep = element(0x00081140, "SQ", item(deep));
  expect_refused(head + deep, "nested deeper than 64");
  std::string whole = head + data({});
  expect_refused(whole.substr(0, whole.size() - 1), "the file ends 11 bytes into its pixels");
  expect_refused(head + element(0x7FE00008, "OW", "abcd"), "floating point");
  std::string storage;
  EXPECT_THROW(DicomFile::parse(whole).frame(0, 1, 13, storage), Error);
  EXPECT_THROW(DicomFile::parse(whole).frame(0, 1, 10, storage), Error);
}

TEST(Dicom, AnyCutOrFlippedBitEndsInAnErrorOrAFile) {
  for (const std::string& whole : {meta("1.2.840.10008.1.2.1") + data({}),
                                   meta("1.2.840.10008.1.2") + data({true, false}),
                                   meta("1.2.840.10008.1.2.2") + data({false, true}),
                                   encapsulated("", {"ab", "cd"})}) {
    for (std::size_t cut = 0; cut < whole.size(); ++cut) {
      try {
        DicomFile::parse(whole.substr(0, cut)).frame(0, 1, 12, *std::make_unique<std::string>());
        ADD_FAILURE() << "cut at " << cut << " was accepted";
      } catch (const Error&) {
      }
    }
    for (std::size_t bit = 132 * 8; bit < whole.size() * 8; ++bit) {
      std::string flipped = whole;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
      try {
        const DicomFile file = DicomFile::parse(flipped);
        std::string storage;
        file.frame(0, 1, 12, storage);
      } catch (const Error&) {
      }
    }
  }
}

TEST(Dicom, ShowsOnlyUidsOfTheStandard) {
  EXPECT_EQ(shown_dicom_uid("1.2.840.10008.1.2.4.50"), "1.2.840.10008.1.2.4.50");
  EXPECT_EQ(shown_dicom_uid("1.2.3.4"), "a UID that is not of the standard");
  EXPECT_EQ(shown_dicom_uid("1.2.840.10008.CANARY"), "a UID that is not of the standard");
}

// Annex G: 64 bytes of header (count and offsets), then PackBits. Plane 0: literal 1 2, run of 3 of
// 7; plane 1: a code of -128 that means nothing, run of 5 of 9.
TEST(DicomRle, UnpacksPlanesWorkedByHand) {
  std::string bytes(64, '\0');
  bytes[0] = 2;
  bytes[4] = 64;
  bytes[8] = 69;
  bytes += std::string("\x01\x01\x02\xFE\x07", 5) + std::string("\x80\xFC\x09", 3);
  EXPECT_EQ(decode_dicom_rle(bytes, 2, 5),
            (std::vector<std::uint8_t>{1, 2, 7, 7, 7, 9, 9, 9, 9, 9}));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(decode_dicom_rle(std::string_view(bytes).substr(0, size), 2, 5), Error) << size;
  }
  EXPECT_THROW(decode_dicom_rle(bytes, 3, 5), Error);
  EXPECT_THROW(decode_dicom_rle(bytes, 2, 4), Error) << "a run beyond the plane";
  EXPECT_THROW(decode_dicom_rle(bytes, 2, 1'000'000), Error) << "more than the stream can hold";
}

}  // namespace
}  // namespace med3d
