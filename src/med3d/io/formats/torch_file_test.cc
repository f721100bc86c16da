#include "med3d/io/formats/torch_file.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/limits.h"
#include "med3d/io/features.h"
#include "med3d/io/formats/safetensors.h"
#include "med3d/io/formats/zip.h"
#include "med3d/io/test_support.inc"

namespace med3d {
namespace {

using namespace std::string_literals;
using testing_io::expect_error;
using testing_io::test_data_folder;

Array floats(std::vector<std::uint64_t> shape, const std::vector<float>& values) {
  return {std::move(shape),
          DType::kF32,
          std::string(reinterpret_cast<const char*>(values.data()), 4 * values.size())};
}

// A pickled tensor over the six floats 1..6 of storage "0".
std::string object_of(const std::string& offset,
                      const std::string& size,
                      const std::string& stride,
                      const std::string& view = "") {
  return "\x80\x02"
         "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n"
         "X\x01\0\0\0"
         "0X\x06\0\0\0cuda:0K\x06"s +
         view + "tQ" + offset + size + stride + "\x89" + "ccollections\nOrderedDict\n)RtR.";
}

const std::vector<float> kSix = {1, 2, 3, 4, 5, 6};

std::string zip_of(const std::string& object) {
  ZipWriter zip(64);
  zip.add("any name/data.pkl", object);
  zip.add("any name/data/0",
          std::string(reinterpret_cast<const char*>(kSix.data()), 4 * kSix.size()));
  return zip.finish();
}

std::string legacy_of(const std::string& object) {
  return "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}."s +
         object + "\x80\x02]X\x01\0\0\0"s + "0a.\x06\0\0\0\0\0\0\0"s +
         std::string(reinterpret_cast<const char*>(kSix.data()), 4 * kSix.size());
}

std::vector<float> values_of(const std::string& object) {
  const TorchFile zip = parse_torch(zip_of(object), "x.pt");
  const TorchFile legacy = parse_torch(legacy_of(object), "x.pt");
  EXPECT_EQ(zip.container, "zip");
  EXPECT_EQ(legacy.container, "legacy");
  EXPECT_EQ(zip.tensors[0].array.bytes, legacy.tensors[0].array.bytes);
  return as_f32(zip.tensors[0].array);
}

TEST(TorchFile, ReadsABareTensorFromBothContainers) {
  EXPECT_EQ(values_of(object_of("K\0"s, "K\x02K\x03\x86", "K\x03K\x01\x86")), kSix);
  const auto file = parse_torch(zip_of(object_of("K\0"s, "K\x02K\x03\x86", "K\x03K\x01\x86")), "x");
  ASSERT_EQ(file.tensors.size(), 1U);
  EXPECT_EQ(file.tensors[0].name, "");
  EXPECT_EQ(file.tensors[0].array.dtype, DType::kF32);
  EXPECT_EQ(file.tensors[0].array.shape, (std::vector<std::uint64_t>{2, 3}));
}

// The storage is 1 2 3 4 5 6; element (i, j) stands at offset + i * stride[0] + j * stride[1].
TEST(TorchFile, WritesOutViewsOfAStorage) {
  // The transpose of (2, 3): rows 1 4, 2 5, 3 6.
  EXPECT_EQ(values_of(object_of("K\0"s, "K\x03K\x02\x86", "K\x01K\x03\x86")),
            (std::vector<float>{1, 4, 2, 5, 3, 6}));
  // The middle column of (2, 3): offset 1, stride 3.
  EXPECT_EQ(values_of(object_of("K\x01", "K\x02\x85", "K\x03\x85")), (std::vector<float>{2, 5}));
  // One row shown twice: stride 0.
  EXPECT_EQ(values_of(object_of("K\x03", "K\x02K\x03\x86", "K\0K\x01\x86"s)),
            (std::vector<float>{4, 5, 6, 4, 5, 6}));
  // Windows of three that overlap: unfold(0, 3, 1).
  EXPECT_EQ(values_of(object_of("K\0"s, "K\x04K\x03\x86", "K\x01K\x01\x86")),
            (std::vector<float>{1, 2, 3, 2, 3, 4, 3, 4, 5, 4, 5, 6}));
  // A single number, and nothing at all.
  EXPECT_EQ(values_of(object_of("K\x05", ")", ")")), (std::vector<float>{6}));
  EXPECT_EQ(values_of(object_of("K\x06", "K\0K\x03\x86"s, "K\x03K\x01\x86")),
            (std::vector<float>{}));
  // The stride of an axis of length one is never taken.
  EXPECT_EQ(values_of(object_of("K\x02", "K\x01K\x02\x86", "K\xffK\x01\x86")),
            (std::vector<float>{3, 4}));
}

TEST(TorchFile, ReadsAViewOfALegacyStorage) {
  // The view "v" is elements 2 to 4 of the storage; the tensor its last two.
  const auto file = parse_torch(
      legacy_of(object_of("K\x01", "K\x02\x85", "K\x01\x85", "(X\x01\0\0\0vK\x02K\x03t"s)), "x.pt");
  EXPECT_EQ(as_f32(file.tensors[0].array), (std::vector<float>{4, 5}));
}

TEST(TorchFile, WritesWhatItReads) {
  std::vector<NamedArray> tensors = {
      {"conv1.weight", floats({2, 3}, kSix)},
      {"conv1.bias", floats({1}, {0.5F})},
      {"scalar", floats({}, {7.0F})},
      {"empty", floats({0, 5}, {})},
      {"four axes", floats({1, 2, 3, 1}, kSix)},
  };
  for (const DType dtype : {DType::kF16,
                            DType::kBF16,
                            DType::kF64,
                            DType::kI8,
                            DType::kU8,
                            DType::kI16,
                            DType::kI32,
                            DType::kI64,
                            DType::kBool}) {
    tensors.push_back({"of " + std::string(to_string(dtype)),
                       {{300}, dtype, std::string(300 * dtype_bytes(dtype), '\x01')}});
  }
  const std::string bytes = torch_bytes(tensors);
  EXPECT_EQ(bytes, torch_bytes(tensors));
  const TorchFile file = parse_torch(bytes, "x.pt");
  EXPECT_EQ(file.container, "zip");
  ASSERT_EQ(file.tensors.size(), tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(file.tensors[i].name, tensors[i].name);
    EXPECT_EQ(file.tensors[i].array.shape, tensors[i].array.shape);
    EXPECT_EQ(file.tensors[i].array.dtype, tensors[i].array.dtype);
    EXPECT_EQ(file.tensors[i].array.bytes, tensors[i].array.bytes);
  }
  const TorchFile bare = parse_torch(torch_tensor_bytes(tensors[0].array), "x.pt");
  ASSERT_EQ(bare.tensors.size(), 1U);
  EXPECT_EQ(bare.tensors[0].name, "");
  EXPECT_EQ(bare.tensors[0].array.bytes, tensors[0].array.bytes);
}

TEST(TorchFile, AlignsTheElementsTo64Bytes) {
  const std::string bytes =
      torch_bytes(std::vector<NamedArray>{{"a", floats({1}, {1})}, {"b", floats({6}, kSix)}});
  const ZipArchive archive(bytes, "x.pt");
  for (const char* name : {"archive/data.pkl", "archive/data/0", "archive/data/1"}) {
    ASSERT_NE(archive.find(name), nullptr) << name;
    EXPECT_EQ(archive.find(name)->data_offset % 64, 0U) << name;
    EXPECT_EQ(archive.find(name)->method, 0) << name;
  }
  EXPECT_EQ(archive.read(*archive.find("archive/version")), "3\n");
  EXPECT_EQ(archive.read(*archive.find("archive/byteorder")), "little");
}

TEST(TorchFile, RefusesToWriteWhatTorchCouldNotRead) {
  const Array one = floats({1}, {1});
  const auto write = [](std::vector<NamedArray> tensors) {
    return [tensors = std::move(tensors)] { torch_bytes(tensors); };
  };
  expect_error(ErrorKind::kUsage, "no tensor", write({}));
  expect_error(ErrorKind::kUsage, "a name of 1 to 1023 bytes", write({{"", one}}));
  expect_error(ErrorKind::kUsage, "UTF-8", write({{"\xff", one}}));
  expect_error(ErrorKind::kUsage, "two tensors are called 'a'", write({{"a", one}, {"a", one}}));
  expect_error(ErrorKind::kUsage,
               "4 bytes for shape (2,), expected 8",
               write({{"a", {{2}, DType::kF32, "1234"}}}));
  expect_error(
      ErrorKind::kUnsupported, "no tensors of u16", write({{"a", {{1}, DType::kU16, "12"}}}));
}

TEST(TorchFile, BoundsWhatViewsMayGrowTo) {
  // 255 x 255 x 255 floats of one element: 66 MB from a file of half a kilobyte.
  const std::string size = "K\xffK\xffK\xff\x87";
  const std::string stride = "K\0K\0K\0\x87"s;
  expect_error(ErrorKind::kFormat, "too many for a file of this size", [&] {
    parse_torch(zip_of(object_of("K\0"s, size, stride)), "x.pt");
  });
}

TEST(TorchFile, TakesModuleOutOfNames) {
  EXPECT_EQ(without_module("module.conv1.weight"), "conv1.weight");
  EXPECT_EQ(without_module("attention_net.module.3.attention_a.0.bias"),
            "attention_net.3.attention_a.0.bias");
  EXPECT_EQ(without_module("module.module.a"), "a");
  EXPECT_EQ(without_module("modules.a"), "modules.a");
  EXPECT_EQ(without_module("a.module"), "a.module");
  EXPECT_EQ(without_module("module"), "module");
}

// {wrapper: {'module.a': tensor}, 'other': tensor}, as data of torch_bytes re-nested by hand.
std::string nested(const std::vector<std::string>& wrappers, const std::string& key) {
  const auto name = [](const std::string& s) {
    std::string out = "X";
    out += static_cast<char>(s.size());
    return out + "\0\0\0"s + s;
  };
  const std::string object = object_of("K\0"s, "K\x06\x85", "K\x01\x85");
  const std::string tensor = object.substr(2, object.size() - 3);
  std::string out = "\x80\x02}(" + name("epoch") + "K\x05" + name("optimizer") + "}" +
                    name("momentum") + tensor + "s";
  for (const std::string& wrapper : wrappers) {
    out += name(wrapper) + "}" + name(key) + tensor + "s";
  }
  return zip_of(out + "u.");
}

TEST(TorchFile, UnwrapsALoneStateDict) {
  for (const char* wrapper : {"state_dict", "model", "model_state_dict"}) {
    const auto weights = parse_state_dict(nested({wrapper}, "module.a"), "x.pt");
    ASSERT_EQ(weights.size(), 1U) << wrapper;
    EXPECT_EQ(weights[0].name, "a");
    EXPECT_EQ(as_f32(weights[0].array), kSix);
    EXPECT_EQ(parse_torch(nested({wrapper}, "module.a"), "x.pt").tensors[1].name,
              wrapper + ".module.a"s);
  }
  expect_error(ErrorKind::kUnsupported, "holds both 'state_dict' and 'model'", [] {
    parse_state_dict(nested({"state_dict", "model"}, "a"), "x.pt");
  });
  expect_error(ErrorKind::kData, "a bare tensor, expected a dict of weights", [] {
    parse_state_dict(torch_tensor_bytes(floats({1}, {1})), "x.pt");
  });
  expect_error(ErrorKind::kData, "two tensors are called 'a' once 'module' is taken out", [] {
    parse_state_dict(torch_bytes(std::vector<NamedArray>{{"a", floats({1}, {1})},
                                                         {"module.a", floats({1}, {2})}}),
                     "x.pt");
  });
}

TEST(TorchFile, NamesAMissingFile) {
  expect_error(ErrorKind::kNotFound, "absent.pt", [] { read_torch("absent.pt"); });
}

// ---- real files

std::string gunzip(const std::filesystem::path& path) {
  const gzFile file = gzopen(path.c_str(), "rb");
  std::string bytes;
  std::vector<char> piece(1 << 20);
  for (int n = 0; (n = gzread(file, piece.data(), static_cast<unsigned>(piece.size()))) > 0;) {
    bytes.append(piece.data(), static_cast<std::size_t>(n));
  }
  gzclose(file);
  return bytes;
}

struct RealFile {
  const char* path;
  const char* container;
  std::size_t tensors;
  const char* names_sha256;     // of the names in order, joined by '\n'
  const char* elements_sha256;  // of all tensors' elements in order, row-major
};

// Counts and sums by torch 1.13: torch.load(path, map_location='cpu'), tensor.contiguous().
constexpr RealFile kRealFiles[] = {
    {"weights/DSMIL_tcga_aggregator.pth",
     "zip",
     8,
     "051fb92f4f3db9a09d37382bf21c85a5733d3d0d4e28cb8ed9c1c846178d89b1",
     "2ed32c2d296332df92a70f213c429b2bf576157ac2bebd89c5676e781ff224b8"},
    {"weights/akamaster_resnet20-12fca82f.th",
     "legacy",
     97,
     "1f33a6ff83c017e3f5a89a60052156cf3e619faeb8f2b10bb6796283ff5cf43f",
     "55fa4ffa8345bfb167b8f5f3a05cba788b5ee87bbed6c716a6342c1616ee109f"},
    {"reference/weights/clam_real_s_0_checkpoint.pt",
     "legacy",
     15,
     "337d17964025e6c9072cf843470a968b22f6692ed13654bee8a6497ddd3841e3",
     "e2a45e0d994c0d81c769de84ee25156f2a2cfaf53e76ca16d5aff043e18fb687"},
    {"reference/weights/clam_mb_small.pth",
     "zip",
     16,
     "3fabacfb5317539eb998955d6770ab9bdb7abe7d4a031a2e57eabfcc7e836736",
     "bb97e3819a7b97dfa95a35a1d49d2b597687642bf3d2bcfc349ef9eff22e3184"},
    {"reference/weights/clam_sb_big_sub3.pth",
     "zip",
     16,
     "20d28bd8137014b7d710cdc6d1b644d94bbabcb674b4f6a9c84a631977ce2caf",
     "8b8f75f2fa412acb7945ad01ad806b5b5e4bfbbdbccc0b32d87873cdaf53be8c"},
    {"reference/weights/clam_sb_small.pth",
     "zip",
     14,
     "7032d6183076fe9dc0003d54be6861cf3a96dbb29b1353571be2fca035ee5a52",
     "047a8ab626429707ff58b170794b878dc178a456faee2b80fd798bbe5ceeecd1"},
    {"reference/weights/clam_sb_ungated.pth",
     "zip",
     12,
     "512c19a18ce0075ede19ed22aa3cf626d17170662c5bdc50d0908ef90f8abfb4",
     "24a550fd05d3122b601dbc10b53f3b959100c1b86561280a039237c29a5a813a"},
    {"reference/weights/medicalnet_resnet_18_A.pth.gz",
     "zip",
     102,
     "d2b8bc81dff707a24d1d991760f8391f0d548f7cd2dfda47b85c3fbb2f41cbac",
     "59a3a62e555f0c0cfd8cc4198f41646a4094058032209663e546c6622096e936"},
    {"reference/weights/resnet50_trunc.pth.gz",
     "zip",
     258,
     "6bb0e63642e827e7e2580c5ddb80ca53bf61688d6b0f8b139894238cd4d816bb",
     "33498e92031d4bd92f04ef034dc72ce7a2f168778a19d7c662a06609d2519211"},
    {"reference/clam_cli/features_cmu/pt_files/CMU-1-Small-Region.pt",
     "zip",
     1,
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
     "cb0ca0d66198b63b952fcce2b4fa3d9c9565bcee5e25cd031395e11b782ecd77"},
    {"reference/clam/train/clam_mb_small_svm/final.pth",
     "zip",
     17,
     "c790748b12461fef8a1fb6f19f0632b9003501e74efd851552a8f6308f1a29af",
     "d493540b3abc704696238eec480315b986babe59ae52a84f083867a26d77d370"},
};

TEST(TorchFile, ReadsRealFilesToTheBitAsTorchDoes) {
  const auto folder = test_data_folder();
  std::size_t read = 0;
  for (const RealFile& real : kRealFiles) {
    const auto path = folder / real.path;
    if (!std::filesystem::exists(path)) continue;
    ++read;
    SCOPED_TRACE(real.path);
    const TorchFile file =
        path.extension() == ".gz" ? parse_torch(gunzip(path), real.path) : read_torch(path);
    EXPECT_EQ(file.container, real.container);
    EXPECT_EQ(file.tensors.size(), real.tensors);
    Sha256 names;
    Sha256 elements;
    for (std::size_t i = 0; i < file.tensors.size(); ++i) {
      names.update((i == 0 ? "" : "\n") + file.tensors[i].name);
      elements.update(file.tensors[i].array.bytes);
    }
    EXPECT_EQ(names.hex(), real.names_sha256);
    EXPECT_EQ(elements.hex(), real.elements_sha256);
  }
  if (read == 0) GTEST_SKIP() << "no PyTorch files under MED3D_TEST_DATA (" << folder << ")";
}

TEST(TorchFile, ReadsTheSameNetFromTorchAndSafetensors) {
  const auto folder = test_data_folder() / "reference" / "weights";
  if (!std::filesystem::exists(folder / "resnet50_trunc.safetensors.gz")) {
    GTEST_SKIP() << "no resnet50_trunc.safetensors.gz under MED3D_TEST_DATA (" << folder << ")";
  }
  const Safetensors other =
      parse_safetensors(gunzip(folder / "resnet50_trunc.safetensors.gz"), "safetensors");
  const auto weights = parse_state_dict(gunzip(folder / "resnet50_trunc.pth.gz"), "resnet50");
  ASSERT_EQ(weights.size(), other.tensors.size());
  for (const NamedArray& one : weights) {
    const Array* same = other.find(one.name);
    ASSERT_NE(same, nullptr) << one.name;
    EXPECT_EQ(same->shape, one.array.shape) << one.name;
    EXPECT_EQ(same->dtype, one.array.dtype) << one.name;
    EXPECT_TRUE(same->bytes == one.array.bytes) << one.name;
  }
}

TEST(TorchFile, ReadsTheWeightsOfClamAndMedicalNetByTheirPlainNames) {
  const auto folder = test_data_folder() / "reference" / "weights";
  if (!std::filesystem::exists(folder / "clam_real_s_0_checkpoint.pt")) {
    GTEST_SKIP() << "no clam_real_s_0_checkpoint.pt under MED3D_TEST_DATA (" << folder << ")";
  }
  std::map<std::string, std::string> shapes;
  for (const auto& one : read_state_dict(folder / "clam_real_s_0_checkpoint.pt")) {
    shapes[one.name] = shape_text(one.array.shape);
  }
  EXPECT_EQ(shapes["attention_net.0.weight"], "(512, 1024)");
  EXPECT_EQ(shapes["attention_net.3.attention_c.weight"], "(1, 256)");
  EXPECT_EQ(shapes.size(), 15U);
  const auto medicalnet =
      parse_state_dict(gunzip(folder / "medicalnet_resnet_18_A.pth.gz"), "resnet_18");
  ASSERT_EQ(medicalnet.size(), 102U);
  EXPECT_EQ(medicalnet[0].name, "conv1.weight");
  EXPECT_EQ(shape_text(medicalnet[0].array.shape), "(64, 1, 7, 7, 7)");
}

TEST(TorchFile, ReadsTheFeaturesOfASlide) {
  const testing_io::TemporaryFolder folder;
  write_file_atomic(folder / "bare.pt", torch_tensor_bytes(floats({3, 2}, kSix)));
  const Matrix<float> bare = read_features(folder / "bare.pt");
  ASSERT_EQ(bare.rows(), 3U);
  ASSERT_EQ(bare.cols(), 2U);
  EXPECT_EQ(bare(2, 0), 5.0F);
  write_file_atomic(folder / "dict.pt",
                    torch_bytes(std::vector<NamedArray>{{"coords", floats({3, 1}, {7, 8, 9})},
                                                        {"features", floats({3, 2}, kSix)}}));
  EXPECT_EQ(read_features(folder / "dict.pt")(0, 1), 2.0F);

  const auto slide = test_data_folder() / "reference" / "clam_cli" / "features_cmu" / "pt_files" /
                     "CMU-1-Small-Region.pt";
  if (!std::filesystem::exists(slide)) {
    GTEST_SKIP() << "no " << slide.filename() << " under MED3D_TEST_DATA (" << slide << ")";
  }
  const Matrix<float> features = read_features(slide);
  EXPECT_EQ(features.rows(), 50U);
  EXPECT_EQ(features.cols(), 1024U);
}

// ---- torch itself

// A Python that imports torch, or "".
std::string python_with_torch() {
  const char* asked = std::getenv("MED3D_TEST_PYTHON");
  for (const std::string& python :
       {std::string(asked == nullptr ? "" : asked), "python3"s, "/usr/bin/python3"s}) {
    if (python.empty()) continue;
    const std::string find_torch =
        " -c 'import importlib.util as u, sys; sys.exit(u.find_spec(\"torch\") is None)'";
    if (std::system((python + find_torch + " >/dev/null 2>&1").c_str()) == 0) return python;
  }
  return "";
}

TEST(TorchFile, AgreesWithTorchInBothDirections) {
  const std::string python = python_with_torch();
  if (python.empty()) {
    GTEST_SKIP() << "no Python with torch: set MED3D_TEST_PYTHON to compare with torch itself";
  }
  const testing_io::TemporaryFolder temporary;
  const std::filesystem::path folder = temporary / ".";
  write_file_atomic(folder / "ours.pt",
                    torch_bytes(std::vector<NamedArray>{
                        {"a.weight", floats({2, 3}, kSix)},
                        {"scalar", floats({}, {7})},
                        {"empty", floats({0, 5}, {})},
                        {"half", {{2}, DType::kF16, "\x00\x3c\x00\xc0"s}},     // 1, -2
                        {"bfloat", {{2}, DType::kBF16, "\x80\x3f\x00\xc0"s}},  // 1, -2
                        {"flag", {{2}, DType::kBool, "\x01\x00"s}},
                        {"long", {{1}, DType::kI64, std::string(8, '\xff')}},
                        {"large", {{70000}, DType::kU8, std::string(70000, '\x02')}}}));
  write_file_atomic(folder / "bare.pt", torch_tensor_bytes(floats({3, 2}, kSix)));
  // Python checks our files and writes its own, with the elements it sees beside them.
  std::ofstream(folder / "check.py") << R"(
import collections, sys, torch
folder = sys.argv[1]
ours = torch.load(folder + '/ours.pt')
assert list(ours) == ['a.weight', 'scalar', 'empty', 'half', 'bfloat', 'flag', 'long', 'large']
six = torch.tensor([[1., 2, 3], [4, 5, 6]])
assert torch.equal(ours['a.weight'], six)
assert ours['scalar'].shape == () and ours['scalar'] == 7
assert ours['empty'].shape == (0, 5)
assert torch.equal(ours['half'], torch.tensor([1, -2], dtype=torch.float16))
assert torch.equal(ours['bfloat'], torch.tensor([1, -2], dtype=torch.bfloat16))
assert torch.equal(ours['flag'], torch.tensor([True, False]))
assert torch.equal(ours['long'], torch.tensor([-1]))
assert ours['large'].sum() == 140000
assert torch.equal(torch.load(folder + '/bare.pt'), six.reshape(3, 2))
if 'weights_only' in torch.load.__code__.co_varnames:
    torch.load(folder + '/ours.pt', weights_only=True)

torch.manual_seed(1)
base = torch.randn(4, 5, 6)
net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
tensors = {'t': base.permute(2, 0, 1), 'slice': base[1:3, ::2, 1], 'base': base,
           'expand': torch.arange(3).expand(4, 3), 'scalar': torch.tensor(2.5, dtype=torch.float64),
           'empty': base[:0], 'parameter': torch.nn.Parameter(torch.ones(2, 2)),
           'list': [torch.tensor([True, False]), (torch.tensor([1, 2], dtype=torch.int8),)],
           'net': net.state_dict(), 'epoch': 3, 'lr': 0.1, 'name': 'x', 'none': None,
           'size': base.shape, 'device': torch.device('cpu'), 'dtype': torch.float32,
           7: torch.tensor([1, 2], dtype=torch.int16), 'u8': torch.tensor([255], dtype=torch.uint8),
           'i32': torch.tensor([-7], dtype=torch.int32), 'half': base[0].half().t(),
           'bfloat': base[0].bfloat16().t()}
torch.save(tensors, folder + '/zip.pt')
torch.save(tensors, folder + '/legacy.pt', _use_new_zipfile_serialization=False)
torch.save(tensors, folder + '/protocol4.pt', pickle_protocol=4)
torch.save(net, folder + '/whole_net.pt')
torch.jit.script(net).save(folder + '/script.pt')
torch.save(torch.tensor([1 + 2j]), folder + '/complex.pt')
torch.save(torch.eye(2).to_sparse(), folder + '/sparse.pt')
def walk(value, path, out):
    if torch.is_tensor(value):
        flat = value.detach().contiguous()
        raw = flat.view(torch.int16) if flat.dtype == torch.bfloat16 else flat
        out.append('%s %s %s' % (path, tuple(value.shape), raw.numpy().tobytes().hex()))
    elif isinstance(value, dict):
        for key, item in value.items():
            walk(item, path + '.' + str(key) if path else str(key), out)
    elif isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        for key, item in enumerate(value):
            walk(item, path + '.' + str(key), out)
out = []
walk(tensors, '', out)
open(folder + '/expected.txt', 'w').write('\n'.join(out) + '\n')
)";
  const std::string command =
      python + " '" + (folder / "check.py").string() + "' '" + folder.string() + "'";
  ASSERT_EQ(std::system(command.c_str()), 0) << "torch disagrees with what we wrote";

  const std::string expected = read_file(folder / "expected.txt", 1 << 20);
  for (const char* name : {"zip.pt", "legacy.pt", "protocol4.pt"}) {
    std::string found;
    for (const NamedArray& one : read_torch(folder / name).tensors) {
      found += one.name + " " + shape_text(one.array.shape) + " ";
      for (const char byte : one.array.bytes) {
        constexpr std::string_view kDigits = "0123456789abcdef";
        found += kDigits[static_cast<std::uint8_t>(byte) >> 4];
        found += kDigits[static_cast<std::uint8_t>(byte) & 15];
      }
      found += '\n';
    }
    EXPECT_EQ(found, expected) << name;
  }
  const auto refused = [&](const char* name, std::string_view text) {
    expect_error(ErrorKind::kUnsupported, text, [&] { read_torch(folder / name); });
  };
  refused("whole_net.pt", "'torch.nn.modules.container.Sequential'");
  refused("script.pt", "a TorchScript program");
  refused("complex.pt", "'torch.ComplexFloatStorage'");
  refused("sparse.pt", "'torch._utils._rebuild_sparse_tensor'");
}

}  // namespace
}  // namespace med3d
