// The DICOM files of one series as a volume.
//
// Slices are placed by ImagePositionPatient along their normal (row direction x column direction),
// never by file name or instance number; z ascends along the normal, x along the rows, y down the
// columns. Value = RescaleSlope * stored + RescaleIntercept of each slice's own. Enhanced
// multi-frame files count one slice a frame, with the shared and per-frame functional groups.
//
// What is found, and what becomes of it:
//
//   gantry tilt (slices shifted against each other)  straightened: TiltHandling
//   one slice twice, equal pixels                    dropped and counted
//   two images at one place, other pixels            refused (phases, echoes, b-values in one
//   series) missing slices, varying spacing                  refused, or interpolated: GapHandling
//   several orientations, sizes, pixel spacings      refused
//   several series in the list                       refused
//   no position or orientation                       refused
//   pixels cut short, or longer than the header says refused; nothing is ever filled up
//   colour, palettes, 1-bit pixels, modality LUTs, pixels as floating point, HTJ2K, video  refused
//   MONOCHROME1                                      inverted, but never Hounsfield units
//   bits outside BitsStored (overlays)               cut off
//
// Messages name a file by its number in the list (file names hold UIDs and names of people) and
// never hold a value of the header but sizes, places and words of the standard.
//
// Source: DICOM PS3.3 C.7.6.2, C.7.6.3, C.7.6.16; PS3.5.
// Checked against: pydicom 2.3.1 and the NIfTI of dicom2nifti (tests/reference/dicom_series.py);
// all transfer syntaxes of NEMA's WG-04 samples against their uncompressed originals.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "med3d/radiology/volume.h"

namespace med3d {

// Slices whose positions do not follow each other along their normal, by 0.5 degrees or more.
enum class TiltHandling {
  kStraighten,  // each slice is moved in its plane by linear interpolation until the grid is
                // square; the grid grows by the shift, new corners hold the lowest value
  kKeep,        // voxels as they are; patient_from_voxel is sheared, and exact
  kRefuse,
};

enum class GapHandling {
  kRefuse,
  kInterpolate,  // linear between the slices that are there, on a grid of the median step
};

struct SeriesOptions {
  TiltHandling tilt = TiltHandling::kStraighten;
  GapHandling gaps = GapHandling::kRefuse;
  // How far a slice may lie from its place on the even grid, in steps: positions are often rounded
  // (0.625 mm to 0.6 and 0.7), and a tenth of a step is beyond what shows.
  double position_tolerance = 0.1;
  int threads = 1;  // files decoded at once; the result is the same for every number

  // Throws Error(kUsage) for a value out of range.
  void validate() const;
};

struct SeriesVolume {
  Volume volume;
  std::string modality;            // "CT", "MR", ... of the standard's list, else ""
  Plane plane = Plane::kOblique;   // of the slices as acquired
  std::size_t images = 0;          // found in the files
  std::size_t duplicates = 0;      // dropped
  std::size_t interpolated = 0;    // slices that were made
  double tilt_degrees = 0.0;       // 0 where it was below 0.5
  std::vector<std::string> notes;  // one sentence for each thing that was mended or guessed
};

// files  of one series, in any order
//
// Cost: headers are read first; then each file is read whole and decoded, options.threads at a
// time. Memory: the volume (twice where it is straightened or interpolated) and that many files.
// Throws Error(kFormat | kUnsupported | kData | kNotFound) as above, "file 7 of 35: ..." where it
// is about one file; kUsage for an empty list.
SeriesVolume load_series(std::span<const std::filesystem::path> files,
                         const SeriesOptions& options = {});

// What the headers alone tell.
struct SeriesInfo {
  std::string modality;
  std::array<std::int64_t, 3> size{};  // of the grid: columns, rows, slices; before straightening
  Vector3 spacing_mm{};
  std::string orientation;  // orientation_code of the grid
  Plane plane = Plane::kOblique;
  VoxelUnits units = VoxelUnits::kArbitrary;
  int bits_stored = 0;
  bool is_signed = false;
  std::vector<std::string> transfer_syntaxes;  // by name, ascending
  std::size_t images = 0;
  std::size_t places = 0;  // distinct ones; less than images where some lie at one place
  double tilt_degrees = 0.0;
  std::vector<std::string> notes;
};

// The same without pixels: headers are read, and slices put in their places.
// Throws as load_series for what headers tell.
SeriesInfo inspect_series(std::span<const std::filesystem::path> files,
                          const SeriesOptions& options = {});

struct SeriesFiles {
  std::string series_uid;                    // never to be shown or used as a path
  std::vector<std::filesystem::path> files;  // in order of path
};

struct FolderSeries {
  std::vector<SeriesFiles> series;  // in order of their first file
  std::size_t other_files = 0;      // that are no DICOM image, or cannot be read
};

// All series below a folder, by the headers of its files (links are not followed).
// Throws Error(kNotFound) if it is no folder, kFormat for more than 1,000,000 files.
FolderSeries find_series(const std::filesystem::path& folder, int threads = 1);

// The same of files that are known. Those that are no regular file count as others.
FolderSeries group_series(std::span<const std::filesystem::path> files, int threads = 1);

}  // namespace med3d
