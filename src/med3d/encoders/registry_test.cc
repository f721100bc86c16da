#include <gtest/gtest.h>

#include <set>
#include <string>

#include "med3d/encoders/encoder.h"
#include "med3d/encoders/test_support_internal.h"
#include "med3d/kernels/cpu.h"

namespace med3d {
namespace {

using encoder_test::expect_error;

TEST(Registry, EveryEncoderStatesItsFacts) {
  std::set<std::string_view> names;
  for (const EncoderSpec* spec : encoders()) {
    EXPECT_TRUE(names.insert(spec->name).second) << spec->name << " stands twice";
    EXPECT_EQ(&find_encoder(spec->name), spec);
    EXPECT_FALSE(spec->modality.empty()) << spec->name;
    EXPECT_FALSE(spec->reference.empty()) << spec->name;
    EXPECT_GT(spec->embedding_dim, 0) << spec->name;
    EXPECT_GT(spec->input_px, 0) << spec->name;
    EXPECT_GE(spec->mpp, 0.0) << spec->name;
    for (const float s : spec->stddev) EXPECT_GT(s, 0.0F) << spec->name;
    EXPECT_NE(spec->load, nullptr) << spec->name;
  }
  EXPECT_TRUE(names.contains("resnet50"));
  EXPECT_FALSE(find_encoder("resnet50-untrained").trained);
}

TEST(Registry, NamesTheNearestOfAMistypedEncoder) {
  expect_error(ErrorKind::kUsage, "did you mean 'resnet50'?", [] { find_encoder("resnet5"); });
  expect_error(ErrorKind::kUsage, "expected one of: resnet50, ", [] { find_encoder("zzz"); });
}

TEST(Precision, ReadsItsNames) {
  for (const auto precision :
       {Precision::kAuto, Precision::kF32, Precision::kBf16, Precision::kInt8}) {
    EXPECT_EQ(parse_precision(to_string(precision)), precision);
  }
  expect_error(ErrorKind::kUsage, "'fp16', expected auto", [] { parse_precision("fp16"); });
}

TEST(Precision, NeverEmulatesBf16) {
  const Precision best = native_bf16() ? Precision::kBf16 : Precision::kF32;
  EXPECT_EQ(available_precision(Precision::kF32), Precision::kF32);
  EXPECT_EQ(available_precision(Precision::kAuto), best);
  EXPECT_EQ(available_precision(Precision::kBf16), best);
  expect_error(ErrorKind::kUnsupported, "int8", [] { available_precision(Precision::kInt8); });
}

}  // namespace
}  // namespace med3d
