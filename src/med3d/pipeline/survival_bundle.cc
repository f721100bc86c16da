#include "med3d/pipeline/survival_bundle.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/limits.h"
#include "med3d/pipeline/bundle_fields_internal.h"
#include "med3d/pipeline/evaluation.h"
#include "med3d/pipeline/version.h"
#include "med3d/stats/survival/kaplan_meier.h"

namespace med3d::pipeline {
namespace {

namespace ss = stats::survival;

constexpr std::size_t kMostRisks = 1000;    // a rank to a tenth of a percent is fine enough
constexpr std::size_t kFewestInGroup = 10;  // of whom a curve is worth its interval

// Rising, every value or `kMostRisks` even steps through them.
std::vector<double> thinned(std::vector<double> risk) {
  std::erase_if(risk, [](double r) { return std::isnan(r); });
  std::sort(risk.begin(), risk.end());
  if (risk.size() <= kMostRisks) return risk;
  std::vector<double> out;
  for (std::size_t k = 0; k < kMostRisks; ++k) {
    out.push_back(
        stats::sorted_quantile(risk, static_cast<double>(k) / static_cast<double>(kMostRisks - 1)));
  }
  return out;
}

RiskGroup follow_up_of(const Cohort& cohort, const Rows& rows, std::span<const double> horizons) {
  RiskGroup group;
  const auto times = times_of(cohort, rows);
  group.n = times.size();
  group.events = static_cast<std::size_t>(times.n_events());
  ss::CurveOptions options;
  options.scale = ss::IntervalScale::kLogLog;
  const auto curve = ss::kaplan_meier(times, options);
  for (const double horizon : horizons) {
    group.survival.push_back(
        group.n < kFewestInGroup
            ? stats::Estimate::none(
                  fmt::format("{} training patients of this risk group: at least {} are needed",
                              group.n,
                              kFewestInGroup))
            : curve.at(horizon));
  }
  return group;
}

Json to_json(const RiskGroup& group) {
  Json survival = Json::array();
  for (const auto& estimate : group.survival) survival.push_back(pipeline::to_json(estimate));
  return {{"n", group.n}, {"events", group.events}, {"survival", survival}};
}

double share_of(const Json& json, const char* key) {
  if (json.at(key).is_null()) return std::numeric_limits<double>::quiet_NaN();
  const auto value = json.at(key).get<double>();
  if (!(value >= 0.0 && value <= 1.0)) {
    throw Error(ErrorKind::kFormat, fmt::format("'{}' is no share from 0 to 1", key));
  }
  return value;
}

stats::Estimate share_estimate(const Json& json) {
  if (json.contains("not_estimable")) {
    return stats::Estimate::none(json.at("not_estimable").get<std::string>());
  }
  return stats::Estimate::of(
      share_of(json, "value"), share_of(json, "low"), share_of(json, "high"));
}

RiskGroup group_of(const Json& json, std::size_t horizons) {
  RiskGroup group;
  group.n = json.at("n").get<std::size_t>();
  group.events = json.at("events").get<std::size_t>();
  for (const auto& one : json.at("survival").get<std::vector<Json>>()) {
    group.survival.push_back(share_estimate(one));
  }
  if (group.survival.size() != horizons) {
    throw Error(
        ErrorKind::kFormat,
        fmt::format(
            "'survival' holds {} estimates for {} horizons", group.survival.size(), horizons));
  }
  return group;
}

bool rises(const std::vector<double>& values, double low, double high) {
  return std::is_sorted(values.begin(), values.end()) &&
         (values.empty() || (values.front() >= low && values.back() <= high));
}

SavedSurvival saved_of(const Json& entry, std::size_t horizons) {
  SavedSurvival saved;
  saved.id = field<std::string>(entry, "id");
  saved.label = field<std::string>(entry, "label");
  saved.family = field<std::string>(entry, "family");
  saved.modalities = field<std::vector<std::string>>(entry, "modalities");
  saved.risks = field<std::vector<double>>(entry, "risks");
  saved.cuts = field<std::vector<double>>(entry, "cuts");
  for (const auto& group : field<std::vector<Json>>(entry, "groups")) {
    saved.groups.push_back(group_of(group, horizons));
  }
  if (!rises(saved.risks, 0.0, 1.0)) {
    throw Error(ErrorKind::kFormat, "'risks' are no rising probabilities");
  }
  const bool fit = saved.cuts.empty() ? saved.groups.empty()
                                      : saved.cuts.size() == 2 && saved.groups.size() == 3;
  if (!fit || !rises(saved.cuts, 0.0, 1.0)) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{} 'cuts' and {} 'groups', expected 2 that rise and 3, or none",
                            saved.cuts.size(),
                            saved.groups.size()));
  }
  return saved;
}

}  // namespace

