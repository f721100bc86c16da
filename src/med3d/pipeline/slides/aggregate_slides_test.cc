#include "med3d/pipeline/slides/aggregate_slides.h"

#include <gtest/gtest.h>

#include "med3d/core/progress.h"
#include "med3d/pipeline/test_support.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::TempFolder;

class AggregateSlidesTest : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::vector<std::vector<float>>& rows) {
    Matrix<float> matrix;
    for (const auto& row : rows) matrix.append_row(row);
    write_file_atomic(folder_.path() / name, npy_bytes(matrix));
  }
  // Means of tiles: (2, 1), (4, 4) and (2, 1.5).
  void write_three() {
    write("TCGA-AA-0001-01Z-00-DX1.npy", {{1, 0}, {3, 2}});
    write("TCGA-AA-0001-01A-01-TS1.npy", {{4, 4}});
    write("TCGA-AA-0002-01Z-00-DX1.npy", {{0, 1}, {4, 2}});
  }
  SlideVectors aggregate(const AggregateJob& job = {}) {
    return aggregate_slides(feature_files(folder_.path()), job, silent_progress());
  }

  TempFolder folder_;
};

std::vector<float> row(const FeatureTable& table, std::size_t i) {
  return {table.values.row(i).begin(), table.values.row(i).end()};
}

// 0001: ((4, 4) + (2, 1)) / 2 = (3, 2.5), each slide of the same weight whatever its tiles.
TEST_F(AggregateSlidesTest, TakesTheTwoStageMean) {
  write_three();
  const auto vectors = aggregate();
  EXPECT_EQ(vectors.slides.item_ids.at(0), "TCGA-AA-0001-01A-01-TS1");
  EXPECT_EQ(vectors.tiles, (std::vector<std::int64_t>{1, 2, 2}));
  EXPECT_EQ(vectors.patients.case_ids, (std::vector<std::string>{"TCGA-AA-0001", "TCGA-AA-0002"}));
  EXPECT_EQ(vectors.patients.columns, (std::vector<std::string>{"wsi_0", "wsi_1"}));
  EXPECT_EQ(row(vectors.patients, 0), (std::vector<float>{3, 2.5}));
  EXPECT_EQ(row(vectors.patients, 1), (std::vector<float>{2, 1.5}));
}

TEST_F(AggregateSlidesTest, TakesTheLargest) {
  write_three();
  AggregateJob job;
  job.slide_pool = SlidePool::kMax;
  job.patient_pool = PatientPool::kMax;
  const auto vectors = aggregate(job);
  EXPECT_EQ(row(vectors.patients, 0), (std::vector<float>{4, 4}));
  EXPECT_EQ(row(vectors.patients, 1), (std::vector<float>{4, 2}));
}

// Weights 1/4 and 3/4 on two tiles; the slide with the highest score is the patient's.
TEST_F(AggregateSlidesTest, WeighsByAttention) {
  write_three();
  AggregateJob job;
  job.slide_pool = SlidePool::kAttention;
  job.patient_pool = PatientPool::kTopSlide;
  EXPECT_THROW(aggregate(job), Error);
  job.attend = [](const Matrix<float>& features) {
    SlideAttention out;
    out.weight = features.rows() == 1 ? std::vector<float>{1.0F} : std::vector<float>{0.25F, 0.75F};
    out.highest = features.rows() == 1 ? 1.0 : 2.0;
    return out;
  };
  const auto vectors = aggregate(job);
  // DX1 of 0001: (1, 0) / 4 + 3 (3, 2) / 4 = (2.5, 1.5), and it scores higher than TS1.
  EXPECT_EQ(row(vectors.patients, 0), (std::vector<float>{2.5, 1.5}));
}

TEST_F(AggregateSlidesTest, TakesKindsAndCasesAsAsked) {
  write_three();
  AggregateJob job;
  job.slide_kinds = {"DX"};
  auto vectors = aggregate(job);
  EXPECT_EQ(vectors.slides.item_ids.size(), 2U);
  ASSERT_EQ(vectors.left_out.size(), 1U);
  EXPECT_FALSE(vectors.left_out[0].failed);

  write_file_atomic(folder_.path() / "table.csv",
                    "slide_id,case_id\nTCGA-AA-0001-01Z-00-DX1,K\nTCGA-AA-0002-01Z-00-DX1,K\n");
  job.slide_table = folder_.path() / "table.csv";
  vectors = aggregate(job);
  ASSERT_EQ(vectors.patients.case_ids, std::vector<std::string>{"K"});
  EXPECT_EQ(row(vectors.patients, 0), (std::vector<float>{2, 1.25}));
}

TEST_F(AggregateSlidesTest, LeavesOutWhatCannotBePooled) {
  write_three();
  write_file_atomic(folder_.path() / "cut.npy", "nonsense");
  write("wide.npy", {{1, 2, 3}});
  const auto vectors = aggregate();
  ASSERT_EQ(vectors.left_out.size(), 2U);
  EXPECT_TRUE(vectors.left_out[0].failed);
  EXPECT_EQ(vectors.left_out[1].reason, "3 features, the slides before it have 2");
  EXPECT_EQ(vectors.patients.case_ids.size(), 2U);
}

TEST_F(AggregateSlidesTest, GivesEmptyTablesWhereNothingIsLeft) {
  write_file_atomic(folder_.path() / "cut.npy", "nonsense");
  const auto vectors = aggregate();
  EXPECT_TRUE(vectors.slides.case_ids.empty());
  EXPECT_TRUE(vectors.patients.case_ids.empty());
  EXPECT_EQ(vectors.left_out.size(), 1U);
}

TEST_F(AggregateSlidesTest, RefusesFoldersThatDoNotTell) {
  EXPECT_THROW(feature_files(folder_.path() / "none"), Error);
  EXPECT_THROW(feature_files(folder_.path()), Error);
  fs::create_directories(folder_.path() / "x");
  write("s.npy", {{1}});
  write("x/s.npy", {{1}});
  EXPECT_THROW(feature_files(folder_.path()), Error);
}

TEST_F(AggregateSlidesTest, RefusesASlideOfTwoCases) {
  write_three();
  write_file_atomic(folder_.path() / "table.csv", "slide_id,case_id\na,K\na,L\n");
  AggregateJob job;
  job.slide_table = folder_.path() / "table.csv";
  EXPECT_THROW(aggregate(job), Error);
}

}  // namespace
}  // namespace med3d::pipeline
