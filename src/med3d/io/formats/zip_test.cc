#include "med3d/io/formats/zip.h"

#include <zlib.h>

#include "med3d/core/file.h"
#include "med3d/core/limits.h"
#include "med3d/io/test_support.inc"

namespace med3d {
namespace {

using testing_io::expect_bit_flips_contained;
using testing_io::expect_error;
using testing_io::expect_every_cut_refused;
using testing_io::from_hex;

std::string little(std::uint64_t value, std::size_t bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
  return out;
}

// A zip made field by field, so that each can be wrong.
struct Part {
  std::string name = "a.npy";
  std::string data = "hello";      // as stored
  std::uint32_t crc = 0x3610A686;  // of "hello"
  std::uint64_t bytes = 5;
  int method = 0;
  int flags = 0;
  std::string local_name;  // "" = name
  std::string local_extra;
  std::string central_extra;
  std::string after_data;
  std::uint32_t local_size32 = 0;    // 0 = bytes
  std::uint32_t central_size32 = 0;  // 0 = bytes
  std::int64_t offset = -1;          // -1 = where it is
};

std::string make_zip(const std::vector<Part>& parts, const std::string& comment = "") {
  std::string out;
  std::string directory;
  for (const auto& part : parts) {
    const std::string local_name = part.local_name.empty() ? part.name : part.local_name;
    const std::uint64_t local_size = part.local_size32 != 0 ? part.local_size32 : part.bytes;
    const std::uint64_t local_stored =
        part.local_size32 != 0 ? part.local_size32 : part.data.size();
    const std::uint64_t central_size = part.central_size32 != 0 ? part.central_size32 : part.bytes;
    const std::uint64_t central_stored =
        part.central_size32 != 0 ? part.central_size32 : part.data.size();
    const auto offset =
        part.offset >= 0 ? static_cast<std::uint64_t>(part.offset) : std::uint64_t{out.size()};
    const bool descriptor = (part.flags & 8) != 0;
    out += "PK\x03\x04" + little(20, 2) + little(static_cast<std::uint64_t>(part.flags), 2) +
           little(static_cast<std::uint64_t>(part.method), 2) + little(0, 4) +
           little(descriptor ? 0 : part.crc, 4) + little(descriptor ? 0 : local_stored, 4) +
           little(descriptor ? 0 : local_size, 4) + little(local_name.size(), 2) +
           little(part.local_extra.size(), 2) + local_name + part.local_extra + part.data +
           part.after_data;
    directory += "PK\x01\x02" + little(20, 2) + little(20, 2) +
                 little(static_cast<std::uint64_t>(part.flags), 2) +
                 little(static_cast<std::uint64_t>(part.method), 2) + little(0, 4) +
                 little(part.crc, 4) + little(central_stored, 4) + little(central_size, 4) +
                 little(part.name.size(), 2) + little(part.central_extra.size(), 2) + little(0, 2) +
                 little(0, 2) + little(0, 2) + little(0, 4) + little(offset, 4) + part.name +
                 part.central_extra;
  }
  const std::size_t at = out.size();
  out += directory;
  out += "PK\x05\x06" + little(0, 4) + little(parts.size(), 2) + little(parts.size(), 2) +
         little(directory.size(), 4) + little(at, 4) + little(comment.size(), 2) + comment;
  return out;
}

std::string deflate_raw(const std::string& data) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, data.size()), '\0');
  std::string in = data;
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::uint32_t crc_of(const std::string& data) {
  return static_cast<std::uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(data.data()), data.size()));
}

Part deflated(const std::string& data) {
  Part part;
  part.method = 8;
  part.data = deflate_raw(data);
  part.crc = crc_of(data);
  part.bytes = data.size();
  return part;
}

void read_all(const std::string& bytes) {
  const ZipArchive archive(bytes, "x.zip");
  for (const auto& entry : archive.entries()) archive.read(entry);
}

void expect_refused(const std::vector<Part>& parts, std::string_view message) {
  expect_error(ErrorKind::kFormat, message, [&] { read_all(make_zip(parts)); });
}

TEST(Zip, ReadsStoredAndDeflatedMembers) {
  Part second = deflated(std::string(1000, 'x') + "end");
  second.name = "folder/b.npy";
  const ZipArchive archive(make_zip({Part{}, second}, "a comment"), "x.zip");
  ASSERT_EQ(archive.entries().size(), 2U);
  EXPECT_EQ(archive.read(archive.entries()[0]), "hello");
  ASSERT_NE(archive.find("folder/b.npy"), nullptr);
  EXPECT_EQ(archive.read(*archive.find("folder/b.npy")), std::string(1000, 'x') + "end");
  EXPECT_EQ(archive.find("c.npy"), nullptr);
}

// Made by Python 3.11's zipfile with force_zip64, as numpy does: sizes of the local header are all
// ones and stand in its extra field, those of the directory are plain.
TEST(Zip, ReadsTheZip64LocalHeaderThatNumpyWrites) {
  Part part;
  part.local_size32 = 0xFFFFFFFFU;
  part.local_extra = little(1, 2) + little(16, 2) + little(5, 8) + little(5, 8);
  const ZipArchive archive(make_zip({part}), "x.npz");
  EXPECT_EQ(archive.read(archive.entries()[0]), "hello");
  part.local_extra = little(1, 2) + little(16, 2) + little(6, 8) + little(5, 8);
  expect_refused({part}, "its local header disagrees with the directory");
}

