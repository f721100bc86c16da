#include "med3d/wsi/heatmap.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string_view>

#include "med3d/core/error.h"
#include "med3d/core/text.h"

namespace med3d {
namespace {

void check_finite(std::span<const double> scores, std::string_view what) {
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (std::isfinite(scores[i])) continue;
    throw Error(ErrorKind::kData,
                fmt::format("{} {} is {}, expected a finite number", what, i, scores[i]));
  }
}

// Half-open pixel ranges of a tile on the canvas, clipped.
struct Area {
  std::int64_t left, top, right, bottom;
  std::int64_t size() const {
    return std::max<std::int64_t>(right - left, 0) * std::max<std::int64_t>(bottom - top, 0);
  }
};

std::vector<Area> tile_areas(const Matrix<std::int64_t>& coords,
                             std::int64_t footprint,
                             const Overview& background) {
  const std::int64_t width = background.image.width;
  const std::int64_t height = background.image.height;
  const auto slide_width = static_cast<double>(width) * background.downsample_x;
  const auto slide_height = static_cast<double>(height) * background.downsample_y;
  std::vector<Area> areas;
  areas.reserve(coords.rows());
  std::size_t outside = 0;
  std::size_t first_outside = 0;
  for (std::size_t i = 0; i < coords.rows(); ++i) {
    const auto x = static_cast<double>(coords(i, 0));
    const auto y = static_cast<double>(coords(i, 1));
    const auto side = static_cast<double>(footprint);
    // A rest of the level's last pixels lies within the picture: what begins there is still inside.
    if (x + side <= 0 || y + side <= 0 || x >= slide_width || y >= slide_height) {
      if (outside++ == 0) first_outside = i;
      areas.push_back({0, 0, 0, 0});
      continue;
    }
    const std::int64_t left = std::llround(x / background.downsample_x);
    const std::int64_t top = std::llround(y / background.downsample_y);
    const std::int64_t right = std::llround((x + side) / background.downsample_x);
    const std::int64_t bottom = std::llround((y + side) / background.downsample_y);
    areas.push_back({std::clamp<std::int64_t>(left, 0, width),
                     std::clamp<std::int64_t>(top, 0, height),
                     std::clamp(std::max(right, left + 1), std::int64_t{0}, width),
                     std::clamp(std::max(bottom, top + 1), std::int64_t{0}, height)});
  }
  if (outside > 0) {
    throw Error(
        ErrorKind::kData,
        fmt::format("tile {} at ({}, {}) lies outside of the slide of {:.0f} x {:.0f} pixels "
                    "({} of {} tiles do): coordinates of another slide or scale",
                    first_outside,
                    coords(first_outside, 0),
                    coords(first_outside, 1),
                    slide_width,
                    slide_height,
                    outside,
                    coords.rows()));
  }
  return areas;
}

// Gaussian weights from the middle outwards, OpenCV's sigma for a kernel of 2 * radius + 1.
std::vector<float> gaussian(std::int64_t radius) {
  const double sigma = 0.3 * (static_cast<double>(radius) - 1) + 0.8;
  std::vector<float> weights;
  for (std::int64_t i = 0; i <= radius; ++i) {
    weights.push_back(static_cast<float>(
        std::exp(-static_cast<double>(i) * static_cast<double>(i) / (2 * sigma * sigma))));
  }
  return weights;
}

// Sums along one axis with the kernel; beyond the edge there is nothing. Whole rows are added, so
// that the compiler can take many pixels at once whichever the axis.
std::vector<float> convolved(const std::vector<float>& from,
                             std::int64_t width,
                             std::int64_t height,
                             const std::vector<float>& weights,
                             bool along_x) {
  std::vector<float> out(from.size());
  const auto radius = static_cast<std::int64_t>(weights.size()) - 1;
  for (std::int64_t y = 0; y < height; ++y) {
    float* to = out.data() + y * width;
    for (std::int64_t d = -radius; d <= radius; ++d) {
      const float weight = weights[static_cast<std::size_t>(std::abs(d))];
      const std::int64_t row = along_x ? y : y + d;
      if (row < 0 || row >= height) continue;
      const std::int64_t shift = along_x ? d : 0;
      const float* source = from.data() + row * width;
      const std::int64_t last = std::min(width, width - shift);
      for (std::int64_t x = std::max<std::int64_t>(0, -shift); x < last; ++x) {
        to[x] += weight * source[x + shift];
      }
    }
  }
  return out;
}

void blur_painted(std::vector<float>& grid,
                  std::int64_t width,
                  std::int64_t height,
                  std::int64_t radius) {
  const std::vector<float> weights = gaussian(radius);
  std::vector<float> values(grid.size());
  std::vector<float> painted(grid.size());
  for (std::size_t i = 0; i < grid.size(); ++i) {
    if (std::isnan(grid[i])) continue;
    values[i] = grid[i];
    painted[i] = 1.0F;
  }
  for (const bool along_x : {true, false}) {
    values = convolved(values, width, height, weights, along_x);
    painted = convolved(painted, width, height, weights, along_x);
  }
  for (std::size_t i = 0; i < grid.size(); ++i) {
    if (!std::isnan(grid[i])) grid[i] = values[i] / painted[i];
  }
}

std::vector<std::string> wrapped(std::string_view text, std::size_t columns) {
  std::vector<std::string> lines;
  std::string line;
  for (const std::string& word : split(text, ' ')) {
    if (!line.empty() && line.size() + 1 + word.size() > columns) {
      lines.push_back(line);
      line.clear();
    }
    if (!line.empty()) line += ' ';
    line += shorten_text(word, columns);
  }
  if (!line.empty()) lines.push_back(line);
  return lines;
}

struct Legend {
  std::string text;  // a line for each '\n'
  double low = 0.0;
  double high = 0.0;
};

// The picture with a panel at its right: what is shown, and which colour is which value.
RgbImage with_colour_bar(const RgbImage& picture,
                         const Legend& legend,
                         const HeatmapOptions& options) {
  const std::int64_t scale = std::clamp<std::int64_t>(picture.height / 400, 1, 8);
  constexpr std::size_t kColumns = 26;
  const std::int64_t margin = 8 * scale;
  const std::int64_t line_height = (kTextHeight + 2) * scale;
  std::vector<std::string> lines;
  for (const std::string& paragraph : split(legend.text, '\n')) {
    for (std::string& line : wrapped(paragraph, kColumns)) lines.push_back(std::move(line));
  }
  const std::int64_t panel = 2 * margin + text_width(std::string(kColumns, ' '), scale);
  const std::int64_t bar_top = 2 * margin + static_cast<std::int64_t>(lines.size()) * line_height;
  const std::int64_t bar_height =
      std::clamp(picture.height - bar_top - 2 * margin, 128 * scale, 256 * scale);
  RgbImage out(
      picture.width + panel, std::max(picture.height, bar_top + bar_height + 2 * margin), 255);
  draw_image(out, picture, 0, 0);
  const std::int64_t x = picture.width + margin;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    draw_text(out, x, margin + static_cast<std::int64_t>(i) * line_height, lines[i], kBlack, scale);
  }
  const std::int64_t bar_width = 24 * scale;
  const auto tick = [&](double share, double value) {
    const std::int64_t y =
        bar_top + std::llround((1 - share) * static_cast<double>(bar_height - 1));
    fill_rectangle(out, x + bar_width, y - scale / 2, 5 * scale, scale, kBlack);
    draw_text(
        out, x + bar_width + 8 * scale, y - 3 * scale, fmt::format("{:.4g}", value), kBlack, scale);
  };
  if (options.binarize) {
    fill_rectangle(out, x, bar_top, bar_width, bar_width, colour_of(options.colours, 1.0));
    draw_text(out,
              x + bar_width + 8 * scale,
              bar_top + bar_width / 2 - 4 * scale,
              fmt::format("{:.4g} or more", legend.low),
              kBlack,
              scale);
    return out;
  }
  for (std::int64_t y = 0; y < bar_height; ++y) {
    const double value = 1.0 - static_cast<double>(y) / static_cast<double>(bar_height - 1);
    fill_rectangle(out, x, bar_top + y, bar_width, 1, colour_of(options.colours, value));
  }
  draw_rectangle(out, x, bar_top, bar_width, bar_height, scale, kBlack);
  for (int i = 0; i <= 4; ++i) {
    tick(i / 4.0, legend.low + (legend.high - legend.low) * i / 4.0);
  }
  return out;
}

}  // namespace

