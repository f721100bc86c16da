#include "med3d/wsi/synth_slide.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <numbers>
#include <span>
#include <string_view>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/parallel.h"
#include "med3d/core/place_noise.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/wsi/pyramid_tiff.h"

namespace med3d {
namespace {

constexpr std::int64_t kTile = 240;

struct Blob {
  double x, y, rx, ry, angle;
};

class Painter {
 public:
  explicit Painter(const SynthSlideOptions& options) : options_(options) {
    const auto sub = [&](std::string_view name) { return derive_seed(options.seed, name); };
    edge_ = sub("edge");
    lumen_ = sub("lumen");
    fibre_ = sub("fibre");
    grain_ = sub("grain");
    cells_ = sub("nuclei");
    um_ = 1.0 / options.mpp;
    cell_ = options.nuclei_per_mm2 > 0 ? std::sqrt(1e6 / options.nuclei_per_mm2) * um_ : 0.0;
    for (std::size_t i = 0; i < density_.size(); ++i) {
      density_[i] = 240.0 * std::exp(-static_cast<double>(i) * kDensityStep);
    }
    place_blobs();
  }

  // Rows [y, y + rows) of the slide, level 0.
  void paint(std::int64_t y, std::int64_t rows, std::span<std::uint8_t> rgb) {
    parallel_for(static_cast<std::size_t>((rows + 47) / 48), options_.threads, [&](std::size_t i) {
      const auto first = static_cast<std::int64_t>(i) * 48;
      paint_band(y + first,
                 std::min<std::int64_t>(48, rows - first),
                 rgb.subspan(static_cast<std::size_t>(first * options_.width * 3)));
    });
  }

  std::int64_t tissue_pixels() const { return tissue_pixels_; }
  std::int64_t nuclei() const { return nuclei_; }

 private:
  static constexpr double kDensityStep = 1.0 / 512;

  // Ellipses that cover about the share asked for; what overlaps or is eaten by the uneven edge is
  // made up for by drawing a few more.
  void place_blobs() {
    const auto width = static_cast<double>(options_.width);
    const auto height = static_cast<double>(options_.height);
    NumpyRandom random(static_cast<std::uint32_t>(derive_seed(options_.seed, "blobs")));
    constexpr int kGrid = 48;
    for (int tries = 0; tries < 400 && options_.tissue_share > 0; ++tries) {
      int inside = 0;
      for (int j = 0; j < kGrid; ++j) {
        for (int i = 0; i < kGrid; ++i) {
          inside += field((i + 0.5) / kGrid * width, (j + 0.5) / kGrid * height) > 0 ? 1 : 0;
        }
      }
      if (inside >= options_.tissue_share * kGrid * kGrid) break;
      const double size = std::min(width, height) * (0.10 + 0.18 * random.uniform());
      blobs_.push_back({width * (0.12 + 0.76 * random.uniform()),
                        height * (0.14 + 0.72 * random.uniform()),
                        size * (0.8 + 0.9 * random.uniform()),
                        size,
                        std::numbers::pi * random.uniform()});
    }
  }

  // Above 0 in tissue.
  double field(double x, double y) const {
    double best = -1.0;
    for (const Blob& blob : blobs_) {
      const double dx = x - blob.x, dy = y - blob.y;
      const double c = std::cos(blob.angle), s = std::sin(blob.angle);
      const double u = (dx * c + dy * s) / blob.rx, v = (dy * c - dx * s) / blob.ry;
      best = std::max(best, 1.0 - u * u - v * v);
    }
    if (best <= -0.6) return best;
    return best + 0.35 * smooth_noise(edge_, x / (120 * um_), y / (120 * um_)) +
           0.12 * smooth_noise(edge_ + 1, x / (25 * um_), y / (25 * um_));
  }

  bool is_lumen(double x, double y) const {
    return smooth_noise(lumen_, x / (70 * um_), y / (70 * um_)) +
               0.3 * smooth_noise(lumen_ + 1, x / (15 * um_), y / (15 * um_)) >
           0.72;
  }