TEST(Zip, ReadsZip64SizesAndEndRecord) {
  Part part;
  part.local_size32 = part.central_size32 = 0xFFFFFFFFU;
  part.local_extra = part.central_extra =
      little(1, 2) + little(16, 2) + little(5, 8) + little(5, 8);
  const std::string plain = make_zip({part});
  EXPECT_NO_THROW(read_all(plain));
  // The same with a zip64 end record and an end record of ones only.
  const std::size_t end = plain.size() - 22;
  const std::size_t directory = plain.find("PK\x01\x02");
  const std::string wide = plain.substr(0, end) + "PK\x06\x06" + little(44, 8) + little(45, 2) +
                           little(45, 2) + little(0, 4) + little(0, 4) + little(1, 8) +
                           little(1, 8) + little(end - directory, 8) + little(directory, 8) +
                           "PK\x06\x07" + little(0, 4) + little(end, 8) + little(1, 4) +
                           "PK\x05\x06" + little(0, 4) + little(0xFFFF, 2) + little(0xFFFF, 2) +
                           little(0xFFFFFFFF, 4) + little(0xFFFFFFFF, 4) + little(0, 2);
  EXPECT_NO_THROW(read_all(wide));
  expect_every_cut_refused(wide, read_all);
  expect_bit_flips_contained(wide, 100'000, read_all);
  part.central_extra = little(1, 2) + little(8, 2) + little(5, 8);
  expect_refused({part}, "a zip64 field that is too short");
  part.central_extra = little(1, 2) + little(99, 2) + little(5, 8);
  expect_refused({part}, "an extra field reaches past its header");
}

// torch's writer leaves sizes and checksum of the local header at zero and puts them behind the
// data.
TEST(Zip, ReadsDataDescriptorsOfBothWidthsAndChecksThem) {
  Part part;
  part.flags = 8;
  part.after_data = "PK\x07\x08" + little(part.crc, 4) + little(5, 4) + little(5, 4);
  EXPECT_NO_THROW(read_all(make_zip({part})));
  part.after_data = "PK\x07\x08" + little(part.crc, 4) + little(5, 8) + little(5, 8);
  EXPECT_NO_THROW(read_all(make_zip({part})));
  part.after_data = little(part.crc, 4) + little(5, 4) + little(5, 4);
  EXPECT_NO_THROW(read_all(make_zip({part})));
  part.after_data = little(part.crc, 4) + little(5, 4) + little(6, 4);
  expect_refused({part}, "its data descriptor disagrees");
}

TEST(Zip, EveryCutAndBitFlipOfASmallArchiveIsContained) {
  Part second = deflated("some text, some text, some text");
  second.name = "b";
  const std::string good = make_zip({Part{}, second});
  expect_every_cut_refused(good, read_all);
  expect_bit_flips_contained(good, 100'000, read_all);
}

TEST(Zip, RefusesDamagedContent) {
  Part part;
  part.crc ^= 1U;
  expect_refused({part}, "member 'a.npy': checksum 3610a686, expected 3610a687");
  part = deflated("hello hello hello");
  part.data[1] = '\xFF';
  expect_refused({part}, "a damaged deflate stream");
  part = deflated("hello hello hello");
  part.data += "more";
  expect_refused({part}, "a damaged deflate stream");
  part = deflated("hello hello hello");
  part.bytes = 16;
  expect_refused({part}, "a damaged deflate stream, 16 of 16 bytes");
  part.bytes = 18;
  expect_refused({part}, "a damaged deflate stream, 17 of 18 bytes");
  part = Part{};
  part.bytes = 6;
  expect_refused({part}, "is stored in 5 bytes but said to hold 6");
}

TEST(Zip, RefusesNamesThatLeaveTheFolder) {
  for (const std::string name : {"../a", "a/../../b", "/etc/passwd", "a/..", "C:x", "a\\b"}) {
    Part part;
    part.name = name;
    expect_refused({part}, "which is refused");
  }
  Part part;
  part.name = std::string("a\0b", 3);
  expect_refused({part}, "a name with a zero byte");
  part.name = "a..b/..c/...";
  EXPECT_NO_THROW(read_all(make_zip({part})));
}

TEST(Zip, RefusesTwoMembersOfOneName) {
  expect_refused({Part{}, Part{}}, "two members are named 'a.npy'");
}

TEST(Zip, RefusesMembersThatShareBytes) {
  Part second;
  second.name = "b.npy";
  second.local_name = "a.npy";
  second.offset = 0;
  expect_refused({Part{}, second}, "disagrees with the directory");
  // A member whose data are said to include the next member's header and data.
  const std::string inner = make_zip({Part{}}).substr(0, 40);
  Part outer;
  outer.name = "outer";
  outer.data = inner;
  outer.bytes = inner.size();
  outer.crc = crc_of(inner);
  Part hidden;
  hidden.offset = 35;  // inside the data of `outer`: 30 bytes of header and a name of 5
  expect_refused({outer, hidden}, "overlaps");
}

TEST(Zip, RefusesALocalHeaderOfAnotherName) {
  Part part;
  part.local_name = "b.npy";
  expect_refused({part}, "its local header disagrees with the directory");
}

TEST(Zip, RefusesABombBeforeInflatingIt) {
  const std::string zeros(8U << 20U, '\0');
  expect_refused({deflated(zeros)}, "more than 256 times");
  // Small members may shrink by any factor.
  EXPECT_NO_THROW(read_all(make_zip({deflated(std::string(1U << 20U, '\0'))})));
}

TEST(Zip, RefusesASizeThatTheStreamDoesNotHave) {
  Part part = deflated("hello");
  part.bytes = 1U << 20U;
  expect_refused({part}, "5 of 1048576 bytes came out");
  part.bytes = 0xFFFFFFF0U;
  expect_refused({part}, "times");
}

TEST(Zip, RefusesBytesBeforeTheFirstMember) {
  Part part;
  part.offset = 4;
  std::string bytes = "#!/b" + make_zip({part});
  const std::size_t end = bytes.size() - 22;
  bytes.replace(end + 16, 4, little(bytes.find("PK\x01\x02"), 4));
  expect_error(ErrorKind::kFormat, "4 bytes before the first member", [&] { read_all(bytes); });
  expect_error(ErrorKind::kFormat, "the directory is said to fill", [&] {
    read_all("#!/b" + make_zip({Part{}}));
  });
}

TEST(Zip, RefusesTooManyMembersFromTheCountAlone) {
  std::string bytes = make_zip({Part{}});
  bytes.replace(bytes.size() - 14, 4, little(20'000, 2) + little(20'000, 2));
  expect_error(
      ErrorKind::kFormat, "20000 members, more than the limit of 10000", [&] { read_all(bytes); });
  bytes.replace(bytes.size() - 14, 4, little(2, 2) + little(2, 2));
  expect_error(ErrorKind::kFormat, "2 members do not fit", [&] { read_all(bytes); });
}

TEST(Zip, NamesWhatItDoesNotSupport) {
  Part part;
  part.flags = 1;
  expect_error(ErrorKind::kUnsupported, "is encrypted", [&] { read_all(make_zip({part})); });
  part = Part{};
  part.method = 12;
  expect_error(ErrorKind::kUnsupported, "method 12", [&] { read_all(make_zip({part})); });
  std::string bytes = make_zip({Part{}});
  bytes[bytes.size() - 18] = 1;
  expect_error(ErrorKind::kUnsupported, "several discs", [&] { read_all(bytes); });
}

TEST(Zip, RefusesWhatIsNoZip) {
  expect_error(ErrorKind::kFormat, "not a zip file", [] { read_all(""); });
  expect_error(ErrorKind::kFormat, "not a zip file", [] { read_all(std::string(70'000, 'P')); });
  EXPECT_TRUE(ZipArchive::detect("PK\x03\x04..."));
  EXPECT_FALSE(ZipArchive::detect("PK"));
}

TEST(ZipWriter, WritesWhatTheReaderReads) {
  ZipWriter writer;
  writer.add("archive/data.pkl", "pickle");
  writer.add("empty", "");
  writer.add("archive/data/0", std::string(1000, 'q'));
  const std::string bytes = writer.finish();
  const ZipArchive archive(bytes, "x.zip");
  ASSERT_EQ(archive.entries().size(), 3U);
  EXPECT_EQ(archive.read(archive.entries()[0]), "pickle");
  EXPECT_EQ(archive.read(archive.entries()[1]), "");
  EXPECT_EQ(archive.read(archive.entries()[2]), std::string(1000, 'q'));
  EXPECT_NO_THROW(read_all(ZipWriter().finish()));
}

TEST(ZipWriter, AlignsDataAndGivesTheSameBytesTwice) {
  const auto make = [] {
    ZipWriter writer(64);
    // Name lengths 1 to 70 meet every gap, those of 1 to 3 bytes too small for a field included.
    for (std::size_t i = 1; i <= 70; ++i) writer.add(std::string(i, 'n'), std::string(i % 7, 'd'));
    return writer.finish();
  };
  const std::string bytes = make();
  const ZipArchive archive(bytes, "x.zip");
  ASSERT_EQ(archive.entries().size(), 70U);
  for (const auto& entry : archive.entries()) EXPECT_EQ(entry.data_offset % 64, 0U) << entry.name;
  read_all(bytes);
  EXPECT_EQ(make(), bytes);
}

TEST(ZipWriter, RefusesBadAndRepeatedNames) {
  ZipWriter writer;
  writer.add("a", "x");
  expect_error(ErrorKind::kUsage, "added twice", [&] { writer.add("a", "y"); });
  expect_error(ErrorKind::kUsage, "leaves its folder", [&] { writer.add("../a", "y"); });
  expect_error(ErrorKind::kUsage, "an empty name", [&] { writer.add("", "y"); });
}

}  // namespace
}  // namespace med3d
