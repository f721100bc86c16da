#include "med3d/pipeline/survival_fold.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <set>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/fold.h"
#include "med3d/stats/estimate.h"
#include "med3d/stats/survival/concordance.h"
#include "med3d/tabular/split.h"

namespace med3d::pipeline {
namespace {

namespace ss = stats::survival;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// A model on one training side: fitted, or the reason why it could not be.
struct Attempt {
  std::shared_ptr<const SurvivalModel> model;
  std::string reason;
};
Attempt attempt(const SurvivalSpec& spec, const SurvivalRequest& request) {
  try {
    return {spec.fit(request), ""};
  } catch (const Error& error) {
    // Too few events are a fact about these rows; anything else is a fault and ends the run.
    if (error.kind() != ErrorKind::kData) throw;
    return {nullptr, error.what()};
  }
}

// Harrell's C above one half, on the rows that have a risk; 0 where it cannot be had.
double excess_concordance(const Cohort& cohort, const Rows& rows, const std::vector<double>& risk) {
  Rows known;
  std::vector<double> value;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (std::isnan(risk[i])) continue;
    known.push_back(rows[i]);
    value.push_back(risk[i]);
  }
  const auto c = ss::harrell_c_index(times_of(cohort, known), value).c_index;
  return c.ok() ? std::max(0.0, c.value - 0.5) : 0.0;
}

std::vector<double> thirds(std::vector<double> risk) {
  std::erase_if(risk, [](double r) { return std::isnan(r); });
  if (risk.size() < 3) return {};
  std::sort(risk.begin(), risk.end());
  return {stats::sorted_quantile(risk, 1.0 / 3.0), stats::sorted_quantile(risk, 2.0 / 3.0)};
}

Rows rows_where(const Rows& rows, const std::function<bool(std::size_t)>& wanted) {
  Rows out;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(out), wanted);
  return out;
}

// Where a patient was treated, as far as the identifier tells.
std::string site_of_patient(const Cohort& cohort, std::size_t row) {
  return cohort.site[row].empty() ? cohort.source[row]
                                  : cohort.source[row] + "-" + cohort.site[row];
}

std::map<std::string, Rows> by_site(const Cohort& cohort, const Rows& rows) {
  std::map<std::string, Rows> sites;
  for (const std::size_t row : rows) sites[site_of_patient(cohort, row)].push_back(row);
  if (sites.size() < 2) {
    throw Error(ErrorKind::kData,
                "[survival] designs: all training patients are of one site, expected two or more");
  }
  return sites;
}

SurvivalPiece leave_out(const std::string& set, int fold, const Rows& all, const Rows& held_out) {
  const std::set<std::size_t> out(held_out.begin(), held_out.end());
  return {
      set,
      0,
      fold,
      1.0,
      Partition(rows_where(all, [&](std::size_t row) { return out.count(row) == 0; }), held_out)};
}

}  // namespace

std::vector<double> survival_horizons(const RunSettings& settings) {
  std::set<double> horizons(settings.survival.horizons_months.begin(),
                            settings.survival.horizons_months.end());
  if (settings.cohort.endpoint.horizon_months > 0) {
    horizons.insert(settings.cohort.endpoint.horizon_months);
  }
  return {horizons.begin(), horizons.end()};
}

double main_horizon(const RunSettings& settings) {
  if (settings.cohort.endpoint.horizon_months > 0) return settings.cohort.endpoint.horizon_months;
  const auto& horizons = settings.survival.horizons_months;
  return horizons[std::min<std::size_t>(1, horizons.size() - 1)];
}

std::vector<double> risk_times(const RunSettings& settings) {
  const auto horizons = survival_horizons(settings);
  std::set<double> times(horizons.begin(), horizons.end());
  for (int step = 1; step <= 10; ++step) times.insert(horizons.back() * step / 10.0);
  return {times.begin(), times.end()};
}

std::string SurvivalPiece::file() const {
  std::string name;
  for (const char c : to_lower(set)) {
    name += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '-';
  }
  return fmt::format("survival-{}-r{:02}-f{:02}.json", name, repeat + 1, fold + 1);
}

