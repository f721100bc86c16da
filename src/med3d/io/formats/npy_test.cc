#include "med3d/io/formats/npy.h"

#include <cstring>

#include "med3d/core/file.h"
#include "med3d/io/formats/zip.h"
#include "med3d/io/test_support.inc"

namespace med3d {
namespace {

using namespace testing_io;

// An npy with this header text (padded as it stands) and data.
std::string npy_with(const std::string& header, const std::string& data, char version = 1) {
  std::string out = "\x93NUMPY";
  out += version;
  out += '\0';
  const std::string text = header + "\n";
  out += static_cast<char>(text.size() & 0xFFU);
  out += static_cast<char>(text.size() >> 8U);
  if (version > 1) out += std::string(2, '\0');
  return out + text + data;
}

std::string header_of(const std::string& descr, const std::string& shape) {
  return "{'descr': " + descr + ", 'fortran_order': False, 'shape': " + shape + ", }";
}

// numpy.save of arange(6, dtype='f4').reshape(2, 3) / 2, NumPy 1.24.2.
const std::string kTwoByThree = from_hex(
    "934e554d5059010076007b276465736372273a20273c6634272c2027666f727472616e5f6f72646572273a2046616c"
    "73652c20277368617065273a2028322c2033292c207d20202020202020202020202020202020202020202020202020"
    "2"
    "020202020202020202020202020202020202020202020202020202020202020200a000000000000003f0000803f000"
    "0"
    "c03f0000004000002040");

// numpy.save of asfortranarray(arange(6, dtype='>i2').reshape(2, 3)), NumPy 1.24.2.
const std::string kFortranBigEndian = from_hex(
    "934e554d5059010076007b276465736372273a20273e6932272c2027666f727472616e5f6f72646572273a20547275"
    "652c20277368617065273a2028322c2033292c207d2020202020202020202020202020202020202020202020202020"
    "2"
    "020202020202020202020202020202020202020202020202020202020202020200a000000030001000400020005");

TEST(Npy, ReadsAndWritesTheBytesOfNumPy) {
  const auto matrix = to_matrix(parse_npy(kTwoByThree, "x.npy"));
  ASSERT_EQ(matrix.rows(), 2U);
  ASSERT_EQ(matrix.cols(), 3U);
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(matrix.data()[i], static_cast<float>(i) / 2);
  EXPECT_EQ(npy_bytes(matrix), kTwoByThree);
}

// Column by column on disk: 0 3, 1 4, 2 5, each with its high byte first.
TEST(Npy, TurnsFortranOrderAndBigEndianIntoRowMajorLittleEndian) {
  const Array array = parse_npy(kFortranBigEndian, "x.npy");
  EXPECT_EQ(array.shape, (std::vector<std::uint64_t>{2, 3}));
  EXPECT_EQ(as_i64(array), (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5}));
}

// Element (i, j, k) of a 2 x 3 x 4 array holds 100 i + 10 j + k; in Fortran order i runs fastest.
TEST(Npy, TurnsThreeAxesOfFortranOrder) {
  std::string data;
  for (int k = 0; k < 4; ++k) {
    for (int j = 0; j < 3; ++j) {
      for (int i = 0; i < 2; ++i) data += static_cast<char>(100 * i + 10 * j + k);
    }
  }
  const auto values = as_i64(parse_npy(
      npy_with("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 4)}", data), "x"));
  std::size_t at = 0;
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 3; ++j) {
      for (int k = 0; k < 4; ++k) EXPECT_EQ(values[at++], 100 * i + 10 * j + k);
    }
  }
}

TEST(Npy, ReadsVersionsTwoAndThreeAndAnyOrderOfKeys) {
  const std::string data(4, '\0');
  for (const char version : {1, 2, 3}) {
    EXPECT_NO_THROW(parse_npy(npy_with(header_of("'<f4'", "(1,)"), data, version), "x"));
  }
  EXPECT_NO_THROW(
      parse_npy(npy_with("{\"shape\":(1,),\"fortran_order\":False,\"descr\":\"<f4\"}", data), "x"));
  EXPECT_EQ(as_f64(parse_npy(npy_with(header_of("'<f8'", "()"), std::string(8, '\0')), "x")).size(),
            1U);
  EXPECT_TRUE(as_f32(parse_npy(npy_with(header_of("'<f4'", "(0, 5)"), ""), "x")).empty());
}

TEST(Npy, WritesEveryTypeThatItReads) {
  for (const DType dtype : {DType::kF16,
                            DType::kF32,
                            DType::kF64,
                            DType::kI8,
                            DType::kU8,
                            DType::kI16,
                            DType::kU16,
                            DType::kI32,
                            DType::kU32,
                            DType::kI64,
                            DType::kU64,
                            DType::kBool}) {
    const Array array{{3, 1}, dtype, std::string(3 * dtype_bytes(dtype), '\x01')};
    const Array back = parse_npy(npy_bytes(array), "x");
    EXPECT_EQ(back.dtype, dtype);
    EXPECT_EQ(back.shape, array.shape);
    EXPECT_EQ(back.bytes, array.bytes);
  }
  expect_error(ErrorKind::kUnsupported, "npy has no bf16", [] {
    npy_bytes(Array{{1}, DType::kBF16, std::string(2, '\0')});
  });
  expect_error(ErrorKind::kUsage, "2 bytes of data, expected 4", [] {
    npy_bytes(Array{{1}, DType::kF32, std::string(2, '\0')});
  });
}

