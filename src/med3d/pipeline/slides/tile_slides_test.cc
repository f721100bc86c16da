#include "med3d/pipeline/slides/tile_slides.h"

#include <gtest/gtest.h>

#include "med3d/core/progress.h"
#include "med3d/io/formats/jpeg.h"
#include "med3d/pipeline/slides/contact_sheets.h"
#include "med3d/pipeline/slides/test_slides.h"
#include "med3d/wsi/tile_file.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::small_tiles;
using testing::synth_slides;
using testing::TempFolder;

class TileSlidesTest : public ::testing::Test {
 protected:
  TileSlidesTest() : slides_(synth_slides(temp_.path() / "slides")) {}

  std::vector<SlideOutcome> tile(const TileJob& job) {
    return tile_slides(slides_, folder_, job, silent_progress());
  }
  std::string bytes(const std::string& id) { return read_file(folder_.tiles(id), 1 << 20); }

  TempFolder temp_;
  std::vector<SlideItem> slides_;
  SlideFolder folder_{temp_.path() / "out"};
};

TEST_F(TileSlidesTest, WritesTheSameFilesAtAnyNumberOfThreads) {
  const auto outcomes = tile(small_tiles());
  ASSERT_EQ(outcomes.size(), 2U);
  EXPECT_EQ(outcomes[0].status, SlideStatus::kDone);
  EXPECT_EQ(outcomes[0].mpp, 0.5);
  EXPECT_EQ(outcomes[0].tiles,
            static_cast<std::int64_t>(read_tiles(folder_.tiles("a")).tiles.coords.rows()));
  const std::string a = bytes("a");
  const std::string b = bytes("b");
  TileJob job = small_tiles();
  job.redo = true;
  job.threads = 4;
  tile(job);
  EXPECT_EQ(bytes("a"), a);
  EXPECT_EQ(bytes("b"), b);
}

TEST_F(TileSlidesTest, KeepsWhatFitsWithAllThatWasSaidOfIt) {
  const auto fresh = tile(small_tiles());
  const auto kept = tile(small_tiles());
  EXPECT_EQ(kept[0].status, SlideStatus::kKept);
  Json expected = fresh[0].to_json();
  expected["status"] = "kept";
  EXPECT_EQ(kept[0].to_json(), expected);
}

// Two slides fit on one page; a page of an earlier job does not stay.
TEST_F(TileSlidesTest, ShowsEverySlideOnContactSheets) {
  TileJob job = small_tiles();
  job.masks = true;
  write_file_atomic(folder_.contact_sheets() / "page_9.jpg", "old");
  slides_.push_back({"c", temp_.path() / "missing.tif", {}, ""});
  const auto outcomes = tile(job);
  EXPECT_EQ(outcomes[2].status, SlideStatus::kFailed);
  const auto page = folder_.contact_sheets() / "page_1.jpg";
  const std::string first = read_file(page, 1 << 24);
  EXPECT_GT(read_jpeg_header(first).width, 256);
  EXPECT_FALSE(fs::exists(folder_.contact_sheets() / "page_9.jpg"));
  EXPECT_FALSE(fs::exists(folder_.contact_sheets() / "page_2.jpg"));
  write_contact_sheets(folder_, outcomes);
  EXPECT_EQ(read_file(page, 1 << 24), first);
  fs::remove(folder_.mask("a"));
  write_contact_sheets(folder_, outcomes);
  EXPECT_NE(read_file(page, 1 << 24), first) << "the outline of slide a was not on the page";
}

TEST_F(TileSlidesTest, MakesTilesOfOtherParametersAnew) {
  tile(small_tiles());
  TileJob job = small_tiles();
  job.tiles.target_mpp = 1.0;
  EXPECT_EQ(tile(job)[0].status, SlideStatus::kDone);
  slides_[0].mpp = 0.25;
  const auto outcomes = tile(job);
  EXPECT_EQ(outcomes[0].status, SlideStatus::kDone);
  EXPECT_EQ(outcomes[1].status, SlideStatus::kKept);
}

TEST_F(TileSlidesTest, KeepsCoordinatesThatHaveNoRecord) {
  tile(small_tiles());
  fs::remove_all(folder_.root / "slides");
  TileJob job = small_tiles();
  job.tiles.target_mpp = 1.0;
  EXPECT_EQ(tile(job)[0].status, SlideStatus::kKept);
}

TEST_F(TileSlidesTest, MakesDamagedCoordinatesAnew) {
  tile(small_tiles());
  const std::string whole = bytes("a");
  write_file_atomic(folder_.tiles("a"), whole.substr(0, whole.size() / 2));
  EXPECT_EQ(tile(small_tiles())[0].status, SlideStatus::kDone);
  EXPECT_EQ(bytes("a"), whole);
}

// Coordinates of a slide that can no longer be read are not left for the next step.
TEST_F(TileSlidesTest, GoesOnAfterABadSlide) {
  tile(small_tiles());
  write_file_atomic(slides_[0].path, "no slide");
  const auto outcomes = tile(small_tiles());
  EXPECT_EQ(outcomes[0].status, SlideStatus::kFailed);
  EXPECT_EQ(outcomes[0].step, "open");
  EXPECT_FALSE(fs::exists(folder_.tiles("a")));
  EXPECT_EQ(outcomes[1].status, SlideStatus::kKept);
  EXPECT_EQ(exit_code(outcomes), 3);
}

// What segmentation alone leaves can be edited and given to tiling.
TEST_F(TileSlidesTest, LeavesSlidesToDoThatWereSegmentedOnly) {
  TileJob job = small_tiles();
  job.write_tiles = false;
  EXPECT_EQ(tile(job)[0].step, "segment");
  auto row = read_process_list(folder_.process_list()).rows.at(0);
  EXPECT_TRUE(row.process);
  EXPECT_EQ(row.status, kToBeProcessed);
  tile(small_tiles());
  row = read_process_list(folder_.process_list()).rows.at(0);
  EXPECT_FALSE(row.process);
  EXPECT_EQ(row.status, kProcessed);
}

TEST_F(TileSlidesTest, ObeysTheLineOfAProcessList) {
  write_file_atomic(temp_.path() / "list.csv", "slide_id,a_t,note\na.svs,1000,mine\n");
  TileJob job = small_tiles();
  job.process_list = temp_.path() / "list.csv";
  job.parameters.segment.clam = true;  // no second look with a smaller area
  const auto outcomes = tile(job);
  EXPECT_EQ(outcomes[0].status, SlideStatus::kEmpty);
  EXPECT_EQ(outcomes[0].tiles, 0);
  EXPECT_EQ(outcomes[1].step, "tile");
  const auto written = read_process_list(folder_.process_list());
  ASSERT_EQ(written.rows.size(), 2U);
  EXPECT_EQ(written.rows[0].parameters.segment.a_t, 1000);
  EXPECT_EQ(written.rows[0].extra, std::vector<std::string>{"mine"});
  EXPECT_EQ(written.rows[1].slide_id, "b.svs");
}

}  // namespace
}  // namespace med3d::pipeline
