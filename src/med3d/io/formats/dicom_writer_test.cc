#include "med3d/io/formats/dicom_writer.h"

#include <gtest/gtest.h>

#include <set>

#include "med3d/io/test_support.inc"

namespace med3d {
namespace {

using testing_io::message_of;

constexpr std::string_view kClass = "1.2.840.10008.5.1.4.1.1.2";

TEST(DicomWriter, WritesWhatTheReaderReads) {
  DicomWriter writer(kClass, "1.2.3");
  writer.text(0x00080005, "CS", "ISO_IR 192");
  writer.text(0x00080060, "CS", "CT");
  writer.text(0x0008103E, "LO", "ven\xC3\xB6s");
  writer.numbers(0x00200032, std::array{-1.5, 2.0, 1.0 / 3.0});
  writer.whole(0x00280010, 1);
  writer.pixels(std::array<std::uint16_t, 3>{1, 0x1234, 0xFFFF});
  const std::string bytes = writer.take();
  // 128 zeros and DICM; the group's length counts what follows it: version (14), two UIDs
  // (8 + 26, 8 + 6), transfer syntax (8 + 20), implementation (8 + 44), version name (8 + 12).
  EXPECT_EQ(bytes.substr(128, 16), std::string("DICM\2\0\0\0UL\4\0\xA2\0\0\0", 16));
  const DicomFile file = DicomFile::parse(bytes);
  EXPECT_EQ(file.transfer_syntax(), "1.2.840.10008.1.2.1");
  EXPECT_EQ(file.dataset().text(0x00080016), kClass);
  EXPECT_EQ(file.dataset().text(0x00080018), "1.2.3");
  EXPECT_EQ(file.dataset().text(0x0008103E), "ven\xC3\xB6s");
  EXPECT_EQ(file.dataset().number(0x00200032, 0), -1.5);
  EXPECT_EQ(file.dataset().text(0x00200032, 2), "0.33333333333333");  // 16 characters
  EXPECT_EQ(file.dataset().number(0x00280010), 1.0);
  EXPECT_TRUE(file.pixels().as_words);
  EXPECT_EQ(bytes.substr(file.pixels().offset), std::string("\1\0\x34\x12\xFF\xFF", 6));
}

TEST(DicomWriter, PadsBytesAndTextsToEvenLengths) {
  DicomWriter writer(kClass, "1.2.34");
  writer.text(0x00100020, "LO", "abc");
  writer.pixels(std::array<std::uint8_t, 3>{7, 8, 9});
  const std::string bytes = writer.take();
  EXPECT_EQ(bytes.size() % 2, 0U);
  EXPECT_NE(bytes.find("LO\4" + std::string(1, '\0') + "abc "), std::string::npos);
  EXPECT_EQ(bytes.substr(bytes.size() - 8), std::string("\4\0\0\0\7\x8\x9\0", 8));
}

TEST(DicomWriter, RefusesTagsThatDoNotAscend) {
  DicomWriter writer(kClass, "1.2");
  writer.text(0x00100020, "LO", "a");
  EXPECT_EQ(message_of([&] { writer.text(0x00100010, "PN", "b"); }, ErrorKind::kUsage),
            "DICOM element (0010,0010): after (0010,0020); tags ascend");
  EXPECT_EQ(message_of([&] { writer.text(0x00080016, "UI", "1.2"); }, ErrorKind::kUsage),
            "DICOM element (0008,0016): after (0010,0020); tags ascend");
  DicomWriter fresh(kClass, "1.2");
  message_of([&] { fresh.text(0x00020010, "UI", "1.2"); }, ErrorKind::kUsage);
}

TEST(DicomWriter, RefusesWhatAVrDoesNotAllow) {
  DicomWriter writer(kClass, "1.2");
  EXPECT_EQ(
      message_of([&] { writer.text(0x00080050, "SH", "a text of 17 char"); }, ErrorKind::kUsage),
      "DICOM element (0008,0050): 17 characters, SH allows 16");
  EXPECT_EQ(message_of([&] { writer.text(0x00080060, "CS", "ct"); }, ErrorKind::kUsage),
            "DICOM element (0008,0060): a character that CS does not allow");
  EXPECT_EQ(message_of([&] { writer.text(0x00080070, "LO", "a\nb"); }, ErrorKind::kUsage),
            "DICOM element (0008,0070): a character that LO does not allow");
  EXPECT_EQ(message_of([&] { writer.text(0x00080070, "SQ", "a"); }, ErrorKind::kUsage),
            "DICOM element (0008,0070): no VR of texts: 'SQ'");
  EXPECT_EQ(message_of([&] { writer.pixels(std::span<const std::uint8_t>{}); }, ErrorKind::kUsage),
            "DICOM element (7FE0,0010): no pixels");
  // 16 letters of two bytes each are 16 characters.
  std::string wide;
  for (int i = 0; i < 16; ++i) wide += "\xC3\xB6";
  writer.text(0x00080050, "SH", wide);
}

TEST(DicomWriter, RefusesWhatIsNoUid) {
  for (const std::string uid : {"", "1..2", ".1", "1.", "1.02", "1.a", "1 2"}) {
    EXPECT_EQ(message_of([&] { DicomWriter(kClass, uid); }, ErrorKind::kUsage),
              "a DICOM UID of digits and single points was expected")
        << uid;
  }
  message_of([&] { DicomWriter("1." + std::string(63, '1'), "1.2"); }, ErrorKind::kUsage);
}

TEST(DicomUid, IsAUuidsNumberAndTheSameForTheSameSeed) {
  std::set<std::string> seen;
  for (std::uint64_t i = 0; i < 200; ++i) {
    const std::string uid = dicom_uid_of(5, "series", {i});
    EXPECT_EQ(uid, dicom_uid_of(5, "series", {i}));
    EXPECT_TRUE(seen.insert(uid).second);
    EXPECT_EQ(uid.substr(0, 5), "2.25.");
    EXPECT_NE(uid[5], '0');
    EXPECT_LE(uid.size(), 44U);  // 2^128 has 39 digits
    EXPECT_NO_THROW(DicomWriter(kClass, uid));
  }
  EXPECT_NE(dicom_uid_of(5, "series"), dicom_uid_of(6, "series"));
  EXPECT_NE(dicom_uid_of(5, "series"), dicom_uid_of(5, "study"));
}

}  // namespace
}  // namespace med3d