TEST(Npy, NeverReadsPickledObjectsOrRecords) {
  expect_error(ErrorKind::kUnsupported, "pickled objects are never read", [] {
    parse_npy(npy_with(header_of("'|O'", "(1,)"), "\x80\x04."), "x.npy");
  });
  expect_error(ErrorKind::kUnsupported, "pickled objects are never read", [] {
    parse_npy(npy_with(header_of("[('a', '<f4'), ('b', '|O')]", "(1,)"), "data"), "x.npy");
  });
  for (const std::string descr : {"'<c8'", "'<U5'", "'|S5'", "'<M8[ns]'", "'|V8'", "'|f4'", "''"}) {
    expect_error(ErrorKind::kUnsupported, "expected numbers such as '<f4'", [&] {
      parse_npy(npy_with(header_of(descr, "(1,)"), std::string(8, '\0')), "x.npy");
    });
  }
}

TEST(Npy, RefusesEveryBrokenHeaderByName) {
  const auto refused = [](const std::string& header, std::string_view message) {
    expect_error(ErrorKind::kFormat, message, [&] {
      parse_npy(npy_with(header, std::string(4, '\0')), "x.npy");
    });
  };
  refused("{'descr': '<f4', 'fortran_order': False}", "is missing");
  refused("{'descr': '<f4', 'descr': '<f4', 'shape': (1,)}", "key 'descr' occurs twice");
  refused("{'descr': '<f4', 'order': False, 'shape': (1,)}", "unknown key 'order'");
  refused(header_of("'<f4'", "(1)"), "expected ',' in a shape of one axis");
  refused(header_of("'<f4'", "(-1,)"), "expected a whole number");
  refused(header_of("'<f4'", "(1.5,)"), "expected ','");
  refused(header_of("'<f4'", "(99999999999999999999,)"), "expected a whole number");
  refused(header_of("'<f4'", "1"), "expected '('");
  refused(header_of("'<f4", "(1,)"), "expected");
  refused("{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", "expected True or False");
  refused(header_of("'<f4'", "(1,)") + " import os", "text after the dictionary");
  refused("__import__('os')", "expected '{'");
  refused(header_of("'<f4'", "(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)"), "too many axes");
  refused(header_of("'<f4'", "(9223372036854775807, 3)"), "does not fit in 64 bits");
  refused(header_of("'<f4'", "(2000000000,)"), "more than the limit");
  refused(header_of("'<f4'", "(2,)"), "4 bytes of data, expected 8 for shape (2,) of f32");
  expect_error(ErrorKind::kFormat, "5 bytes of data, expected 4", [] {
    parse_npy(npy_with(header_of("'<f4'", "(1,)"), std::string(5, '\0')), "x.npy");
  });
  expect_error(ErrorKind::kUnsupported, "npy version 4.0", [] {
    parse_npy(npy_with(header_of("'<f4'", "(1,)"), std::string(4, '\0'), 4), "x.npy");
  });
  expect_error(ErrorKind::kFormat, "an npy header of", [] {
    parse_npy(npy_with(std::string(20'000, ' '), ""), "x.npy");
  });
  expect_error(ErrorKind::kFormat, "not an npy file", [] { parse_npy("PK\x03\x04", "x.npy"); });
}

TEST(Npy, EveryCutAndBitFlipIsContained) {
  const auto parse = [](const std::string& bytes) { to_matrix(parse_npy(bytes, "x.npy")); };
  expect_every_cut_refused(kTwoByThree, parse);
  expect_bit_flips_contained(kTwoByThree, 100'000, parse);
  expect_bit_flips_contained(kFortranBigEndian, 100'000, parse);
}

TEST(Npz, ComesBackFromItsBytesAndIsTheSameTwice) {
  Matrix<float> matrix(2, 2, 0.5F);
  const std::vector<NamedArray> arrays = {
      {"arr_0", from_matrix(matrix)}, {"labels", Array{{2}, DType::kI64, std::string(16, '\0')}}};
  const std::string bytes = npz_bytes(arrays);
  EXPECT_EQ(npz_bytes(arrays), bytes);
  const auto back = parse_npz(bytes, "x.npz");
  ASSERT_EQ(back.size(), 2U);
  EXPECT_EQ(back[0].name, "arr_0");
  EXPECT_EQ(to_matrix(back[0].array), matrix);
  EXPECT_EQ(back[1].array.dtype, DType::kI64);
  const auto parse = [](const std::string& text) { parse_npz(text, "x.npz"); };
  expect_every_cut_refused(bytes, parse);
  expect_bit_flips_contained(bytes, 3000, parse);
}

TEST(Npz, NamesTheMemberThatIsBad) {
  ZipWriter writer;
  writer.add("good.npy", kTwoByThree);
  writer.add("bad.npy", "not an array");
  expect_error(ErrorKind::kFormat, "x.npz, member 'bad.npy': not an npy file", [&] {
    parse_npz(writer.finish(), "x.npz");
  });
  ZipWriter other;
  other.add("code.py", "print()");
  expect_error(ErrorKind::kUnsupported, "member 'code.py' is no npy array", [&] {
    parse_npz(other.finish(), "x.npz");
  });
}

TEST(Npz, ChoosesTheOnlyArrayOrTheOneCalledFeatures) {
  const NamedArray a{"a", from_matrix(Matrix<float>(1, 2, 1.0F))};
  const NamedArray features{"features", from_matrix(Matrix<float>(1, 3, 2.0F))};
  EXPECT_EQ(features_among(std::vector{a}, "x").cols(), 2U);
  EXPECT_EQ(features_among(std::vector{a, features}, "x").cols(), 3U);
  expect_error(ErrorKind::kFormat, "2 arrays (a, a), expected one or one named 'features'", [&] {
    features_among(std::vector{a, a}, "x");
  });
}

}  // namespace
}  // namespace med3d
