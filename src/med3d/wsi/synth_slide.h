// A slide made from a seed: tissue on glass in the colours of haematoxylin and eosin, with nuclei,
// clear cytoplasm and lumina, in Aperio's format.
//
// For demos, tests and trials of speed without patient data. It looks like tissue to an eye that
// does not look twice; no finding on it means anything.
#pragma once

#include <cstdint>
#include <filesystem>

namespace med3d {

struct SynthSlideOptions {
  std::uint64_t seed = 0;
  std::int64_t width = 6000;  // pixels of level 0, 256 to 200,000
  std::int64_t height = 4000;
  double mpp = 0.5;              // 0.1 to 2 micrometres a pixel; sizes of nuclei follow it
  double nuclei_per_mm2 = 3000;  // in tissue, 0 to 20,000
  double nuclear_size = 1.0;     // 0.5 to 1.6; 1: radii of 2.4 to 4 micrometres. Atypia enlarges
  double clearing = 0.75;        // 0 to 1: how far the cytoplasm around a nucleus is cleared of
                                 // eosin, the sign of clear cells
  double tissue_share = 0.4;     // of the slide, about; 0 (an empty slide) to 0.9
  double haematoxylin = 1.0;     // strength of each stain, 0.2 to 3: sites and scanners differ
  double eosin = 1.0;
  int jpeg_quality = 80;
  int threads = 1;  // the bytes do not depend on it

  void validate() const;  // Error(kUsage) naming the field
};

// What was drawn: the truth a pipeline can be compared with.
struct SynthSlideInfo {
  double tissue_share = 0.0;  // of all pixels, lumina not counted
  std::int64_t nuclei = 0;    // whose centre lies in tissue
  std::uint64_t bytes = 0;
};

// Writes the slide, atomically: tiles of 240 x 240 JPEG, levels of 1, 4, 16, MPP and AppMag
// (10 um / mpp: 20 for 0.5) in an Aperio ImageDescription that says it is synthetic.
//
// Every pixel is a function of the seed and its place. Cost O(width * height), memory a row of
// tiles. Checked against: OpenSlide 3.4.1 opens it as aperio with that mpp and power.
SynthSlideInfo write_synth_slide(const std::filesystem::path& path,
                                 const SynthSlideOptions& options);

}  // namespace med3d