  void paint_band(std::int64_t top, std::int64_t rows, std::span<std::uint8_t> rgb) {
    const std::int64_t width = options_.width;
    const auto size = static_cast<std::size_t>(rows * width);
    std::vector<float> haematoxylin(size), clear(size);
    std::int64_t tissue = 0;
    const std::int64_t nuclei = paint_nuclei(top, rows, haematoxylin, clear);
    // The outline is smooth over 8 pixels: between corners of that lattice it is interpolated.
    std::vector<double> upper, lower;
    for (std::int64_t y = top; y < top + rows; ++y) {
      const std::int64_t base = y / 8 * 8;
      if (upper.empty() || y % 8 == 0) {
        upper = field_row(base);
        lower = field_row(base + 8);
      }
      const double v = static_cast<double>(y - base) / 8;
      for (std::int64_t x = 0; x < width; ++x) {
        const auto at = static_cast<std::size_t>((y - top) * width + x);
        const auto corner = static_cast<std::size_t>(x / 8);
        const double u = static_cast<double>(x % 8) / 8;
        const double here = (upper[corner] * (1 - u) + upper[corner + 1] * u) * (1 - v) +
                            (lower[corner] * (1 - u) + lower[corner + 1] * u) * v;
        const std::uint64_t bits = bits_at(grain_, x, y);
        std::uint8_t* pixel = &rgb[at * 3];
        const auto fx = static_cast<double>(x), fy = static_cast<double>(y);
        if (here <= 0 || is_lumen(fx, fy)) {
          for (int k = 0; k < 3; ++k) {
            pixel[k] = static_cast<std::uint8_t>(242 + static_cast<int>(bits >> (8 * k) & 1));
          }
          continue;
        }
        ++tissue;
        // Fibres: noise drawn out along one direction, itself bent by slower noise.
        const double bend = 6 * smooth_noise(fibre_ + 2, fx / (60 * um_), fy / (60 * um_));
        const double fibres = smooth_noise(fibre_, fx / (14 * um_) + bend, fy / (3 * um_) + bend);
        const double patches = smooth_noise(fibre_ + 1, fx / (45 * um_), fy / (45 * um_));
        const double grain = (unit_of(bits) - 0.5) * 0.12;
        double eosin =
            (0.55 + 0.22 * fibres + 0.18 * patches + grain) * (1.0 - options_.clearing * clear[at]);
        eosin = std::max(eosin, 0.06) * options_.eosin;
        const double blue =
            (0.10 + 0.05 * patches + haematoxylin[at] * (1 + 2 * grain)) * options_.haematoxylin;
        pixel[0] = level(blue * 0.65 + eosin * 0.10);
        pixel[1] = level(blue * 0.70 + eosin * 0.85);
        pixel[2] = level(blue * 0.29 + eosin * 0.30);
      }
    }
    tissue_pixels_ += tissue;
    nuclei_ += nuclei;
  }

  std::vector<double> field_row(std::int64_t y) const {
    std::vector<double> row;
    for (std::int64_t x = 0; x <= options_.width + 8; x += 8) {
      row.push_back(field(static_cast<double>(x), static_cast<double>(y)));
    }
    return row;
  }

  // One nucleus in each square of a lattice, somewhere in it: a dark ellipse with pale cytoplasm
  // around. Returns those whose centre lies in these rows and in tissue.
  std::int64_t paint_nuclei(std::int64_t top,
                            std::int64_t rows,
                            std::vector<float>& haematoxylin,
                            std::vector<float>& clear) const {
    if (cell_ <= 0) return 0;
    const double reach = 9.0 * options_.nuclear_size * um_;
    std::int64_t count = 0;
    const auto first_row =
        static_cast<std::int64_t>(std::floor((static_cast<double>(top) - reach) / cell_));
    const auto last_row =
        static_cast<std::int64_t>(std::floor((static_cast<double>(top + rows) + reach) / cell_));
    const auto last_column =
        static_cast<std::int64_t>(std::floor(static_cast<double>(options_.width) / cell_));
    for (std::int64_t j = first_row; j <= last_row; ++j) {
      for (std::int64_t i = 0; i <= last_column; ++i) {
        const double x = (static_cast<double>(i) + unit_of(bits_at(cells_, i, j))) * cell_;
        const double y = (static_cast<double>(j) + unit_of(bits_at(cells_ + 1, i, j))) * cell_;
        if (x >= static_cast<double>(options_.width) || field(x, y) <= 0.02 || is_lumen(x, y)) {
          continue;
        }
        if (y >= static_cast<double>(top) && y < static_cast<double>(top + rows)) ++count;
        const std::uint64_t bits = bits_at(cells_ + 2, i, j);
        const double radius = (2.4 + 1.6 * unit_of(bits)) * options_.nuclear_size * um_;
        const double aspect = 0.65 + 0.35 * unit_of(bits_at(bits, 1, 0));
        const double angle = std::numbers::pi * unit_of(bits_at(bits, 2, 0));
        const double dark = 0.9 + 0.7 * unit_of(bits_at(bits, 3, 0));
        const double halo = 2.2 * radius;
        const double c = std::cos(angle), s = std::sin(angle);
        const auto from_y = std::max(top, static_cast<std::int64_t>(y - halo));
        const auto to_y = std::min(top + rows - 1, static_cast<std::int64_t>(y + halo));
        const auto from_x = std::max<std::int64_t>(0, static_cast<std::int64_t>(x - halo));
        const auto to_x = std::min(options_.width - 1, static_cast<std::int64_t>(x + halo));
        for (std::int64_t py = from_y; py <= to_y; ++py) {
          for (std::int64_t px = from_x; px <= to_x; ++px) {
            const double dx = static_cast<double>(px) - x, dy = static_cast<double>(py) - y;
            const double u = (dx * c + dy * s) / radius, v = (dy * c - dx * s) / (radius * aspect);
            const double d = std::sqrt(u * u + v * v);
            const auto at = static_cast<std::size_t>((py - top) * options_.width + px);
            const double nucleus = std::clamp((1.0 - d) * 4, 0.0, 1.0);
            haematoxylin[at] = std::max(haematoxylin[at], static_cast<float>(dark * nucleus));
            const double round = std::sqrt(dx * dx + dy * dy) / halo;
            clear[at] =
                std::max(clear[at], static_cast<float>(std::clamp((1.0 - round) * 3, 0.0, 1.0)));
          }
        }
      }
    }
    return count;
  }

