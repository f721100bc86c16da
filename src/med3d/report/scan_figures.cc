#include "med3d/report/scan_figures.h"

#include <fmt/format.h>

#include <algorithm>

#include "med3d/core/text.h"

namespace med3d::report {
namespace {

constexpr double kWidth = 640.0;
constexpr double kLeft = 230.0;
constexpr double kLongest = 340.0;
constexpr double kRow = 20.0;

// At most `width` characters: names of collections and rules may be a user's own.
std::string short_name(const std::string& text, std::size_t width) {
  const auto lines = wrap(text, width, 1);
  return lines.empty() ? "" : lines.front();
}

void legend(Svg& svg, double x, const char* css_class, const char* text) {
  svg.rect(x, 8, 12, 12, css_class);
  svg.text(x + 18, 18, text, "small");
}

Figure make(
    std::string title, std::string description, std::string caption, Svg svg, DataTable data) {
  return {"",
          std::move(title),
          std::move(description),
          std::move(caption),
          std::move(svg),
          std::move(data)};
}

}  // namespace

Figure scan_distribution(const std::vector<ScanCount>& counts) {
  std::int64_t most = 1;
  for (const ScanCount& one : counts) most = std::max({most, one.before, one.kept});
  constexpr double kGroup = 2 * kRow + 12;
  Svg svg(kWidth, 40 + kGroup * static_cast<double>(counts.size()));
  legend(svg, kLeft, "ghost", "before");
  legend(svg, kLeft + 90, "class-0", "kept");
  DataTable data{{"collection", "modality", "before", "kept"}, {}};
  const double scale = kLongest / static_cast<double>(most);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const ScanCount& one = counts[i];
    const std::string modality = one.modality.empty() ? "unknown" : one.modality;
    const double y = 36 + kGroup * static_cast<double>(i);
    if (i == 0 || counts[i - 1].collection != one.collection) {
      svg.line(0, y - 5, kWidth, y - 5, "rule");
      svg.text(0, y + 15, short_name(one.collection, 22), "label", one.collection);
    }
    svg.text(kLeft - 12, y + 25, short_name(modality, 12), "small quiet end");
    for (const bool kept : {false, true}) {
      const std::int64_t number = kept ? one.kept : one.before;
      const double at = y + (kept ? kRow : 0.0);
      const double width = static_cast<double>(number) * scale;
      svg.rect(kLeft,
               at,
               width,
               kRow - 3,
               kept ? "class-0" : "ghost",
               fmt::format(
                   "{}, {}, {}: {}", one.collection, modality, kept ? "kept" : "before", number));
      svg.text(kLeft + width + 8, at + 13, std::to_string(number), "small num");
    }
    data.rows.push_back(
        {one.collection, modality, static_cast<double>(one.before), static_cast<double>(one.kept)});
  }
  return make("Series before and after filtering",
              "Two bars for each modality of each collection: all series, and those that are kept.",
              "",
              std::move(svg),
              std::move(data));
}

Figure scan_rules(const std::vector<ScanRule>& rules) {
  std::int64_t most = 1;
  for (const ScanRule& one : rules) most = std::max(most, one.series);
  Svg svg(kWidth, 40 + kRow * static_cast<double>(rules.size()));
  legend(svg, kLeft, "class-0", "kept as");
  legend(svg, kLeft + 90, "class-1", "dropped as");
  DataTable data{{"modality", "kept", "rule", "series"}, {}};
  const double scale = kLongest / static_cast<double>(most);
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const ScanRule& one = rules[i];
    const std::string modality = one.modality.empty() ? "unknown" : one.modality;
    const double y = 34 + kRow * static_cast<double>(i);
    if (i == 0 || rules[i - 1].modality != one.modality) {
      svg.line(0, y - 2, kWidth, y - 2, "rule");
      svg.text(0, y + 13, short_name(modality, 10), "label");
    }
    const double width = static_cast<double>(one.series) * scale;
    svg.text(kLeft - 10, y + 13, short_name(one.rule, 26), "small quiet end", one.rule);
    svg.rect(
        kLeft,
        y,
        width,
        kRow - 5,
        one.kept ? "class-0" : "class-1",
        fmt::format(
            "{}, {} as {}: {}", modality, one.kept ? "kept" : "dropped", one.rule, one.series));
    svg.text(kLeft + width + 8, y + 12, std::to_string(one.series), "small num");
    data.rows.push_back(
        {modality, one.kept ? "yes" : "no", one.rule, static_cast<double>(one.series)});
  }
  return make("What the rules kept and dropped",
              "One bar for each rule that decided about a series, by modality.",
              "",
              std::move(svg),
              std::move(data));
}

}  // namespace med3d::report
