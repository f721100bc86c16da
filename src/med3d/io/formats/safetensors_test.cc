#include "med3d/io/formats/safetensors.h"

#include "med3d/core/file.h"
#include "med3d/io/test_support.inc"

namespace med3d {
namespace {

using namespace testing_io;

std::string file_of(const std::string& header, const std::string& data) {
  std::string out;
  for (std::size_t i = 0; i < 8; ++i) out += static_cast<char>((header.size() >> (8 * i)) & 0xFFU);
  return out + header + data;
}

const std::string kOne = R"({"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}})";

TEST(Safetensors, ReadsAHandMadeFile) {
  const auto file = parse_safetensors(
      file_of(
          R"({"__metadata__":{"format":"pt"},"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]},)"
          R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}   )",
          from_hex("0000803f 00000040 07")),
      "x");
  ASSERT_EQ(file.tensors.size(), 2U);
  EXPECT_EQ(file.tensors[0].name, "a");
  EXPECT_EQ(as_f32(file.tensors[0].array), (std::vector<float>{1, 2}));
  EXPECT_EQ(as_i64(*file.find("b")), (std::vector<std::int64_t>{7}));
  EXPECT_EQ(file.find("c"), nullptr);
  EXPECT_EQ(file.metadata.at("format"), "pt");
}

// The header is 2 + 40 ... bytes filled to a multiple of 8 with spaces; the f32 comes before the
// u8.
TEST(Safetensors, WritesTheseBytesInAnyOrderOfItsTensors) {
  const NamedArray a{"a", Array{{1}, DType::kU8, "\x07"}};
  const NamedArray b{"b", Array{{1}, DType::kF32, from_hex("0000803f")}};
  std::string header = R"({"__metadata__":{"k":"v"},)"
                       R"("b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                       R"("a":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}})";
  header.append((8 - header.size() % 8) % 8, ' ');
  const std::string expected = file_of(header, from_hex("0000803f 07"));
  EXPECT_EQ(safetensors_bytes(std::vector{a, b}, {{"k", "v"}}), expected);
  EXPECT_EQ(safetensors_bytes(std::vector{b, a}, {{"k", "v"}}), expected);
}

