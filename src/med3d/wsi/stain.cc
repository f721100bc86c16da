#include "med3d/wsi/stain.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"

namespace med3d {
namespace {

using Vec3 = std::array<double, 3>;
using Mat3 = std::array<Vec3, 3>;  // rows

constexpr std::array<std::string_view, 3> kNames = {"none", "macenko", "reinhard"};

double dot(const Vec3& a, const Vec3& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

Mat3 multiply(const Mat3& a, const Mat3& b) {
  Mat3 out{};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      for (int k = 0; k < 3; ++k) out[i][j] += a[i][k] * b[k][j];
    }
  }
  return out;
}

Vec3 multiply(const Mat3& a, const Vec3& v) { return {dot(a[0], v), dot(a[1], v), dot(a[2], v)}; }

Mat3 inverse(const Mat3& a) {
  const auto minor = [&](int r, int c) {
    const int r1 = (r + 1) % 3, r2 = (r + 2) % 3, c1 = (c + 1) % 3, c2 = (c + 2) % 3;
    return a[r1][c1] * a[r2][c2] - a[r1][c2] * a[r2][c1];  // cyclic indices carry the sign
  };
  const double determinant = a[0][0] * minor(0, 0) + a[0][1] * minor(0, 1) + a[0][2] * minor(0, 2);
  Mat3 out{};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) out[i][j] = minor(j, i) / determinant;
  }
  return out;
}

// Eigenvectors of a symmetric matrix as rows, by falling eigenvalue (cyclic Jacobi rotations).
Mat3 principal_axes(Mat3 a) {
  Mat3 v = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};  // columns
  for (int sweep = 0; sweep < 64; ++sweep) {
    const double off = a[0][1] * a[0][1] + a[0][2] * a[0][2] + a[1][2] * a[1][2];
    const double on = a[0][0] * a[0][0] + a[1][1] * a[1][1] + a[2][2] * a[2][2];
    if (off <= 1e-40 * on) break;
    for (int p = 0; p < 2; ++p) {
      for (int q = p + 1; q < 3; ++q) {
        if (a[p][q] == 0.0) continue;
        const double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const double t = (theta >= 0 ? 1.0 : -1.0) / (std::abs(theta) + std::hypot(theta, 1.0));
        const double c = 1.0 / std::hypot(t, 1.0);
        const double s = t * c;
        for (int k = 0; k < 3; ++k) {
          const double x = a[k][p], y = a[k][q];
          a[k][p] = c * x - s * y;
          a[k][q] = s * x + c * y;
        }
        for (int k = 0; k < 3; ++k) {
          const double x = a[p][k], y = a[q][k];
          a[p][k] = c * x - s * y;
          a[q][k] = s * x + c * y;
        }
        for (int k = 0; k < 3; ++k) {
          const double x = v[k][p], y = v[k][q];
          v[k][p] = c * x - s * y;
          v[k][q] = s * x + c * y;
        }
      }
    }
  }
  std::array<int, 3> order = {0, 1, 2};
  std::stable_sort(order.begin(), order.end(), [&](int i, int j) { return a[i][i] > a[j][j]; });
  Mat3 out{};
  for (int i = 0; i < 3; ++i) {
    for (int k = 0; k < 3; ++k) out[i][k] = v[k][order[i]];
  }
  return out;
}

// numpy.percentile(values, percent); the order of `values` is lost.
double percentile(std::vector<double>& values, double percent) {
  const double at = percent / 100.0 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(below);
  std::nth_element(values.begin(), middle, values.end());
  const double low = *middle;
  if (below + 1 >= values.size()) return low;
  const double high = *std::min_element(middle + 1, values.end());
  return low + (high - low) * (at - static_cast<double>(below));
}

std::array<double, 256> density_table(double light) {
  std::array<double, 256> table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i] = -std::log((static_cast<double>(i) + 1.0) / light);
  }
  return table;
}

void check_pixels(std::size_t bytes) {
  if (bytes % 3 != 0) {
    throw Error(ErrorKind::kUsage,
                fmt::format("stain: {} bytes, expected three for each pixel", bytes));
  }
}

