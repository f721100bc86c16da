#include "med3d/pipeline/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "med3d/core/case_id.h"
#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/pipeline/evaluation.h"
#include "med3d/stats/delong.h"
#include "med3d/stats/intervals.h"
#include "med3d/stats/survival/concordance.h"
#include "med3d/stats/survival/ipcw_metrics.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
namespace ss = stats::survival;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr double kDaysPerMonth = 365.25 / 12.0;
constexpr double kSameMonths = 0.1;

// What a source says of one patient; NaN and -1: nothing.
struct Outcome {
  int label = -1;
  double time_months = kNone;
  int event = -1;
};

struct Predictor {
  ComparedPredictor about;
  std::map<std::string, double> value;  // by normalised id
};

struct Source {
  std::vector<Predictor> predictors;
  std::map<std::string, Outcome> outcome;
};

std::string plain(std::string_view name) {
  std::string out;
  for (const char c : to_lower(trim(name))) {
    out.push_back(c == ' ' || c == '-' || c == '.' ? '_' : c);
  }
  return out;
}

// The first of `names` that is a column.
std::optional<std::size_t> find_column(const Table& table, const std::vector<std::string>& names) {
  for (const auto& name : names) {
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      if (plain(table.columns[c]) == name) return c;
    }
  }
  return std::nullopt;
}

double number_cell(const Table& table, std::size_t row, std::size_t column) {
  const std::string& cell = table.rows[row][column];
  if (trim(cell).empty() || is_missing_cell(cell)) return kNone;
  const auto value = parse_double(cell);
  if (!value || !std::isfinite(*value)) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: line {}, column '{}': expected a number",
                            table.source,
                            table.line_of_row[row],
                            table.columns[column]));
  }
  return *value;
}

int flag_cell(const Table& table, std::size_t row, std::size_t column) {
  const double value = number_cell(table, row, column);
  if (std::isnan(value)) return -1;
  if (value != 0.0 && value != 1.0) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: line {}, column '{}': {}, expected 0 or 1",
                            table.source,
                            table.line_of_row[row],
                            table.columns[column],
                            format_double(value)));
  }
  return static_cast<int>(value);
}

std::string id_of(const Table& table, std::size_t row, std::size_t column) {
  const std::string id = normalised_case_id(table.rows[row][column]);
  if (id.empty()) {
    throw Error(
        ErrorKind::kData,
        fmt::format("{}: line {}: a row without an id", table.source, table.line_of_row[row]));
  }
  return id;
}

void add_value(Predictor& predictor,
               const Table& table,
               std::size_t row,
               const std::string& id,
               double value) {
  if (!predictor.value.emplace(id, value).second) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: line {}: a second row of one patient for '{}'",
                            table.source,
                            table.line_of_row[row],
                            predictor.about.name));
  }
}

// False where both say something else.
bool merge(Outcome& into, const Outcome& from) {
  if (from.label >= 0) {
    if (into.label >= 0 && into.label != from.label) return false;
    into.label = from.label;
  }
  if (from.event >= 0 && !std::isnan(from.time_months)) {
    if (into.event >= 0 &&
        (into.event != from.event || std::abs(into.time_months - from.time_months) > kSameMonths)) {
      return false;
    }
    if (into.event < 0) {
      into.event = from.event;
      into.time_months = from.time_months;
    }
  }
  return true;
}

void merge_row(Source& source,
               const Table& table,
               std::size_t row,
               const std::string& id,
               const Outcome& outcome) {
  if (!merge(source.outcome[id], outcome)) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: line {}: another outcome than an earlier row of the same patient",
                            table.source,
                            table.line_of_row[row]));
  }
}

Predictor& predictor_named(Source& source, const std::string& name, const fs::path& path) {
  for (auto& predictor : source.predictors) {
    if (predictor.about.name == name) return predictor;
  }
  source.predictors.emplace_back();
  source.predictors.back().about.name = name;
  source.predictors.back().about.source = path.string();
  return source.predictors.back();
}