std::vector<double> percentile_ranks(std::span<const double> scores) {
  check_finite(scores, "score");
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return scores[a] != scores[b] ? scores[a] < scores[b] : a < b;
  });
  std::vector<double> out(scores.size());
  const auto n = static_cast<double>(scores.size());
  for (std::size_t i = 0; i < order.size();) {
    std::size_t end = i;
    while (end < order.size() && scores[order[end]] == scores[order[i]]) ++end;
    const double rank = static_cast<double>(i + 1 + end) / 2.0;  // mean of i + 1 .. end
    for (; i < end; ++i) out[order[i]] = rank / n * 100.0;
  }
  return out;
}

std::vector<double> percentiles_among(std::span<const double> scores,
                                      std::span<const double> reference) {
  check_finite(scores, "score");
  check_finite(reference, "reference score");
  if (reference.empty()) throw Error(ErrorKind::kData, "no reference score");
  std::vector<double> sorted(reference.begin(), reference.end());
  std::sort(sorted.begin(), sorted.end());
  std::vector<double> out;
  out.reserve(scores.size());
  for (const double score : scores) {
    const auto [from, to] = std::equal_range(sorted.begin(), sorted.end(), score);
    const auto below = from - sorted.begin();
    const auto up_to = to - sorted.begin();
    out.push_back(static_cast<double>(below + up_to + (up_to > below ? 1 : 0)) *
                  (50.0 / static_cast<double>(sorted.size())));
  }
  return out;
}