// Rows give the two concentrations from a density: (S^T S)^-1 S^T for S = [first second].
std::array<Vec3, 2> unmixing(const Vec3& first, const Vec3& second) {
  const double aa = dot(first, first), ab = dot(first, second), bb = dot(second, second);
  const double determinant = aa * bb - ab * ab;
  std::array<Vec3, 2> rows{};
  for (int k = 0; k < 3; ++k) {
    rows[0][k] = (bb * first[k] - ab * second[k]) / determinant;
    rows[1][k] = (aa * second[k] - ab * first[k]) / determinant;
  }
  return rows;
}

void fit_macenko(const std::vector<Vec3>& tissue, const StainOptions& options, StainFit& fit) {
  Vec3 mean{};
  for (const Vec3& density : tissue) {
    for (int k = 0; k < 3; ++k) mean[k] += density[k];
  }
  const auto n = static_cast<double>(tissue.size());
  for (double& value : mean) value /= n;
  Mat3 covariance{};
  for (const Vec3& density : tissue) {
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) {
        covariance[i][j] += (density[i] - mean[i]) * (density[j] - mean[j]) / (n - 1);
      }
    }
  }
  Mat3 axes = principal_axes(covariance);
  // Densities are positive: with the first axis among them, no angle wraps around.
  for (int axis = 0; axis < 2; ++axis) {
    if (axes[axis][0] + axes[axis][1] + axes[axis][2] < 0) {
      for (double& value : axes[axis]) value = -value;
    }
  }
  std::vector<double> angles;
  angles.reserve(tissue.size());
  for (const Vec3& density : tissue) {
    angles.push_back(std::atan2(dot(density, axes[1]), dot(density, axes[0])));
  }
  std::array<Vec3, 2> stains{};
  const std::array<double, 2> percents = {options.angle_percent, 100.0 - options.angle_percent};
  for (int i = 0; i < 2; ++i) {
    const double angle = percentile(angles, percents[i]);
    for (int k = 0; k < 3; ++k) {
      stains[i][k] = std::cos(angle) * axes[0][k] + std::sin(angle) * axes[1][k];
    }
  }
  if (stains[1][0] >= stains[0][0]) std::swap(stains[0], stains[1]);
  fit.haematoxylin = stains[0];
  fit.eosin = stains[1];
  // Under about one degree apart the concentrations are noise times a hundred.
  const double cosine = dot(stains[0], stains[1]);
  if (!(1.0 - cosine * cosine > 4e-4)) {
    fit.reason = "the tissue has one colour only, two stains are needed";
    return;
  }
  const auto unmix = unmixing(stains[0], stains[1]);
  std::vector<double> concentration(tissue.size());
  for (int i = 0; i < 2; ++i) {
    for (std::size_t p = 0; p < tissue.size(); ++p) concentration[p] = dot(unmix[i], tissue[p]);
    fit.concentration[i] = percentile(concentration, options.concentration_percent);
  }
  if (!(fit.concentration[0] > 1e-3 && fit.concentration[1] > 1e-3)) {
    fit.reason = fmt::format("stain concentrations of {:.3g} and {:.3g}, expected both above 0.001",
                             fit.concentration[0],
                             fit.concentration[1]);
    return;
  }
  fit.usable = true;
}

constexpr Mat3 kLmsFromRgb = {
    {{0.3811, 0.5783, 0.0402}, {0.1967, 0.7244, 0.0782}, {0.0241, 0.1288, 0.8444}}};

Mat3 lab_from_log_lms() {
  const double a = 1.0 / std::sqrt(3.0), b = 1.0 / std::sqrt(6.0), c = 1.0 / std::numbers::sqrt2;
  return {{{a, a, a}, {b, b, -2 * b}, {c, -c, 0}}};
}

Vec3 log_lms_of(const std::uint8_t* rgb) {
  const Vec3 light = {
      std::max<double>(rgb[0], 1), std::max<double>(rgb[1], 1), std::max<double>(rgb[2], 1)};
  const Vec3 lms = multiply(kLmsFromRgb, light);
  return {std::log(lms[0]), std::log(lms[1]), std::log(lms[2])};
}

void fit_reinhard(const std::vector<Vec3>& lab, StainFit& fit) {
  const auto n = static_cast<double>(lab.size());
  for (int k = 0; k < 3; ++k) {
    for (const Vec3& value : lab) fit.mean[k] += value[k];
    fit.mean[k] /= n;
    for (const Vec3& value : lab) {
      fit.stddev[k] += (value[k] - fit.mean[k]) * (value[k] - fit.mean[k]);
    }
    fit.stddev[k] = std::sqrt(fit.stddev[k] / n);
    if (!(fit.stddev[k] > 1e-6)) {
      fit.reason = "the tissue has one colour only, its spread cannot be scaled";
      return;
    }
  }
  fit.usable = true;
}

