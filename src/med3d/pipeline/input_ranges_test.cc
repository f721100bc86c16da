#include "med3d/pipeline/input_ranges.h"

#include <gtest/gtest.h>

#include <cmath>

#include "med3d/pipeline/test_cohort.h"
#include "med3d/pipeline/test_support.h"

namespace med3d::pipeline {
namespace {

// Twelve patients with one vector of two numbers: 0 to 11, and a constant. A table of age and sex.
Cohort twelve() {
  Cohort cohort;
  cohort.columns = {{"age", {}, "clinical"}, {"sex", {}, "clinical"}};
  cohort.modalities.resize(1);
  auto& wsi = cohort.modalities[0];
  wsi.name = "wsi";
  wsi.width = 2;
  for (std::size_t i = 0; i < 12; ++i) {
    cohort.case_ids.push_back("P" + std::to_string(i));
    cohort.has_clinical.push_back(true);
    cohort.columns[0].cells.push_back(i == 3 ? "" : std::to_string(50 + i));
    cohort.columns[1].cells.push_back(i % 2 == 0 ? "F" : "M");
    wsi.items_of_patient.push_back({i});
    wsi.patient_of_item.push_back(i);
    wsi.item_ids.push_back("S" + std::to_string(i));
    wsi.items.append_row(std::vector<float>{static_cast<float>(i), 7.0F});
  }
  return cohort;
}

Rows first(std::size_t n) {
  Rows rows;
  for (std::size_t i = 0; i < n; ++i) rows.push_back(i);
  return rows;
}

// Without x, the mean of the others of 0..11 is (66 - x) / 11, their variance (506 - x^2) / 11 less
// the square of that mean. For x = 0: mean 6, variance 46 - 36 = 10, d = 6 / sqrt(10); for x = 11
// the same. Next come 1 and 10: mean 65/11, variance 505/11 - (65/11)^2, d = (65/11 - 1) / sd.
// The 0.995 quantile of 12 values lies at 10.945: between the two largest, which are equal.
TEST(InputRanges, MeasuresEachTrainingPatientAgainstTheOthers) {
  const auto ranges = InputRanges::learn(twelve(), first(12));
  const auto& wsi = ranges.vectors().at("wsi");
  EXPECT_NEAR(wsi.distance, 6.0 / std::sqrt(10.0), 1e-12);
  EXPECT_DOUBLE_EQ(wsi.mean[0], 5.5);
  EXPECT_NEAR(wsi.sd[0], std::sqrt(143.0 / 12.0), 1e-12);
  EXPECT_EQ(wsi.sd[1], 0.0);  // constant: it can say nothing
  // 5.5 + 4 sd, whatever the constant feature is.
  const auto x = static_cast<float>(5.5 + 4.0 * std::sqrt(143.0 / 12.0));
  EXPECT_NEAR(wsi.distance_of(std::vector<float>{x, 99.0F}), 4.0, 1e-6);
}

TEST(InputRanges, NamesWhatNoTrainingPatientHad) {
  Cohort cohort = twelve();
  const auto ranges = InputRanges::learn(cohort, first(12));
  EXPECT_EQ(ranges.columns().size(), 1U);  // a column of texts has no range
  for (std::size_t row = 0; row < 12; ++row) EXPECT_TRUE(ranges.check(cohort, row).empty()) << row;
  cohort.columns[0].cells[0] = "49";
  cohort.columns[0].cells[1] = "61";  // the highest there was
  cohort.columns[0].cells[2] = "not reported";
  cohort.modalities[0].items(2, 0) = 13.0F;
  const auto low = ranges.check(cohort, 0);
  ASSERT_EQ(low.size(), 1U);
  EXPECT_EQ(low[0].modality, "clinical");
  EXPECT_EQ(low[0].input, "age");
  EXPECT_EQ(low[0].text, "age 49, training patients had 50 to 61");
  EXPECT_TRUE(ranges.check(cohort, 1).empty());
  const auto far = ranges.check(cohort, 2);
  ASSERT_EQ(far.size(), 1U);
  EXPECT_EQ(far[0].input, "wsi");
  // (13 - 5.5) / sqrt(143 / 12) = 2.17, 6 / sqrt(10) = 1.90
  EXPECT_NE(far[0].text.find("2.17 standard deviations"), std::string::npos) << far[0].text;
  EXPECT_NE(far[0].text.find("within 1.90"), std::string::npos) << far[0].text;
}

TEST(InputRanges, LearnsFromTheRowsItIsGivenAlone) {
  const auto ranges = InputRanges::learn(twelve(), first(10));
  EXPECT_EQ(ranges.columns().at("age").highest, 59.0);
  EXPECT_EQ(ranges.vectors().at("wsi").mean[0], 4.5);
  // Nine vectors are too few to say what is far.
  EXPECT_TRUE(InputRanges::learn(twelve(), first(9)).vectors().empty());
}

TEST(InputRanges, ReadsBackWhatItWroteAndRefusesNonsense) {
  const auto ranges = InputRanges::learn(twelve(), first(12));
  const Json json = ranges.to_json();
  EXPECT_EQ(InputRanges::from_json(json).to_json().dump(), json.dump());
  Json broken = json;
  broken["columns"]["age"] = {3, 2};
  testing::expect_error(
      ErrorKind::kFormat, "column 'age'", [&] { InputRanges::from_json(broken); });
  broken = json;
  broken["vectors"]["wsi"]["sd"].erase(0);
  testing::expect_error(
      ErrorKind::kFormat, "'wsi' do not fit", [&] { InputRanges::from_json(broken); });
  broken = json;
  broken["vectors"]["wsi"].erase("distance");
  testing::expect_error(ErrorKind::kFormat, "distance", [&] { InputRanges::from_json(broken); });
}

}  // namespace
}  // namespace med3d::pipeline