void HeatmapOptions::validate() const {
  const auto need = [](bool holds, std::string_view field, double found, std::string_view range) {
    if (holds) return;
    throw Error(ErrorKind::kUsage,
                fmt::format("heatmap {}: {}, expected {}", field, format_double(found), range));
  };
  need(vis_level >= -1, "vis_level", vis_level, "-1 or a level");
  need(max_side >= 1 && max_side <= 1 << 16,
       "max_side",
       static_cast<double>(max_side),
       "1 to 65536 pixels");
  need(alpha >= 0 && alpha <= 1, "alpha", alpha, "0 to 1");
  need(overlap >= 0 && overlap < 1, "overlap", overlap, "0 to below 1");
  need(binary_thresh == -1 || std::isfinite(binary_thresh),
       "binary_thresh",
       binary_thresh,
       "-1 or a number");
  need(scale != ScoreScale::kPercentile || binary_thresh == -1 ||
           (binary_thresh >= 0 && binary_thresh <= 1),
       "binary_thresh",
       binary_thresh,
       "-1 or a share of 0 to 1 for percentiles");
  if (raw_low) need(std::isfinite(*raw_low), "raw_low", *raw_low, "a number");
  if (raw_high) need(std::isfinite(*raw_high), "raw_high", *raw_high, "a number");
  if (raw_low && raw_high) need(*raw_low < *raw_high, "raw_low", *raw_low, "less than raw_high");
}

