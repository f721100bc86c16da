#include "med3d/encoders/weights_catalogue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>

#include "med3d/encoders/encoder.h"
#include "med3d/encoders/test_support_internal.h"
#include "med3d/io/download.h"

namespace med3d {
namespace {

bool is_lower_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

TEST(WeightsCatalogue, StatesItsFacts) {
  std::set<std::string_view> names;
  std::set<std::string_view> files;
  for (const WeightsEntry& entry : weights_catalogue()) {
    EXPECT_TRUE(names.insert(entry.name).second) << entry.name << " stands twice";
    EXPECT_TRUE(files.insert(entry.file).second) << entry.file << " stands twice";
    EXPECT_TRUE(find_encoder(entry.encoder).trained) << entry.name;
    EXPECT_NO_THROW(check_download_address(entry.url)) << entry.name;
    EXPECT_TRUE(entry.url.starts_with("https://")) << entry.name;
    EXPECT_TRUE(entry.page.starts_with("https://")) << entry.name;
    EXPECT_FALSE(entry.licence.empty()) << entry.name;
    EXPECT_FALSE(entry.unverified.empty()) << entry.name;
    EXPECT_TRUE(entry.sha256.empty() || entry.sha256.size() == 64) << entry.name;
    EXPECT_TRUE(is_lower_hex(entry.sha256) && is_lower_hex(entry.sha256_prefix)) << entry.name;
    EXPECT_NE(entry.sha256.empty(), entry.sha256_prefix.empty()) << entry.name;
    const std::filesystem::path file(entry.file);
    EXPECT_TRUE(file.is_relative() && file.lexically_normal() == file) << entry.name;
    EXPECT_EQ(std::count(file.begin(), file.end(), ".."), 0) << entry.name;
  }
}

TEST(WeightsCatalogue, HasWeightsForEveryTrainedEncoder) {
  for (const EncoderSpec* spec : encoders()) {
    const auto entries = weights_catalogue();
    const bool has = std::any_of(entries.begin(), entries.end(), [&](const WeightsEntry& entry) {
      return entry.encoder == spec->name;
    });
    EXPECT_EQ(has, spec->trained) << spec->name;
  }
}

TEST(WeightsCatalogue, TakesTorchvisionsDigitsFromItsFileName) {
  const WeightsEntry& entry = find_weights("resnet50");
  EXPECT_NE(entry.file.find("-" + std::string(entry.sha256_prefix) + "."), std::string_view::npos);
}

TEST(WeightsCatalogue, NamesTheNearestOfAMistypedName) {
  encoder_test::expect_error(
      ErrorKind::kUsage, "did you mean 'conch'?", [] { find_weights("counch"); });
}

}  // namespace
}  // namespace med3d