std::uint8_t byte_of(double value) {
  return static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0) + 0.5);
}

void apply_macenko(const StainFit& fit, const StainOptions& options, std::span<std::uint8_t> rgb) {
  // I'_k = light * prod_j exp(-map_kj * density_j(I_j)): a product of three table entries.
  const auto unmix = unmixing(fit.haematoxylin, fit.eosin);
  const auto density = density_table(options.light);
  std::array<std::array<std::array<double, 3>, 256>, 3> factor;  // [in channel][level][out channel]
  for (int j = 0; j < 3; ++j) {
    for (int level = 0; level < 256; ++level) {
      for (int k = 0; k < 3; ++k) {
        const double map = options.target_haematoxylin[k] * options.target_concentration[0] /
                               fit.concentration[0] * unmix[0][j] +
                           options.target_eosin[k] * options.target_concentration[1] /
                               fit.concentration[1] * unmix[1][j];
        // The clamp keeps the product of three finite whatever the fit; 60 is far beyond any
        // colour.
        factor[j][level][k] = std::exp(std::clamp(-map * density[level], -60.0, 60.0));
      }
    }
  }
  for (std::size_t p = 0; p + 2 < rgb.size(); p += 3) {
    const auto& red = factor[0][rgb[p]];
    const auto& green = factor[1][rgb[p + 1]];
    const auto& blue = factor[2][rgb[p + 2]];
    for (std::size_t k = 0; k < 3; ++k) {
      rgb[p + k] = byte_of(options.light * red[k] * green[k] * blue[k] - 1.0);
    }
  }
}

void apply_reinhard(const StainFit& fit, const StainOptions& options, std::span<std::uint8_t> rgb) {
  // One affine map of log LMS instead of the way to l-alpha-beta and back.
  const Mat3 forward = lab_from_log_lms();
  const Mat3 backward = inverse(forward);
  Mat3 scaled = forward;
  Vec3 shift{};
  for (int i = 0; i < 3; ++i) {
    const double scale = options.target_stddev[i] / fit.stddev[i];
    for (double& value : scaled[i]) value *= scale;
    shift[i] = options.target_mean[i] - scale * fit.mean[i];
  }
  const Mat3 map = multiply(backward, scaled);
  const Vec3 offset = multiply(backward, shift);
  const Mat3 rgb_from_lms = inverse(kLmsFromRgb);
  for (std::size_t p = 0; p + 2 < rgb.size(); p += 3) {
    const Vec3 moved = multiply(map, log_lms_of(&rgb[p]));
    Vec3 lms{};
    for (int k = 0; k < 3; ++k) lms[k] = std::exp(std::min(moved[k] + offset[k], 60.0));
    const Vec3 out = multiply(rgb_from_lms, lms);
    for (std::size_t k = 0; k < 3; ++k) rgb[p + k] = byte_of(out[k]);
  }
}

bool is_tissue(const std::uint8_t* rgb, const std::array<double, 256>& density, double least) {
  return density[rgb[0]] >= least && density[rgb[1]] >= least && density[rgb[2]] >= least;
}

}  // namespace

StainMethod parse_stain_method(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (name == kNames[i]) return static_cast<StainMethod>(i);
  }
  const std::vector<std::string> known(kNames.begin(), kNames.end());
  throw Error(ErrorKind::kUsage,
              fmt::format("stain normalisation '{}', expected {}{}",
                          name,
                          join(known, ", "),
                          did_you_mean(name, known)));
}

std::string to_string(StainMethod method) {
  return std::string(kNames[static_cast<std::size_t>(method)]);
}