std::vector<SurvivalPiece> plan_survival(const Cohort& cohort, const RunSettings& settings) {
  const auto& section = settings.survival;
  Rows train;
  Rows test;
  for (std::size_t row = 0; row < cohort.size(); ++row) {
    (cohort.split[row] == "test" ? test : train).push_back(row);
  }
  const auto has = [&](const char* design) {
    return std::find(section.designs.begin(), section.designs.end(), design) !=
           section.designs.end();
  };
  const auto seed = static_cast<std::uint64_t>(settings.run.seed);
  std::vector<SurvivalPiece> pieces;
  pieces.push_back({"test", 0, 0, 1.0, Partition(train, test)});

  if (has("cross-validation") || !section.learning_curve.empty()) {
    std::vector<std::uint8_t> event;
    std::vector<int> strata;
    const auto all_strata = source_strata(cohort, settings);
    for (const std::size_t row : train) {
      event.push_back(cohort.label[row]);
      if (!all_strata.empty()) strata.push_back(all_strata[row]);
    }
    const auto folds = tabular::repeated_stratified_folds(event,
                                                          strata,
                                                          settings.validation.folds,
                                                          settings.validation.repeats,
                                                          derive_seed(seed, "survival outer"));
    for (int repeat = 0; repeat < settings.validation.repeats; ++repeat) {
      for (int fold = 0; fold < settings.validation.folds; ++fold) {
        Rows training;
        Rows held_out;
        for (std::size_t i = 0; i < train.size(); ++i) {
          const bool out = folds[static_cast<std::size_t>(repeat)][i] == fold;
          (out ? held_out : training).push_back(train[i]);
        }
        if (has("cross-validation")) {
          pieces.push_back({"cross-validation", repeat, fold, 1.0, Partition(training, held_out)});
        }
        if (repeat > 0) continue;
        for (const double share : section.learning_curve) {
          // The same share of patients with and without the event, drawn from the training side.
          Rows part;
          for (const std::uint8_t cls : {0, 1}) {
            Rows members =
                rows_where(training, [&](std::size_t row) { return cohort.label[row] == cls; });
            NumpyRandom random(static_cast<std::uint32_t>(
                derive_seed(seed, "learning curve", {static_cast<std::uint64_t>(fold), cls})));
            random.shuffle(members);
            const auto n =
                static_cast<std::size_t>(std::lround(share * static_cast<double>(members.size())));
            part.insert(part.end(), members.begin(), members.begin() + static_cast<long>(n));
          }
          std::sort(part.begin(), part.end());
          pieces.push_back({fmt::format("learning curve {}", format_double(share)),
                            0,
                            fold,
                            share,
                            Partition(std::move(part), held_out)});
        }
      }
    }
  }
  if (has("source")) {
    std::map<std::string, Rows> sources;
    for (const std::size_t row : train) sources[cohort.source[row]].push_back(row);
    if (sources.size() < 2) {
      throw Error(ErrorKind::kData,
                  "[survival] designs: \"source\" needs patients of two sources, all training "
                  "patients are of one");
    }
    for (const auto& [source, rows] : sources) {
      std::string others;
      for (const auto& [other, unused] : sources) {
        if (other != source) others += (others.empty() ? "" : " and ") + other;
      }
      const Rows held_out =
          rows_where(train, [&](std::size_t row) { return cohort.source[row] != source; });
      pieces.push_back(
          {fmt::format("{} to {}", source, others), 0, 0, 1.0, Partition(rows, held_out)});
    }
  }
  if (has("site")) {
    Rows small;
    int fold = 0;
    for (const auto& [site, rows] : by_site(cohort, train)) {
      const bool alone = rows.size() >= static_cast<std::size_t>(section.min_site_patients);
      if (alone) {
        pieces.push_back(leave_out("leave-one-site-out", fold++, train, rows));
      } else {
        small.insert(small.end(), rows.begin(), rows.end());
      }
    }
    std::sort(small.begin(), small.end());
    if (!small.empty() && small.size() < train.size()) {
      pieces.push_back(leave_out("leave-one-site-out", fold, train, small));
    }
  }
  if (has("preserved-site")) {
    // Largest number of events first, each site to the fold that has fewest so far.
    std::vector<std::pair<long, Rows>> sites;
    for (auto& [site, rows] : by_site(cohort, train)) {
      const long events = std::count_if(
          rows.begin(), rows.end(), [&](std::size_t row) { return cohort.label[row] == 1; });
      sites.emplace_back(events, rows);
    }
    std::stable_sort(
        sites.begin(), sites.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    const std::size_t n_folds =
        std::min(sites.size(), static_cast<std::size_t>(settings.validation.folds));
    std::vector<Rows> folds(n_folds);
    std::vector<std::pair<long, std::size_t>> load(n_folds);
    for (const auto& [events, rows] : sites) {
      const auto lightest = std::min_element(load.begin(), load.end());
      auto& fold = folds[static_cast<std::size_t>(lightest - load.begin())];
      fold.insert(fold.end(), rows.begin(), rows.end());
      lightest->first += events;
      lightest->second += rows.size();
    }
    for (std::size_t fold = 0; fold < folds.size(); ++fold) {
      std::sort(folds[fold].begin(), folds[fold].end());
      pieces.push_back(
          leave_out("preserved-site folds", static_cast<int>(fold), train, folds[fold]));
    }
  }
  return pieces;
}

std::size_t survival_units(const RunSettings& settings, const std::vector<SurvivalSpec>& specs) {
  std::size_t units = 0;
  for (const auto& spec : specs) {
    units += spec.fit ? static_cast<std::size_t>(settings.validation.inner_folds) + 1 : 1;
  }
  return units;
}

FittedSurvivalFold fit_survival_fold(const Cohort& cohort,
                                     const RunSettings& settings,
                                     const std::vector<SurvivalSpec>& specs,
                                     const Partition& partition,
                                     std::uint64_t seed,
                                     Progress& progress) {
  const Rows& rows = partition.training().rows();
  const auto times = times_of(cohort, rows);
  const double horizon = main_horizon(settings);
  const std::vector<double> main = {horizon};
  const auto all_times = risk_times(settings);
  const auto inner = partition.inner_folds(cohort.label,
                                           source_strata(cohort, settings),
                                           settings.validation.inner_folds,
                                           derive_seed(seed, "inner"));
  std::map<std::size_t, std::size_t> position;
  for (std::size_t i = 0; i < rows.size(); ++i) position[rows[i]] = i;

  FittedSurvivalFold fit;
  SurvivalFold& result = fit.outcome;
  result.n_training = rows.size();
  result.events_training = static_cast<std::size_t>(times.n_events());
  result.held_out = partition.held_out();
  std::vector<ArmInputCache> inner_inputs(inner.size());
  ArmInputCache inputs;
  FittedSurvival& fitted = fit.models;
  auto& out_of_fold = fit.out_of_fold;
  const auto arms = survival_arm_ids(specs);

  for (const auto& spec : specs) {
    auto& outcome = result.models[spec.id];
    auto& oof = out_of_fold[spec.id];
    oof.assign(rows.size(), kNone);
    std::shared_ptr<const SurvivalModel> model;
    if (spec.fit) {
      const auto model_seed = derive_seed(seed, spec.id);
      for (std::size_t k = 0; k < inner.size(); ++k) {
        const auto part = attempt(spec,
                                  {cohort,
                                   settings,
                                   inner[k].training(),
                                   derive_seed(model_seed, "inner", {k}),
                                   &inner_inputs[k]});
        progress.advance();
        if (!part.model) continue;
        const auto risk = part.model->risk(cohort, inner[k].held_out(), main);
        for (std::size_t i = 0; i < risk.rows(); ++i) {
          oof[position.at(inner[k].held_out()[i])] = risk(i, 0);
        }
      }
      auto all = attempt(spec, {cohort, settings, partition.training(), model_seed, &inputs});
      model = std::move(all.model);
      outcome.not_fitted = std::move(all.reason);
    } else {
      Matrix<double> of_arm(rows.size(), arms.size(), kNone);
      std::vector<double> weights(arms.size(), 0.0);
      bool any = false;
      for (std::size_t k = 0; k < arms.size(); ++k) {
        if (!fitted.contains(arms[k])) continue;
        const auto& risk = out_of_fold.at(arms[k]);
        for (std::size_t i = 0; i < rows.size(); ++i) {
          of_arm(i, k) = risk[i];
          any = any || !std::isnan(risk[i]);
        }
        weights[k] = excess_concordance(cohort, rows, risk);
      }
      if (!any) {
        outcome.not_fitted = "no arm has out-of-fold risks";
      } else if (spec.id == "late_stacked") {
        try {
          auto stack = fit_late_stack(arms, of_arm, times, horizon, fitted);
          model = std::move(stack.model);
          oof = std::move(stack.oof_risk);
        } catch (const Error& error) {
          if (error.kind() != ErrorKind::kData) throw;
          outcome.not_fitted = error.what();
        }
      } else {
        if (std::all_of(weights.begin(), weights.end(), [](double w) { return w <= 0.0; })) {
          std::fill(weights.begin(), weights.end(), 1.0);
        }
        oof = combine_late(of_arm, weights);
        model = make_late_mean(arms, weights, fitted);
      }
    }
    progress.advance();
    outcome.risk = Matrix<double>(partition.held_out().size(), all_times.size(), kNone);
    if (!model) continue;
    fitted[spec.id] = model;
    outcome.cuts = thirds(oof);
    outcome.description = model->describe();
    if (!partition.held_out().empty()) {
      outcome.risk = model->risk(cohort, partition.held_out(), all_times);
    }
  }
  return fit;
}

Json SurvivalFold::to_json() const {
  Json json = {{"n_training", n_training}, {"events_training", events_training}};
  json["held_out"] = held_out;
  for (const auto& [id, model] : models) {
    Json entry = {{"cuts", model.cuts}, {"description", model.description}};
    if (!model.not_fitted.empty()) entry["not_fitted"] = model.not_fitted;
    entry["risk"] = Json::array();
    for (std::size_t i = 0; i < model.risk.rows(); ++i) {
      const auto row = model.risk.row(i);
      const bool known = row.empty() || !std::isnan(row.front());
      entry["risk"].push_back(known ? Json(std::vector<double>(row.begin(), row.end()))
                                    : Json(nullptr));
    }
    json["models"][id] = std::move(entry);
  }
  return json;
}

SurvivalFold SurvivalFold::from_json(const Json& json) {
  SurvivalFold fold;
  fold.n_training = json.at("n_training").get<std::size_t>();
  fold.events_training = json.at("events_training").get<std::size_t>();
  fold.held_out = json.at("held_out").get<Rows>();
  for (const auto& [id, entry] : json.at("models").items()) {
    SurvivalOutcome model;
    model.cuts = entry.at("cuts").get<std::vector<double>>();
    model.description = entry.at("description");
    model.not_fitted = entry.value("not_fitted", "");
    const auto& risk = entry.at("risk");
    if (risk.size() != fold.held_out.size()) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("model '{}': {} rows of risks for {} patients",
                              id,
                              risk.size(),
                              fold.held_out.size()));
    }
    std::size_t width = 0;
    for (const auto& row : risk) width = std::max(width, row.is_null() ? 0 : row.size());
    model.risk = Matrix<double>(risk.size(), width, kNone);
    for (std::size_t i = 0; i < risk.size(); ++i) {
      if (risk[i].is_null()) continue;
      if (risk[i].size() != width) {
        throw Error(ErrorKind::kFormat, fmt::format("model '{}': rows of unequal length", id));
      }
      for (std::size_t h = 0; h < width; ++h) model.risk(i, h) = risk[i][h].get<double>();
    }
    fold.models[id] = std::move(model);
  }
  return fold;
}

}  // namespace med3d::pipeline