TEST(Safetensors, EveryTypeNameAndTextComesBack) {
  std::vector<NamedArray> tensors;
  for (const DType dtype : {DType::kF16,
                            DType::kBF16,
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
    tensors.push_back({std::string(to_string(dtype)) + " \"\\\n\xC3\xA9",
                       Array{{2, 1}, dtype, std::string(2 * dtype_bytes(dtype), '\x01')}});
  }
  tensors.push_back({"empty", Array{{0, 4}, DType::kF32, ""}});
  const auto bytes = safetensors_bytes(tensors, {{"text", "line\nquote\""}});
  const auto back = parse_safetensors(bytes, "x");
  ASSERT_EQ(back.tensors.size(), tensors.size());
  for (const auto& tensor : tensors) {
    const Array* found = back.find(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    EXPECT_EQ(found->dtype, tensor.array.dtype);
    EXPECT_EQ(found->shape, tensor.array.shape);
    EXPECT_EQ(found->bytes, tensor.array.bytes);
  }
  EXPECT_EQ(back.metadata.at("text"), "line\nquote\"");
  EXPECT_TRUE(parse_safetensors(safetensors_bytes({}), "x").tensors.empty());
}

TEST(Safetensors, RefusesEveryBrokenLayoutByName) {
  const std::string data(8, '\0');
  const auto refused = [&](const std::string& header, std::string_view message) {
    expect_error(
        ErrorKind::kFormat, message, [&] { parse_safetensors(file_of(header, data), "x"); });
  };
  EXPECT_NO_THROW(parse_safetensors(file_of(kOne, data), "x"));
  const auto tensor = [](const std::string& name,
                         const std::string& begin,
                         const std::string& end,
                         const std::string& shape = "[1]") {
    return "\"" + name + R"(":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":[)" + begin +
           "," + end + "]}";
  };
  refused("{" + tensor("a", "0", "4") + "," + tensor("a", "4", "8") + "}", "key 'a' occurs twice");
  refused(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
          "key 'dtype' occurs twice");
  refused("{" + tensor("a", "0", "4") + "," + tensor("b", "0", "4") + "}", "it overlaps another");
  refused("{" + tensor("a", "0", "8", "[2]") + "," + tensor("b", "4", "8") + "}", "it overlaps");
  refused("{" + tensor("a", "4", "8") + "}", "there is a hole before it");
  refused("{" + tensor("a", "0", "4") + "}", "4 bytes after the last tensor");
  refused("{}", "8 bytes after the last tensor");
  refused("{" + tensor("a", "8", "0") + "}", "do not lie in the 8 bytes");
  refused("{" + tensor("a", "0", "12", "[3]") + "}", "do not lie in the 8 bytes");
  refused("{" + tensor("a", "0", "8", "[3]") + "}", "8 bytes of data, expected 12");
  refused("{" + tensor("a", "0", "8", "[9223372036854775807,9]") + "}", "does not fit in 64 bits");
  refused("{" + tensor("a", "0", "8", "[-2]") + "}", "expected a list of whole numbers");
  refused("{" + tensor("a", "0", "8", "[2.0]") + "}", "expected a list of whole numbers");
  refused("{" + tensor("a", "0", "8", "2") + "}", "expected a list of whole numbers");
  refused("{" + tensor("a", "0", "1e1") + "}", "expected a list of whole numbers");
  refused(R"({"a":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}})", "elements of type 'F99'");
  refused(R"({"a":{"dtype":4,"shape":[2],"data_offsets":[0,8]}})", "dtype is no string");
  refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", "expected exactly");
  refused(R"({"a":[1]})", "expected exactly");
  refused(R"({"__metadata__":{"a":1}})", "__metadata__ 'a' is no string");
  refused(R"({"__metadata__":"a"})", "__metadata__ is no object");
  refused(R"({"a":[[[[[]]]]]})", "nested deeper");
  refused(R"({"a":)", "not valid JSON");
  refused(R"({"a":{}} x)", "not valid JSON");
  refused("[1]", "does not begin with '{'");
  refused(" {}", "does not begin with '{'");
  expect_error(ErrorKind::kUnsupported, "elements of type 'F8_E4M3'", [&] {
    parse_safetensors(
        file_of(R"({"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}})", data), "x");
  });
  expect_error(ErrorKind::kFormat, "more than the limit", [] {
    parse_safetensors(std::string(16, '\x7F'), "x");
  });
  expect_error(ErrorKind::kFormat, "cut short: a header of 56 bytes", [] {
    parse_safetensors(file_of(kOne, "").substr(0, 30), "x");
  });
}

TEST(Safetensors, RefusesToWriteWhatItCouldNotRead) {
  const NamedArray a{"a", Array{{1}, DType::kU8, "\x07"}};
  expect_error(ErrorKind::kUsage, "'a' is reserved or used twice", [&] {
    safetensors_bytes(std::vector{a, a});
  });
  expect_error(ErrorKind::kUsage, "reserved or used twice", [&] {
    safetensors_bytes(std::vector{NamedArray{"__metadata__", a.array}});
  });
  expect_error(ErrorKind::kUsage, "has 1 bytes, expected 2", [&] {
    safetensors_bytes(std::vector{NamedArray{"b", Array{{2}, DType::kU8, "\x07"}}});
  });
  expect_error(ErrorKind::kUsage, "not UTF-8", [&] {
    safetensors_bytes(std::vector{NamedArray{"\xFF", a.array}});
  });
}

TEST(Safetensors, EveryCutAndBitFlipIsContained) {
  const auto parse = [](const std::string& bytes) { parse_safetensors(bytes, "x"); };
  const std::string good =
      safetensors_bytes(std::vector{NamedArray{"a", from_matrix(Matrix<float>(2, 2, 1.0F))},
                                    NamedArray{"b", Array{{3}, DType::kU8, "abc"}}},
                        {{"k", "v"}});
  expect_every_cut_refused(good, parse);
  expect_bit_flips_contained(good, 100'000, parse);
}

// A header of 20,000 tensors: slow if any step were quadratic.
TEST(Safetensors, ManyTensorsTakeNoLongerThanTheirNumber) {
  std::vector<NamedArray> tensors;
  for (int i = 0; i < 20'000; ++i)
    tensors.push_back({std::to_string(i), Array{{1}, DType::kU8, "x"}});
  EXPECT_EQ(parse_safetensors(safetensors_bytes(tensors), "x").tensors.size(), 20'000U);
}

}  // namespace
}  // namespace med3d