Source read_file_source(const fs::path& path, const CompareOptions& options) {
  const Table table = read_table(path);
  const auto id = find_column(
      table, {"case_id", "patient", "patient_id", "id", "case", "subject", "subject_id"});
  const auto probability = find_column(table, {"probability", "prob", "risk_probability"});
  const auto risk = find_column(table, {"risk", "risk_score", "score", "hazard"});
  const auto model = find_column(table, {"model"});
  const auto label = find_column(table, {"label"});
  const auto months = find_column(table, {"time_months", "months"});
  const auto days = find_column(table, {"time_days", "days"});
  const auto event = find_column(table, {"event"});
  if (!id || (!probability && !risk)) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: expected a column case_id and one of probability and risk, "
                            "found {}",
                            table.source,
                            join(table.columns, ", ")));
  }
  const std::size_t value_column = probability ? *probability : *risk;
  Source source;
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    const std::string of = id_of(table, row, *id);
    Outcome outcome;
    if (label) outcome.label = flag_cell(table, row, *label);
    if (event) outcome.event = flag_cell(table, row, *event);
    if (months) outcome.time_months = number_cell(table, row, *months);
    if (!months && days) outcome.time_months = number_cell(table, row, *days) / kDaysPerMonth;
    if (outcome.time_months < 0.0) {
      throw Error(
          ErrorKind::kData,
          fmt::format("{}: line {}: a negative time", table.source, table.line_of_row[row]));
    }
    merge_row(source, table, row, of, outcome);
    const std::string stem = path.stem().string();
    const std::string of_model = model ? table.rows[row][*model] : "";
    if (model && !options.models.empty() &&
        std::find(options.models.begin(), options.models.end(), of_model) == options.models.end()) {
      continue;
    }
    Predictor& predictor = predictor_named(source, model ? stem + ": " + of_model : stem, path);
    predictor.about.probabilities = probability.has_value();
    const double value = number_cell(table, row, value_column);
    if (probability && (value < 0.0 || value > 1.0)) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: line {}, column '{}': {}, expected 0 to 1",
                              table.source,
                              table.line_of_row[row],
                              table.columns[value_column],
                              format_double(value)));
    }
    if (!std::isnan(value)) add_value(predictor, table, row, of, value);
  }
  return source;
}

// The best arm, fusion and baseline as the run found them by cross-validation.
std::vector<std::string> best_models(const fs::path& folder, bool survival) {
  const Json report = read_json(folder / "report.json");
  const Json* best = nullptr;
  if (survival && report.contains("survival") && report.at("survival").contains("best")) {
    best = &report.at("survival").at("best");
  } else if (!survival && report.contains("best")) {
    best = &report.at("best");
  }
  std::vector<std::string> out;
  for (const char* family : {"arm", "fusion", "baseline"}) {
    if (best == nullptr || !best->is_object() || !best->contains(family)) continue;
    const std::string id = best->at(family).is_string() ? best->at(family).get<std::string>() : "";
    if (!id.empty()) out.push_back(id);
  }
  return out;
}

Source read_run_source(const fs::path& folder,
                       const CompareOptions& options,
                       const std::string& set,
                       double horizon) {
  const bool survival = options.task == "survival";
  const fs::path file = folder / (survival ? "survival_predictions.csv" : "predictions.csv");
  const Table table = read_table(file);
  const std::string risk_name = "risk_" + format_double(horizon);
  const std::size_t id = table.column("case_id");
  const std::size_t set_column = table.column("set");
  const std::size_t model = table.column("model");
  const std::size_t value = table.column(survival ? risk_name : "probability");
  std::vector<std::string> wanted = options.models;
  if (wanted.empty()) wanted = best_models(folder, survival);
  std::set<std::string> there;
  for (const auto& row : table.rows) there.insert(row[model]);
  for (const auto& name : wanted) {
    if (there.contains(name)) continue;
    const std::vector<std::string> names(there.begin(), there.end());
    throw Error(ErrorKind::kNotFound,
                fmt::format("{}: no model '{}'{}; there are {}",
                            table.source,
                            name,
                            did_you_mean(name, names),
                            join(names, ", ")));
  }
  Source source;
  std::string run = folder.filename().string();
  if (run.empty()) run = folder.parent_path().filename().string();
  for (const auto& name : wanted) {
    (void)predictor_named(source, run + ": " + name, folder).about;
    source.predictors.back().about.probabilities = true;
  }
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    const auto& cells = table.rows[row];
    if (cells[set_column] != set) continue;
    const std::string of = id_of(table, row, id);
    Outcome outcome;
    if (survival) {
      outcome.time_months = number_cell(table, row, table.column("time_months"));
      outcome.event = cells[table.column("outcome")] == "event" ? 1 : 0;
    } else {
      outcome.label = flag_cell(table, row, table.column("label"));
    }
    merge_row(source, table, row, of, outcome);
    if (std::find(wanted.begin(), wanted.end(), cells[model]) == wanted.end()) continue;
    const double predicted = number_cell(table, row, value);
    if (std::isnan(predicted)) continue;
    add_value(
        predictor_named(source, run + ": " + cells[model], folder), table, row, of, predicted);
  }
  return source;
}

