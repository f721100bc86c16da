#include "med3d/wsi/process_list.h"

#include "med3d/core/file.h"
#include "med3d/wsi/tissue_test_support.inc"

namespace med3d {
namespace {

using testing_io::expect_error;
using testing_io::TemporaryFolder;
using testing_io::test_data_folder;
namespace fs = std::filesystem;

TEST(ProcessList, ClamsOwnFilesComeBackByteForByte) {
  const fs::path folder = test_data_folder() / "reference" / "clam_cli";
  MED3D_REQUIRE_DATA(folder);
  int files = 0;
  for (const char* run : {"cmu_bwh_biopsy", "mosaic_default", "mosaic_tcga", "tcga_tcga"}) {
    const std::string text = read_file(folder / run / "process_list_autogen.csv", 1U << 20U);
    EXPECT_EQ(process_list_csv(parse_process_list(text, run)), text) << run;
    ++files;
  }
  EXPECT_EQ(files, 4);
}

TEST(ProcessList, KeepsEveryFieldOnItsWayThroughAFile) {
  ProcessList list;
  list.extra_columns = {"mpp", "label"};
  ProcessRow row;
  row.slide_id = "a, b.svs";
  row.process = false;
  row.status = std::string(kFailedSegmentation);
  row.parameters = clam_preset("bwh_biopsy");
  row.parameters.segment.keep_ids = {0, 3};
  row.parameters.segment.exclude_ids = {12};
  row.parameters.segment.use_otsu = true;
  row.parameters.segment.a_t = 0.05;
  row.parameters.segment.seg_level = 2;
  row.parameters.vis_level = 1;
  row.parameters.use_padding = false;
  row.parameters.contour_fn = ContourTest::kCenter;
  row.extra = {"0.25", ""};
  list.rows.push_back(row);
  row.slide_id = "c.svs";
  row.parameters = {};
  list.rows.push_back(row);
  const TemporaryFolder folder;
  write_process_list(folder / "list.csv", list);
  const ProcessList back = read_process_list(folder / "list.csv");
  ASSERT_EQ(back.rows.size(), 2U);
  EXPECT_EQ(back.extra_columns, list.extra_columns);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(back.rows[i].slide_id, list.rows[i].slide_id);
    EXPECT_EQ(back.rows[i].process, list.rows[i].process);
    EXPECT_EQ(back.rows[i].status, list.rows[i].status);
    EXPECT_EQ(back.rows[i].parameters, list.rows[i].parameters);
    EXPECT_EQ(back.rows[i].extra, list.rows[i].extra);
  }
  EXPECT_EQ(process_list_csv(back), process_list_csv(list));
}

TEST(ProcessList, AListOfNamesTakesTheDefaults) {
  const ProcessList list =
      parse_process_list("slide_id,sthresh\na.svs,\nb.svs,20\n", "list", clam_preset("tcga"));
  ASSERT_EQ(list.rows.size(), 2U);
  EXPECT_EQ(list.rows[0].parameters, clam_preset("tcga"));
  EXPECT_EQ(list.rows[1].parameters.segment.sthresh, 20);
  EXPECT_TRUE(list.rows[0].process);
  EXPECT_EQ(list.rows[0].status, kToBeProcessed);
}

// 500 pixels of a level of scale 64 x 64: trunc(500 * 4096 / 262144) = trunc(7.8125).
TEST(ProcessList, OldListsGiveTheirAreaInPixels) {
  ProcessList list = parse_process_list("slide_id,seg_level,a,vis_level\ns.svs,1,500,1\n", "old");
  ASSERT_EQ(list.rows.size(), 1U);
  EXPECT_EQ(list.rows[0].legacy_area, 500.0);
  SlideInfo slide;
  slide.levels.resize(2);
  slide.levels[0].width = slide.levels[0].height = 6400;
  slide.levels[1].width = slide.levels[1].height = 100;
  ProcessRow& row = list.rows[0];
  convert_legacy_area(row, slide);
  EXPECT_EQ(row.parameters.segment.a_t, 7.0);
  EXPECT_EQ(row.parameters.segment.seg_level, -1);
  EXPECT_EQ(row.parameters.vis_level, -1);
  EXPECT_FALSE(row.legacy_area.has_value());
  EXPECT_EQ(process_list_csv(list).find(",a\n"), std::string::npos);
  row.legacy_area = 500.0;
  row.parameters.segment.seg_level = 2;
  expect_error(ErrorKind::kUsage, "has 2 levels", [&] { convert_legacy_area(row, slide); });
}

TEST(ProcessList, NamesTheLineAndColumnOfWhatMakesNoSense) {
  const auto refused = [](ErrorKind kind, const char* part, const std::string& text) {
    expect_error(kind, part, [&] { parse_process_list(text, "list"); });
  };
  refused(ErrorKind::kNotFound, "slide_id", "name\na\n");
  refused(ErrorKind::kData, "line 2: a blank slide_id", "slide_id,status\n,tbp\n");
  refused(ErrorKind::kData, "line 3: a slide_id that a line before has", "slide_id\na\na\n");
  refused(ErrorKind::kFormat,
          "line 2, column 'sthresh': 'x', expected a number",
          "slide_id,sthresh\na,x\n");
  refused(ErrorKind::kFormat,
          "column 'close': '1.5', expected a whole number",
          "slide_id,close\na,1.5\n");
  refused(ErrorKind::kFormat,
          "column 'use_otsu': 'maybe', expected True or False",
          "slide_id,use_otsu\na,maybe\n");
  refused(ErrorKind::kFormat, "column 'keep_ids': '1,-2'", "slide_id,keep_ids\na,\"1,-2\"\n");
  refused(ErrorKind::kFormat, "line 2: mthresh is 4", "slide_id,mthresh\na,4\n");
  refused(ErrorKind::kFormat, "'odd' is no contour_fn", "slide_id,contour_fn\na,odd\n");
  refused(ErrorKind::kFormat, "column 'vis_level': '-2'", "slide_id,vis_level\na,-2\n");
}

TEST(ClamPresets, AreClamsAndReadFromItsFiles) {
  EXPECT_EQ(clam_preset("default"), ClamParameters{});
  EXPECT_EQ(&clam_preset("tcga.csv"), &clam_preset("tcga"));
  expect_error(
      ErrorKind::kNotFound, "did you mean 'bwh_biopsy'", [] { clam_preset("bwh_biopsi"); });
  const TemporaryFolder folder;
  write_file_atomic(folder / "p.csv",
                    "seg_level,sthresh,mthresh,close,use_otsu,a_t,a_h,max_n_holes,vis_level,"
                    "line_thickness,white_thresh,black_thresh,use_padding,contour_fn,keep_ids,"
                    "exclude_ids\n-1,15,11,2,FALSE,1,1,2,-1,50,5,50,TRUE,four_pt,none,none\n");
  EXPECT_EQ(read_clam_preset(folder / "p.csv"), clam_preset("bwh_biopsy"));
  write_file_atomic(folder / "empty.csv", "seg_level\n");
  expect_error(ErrorKind::kData, "without a line", [&] { read_clam_preset(folder / "empty.csv"); });
}

}  // namespace
}  // namespace med3d
