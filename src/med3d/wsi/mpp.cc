#include "med3d/wsi/mpp.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/wsi/slide_facts.h"

namespace med3d {
namespace {

// A relative difference in x and y, or to an override, that is worth a word.
constexpr double kNotable = 0.02;
// 20x scans at 0.23 um exist (an adapter before the camera); 2.5 leaves them alone.
constexpr double kOffObjective = 2.5;

bool believable(double mpp) { return mpp >= kSmallestMpp && mpp <= kLargestMpp; }

std::string number(double value) { return fmt::format("{:.6g}", value); }

std::optional<std::string> property(const SlideInfo& info, const std::string& name) {
  const auto found = info.properties.find(name);
  return found == info.properties.end() ? std::nullopt : std::optional(found->second);
}

struct Candidate {
  std::string source;
  std::string arithmetic;  // "tiff.XResolution 10 per cm = 1000 um/px"
  std::optional<double> x;
  std::optional<double> y;
};

// "tiff.XResolution 10 per cm = 1000 um/px"; nothing where the unit says no length.
std::optional<Candidate> from_resolution(const SlideInfo& info) {
  const auto x = property(info, "tiff.XResolution");
  const auto unit = property(info, "tiff.ResolutionUnit");
  if (!x || !unit || (*unit != "inch" && *unit != "centimeter")) return std::nullopt;
  const double per_unit = *unit == "inch" ? 25400.0 : 10000.0;
  const char* short_unit = *unit == "inch" ? "inch" : "cm";
  Candidate result{
      "tiff.XResolution", fmt::format("tiff.XResolution {} per {}", *x, short_unit), {}, {}};
  const auto per_x = parse_fact(*x);
  if (per_x && *per_x > 0.0) {
    result.x = result.y = per_unit / *per_x;
    result.arithmetic += fmt::format(" = {} um/px", number(*result.x));
    const auto per_y = parse_fact(property(info, "tiff.YResolution").value_or(""));
    if (per_y && *per_y > 0.0) result.y = per_unit / *per_y;
  }
  return result;
}

std::vector<Candidate> candidates(const SlideInfo& info) {
  std::vector<Candidate> found;
  const auto resolution = from_resolution(info);
  if (info.mpp_x) {
    // The reader computed it; the sum is shown from the properties where there is one.
    if (info.mpp_source == "tiff.XResolution" && resolution) {
      found.push_back({info.mpp_source, resolution->arithmetic, info.mpp_x, info.mpp_y});
    } else {
      found.push_back({info.mpp_source.empty() ? "the slide" : info.mpp_source,
                       fmt::format("{} {} um/px",
                                   info.mpp_source.empty() ? "the slide's" : info.mpp_source,
                                   number(*info.mpp_x)),
                       info.mpp_x,
                       info.mpp_y ? info.mpp_y : info.mpp_x});
    }
  }
  const std::array<std::string, 3> names = {"openslide.mpp-x", "openslide.mirax.MPP", "aperio.MPP"};
  for (const std::string& name : names) {
    const auto text = property(info, name);
    if (!text || info.mpp_source == name) continue;
    const auto y = name == "openslide.mpp-x" ? property(info, "openslide.mpp-y") : text;
    found.push_back({name,
                     fmt::format("{} {} um/px", name, *text),
                     parse_fact(*text),
                     parse_fact(y.value_or(*text))});
  }
  // Pixels a centimetre, as Hamamatsu writes them.
  if (const auto text = property(info, "hamamatsu.XResolution")) {
    const auto per_cm = parse_fact(*text);
    Candidate candidate{
        "hamamatsu.XResolution", fmt::format("hamamatsu.XResolution {} per cm", *text), {}, {}};
    if (per_cm && *per_cm > 0.0) {
      candidate.x = candidate.y = 10000.0 / *per_cm;
      candidate.arithmetic += fmt::format(" = {} um/px", number(*candidate.x));
    }
    found.push_back(candidate);
  }
  if (resolution && info.mpp_source != "tiff.XResolution") found.push_back(*resolution);
  return found;
}

// Sets verdict.mpp by the first candidate that can be believed.
void judge_slide(const SlideInfo& info, MppVerdict& verdict) {
  for (const Candidate& candidate : candidates(info)) {
    if (!candidate.x || !candidate.y) {
      verdict.warnings.push_back(fmt::format("{}: no number: not believed", candidate.arithmetic));
      continue;
    }
    if (!believable(*candidate.x) || !believable(*candidate.y)) {
      const std::string y =
          *candidate.y == *candidate.x ? "" : fmt::format(" (y {} um/px)", number(*candidate.y));
      verdict.warnings.push_back(fmt::format("{}{}, outside of {} to {}: not believed",
                                             candidate.arithmetic,
                                             y,
                                             kSmallestMpp,
                                             kLargestMpp));
      continue;
    }
    verdict.mpp = (*candidate.x + *candidate.y) / 2.0;
    verdict.source = candidate.source;
    const double difference = std::abs(*candidate.x - *candidate.y) / *verdict.mpp;
    if (difference > kNotable) {
      verdict.warnings.push_back(fmt::format("{}: x {} and y {} um/px differ by {:.1f} %, {} used",
                                             candidate.source,
                                             number(*candidate.x),
                                             number(*candidate.y),
                                             100.0 * difference,
                                             number(*verdict.mpp)));
    }
    return;
  }
}

std::optional<double> expected_by_objective(const SlideInfo& info) {
  if (!info.objective_power || !(*info.objective_power > 0.0)) return std::nullopt;
  return 10.0 / *info.objective_power;
}

// "0.027 for an objective of 40: 10 / 40 = 0.25 expected"
std::string against_objective(double mpp, double power) {
  return fmt::format("{} um/px for an objective of {}: 10 / {} = {} expected",
                     number(mpp),
                     number(power),
                     number(power),
                     number(10.0 / power));
}

bool off_objective(double mpp, double expected) {
  return mpp > expected * kOffObjective || mpp * kOffObjective < expected;
}

}  // namespace

MppVerdict judge_mpp(const SlideInfo& info, std::optional<double> override_mpp) {
  if (override_mpp && !believable(*override_mpp)) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format(
            "mpp {}, expected {} to {} um/px", number(*override_mpp), kSmallestMpp, kLargestMpp));
  }
  MppVerdict verdict;
  judge_slide(info, verdict);
  const auto expected = expected_by_objective(info);
  if (override_mpp) {
    // What the slide says matters no more, but a large difference is worth a second look.
    MppVerdict taken{override_mpp, "override", {}};
    if (verdict.mpp && std::abs(*verdict.mpp - *override_mpp) > kNotable * *override_mpp) {
      taken.warnings.push_back(fmt::format("{} um/px was given, {} says {}",
                                           number(*override_mpp),
                                           verdict.source,
                                           number(*verdict.mpp)));
    }
    if (expected && off_objective(*override_mpp, *expected)) {
      taken.warnings.push_back(against_objective(*override_mpp, *info.objective_power));
    }
    return taken;
  }
  if (verdict.mpp && expected && off_objective(*verdict.mpp, *expected)) {
    verdict.warnings.push_back(verdict.source + " " +
                               against_objective(*verdict.mpp, *info.objective_power));
  }
  // A scale that was refused is worth the same comparison: 0.027 at 40x is a slip of the decimal.
  if (!verdict.mpp && info.mpp_x && *info.mpp_x > 0.0 && expected &&
      off_objective(*info.mpp_x, *expected)) {
    verdict.warnings.push_back(info.mpp_source + " " +
                               against_objective(*info.mpp_x, *info.objective_power));
  }
  if (!verdict.mpp) {
    verdict.warnings.push_back(
        expected ? fmt::format("no scale that can be used; the objective of {} would fit {} um/px",
                               number(*info.objective_power),
                               number(*expected))
                 : "no scale that can be used");
  }
  return verdict;
}

std::optional<int> magnification_bucket(double mpp) {
  if (!(mpp > 0.0)) return std::nullopt;
  constexpr std::array<std::pair<double, int>, 6> kBuckets = {
      {{0.16, 80}, {0.2, 60}, {0.3, 40}, {0.6, 20}, {1.2, 10}, {2.4, 5}}};
  for (const auto& [bound, magnification] : kBuckets) {
    if (mpp < bound) return magnification;
  }
  return std::nullopt;
}

}  // namespace med3d