bool is_run(const fs::path& path) { return fs::is_directory(path); }

std::set<std::string> sets_of(const fs::path& folder, bool survival) {
  const Table table =
      read_table(folder / (survival ? "survival_predictions.csv" : "predictions.csv"));
  const std::size_t column = table.column("set");
  std::set<std::string> out;
  for (const auto& row : table.rows) out.insert(row[column]);
  return out;
}

std::string task_of(const std::vector<fs::path>& sources) {
  bool survival = true;
  bool runs = false;
  for (const auto& path : sources) {
    if (!is_run(path)) continue;
    runs = true;
    survival = survival && fs::exists(path / "survival_predictions.csv");
  }
  if (runs) return survival ? "survival" : "classes";
  bool times = false;
  for (const auto& path : sources) {
    const Table table = read_table(path);
    if (find_column(table, {"label"})) return "classes";
    times = times || find_column(table, {"event"});
  }
  return times ? "survival" : "classes";
}

double horizon_of(const std::vector<fs::path>& sources) {
  for (const auto& path : sources) {
    if (!is_run(path)) continue;
    const Json report = read_json(path / "report.json");
    if (!report.contains("survival")) continue;
    const Json& endpoint = report.at("survival").at("endpoint");
    if (endpoint.contains("main_horizon_months") &&
        endpoint.at("main_horizon_months").is_number()) {
      return endpoint.at("main_horizon_months").get<double>();
    }
  }
  return 0.0;
}

std::string set_of(const std::vector<fs::path>& sources, const CompareOptions& options) {
  const bool survival = options.task == "survival";
  bool runs = false;
  bool test = true;
  for (const auto& path : sources) {
    if (!is_run(path)) continue;
    runs = true;
    const auto sets = sets_of(path, survival);
    test = test && sets.contains("test");
    if (options.set != "auto" && !sets.contains(options.set)) {
      throw Error(ErrorKind::kNotFound,
                  fmt::format("{}: no set '{}'; there are {}",
                              path.string(),
                              options.set,
                              join(std::vector<std::string>(sets.begin(), sets.end()), ", ")));
    }
  }
  if (!runs) return "";
  if (options.set != "auto") return options.set;
  return test ? "test" : "cross-validation";
}

// The common patients, in ascending order of id.
struct Common {
  std::vector<std::uint8_t> label;  // class, or event
  ss::SurvivalTimes times;
  Matrix<double> value;  // (predictors, patients)
};

double brier(std::span<const std::size_t> rows,
             const std::vector<std::uint8_t>& label,
             std::span<const double> value) {
  double sum = 0.0;
  for (const std::size_t i : rows) sum += (value[i] - label[i]) * (value[i] - label[i]);
  return rows.empty() ? kNone : sum / static_cast<double>(rows.size());
}

double brier_at(std::span<const std::size_t> rows,
                const ss::SurvivalTimes& times,
                std::span<const double> value,
                double horizon) {
  Matrix<double> risk(rows.size(), 1);
  for (std::size_t i = 0; i < rows.size(); ++i) risk(i, 0) = value[rows[i]];
  const std::vector<double> horizons = {horizon};
  const auto score = ss::brier_scores(times.take(rows), risk, horizons).at.front().value;
  return score.ok() ? score.value : kNone;
}