void StainOptions::validate() const {
  const auto need = [](bool holds, std::string_view field, double found, std::string_view range) {
    if (holds) return;
    throw Error(ErrorKind::kUsage,
                fmt::format("stain {}: {}, expected {}", field, format_double(found), range));
  };
  need(light > 0 && light <= 255, "light", light, "above 0 and at most 255");
  need(min_density >= 0 && min_density < 5, "min_density", min_density, "0 to 5");
  need(angle_percent >= 0 && angle_percent < 50, "angle_percent", angle_percent, "0 to below 50");
  need(concentration_percent > 50 && concentration_percent <= 100,
       "concentration_percent",
       concentration_percent,
       "above 50 and at most 100");
  need(min_tissue_pixels >= 3,
       "min_tissue_pixels",
       static_cast<double>(min_tissue_pixels),
       "at least 3");
  for (int k = 0; k < 3; ++k) {
    need(target_haematoxylin[k] >= 0 && target_haematoxylin[k] <= 5,
         "target_haematoxylin",
         target_haematoxylin[k],
         "densities of 0 to 5");
    need(target_eosin[k] >= 0 && target_eosin[k] <= 5,
         "target_eosin",
         target_eosin[k],
         "densities of 0 to 5");
    need(std::abs(target_mean[k]) <= 20, "target_mean", target_mean[k], "-20 to 20");
    need(target_stddev[k] > 0 && target_stddev[k] <= 20,
         "target_stddev",
         target_stddev[k],
         "above 0 and at most 20");
  }
  for (const double value : target_concentration) {
    need(value > 0 && value <= 100, "target_concentration", value, "above 0 and at most 100");
  }
}

std::vector<std::uint8_t> sample_tissue_pixels(std::span<const std::uint8_t> rgb,
                                               std::int64_t count,
                                               std::uint64_t seed,
                                               const StainOptions& options) {
  check_pixels(rgb.size());
  options.validate();
  const auto density = density_table(options.light);
  std::vector<std::size_t> tissue;
  for (std::size_t p = 0; p < rgb.size(); p += 3) {
    if (is_tissue(&rgb[p], density, options.min_density)) tissue.push_back(p);
  }
  const auto wanted = static_cast<std::size_t>(std::max<std::int64_t>(count, 0));
  if (tissue.size() > wanted) {
    NumpyRandom random(static_cast<std::uint32_t>(derive_seed(seed, "tissue pixels")));
    for (std::size_t i = 0; i < wanted; ++i) {
      std::swap(tissue[i], tissue[i + random.randint(tissue.size() - i)]);
    }
    tissue.resize(wanted);
    std::sort(tissue.begin(), tissue.end());
  }
  std::vector<std::uint8_t> out;
  out.reserve(tissue.size() * 3);
  for (const std::size_t p : tissue) out.insert(out.end(), {rgb[p], rgb[p + 1], rgb[p + 2]});
  return out;
}

StainFit fit_stain(std::span<const std::uint8_t> rgb, const StainOptions& options) {
  check_pixels(rgb.size());
  options.validate();
  StainFit fit;
  fit.method = options.method;
  if (options.method == StainMethod::kNone) {
    fit.reason = "no stain normalisation was asked for";
    return fit;
  }
  const auto density = density_table(options.light);
  const Mat3 lab_from_log = lab_from_log_lms();
  std::vector<Vec3> tissue;
  for (std::size_t p = 0; p < rgb.size(); p += 3) {
    if (!is_tissue(&rgb[p], density, options.min_density)) continue;
    tissue.push_back(options.method == StainMethod::kMacenko
                         ? Vec3{density[rgb[p]], density[rgb[p + 1]], density[rgb[p + 2]]}
                         : multiply(lab_from_log, log_lms_of(&rgb[p])));
  }
  fit.tissue_pixels = static_cast<std::int64_t>(tissue.size());
  if (fit.tissue_pixels < options.min_tissue_pixels) {
    fit.reason = fmt::format(
        "{} tissue pixels, at least {} are needed", fit.tissue_pixels, options.min_tissue_pixels);
    return fit;
  }
  if (options.method == StainMethod::kMacenko) {
    fit_macenko(tissue, options, fit);
  } else {
    fit_reinhard(tissue, fit);
  }
  return fit;
}

void apply_stain(const StainFit& fit, const StainOptions& options, std::span<std::uint8_t> rgb) {
  check_pixels(rgb.size());
  if (!fit.usable) return;
  options.validate();
  if (fit.method == StainMethod::kMacenko) apply_macenko(fit, options, rgb);
  if (fit.method == StainMethod::kReinhard) apply_reinhard(fit, options, rgb);
}

}  // namespace med3d