  std::uint8_t level(double density) const {
    const auto at = static_cast<std::size_t>(density / kDensityStep);
    return static_cast<std::uint8_t>(density_[std::min(at, density_.size() - 1)] + 0.5);
  }

  SynthSlideOptions options_;
  std::uint64_t edge_ = 0, lumen_ = 0, fibre_ = 0, grain_ = 0, cells_ = 0;
  double um_ = 1.0;    // pixels in a micrometre
  double cell_ = 0.0;  // side of a nucleus's square, pixels
  std::vector<Blob> blobs_;
  std::array<double, 4096> density_{};  // grey level of a density
  std::atomic<std::int64_t> tissue_pixels_ = 0;
  std::atomic<std::int64_t> nuclei_ = 0;
};

}  // namespace

void SynthSlideOptions::validate() const {
  const auto need = [](bool holds, std::string_view field, double found, std::string_view range) {
    if (holds) return;
    throw Error(ErrorKind::kUsage,
                fmt::format("synth slide {}: {}, expected {}", field, format_double(found), range));
  };
  need(width >= 256 && width <= 200'000, "width", static_cast<double>(width), "256 to 200000");
  need(height >= 256 && height <= 200'000, "height", static_cast<double>(height), "256 to 200000");
  need(mpp >= 0.1 && mpp <= 2, "mpp", mpp, "0.1 to 2");
  need(nuclei_per_mm2 >= 0 && nuclei_per_mm2 <= 20'000,
       "nuclei_per_mm2",
       nuclei_per_mm2,
       "0 to 20000");
  need(nuclear_size >= 0.5 && nuclear_size <= 1.6, "nuclear_size", nuclear_size, "0.5 to 1.6");
  need(clearing >= 0 && clearing <= 1, "clearing", clearing, "0 to 1");
  need(tissue_share >= 0 && tissue_share <= 0.9, "tissue_share", tissue_share, "0 to 0.9");
  need(haematoxylin >= 0.2 && haematoxylin <= 3, "haematoxylin", haematoxylin, "0.2 to 3");
  need(eosin >= 0.2 && eosin <= 3, "eosin", eosin, "0.2 to 3");
  need(jpeg_quality >= 1 && jpeg_quality <= 100, "jpeg_quality", jpeg_quality, "1 to 100");
  need(threads >= 1, "threads", threads, "at least 1");
}

SynthSlideInfo write_synth_slide(const std::filesystem::path& path,
                                 const SynthSlideOptions& options) {
  options.validate();
  Painter painter(options);
  PyramidTiffOptions tiff;
  tiff.tile = kTile;
  tiff.jpeg_quality = options.jpeg_quality;
  tiff.mpp = options.mpp;
  tiff.halvings_per_level = 2;
  tiff.threads = options.threads;
  tiff.description = fmt::format(
      "Aperio Image Library (synthetic, med3d)\r\n{0}x{1} [0,0 {0}x{1}] ({2}x{2}) JPEG/RGB Q={3}"
      "|AppMag = {4}|MPP = {5:.4f}|Seed = {6}",
      options.width,
      options.height,
      kTile,
      options.jpeg_quality,
      format_double(std::round(100.0 / options.mpp) / 10.0),
      options.mpp,
      options.seed);
  const PyramidTiffInfo written = write_pyramid_tiff(
      path,
      options.width,
      options.height,
      [&](std::int64_t y, std::int64_t rows, std::span<std::uint8_t> rgb) {
        painter.paint(y, rows, rgb);
      },
      tiff);
  return {static_cast<double>(painter.tissue_pixels()) /
              (static_cast<double>(options.width) * static_cast<double>(options.height)),
          painter.nuclei(),
          written.bytes};
}

}  // namespace med3d