std::string metric_label(const std::string& metric, double horizon) {
  if (metric == "auroc") return "AUROC";
  if (metric == "c_index") return "C-index";
  return horizon > 0.0 ? fmt::format("Brier score at {} months", format_double(horizon))
                       : "Brier score";
}

std::string shown(const stats::Estimate& e) {
  if (!e.ok()) return "not estimable: " + e.not_estimable;
  if (!e.has_interval()) return fmt::format("{:.3f}", e.value);
  return fmt::format("{:.3f} ({:.3f} to {:.3f})", e.value, e.low, e.high);
}

std::string p_text(double p) {
  if (std::isnan(p)) return "-";
  return p < 0.001 ? "<0.001" : fmt::format("{:.3f}", p);
}

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

}  // namespace

void CompareOptions::validate() const {
  const auto refuse = [](const std::string& what) { throw Error(ErrorKind::kUsage, what); };
  if (task != "auto" && task != "classes" && task != "survival") {
    refuse(fmt::format("task: '{}', expected auto, classes or survival", task));
  }
  if (!(horizon_months >= 0.0) || !std::isfinite(horizon_months)) {
    refuse("horizon_months: expected 0 or more");
  }
  if (bootstrap < 100 || bootstrap > 100'000) refuse("bootstrap: expected 100 to 100000");
  stats::require_confidence(confidence);
}

Comparison compare_predictions(const std::vector<fs::path>& sources, const CompareOptions& given) {
  given.validate();
  CompareOptions options = given;
  for (const auto& path : sources) {
    if (!fs::exists(path)) {
      throw Error(ErrorKind::kNotFound, fmt::format("{}: no such run or file", path.string()));
    }
  }
  if (options.task == "auto") options.task = task_of(sources);
  const bool survival = options.task == "survival";
  Comparison out;
  out.task = options.task;
  out.set = set_of(sources, options);
  out.horizon_months = !survival                      ? 0.0
                       : options.horizon_months > 0.0 ? options.horizon_months
                                                      : horizon_of(sources);

  std::vector<Predictor> predictors;
  std::map<std::string, Outcome> truth;
  for (const auto& path : sources) {
    Source source = is_run(path) ? read_run_source(path, options, out.set, out.horizon_months)
                                 : read_file_source(path, options);
    std::size_t disagree = 0;
    for (const auto& [id, outcome] : source.outcome) {
      if (!merge(truth[id], outcome)) ++disagree;
    }
    if (disagree > 0) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: {} patients have another outcome than in an earlier source: "
                              "another endpoint, horizon or unit of time?",
                              path.string(),
                              disagree));
    }
    for (auto& predictor : source.predictors) {
      // Two runs may have one folder name.
      const std::string name = predictor.about.name;
      for (int k = 2;
           std::any_of(predictors.begin(),
                       predictors.end(),
                       [&](const auto& p) { return p.about.name == predictor.about.name; });
           ++k) {
        predictor.about.name = fmt::format("{} #{}", name, k);
      }
      predictors.push_back(std::move(predictor));
    }
  }
  if (predictors.size() < 2) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} predictor found, a comparison needs two", predictors.size()));
  }
  std::size_t reference = 0;
  if (!options.reference.empty()) {
    std::vector<std::string> names;
    for (const auto& p : predictors) names.push_back(p.about.name);
    const auto found = std::find(names.begin(), names.end(), options.reference);
    if (found == names.end()) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("reference: no predictor '{}'{}; there are {}",
                              options.reference,
                              did_you_mean(options.reference, names),
                              join(names, ", ")));
    }
    reference = static_cast<std::size_t>(found - names.begin());
  }

  // Whom all answered, and whose outcome is known.
  std::vector<std::string> ids;
  for (const auto& [id, value] : predictors.front().value) {
    const bool all = std::all_of(predictors.begin(), predictors.end(), [&id = id](const auto& p) {
      return p.value.contains(id);
    });
    if (!all) continue;
    const Outcome& outcome = truth[id];
    const bool known =
        survival ? outcome.event >= 0 && !std::isnan(outcome.time_months) : outcome.label >= 0;
    if (known) {
      ids.push_back(id);
    } else {
      ++out.without_outcome;
    }
  }
  if (ids.empty()) {
    throw Error(ErrorKind::kData,
                fmt::format("no patient is answered by all {} predictors with a known outcome "
                            "({} without one)",
                            predictors.size(),
                            out.without_outcome));
  }
  Common common;
  common.value = Matrix<double>(predictors.size(), ids.size());
  std::vector<double> time;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const Outcome& outcome = truth[ids[i]];
    common.label.push_back(static_cast<std::uint8_t>(survival ? outcome.event : outcome.label));
    time.push_back(outcome.time_months);
    for (std::size_t k = 0; k < predictors.size(); ++k) {
      common.value(k, i) = predictors[k].value.at(ids[i]);
    }
  }
  if (survival) common.times = ss::SurvivalTimes(time, common.label);
  out.n = ids.size();
  out.events = static_cast<std::size_t>(std::count(common.label.begin(), common.label.end(), 1));

  const auto bootstrap_options = [&](const std::string& what) {
    stats::BootstrapOptions boot;
    boot.repeats = options.bootstrap;
    boot.seed = derive_seed(options.seed, "compare/" + what);
    boot.threads = options.threads;
    boot.confidence = options.confidence;
    return boot;
  };
  const bool with_brier = !survival || out.horizon_months > 0.0;
  const auto brier_of = [&](std::size_t k, std::span<const std::size_t> rows) {
    return survival ? brier_at(rows, common.times, common.value.row(k), out.horizon_months)
                    : brier(rows, common.label, common.value.row(k));
  };
  const auto only_ranks = stats::Estimate::none("a risk that only ranks has no Brier score");
  for (std::size_t k = 0; k < predictors.size(); ++k) {
    auto& about = predictors[k].about;
    about.patients = predictors[k].value.size();
    about.not_common = about.patients - out.n;
    const auto value = common.value.row(k);
    if (survival) {
      about.metrics.emplace_back(
          "c_index", ss::harrell_c_index(common.times, value, options.confidence).c_index);
    } else {
      about.metrics.emplace_back(
          "auroc", stats::auroc_delong(common.label, value, options.confidence).auroc);
    }
    if (with_brier) {
      about.metrics.emplace_back(
          "brier",
          about.probabilities
              ? stats::bootstrap(
                    out.n,
                    1,
                    [&](std::span<const std::size_t> rows, std::span<double> result) {
                      result[0] = brier_of(k, rows);
                    },
                    bootstrap_options("brier/" + std::to_string(k)))
                    .estimate.front()
              : only_ranks);
    }
  }
  std::vector<std::string> metrics = {survival ? "c_index" : "auroc"};
  if (with_brier) metrics.emplace_back("brier");
  for (const auto& metric : metrics) {
    const std::size_t begin = out.pairs.size();
    for (std::size_t k = 0; k < predictors.size(); ++k) {
      if (k == reference) continue;
      ComparedPair pair;
      pair.metric = metric;
      pair.first = predictors[k].about.name;
      pair.second = predictors[reference].about.name;
      pair.test = metric == "auroc" ? "DeLong" : "paired bootstrap";
      const auto boot = bootstrap_options(fmt::format("{}/{}/{}", metric, k, reference));
      if (metric == "auroc") {
        const auto d = stats::auroc_difference(
            common.label, common.value.row(k), common.value.row(reference), options.confidence);
        pair.difference = d.difference;
        pair.p = d.p;
      } else if (metric == "c_index") {
        const auto d = ss::c_index_difference_bootstrap(
            common.times, common.value.row(k), common.value.row(reference), boot);
        pair.difference = d.difference;
        pair.p = d.p;
      } else if (!predictors[k].about.probabilities || !predictors[reference].about.probabilities) {
        pair.difference = only_ranks;
      } else {
        const auto d = stats::paired_bootstrap(
            out.n,
            [&](std::span<const std::size_t> rows) { return brier_of(k, rows); },
            [&](std::span<const std::size_t> rows) { return brier_of(reference, rows); },
            boot);
        pair.difference = d.difference;
        pair.p = d.p;
      }
      if (!pair.difference.ok()) pair.p = kNone;
      out.pairs.push_back(std::move(pair));
    }
    std::vector<double> p;
    std::vector<std::size_t> tested;
    for (std::size_t i = begin; i < out.pairs.size(); ++i) {
      if (std::isnan(out.pairs[i].p)) continue;
      p.push_back(out.pairs[i].p);
      tested.push_back(i);
    }
    const auto adjusted = stats::holm(p);
    for (std::size_t i = 0; i < tested.size(); ++i) out.pairs[tested[i]].p_adjusted = adjusted[i];
  }
  for (auto& predictor : predictors) out.predictors.push_back(std::move(predictor.about));
  return out;
}

