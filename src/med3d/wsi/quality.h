// Whether a tile is worth looking at: blank, black, out of focus or drawn on with a pen.
//
// Each measure is a number with a unit, and a threshold that can be turned off; a tile that fails
// is dropped with its reason, never in silence. The defaults are cautious: on the H&E slides of the
// test data they drop no tile inside tissue that a person would keep. They are rules of thumb, not
// a trained detector: red ink is not told from blood and eosin, and is not looked for.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace med3d {

struct TileQuality {
  // Variance of the Laplacian [0 1 0; 1 -4 1; 0 1 0] of grey (0..255, OpenCV's weights), borders
  // mirrored without repeating the edge; at blur_mpp or the nearest whole reduction of the tile's
  // own mpp. Unit: grey levels squared. Low = out of focus, or without structure.
  double sharpness = 0.0;
  double saturation = 0.0;  // mean of HSV saturation, 0..255 as OpenCV scales it
  double brightness = 0.0;  // the largest of the three channels' means, 0..255
  double blue_ink = 0.0;    // fractions of the pixels, 0..1
  double green_ink = 0.0;
  double black_ink = 0.0;
};

struct QualityOptions {
  bool check_blank = true;
  double min_saturation = 5.0;  // below: blank glass. CLAM's white_thresh
  bool check_black = true;
  double min_brightness = 50.0;  // below: beyond the scan, or a black box. CLAM's black_thresh
  bool check_blur = true;
  double blur_mpp = 0.5;        // micrometres a pixel at which sharpness is measured
  double min_sharpness = 10.0;  // sharp tissue lies above 40, glass with dust about there
  bool check_pen = true;
  double max_ink = 0.10;  // the largest fraction of one colour of ink, 0..1

  void validate() const;  // Error(kUsage) naming the field
};

enum class DropReason { kNone, kBlank, kBlack, kBlurred, kBlueInk, kGreenInk, kBlackInk };

std::string to_string(DropReason reason);  // "", "blank", "black", "blurred", "blue ink", ...

// The measures of a tile.
//
// rgb  (height, width, 3) 8-bit pixels
// mpp  micrometres a pixel of the tile, > 0; the tile is averaged over k x k pixels before
// sharpness
//      is taken, k = round(blur_mpp / mpp), at least 1. 0 = not known: k = 1
//
// Ink, in HSV (hue in degrees, saturation and value 0..1):
//   blue   hue 190-235, saturation > 0.35, value > 0.2   (haematoxylin is 240-300)
//   green  hue 70-185, saturation > 0.25, value > 0.15    (no H&E tissue is green)
//   black  value < 0.30 and saturation < 0.35, but not below 0.02: that is outside of the scan
//
// Cost O(width * height). Throws Error(kUsage) if the sizes do not fit or there is no pixel.
// Checked against: OpenCV 4.6 (sharpness and saturation; tests/reference/quality.py).
TileQuality measure_quality(std::span<const std::uint8_t> rgb,
                            std::int64_t width,
                            std::int64_t height,
                            double mpp,
                            const QualityOptions& options);

// The first check that fails, in the order black, blank, ink, blurred; kNone keeps the tile.
DropReason drop_reason(const TileQuality& quality, const QualityOptions& options);

}  // namespace med3d
