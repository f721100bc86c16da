// CLAM's lists: presets of parameters, and process_list_autogen.csv, which says for each slide with
// which parameters it is to be segmented and what became of it.
//
// Checked against: files of CLAM's create_patches_fp.py, and its presets.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "med3d/wsi/slide.h"
#include "med3d/wsi/tiling.h"
#include "med3d/wsi/tissue.h"

namespace med3d {

// What one line of a preset or process list sets.
struct ClamParameters {
  SegmentOptions segment;
  int vis_level = -1;        // level the pictures are drawn at; -1 as clam_auto_level
  int line_thickness = 250;  // of outlines in pictures, level-0 pixels
  bool use_padding = true;
  ContourTest contour_fn = ContourTest::kFourPoint;

  friend bool operator==(const ClamParameters&, const ClamParameters&) = default;
};

struct ClamPreset {
  std::string_view name;
  ClamParameters parameters;
};

// "default" (what create_patches_fp.py does without a preset), "bwh_biopsy", "bwh_resection",
// "tcga".
std::span<const ClamPreset> clam_presets();

// By name, CLAM's file name ("tcga.csv") included. Throws Error(kNotFound) naming those there are.
const ClamParameters& clam_preset(std::string_view name);

// The first line of a preset in a CSV file of CLAM's columns; a column that is missing or blank
// leaves the default, white_thresh and black_thresh are ignored.
// Throws Error(kFormat) naming the line and column of a cell that makes no sense, kData for a file
// without a line, and as read_table.
ClamParameters read_clam_preset(const std::filesystem::path& path);

// CLAM's words for what became of a slide.
inline constexpr std::string_view kToBeProcessed = "tbp";
inline constexpr std::string_view kProcessed = "processed";
inline constexpr std::string_view kAlreadyExists = "already_exist";
inline constexpr std::string_view kFailedSegmentation = "failed_seg";

struct ProcessRow {
  std::string slide_id;  // file name with its extension
  bool process = true;   // still to do
  std::string status = std::string(kToBeProcessed);
  ClamParameters parameters;
  std::optional<double> legacy_area;  // column `a` of old lists: see convert_legacy_area
  std::vector<std::string> extra;     // cells of ProcessList::extra_columns
};

struct ProcessList {
  std::vector<ProcessRow> rows;
  std::vector<std::string> extra_columns;  // not CLAM's, kept as they were ("mpp", "label")
};

// defaults  for columns and cells that are not there
//
// The only column needed is slide_id. A list of an interrupted run is read as it is: rows whose
// process is 0 are done.
// Throws Error(kFormat) naming line and column, kData for a blank slide_id or one that occurs
// twice, and as read_table.
ProcessList read_process_list(const std::filesystem::path& path,
                              const ClamParameters& defaults = {});
ProcessList parse_process_list(std::string_view text,
                               std::string_view source,
                               const ClamParameters& defaults = {});

// CLAM's columns in CLAM's order and spelling (True, 1.0, none), then the extra ones.
std::string process_list_csv(const ProcessList& list);
void write_process_list(const std::filesystem::path& path, const ProcessList& list);  // atomic

// Lists of old CLAM give the least area as `a` pixels of their seg_level. As CLAM does:
//   a_t = trunc(a * scale_x * scale_y / 512^2), the scale being that of the row's seg_level,
// and both levels become -1. Nothing happens to a row without legacy_area.
// Throws Error(kUsage) if the slide does not have that level.
void convert_legacy_area(ProcessRow& row, const SlideInfo& slide);

}  // namespace med3d
