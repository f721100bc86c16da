// A volume on one page: slices in a grid, as 8-bit grey for io/formats/png.h.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "med3d/radiology/volume.h"

namespace med3d {

// Display window: `low` and below is black, `high` and above white.
struct GreyWindow {
  double low = 0.0;
  double high = 1.0;
};

struct MontageOptions {
  Plane plane = Plane::kAxial;  // axial, coronal or sagittal
  int slices = 20;              // shown at most, evenly spaced; fewer where the volume has fewer
  int columns = 5;              // of the grid
  std::int64_t tile = 160;      // pixels of the longer side of a slice
  std::optional<GreyWindow> window;  // none: -160 to 240 HU (soft tissue), else percentiles 1 to 99

  // Throws Error(kUsage) for a value out of range.
  void validate() const;
};

struct Montage {
  std::int64_t width = 0;  // pixels
  std::int64_t height = 0;
  std::vector<std::uint8_t> pixels;  // height * width, rows from the top
  GreyWindow window;                 // that was used
  std::vector<std::int64_t> shown;   // slice numbers, along the plane's normal in LPS order
};

// As a radiologist looks: axial from below (patient's right at the left), coronal and sagittal with
// the head up, sagittal facing left; slices from feet to head, front to back, right to left. Pixels
// are square in millimetres. The same volume gives the same bytes.
//
// Throws Error(kUsage) as MontageOptions::validate, and as Volume::validate.
Montage montage(const Volume& volume, const MontageOptions& options = {});

}  // namespace med3d