Json comparison_json(const Comparison& comparison) {
  Json out = {{"task", comparison.task},
              {"set", comparison.set},
              {"horizon_months",
               comparison.horizon_months > 0.0 ? Json(comparison.horizon_months) : Json(nullptr)},
              {"n", comparison.n},
              {"events", comparison.events},
              {"without_outcome", comparison.without_outcome},
              {"predictors", Json::array()},
              {"comparisons", Json::array()}};
  for (const auto& predictor : comparison.predictors) {
    Json metrics = Json::object();
    for (const auto& [name, estimate] : predictor.metrics) metrics[name] = to_json(estimate);
    out["predictors"].push_back({{"name", predictor.name},
                                 {"source", predictor.source},
                                 {"patients", predictor.patients},
                                 {"not_common", predictor.not_common},
                                 {"probabilities", predictor.probabilities},
                                 {"metrics", metrics}});
  }
  for (const auto& pair : comparison.pairs) {
    out["comparisons"].push_back({{"metric", pair.metric},
                                  {"a", pair.first},
                                  {"b", pair.second},
                                  {"test", pair.test},
                                  {"n", comparison.n},
                                  {"difference", to_json(pair.difference)},
                                  {"p", number(pair.p)},
                                  {"p_adjusted", number(pair.p_adjusted)}});
  }
  return out;
}

