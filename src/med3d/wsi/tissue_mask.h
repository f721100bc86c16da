// From the pixels of one level to a mask of tissue: saturation, median, threshold, closing.
//
// The steps and their numbers are CLAM's, bit for bit: the saturation of OpenCV's RGB2HSV, a median
// with replicated borders, a strict threshold, a closing whose even kernels shift the mask by a
// pixel to the lower right of the kernel's centre, as OpenCV's do.
//
// Source: Lu et al., Nature Biomedical Engineering 5:555-570, 2021. doi:10.1038/s41551-020-00682-w
// Checked against: masks of CLAM itself (wsi/tissue_reference_test.cc) and OpenCV 4.6.
#pragma once

#include <optional>

#include "med3d/wsi/image.h"

namespace med3d {

// How saturated each pixel is, 0 (grey) to 255:
//
//   S = round(255 (max - min) / max), with OpenCV's division table of 12 fractional bits; 0 for
//   black
//
// Cost O(pixels).
GrayImage saturation_of(const RgbImage& image);

// The median of each size x size neighbourhood; beyond the border the border's pixels repeat.
//
// size   odd, 1 to 255, pixels; 1 changes nothing
//
// Throws Error(kUsage) for another size.
GrayImage median_of(const GrayImage& image, int size);

// Otsu's threshold of a histogram: the one that parts the grey levels into two classes of the
// largest variance between them. Pixels above it are the upper class.
int otsu_threshold(const GrayImage& image);

struct MaskOptions {
  int sthresh = 8;        // pixels whose median saturation is above are tissue; 0 to 255
  int mthresh = 7;        // side of the median's window, pixels; odd, 1 to 255
  int close = 4;          // side of the closing's square, pixels; 0 = no closing; at most 255
  bool use_otsu = false;  // Otsu's threshold takes the place of sthresh

  // Throws Error(kUsage) naming the field, its value and its range.
  void validate() const;
};

struct TissueMask {
  GrayImage mask;           // 255 tissue, 0 background
  std::optional<int> otsu;  // the threshold that was found, where it was asked for
};

// The mask of tissue in an image, or in its saturation.
//
// With a fixed threshold no median is computed: it is above t where more than half of the window
// is, which is a count of ones, several times faster and exactly the same.
//
// Cost O(pixels), independent of mthresh without Otsu; memory two bytes a pixel besides the image.
// Throws Error(kUsage) for options out of their range and for an image of no pixels.
TissueMask tissue_mask(const RgbImage& image, const MaskOptions& options);
TissueMask tissue_mask_of_saturation(const GrayImage& saturation, const MaskOptions& options);

}  // namespace med3d