double SavedSurvival::percentile(double risk) const {
  if (std::isnan(risk) || risks.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto [first, last] = std::equal_range(risks.begin(), risks.end(), risk);
  const auto lower = static_cast<double>(first - risks.begin());
  const auto equal = static_cast<double>(last - first);
  return 100.0 * (lower + equal / 2.0) / static_cast<double>(risks.size());
}

int SavedSurvival::group(double risk) const {
  if (std::isnan(risk) || cuts.empty()) return -1;
  return risk <= cuts[0] ? 0 : risk <= cuts[1] ? 1 : 2;
}

void write_survival_bundle(const std::filesystem::path& folder,
                           const Cohort& cohort,
                           const RunSettings& settings,
                           const std::vector<SurvivalSpec>& specs,
                           const FittedSurvivalFold& fit,
                           const Rows& training) {
  const auto horizons = survival_horizons(settings);
  const auto known = cohort.modality_names();
  SurvivalArchive archive;
  Json entries = Json::array();
  for (const auto& spec : specs) {
    const auto found = fit.models.find(spec.id);
    if (found == fit.models.end()) continue;
    SavedSurvival saved;
    saved.cuts = fit.outcome.models.at(spec.id).cuts;
    const auto& risk = fit.out_of_fold.at(spec.id);
    std::vector<Rows> members(3);
    for (std::size_t i = 0; i < training.size(); ++i) {
      const int group = saved.group(risk[i]);
      if (group >= 0) members[static_cast<std::size_t>(group)].push_back(training[i]);
    }
    Json groups = Json::array();
    for (const auto& rows : members) {
      if (!saved.cuts.empty()) groups.push_back(to_json(follow_up_of(cohort, rows, horizons)));
    }
    std::vector<std::string> modalities;
    for (const auto& arm : spec.arms) {
      for (const auto& name : modalities_of_arm(arm)) {
        if (std::find(known.begin(), known.end(), name) != known.end()) modalities.push_back(name);
      }
    }
    entries.push_back({{"id", spec.id},
                       {"label", spec.label},
                       {"family", spec.family},
                       {"modalities", modalities},
                       {"cuts", saved.cuts},
                       {"groups", groups},
                       {"risks", thinned(risk)},
                       {"model", found->second->save(spec.id, archive)}});
  }
  const std::string bytes = archive.arrays.safetensors();
  Json document = {
      {"format", kBundleFormat},
      {"program", "med3d " + version()},
      {"cohort",
       {{"name", cohort.name}, {"sha256", cohort.sha256}, {"synthetic", cohort.synthetic}}},
      {"endpoint",
       {{"name", cohort.endpoint.name},
        {"description", cohort.endpoint.description},
        {"time_column", cohort.endpoint.time_column},
        {"event_column", cohort.endpoint.event_column},
        {"competing_column", cohort.endpoint.competing_column},
        {"horizons_months", horizons},
        {"main_horizon_months", main_horizon(settings)},
        {"is_recurrence", cohort.endpoint.is_recurrence}}},
      {"n_training", fit.outcome.n_training},
      {"events_training", fit.outcome.events_training}};
  describe_inputs(cohort, document);
  document["arrays"] = {{"file", "survival.safetensors"}, {"sha256", sha256_hex(bytes)}};
  document["inputs"] = archive.inputs;
  document["models"] = entries;
  std::filesystem::remove(folder / "evidence.json");  // what it was about is no more
  write_file_atomic(folder / "survival.safetensors", bytes);
  write_json(folder / "survival.json", document);
}

SurvivalBundle read_survival_bundle(const std::filesystem::path& folder) {
  const auto path = folder / "survival.json";
  SurvivalBundle bundle;
  try {
    const Json json = parse_json(read_file(path, limits().json_header_bytes), path.string());
    require_bundle_format(json);
    SurvivalArchive archive;
    archive.arrays = read_bundle_arrays(folder / "survival.safetensors", json);
    archive.inputs = object_of(json, "inputs");
    load_arm_inputs(archive);
    const auto& endpoint = object_of(json, "endpoint");
    bundle.endpoint = field<std::string>(endpoint, "name");
    bundle.horizons_months = field<std::vector<double>>(endpoint, "horizons_months");
    bundle.main_horizon_months = field<double>(endpoint, "main_horizon_months");
    if (bundle.horizons_months.empty() || !(bundle.horizons_months.front() > 0.0) ||
        !std::is_sorted(
            bundle.horizons_months.begin(), bundle.horizons_months.end(), std::less_equal<>()) ||
        !(bundle.main_horizon_months > 0.0)) {
      throw Error(ErrorKind::kFormat,
                  "'horizons_months' and 'main_horizon_months': expected times above 0 that rise");
    }
    bundle.synthetic = field<bool>(object_of(json, "cohort"), "synthetic");
    const auto inputs = read_inputs(json);
    bundle.modalities = inputs.modalities;
    bundle.columns = inputs.columns;
    bundle.missing_values = inputs.missing_values;
    bundle.widths = inputs.widths;
    for (const auto& entry : field<std::vector<Json>>(json, "models")) {
      auto saved = saved_of(entry, bundle.horizons_months.size());
      if (bundle.models.contains(saved.id)) {
        throw Error(ErrorKind::kFormat, fmt::format("two models are called '{}'", saved.id));
      }
      try {
        bundle.models[saved.id] = load_survival_model(entry.at("model"), archive, bundle.models);
      } catch (const Error&) {
        rethrow_with_context(fmt::format("model '{}'", saved.id));
      }
      bundle.saved.push_back(std::move(saved));
    }
  } catch (const Json::exception& error) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: not a model bundle: {}", path.string(), error.what()));
  } catch (const Error&) {
    rethrow_with_context(folder.string());
  }
  return bundle;
}

}  // namespace med3d::pipeline