std::string comparison_csv(const Comparison& comparison) {
  CsvWriter csv({"metric",
                 "first",
                 "second",
                 "test",
                 "n",
                 "events",
                 "difference",
                 "low",
                 "high",
                 "p",
                 "p_adjusted",
                 "not_estimable"});
  const auto cell = [&](double value) {
    if (std::isfinite(value)) {
      csv.number(value);
    } else {
      csv.missing();
    }
  };
  for (const auto& pair : comparison.pairs) {
    csv.text(pair.metric)
        .text(pair.first)
        .text(pair.second)
        .text(pair.test)
        .number(comparison.n)
        .number(comparison.events);
    cell(pair.difference.value);
    cell(pair.difference.low);
    cell(pair.difference.high);
    cell(pair.p);
    cell(pair.p_adjusted);
    csv.text(pair.difference.not_estimable).end_row();
  }
  return csv.str();
}

std::string comparison_text(const Comparison& comparison) {
  const bool survival = comparison.task == "survival";
  std::string out = fmt::format("{} patients in common{}, {} {}\n",
                                comparison.n,
                                comparison.set.empty() ? "" : " (" + comparison.set + ")",
                                comparison.events,
                                survival ? "with the event" : "positive");
  if (comparison.without_outcome > 0) {
    out += fmt::format("{} more are answered by all, their outcome is unknown\n",
                       comparison.without_outcome);
  }
  for (const auto& predictor : comparison.predictors) {
    out += fmt::format("\n{}\n  {} patients, {} of them not in common\n",
                       predictor.name,
                       predictor.patients,
                       predictor.not_common);
    for (const auto& [metric, estimate] : predictor.metrics) {
      out += fmt::format(
          "  {}: {}\n", metric_label(metric, comparison.horizon_months), shown(estimate));
    }
  }
  std::string metric;
  for (const auto& pair : comparison.pairs) {
    if (pair.metric != metric) {
      metric = pair.metric;
      out += fmt::format("\nDifference of {} ({}{}), p by Holm\n",
                         metric_label(metric, comparison.horizon_months),
                         pair.test,
                         metric == "brier" ? "; below 0 the first is better" : "");
    }
    out += fmt::format("  {} - {}: {}, p {}\n",
                       pair.first,
                       pair.second,
                       shown(pair.difference),
                       p_text(pair.p_adjusted));
  }
  return out;
}

}  // namespace med3d::pipeline