Heatmap draw_heatmap(const Matrix<std::int64_t>& coords,
                     std::int64_t footprint,
                     std::span<const double> scores,
                     std::span<const double> reference,
                     const Overview& background,
                     const HeatmapOptions& options) {
  options.validate();
  if (coords.rows() != scores.size() || (coords.rows() > 0 && coords.cols() != 2)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("heatmap: coordinates ({}, {}) and {} scores, expected (n, 2) and n",
                            coords.rows(),
                            coords.cols(),
                            scores.size()));
  }
  constexpr std::int64_t kFar = std::int64_t{1} << 40;
  if (footprint < 1 || footprint > kFar) {
    throw Error(ErrorKind::kUsage, fmt::format("heatmap: a tile of {} level-0 pixels", footprint));
  }
  if (scores.empty()) throw Error(ErrorKind::kData, "heatmap: no tile to draw");
  const std::vector<Area> areas = tile_areas(coords, footprint, background);

  std::int64_t work = 0;
  for (const Area& area : areas) work += area.size();
  const std::int64_t canvas = background.image.width * background.image.height;
  if (work / 1024 > canvas) {
    throw Error(
        ErrorKind::kData,
        fmt::format("heatmap: {} tiles of {} level-0 pixels cover each pixel more than 1,024 "
                    "times: a size of another scale",
                    areas.size(),
                    footprint));
  }

  Heatmap out;
  out.width = background.image.width;
  out.height = background.image.height;
  out.downsample_x = background.downsample_x;
  out.downsample_y = background.downsample_y;
  out.damaged_blocks = background.damaged_blocks;
  Legend legend;
  const auto n = static_cast<double>(scores.size());
  if (options.scale == ScoreScale::kPercentile) {
    out.values =
        reference.empty() ? percentile_ranks(scores) : percentiles_among(scores, reference);
    out.high = 100.0;
    legend.text =
        reference.empty()
            ? fmt::format(
                  "{}\nPercentile among the {} tiles of this slide", options.meaning, scores.size())
            : fmt::format(
                  "{}\nPercentile among {} reference scores", options.meaning, reference.size());
  } else {
    check_finite(scores, "score");
    out.values.assign(scores.begin(), scores.end());
    const auto [least, most] = std::minmax_element(scores.begin(), scores.end());
    out.low = options.raw_low.value_or(*least);
    out.high = options.raw_high.value_or(*most);
    legend.text = fmt::format("{}\nRaw score of {} tiles", options.meaning, scores.size());
  }
  if (options.binarize) {
    const double factor = options.scale == ScoreScale::kPercentile ? 100.0 : 1.0;
    const double threshold =
        factor * (options.binary_thresh == -1 ? 1.0 / n : options.binary_thresh);
    for (double& value : out.values) value = value >= threshold ? 1.0 : 0.0;
    legend.low = threshold;
    out.low = 0.0;
    out.high = 1.0;
  } else {
    legend.low = out.low;
    legend.high = out.high;
  }
  const std::string_view none = options.binarize ? "less, or no tile" : "no tile";
  legend.text +=
      options.blank_canvas
          ? fmt::format("\nWhite: {}", none)
          : fmt::format(
                "\nColour {:.0f} % over the slide; no colour: {}", options.alpha * 100, none);
  if (options.blur) legend.text += "\nSmoothed";

  const auto pixels = static_cast<std::size_t>(out.width * out.height);
  out.grid.assign(pixels, 0.0F);
  std::vector<std::uint32_t> covers(pixels, 0);
  for (std::size_t i = 0; i < areas.size(); ++i) {
    const auto value = static_cast<float>(out.values[i]);
    for (std::int64_t y = areas[i].top; y < areas[i].bottom; ++y) {
      for (std::int64_t x = areas[i].left; x < areas[i].right; ++x) {
        const auto at = static_cast<std::size_t>(y * out.width + x);
        out.grid[at] += value;
        ++covers[at];
      }
    }
  }
  for (std::size_t i = 0; i < pixels; ++i) {
    out.grid[i] = covers[i] == 0 ? std::numeric_limits<float>::quiet_NaN()
                                 : out.grid[i] / static_cast<float>(covers[i]);
  }
  covers = {};
  if (options.blur) {
    const double tile = static_cast<double>(footprint) / out.downsample_x;
    const auto radius = static_cast<std::int64_t>(tile * (1.0 - options.overlap));
    // Beyond 512 pixels nobody sees the difference, and the cost grows with the radius.
    blur_painted(out.grid, out.width, out.height, std::clamp<std::int64_t>(radius, 1, 512));
  }
  out.drawn.reserve(areas.size());
  for (const Area& area : areas) {
    double sum = 0.0;
    for (std::int64_t y = area.top; y < area.bottom; ++y) {
      for (std::int64_t x = area.left; x < area.right; ++x) {
        sum += out.grid[static_cast<std::size_t>(y * out.width + x)];
      }
    }
    out.drawn.push_back(area.size() > 0 ? sum / static_cast<double>(area.size())
                                        : std::numeric_limits<double>::quiet_NaN());
  }

  RgbImage picture = options.blank_canvas ? RgbImage(out.width, out.height, 255) : background.image;
  const double range = out.high - out.low;
  for (std::size_t i = 0; i < pixels; ++i) {
    const double value = out.grid[i];
    if (std::isnan(value) || (options.binarize && value <= 0.5)) continue;
    // Scores that are all equal have no order: the middle colour claims none.
    const Rgb colour =
        options.binarize ? colour_of(options.colours, 1.0)
                         : colour_of(options.colours, range > 0 ? (value - out.low) / range : 0.5);
    for (std::size_t k = 0; k < 3; ++k) {
      std::uint8_t& level = picture.pixels[i * 3 + k];
      level = static_cast<std::uint8_t>(
          std::lround(options.alpha * colour[k] + (1.0 - options.alpha) * level));
    }
  }
  out.image = options.colour_bar ? with_colour_bar(picture, legend, options) : std::move(picture);
  return out;
}

Heatmap draw_heatmap(const Matrix<std::int64_t>& coords,
                     std::int64_t footprint,
                     std::span<const double> scores,
                     std::span<const double> reference,
                     Slide& slide,
                     const HeatmapOptions& options) {
  options.validate();
  const int level =
      options.vis_level >= 0 ? options.vis_level : best_level_for_downsample(slide.info(), 32);
  const Overview background = read_overview(slide, level, options.max_side, options.max_side);
  return draw_heatmap(coords, footprint, scores, reference, background, options);
}

}  // namespace med3d
