// Stain normalisation: the colours of a slide brought to those of a reference.
//
// One fit for a slide, from a seeded sample of its tissue pixels, then the same map for every tile:
// tiles of one slide keep their differences. A tile fitted on its own would lose them, and one that
// is nearly empty would take on the reference's colours out of noise.
//
// Whether it helps is a question for validation: encoders trained with colour augmentation (UNI,
// CONCH) were trained on unnormalised tiles. It is off unless asked for.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace med3d {

enum class StainMethod { kNone, kMacenko, kReinhard };

StainMethod parse_stain_method(std::string_view name);  // "none", "macenko", "reinhard"
std::string to_string(StainMethod method);

struct StainOptions {
  StainMethod method = StainMethod::kNone;
  double light =
      240.0;  // grey level of clear glass (Io), (0, 255]; 240 as Macenko's users take, 255 ideal
  double min_density = 0.15;   // beta: a pixel is tissue if every channel is at least this dense
  double angle_percent = 1.0;  // alpha: the stains are this percentile of the angles and 100 - it
  double concentration_percent = 99.0;    // the concentration that is brought to the reference's
  std::int64_t min_tissue_pixels = 1000;  // fewer, and the fit is not used

  // Macenko's reference: densities of haematoxylin and eosin (red, green, blue each), and their
  // 99th percentile concentrations. The values of M. Veta's public script, taken over by
  // torchstain, TIAToolbox and others; of which slide they are is not known.
  std::array<double, 3> target_haematoxylin = {0.5626, 0.7201, 0.4062};
  std::array<double, 3> target_eosin = {0.2159, 0.8012, 0.5581};
  std::array<double, 2> target_concentration = {1.9705, 1.0308};

  // Reinhard's reference in l-alpha-beta (natural logarithm of 0..255): the region of slide
  // TCGA-A2-A3XS-DX1 in Amgad et al., Bioinformatics 35(18):3461, 2019, as HistomicsTK gives it.
  std::array<double, 3> target_mean = {8.74108109, -0.12440419, 0.0444982};
  std::array<double, 3> target_stddev = {0.6135447, 0.10989545, 0.0286032};

  void validate() const;  // Error(kUsage) naming the field
};

struct StainFit {
  StainMethod method = StainMethod::kNone;
  bool usable = false;  // false: apply_stain leaves the tile as it is
  std::string reason;   // why not: "312 tissue pixels, at least 1000 are needed"; else empty
  std::int64_t tissue_pixels = 0;  // of those given

  // Macenko: unit vectors of optical density (red, green, blue), the one with more red first.
  std::array<double, 3> haematoxylin{};
  std::array<double, 3> eosin{};
  std::array<double, 2> concentration{};  // percentile concentrations of the two

  // Reinhard: l-alpha-beta of the tissue pixels.
  std::array<double, 3> mean{};
  std::array<double, 3> stddev{};  // of the population (divided by n)
};

// Tissue pixels of a tile, drawn without replacement: what to gather over a slide for fit_stain.
//
// rgb    (n, 3) 8-bit pixels
// count  pixels to draw; all tissue pixels in their order where there are no more
// seed   take derive_seed(seed, "stain", {tile}) so that the order of tiles does not matter
//
// Returns (at most count, 3), in the order of the tile. Cost O(n).
std::vector<std::uint8_t> sample_tissue_pixels(std::span<const std::uint8_t> rgb,
                                               std::int64_t count,
                                               std::uint64_t seed,
                                               const StainOptions& options);

// The stains (Macenko) or statistics (Reinhard) of a slide.
//
//   density = -ln((I + 1) / light); tissue = every channel >= min_density
//   Macenko   plane of the two largest principal axes of the tissue's densities; the stains are the
//             directions at the percentiles alpha and 100 - alpha of the angle in it;
//             concentrations by least squares
//   Reinhard  mean and standard deviation of l-alpha-beta over the tissue pixels, I below 1 taken
//             as 1
// Percentiles interpolate linearly (numpy's default). The signs of the axes are fixed by a positive
// sum of the first; the result does not depend on the second's.
//
// rgb  (n, 3) 8-bit pixels of a slide
//
// Too little tissue, or tissue of one stain only, is no error: usable is false and reason says so.
// Throws Error(kUsage) for a size that is no multiple of 3 or invalid options.
//
// Source: Macenko et al., ISBI 2009, doi:10.1109/ISBI.2009.5193250.
// Reinhard et al., IEEE CG&A 21(5):34-41, 2001, doi:10.1109/38.946629.
// Checked against: numpy 1.24 (tests/reference/stain.py).
StainFit fit_stain(std::span<const std::uint8_t> rgb, const StainOptions& options);

// Maps a tile's colours to the reference, in place. White stays near white with Macenko; Reinhard
// moves every pixel alike, glass too, as its paper does.
//
//   Macenko   I' = light * exp(-reference stains * scaled concentrations) - 1: what of a pixel lies
//             outside the plane of its stains is dropped
//   Reinhard  l-alpha-beta' = (l-alpha-beta - mean) / stddev * target_stddev + target_mean
//
// Rounded to the nearest and clamped to 0..255. Cost O(n); Macenko by tables, without exp a pixel.
void apply_stain(const StainFit& fit, const StainOptions& options, std::span<std::uint8_t> rgb);

}  // namespace med3d
