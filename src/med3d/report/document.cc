#include "med3d/report/document.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string_view>

#include "med3d/core/error.h"
#include "med3d/core/text.h"

namespace med3d::report {
namespace {

// A value of the document and the way to it. Every reader below goes through this, so that no
// message can lack its place.
class Node {
 public:
  Node(const Json& json, std::string path) : json_(&json), path_(std::move(path)) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::kFormat,
                fmt::format("report.json: {}: {}", path_.empty() ? "document" : path_, what));
  }

  bool is_null() const { return json_->is_null(); }
  const Json& json() const { return *json_; }

  const Node& object() const {
    if (!json_->is_object()) fail(fmt::format("{}, expected an object", described()));
    return *this;
  }

  bool has(const std::string& key) const {
    const auto found = json_->find(key);
    return found != json_->end() && !found->is_null();
  }

  // The member, null if it is not there: the reader of a number takes that, others refuse it.
  Node at(const std::string& key) const {
    static const Json kNull;
    const std::string path = path_.empty() ? key : path_ + "." + key;
    const auto found = json_->find(key);
    return {found == json_->end() ? kNull : *found, path};
  }

  std::vector<Node> items() const {
    if (!json_->is_array()) fail(fmt::format("{}, expected an array", described()));
    std::vector<Node> nodes;
    nodes.reserve(json_->size());
    for (std::size_t i = 0; i < json_->size(); ++i) {
      nodes.emplace_back((*json_)[i], fmt::format("{}[{}]", path_, i));
    }
    return nodes;
  }

  std::string text() const {
    if (!json_->is_string()) fail(fmt::format("{}, expected a text", described()));
    return json_->get<std::string>();
  }

  std::string one_of(const std::set<std::string>& allowed) const {
    const std::string value = text();
    if (!allowed.contains(value)) {
      const std::vector<std::string> names(allowed.begin(), allowed.end());
      fail(fmt::format("'{}', expected one of {}", shorten_value(value), join(names, ", ")));
    }
    return value;
  }

  // A text, or a number or truth value printed as one: facts are for people.
  std::string scalar() const {
    if (json_->is_string()) return json_->get<std::string>();
    if (json_->is_null()) return "";
    if (json_->is_boolean()) return json_->get<bool>() ? "yes" : "no";
    if (json_->is_number_integer()) return json_->dump();
    if (json_->is_number()) return format_double(json_->get<double>());
    fail(fmt::format("{}, expected a text or a number", described()));
  }

  bool boolean() const {
    if (!json_->is_boolean()) fail(fmt::format("{}, expected true or false", described()));
    return json_->get<bool>();
  }

  Number number() const {
    if (json_->is_null()) return std::nullopt;
    if (!json_->is_number()) fail(fmt::format("{}, expected a number or null", described()));
    const double value = json_->get<double>();
    if (!std::isfinite(value)) return std::nullopt;  // what JSON writes as null
    return value;
  }

  Number share() const {
    constexpr double kRounding = 1e-9;  // a mean of ones may be 1.0000000000000002
    const Number value = number();
    if (!value) return value;
    if (*value < -kRounding || *value > 1.0 + kRounding) {
      fail(fmt::format("{}, expected a number from 0 to 1", format_double(*value)));
    }
    return std::clamp(*value, 0.0, 1.0);
  }

  Count count() const {
    const Number value = number();
    if (!value) return std::nullopt;
    if (*value < 0.0 || *value > 9.0e15 || std::floor(*value) != *value) {
      fail(fmt::format("{}, expected a count", format_double(*value)));
    }
    return static_cast<std::int64_t>(*value);
  }

  int bit() const {
    const Count value = count();
    if (!value || *value > 1) fail(fmt::format("{}, expected 0 or 1", described()));
    return static_cast<int>(*value);
  }

  template <class T>
  std::vector<T> list(T (*read)(const Node&)) const {
    std::vector<T> out;
    for (const Node& item : items()) out.push_back(read(item));
    return out;
  }

  // The same for a member that may be missing.
  template <class T>
  std::vector<T> list_at(const std::string& key, T (*read)(const Node&)) const {
    return has(key) ? at(key).list(read) : std::vector<T>{};
  }

  std::string text_at(const std::string& key) const { return has(key) ? at(key).text() : ""; }

 private:
  static std::string shorten_value(const std::string& value) {
    return value.size() <= 40 ? value : value.substr(0, 37) + "...";
  }

  std::string described() const {
    if (json_->is_null()) return "missing or null";
    if (json_->is_object()) return "an object";
    if (json_->is_array()) return "an array";
    return fmt::format("'{}'",
                       shorten_value(json_->dump(-1, ' ', false, Json::error_handler_t::replace)));
  }

  const Json* json_;
  std::string path_;
};

double number_or_nan(const Node& node) {
  return node.number().value_or(std::numeric_limits<double>::quiet_NaN());
}
double share_or_nan(const Node& node) {
  return node.share().value_or(std::numeric_limits<double>::quiet_NaN());
}
double count_or_nan(const Node& node) {
  const Count value = node.count();
  return value ? static_cast<double>(*value) : std::numeric_limits<double>::quiet_NaN();
}
std::string read_text(const Node& node) { return node.text(); }
int read_bit(const Node& node) { return node.bit(); }

Estimate read_estimate(const Node& node) {
  Estimate estimate;
  if (node.is_null()) return estimate;
  node.object();
  if (node.has("not_estimable")) {
    estimate.reason = node.at("not_estimable").text();
    return estimate;
  }
  if (!node.json().contains("value")) node.fail("no 'value' and no 'not_estimable'");
  estimate.value = node.at("value").number();
  estimate.low = node.at("low").number();
  estimate.high = node.at("high").number();
  if (estimate.low && estimate.high && *estimate.low > *estimate.high) {
    node.fail(fmt::format("'low' {} is above 'high' {}",
                          format_double(*estimate.low),
                          format_double(*estimate.high)));
  }
  return estimate;
}

Metrics read_metrics(const Node& parent) {
  Metrics metrics;
  if (!parent.has("metrics")) return metrics;
  const Node node = parent.at("metrics");
  node.object();
  for (const auto& [key, value] : node.json().items()) metrics[key] = read_estimate(node.at(key));
  return metrics;
}

Banner read_banner(const Node& node) {
  node.object();
  return {node.at("level").one_of({"danger", "warning", "info", "error"}), node.at("text").text()};
}

Fact read_fact(const Node& node) {
  const auto pair = node.items();
  if (pair.size() != 2) node.fail(fmt::format("{} values, expected [key, value]", pair.size()));
  return {pair[0].text(), pair[1].scalar()};
}

Exclusion read_exclusion(const Node& node) {
  node.object();
  return {node.at("reason").text(), node.at("n").count()};
}

FlowStep read_flow_step(const Node& node) {
  node.object();
  return {node.at("label").text(), node.at("n").count(), node.list_at("excluded", read_exclusion)};
}

Modality read_modality(const Node& node) {
  node.object();
  return {node.at("name").text(),
          node.at("patients").count(),
          node.at("items").count(),
          node.at("width").count()};
}

Pattern read_pattern(const Node& node) {
  node.object();
  return {node.at("pattern").list(read_text),
          node.at("n").count(),
          node.at("positives").count(),
          node.at("negatives").count()};
}

Split read_split(const Node& node) {
  node.object();
  return {node.at("name").text(),
          node.at("n").count(),
          node.at("positives").count(),
          node.at("negatives").count()};
}

Missing read_missing(const Node& node) {
  node.object();
  return {node.at("column").text(),
          node.at("share").share(),
          node.at("missing_positive_share").share()};
}

Cohort read_cohort(const Node& node) {
  node.object();
  Cohort cohort;
  cohort.name = node.text_at("name");
  cohort.n = node.at("n").count();
  cohort.positives = node.at("positives").count();
  cohort.negatives = node.at("negatives").count();
  cohort.flow = node.list_at("flow", read_flow_step);
  cohort.modalities = node.list_at("modalities", read_modality);
  cohort.availability = node.list_at("availability", read_pattern);
  cohort.splits = node.list_at("splits", read_split);
  cohort.missing = node.list_at("missing", read_missing);
  cohort.findings = node.list_at("findings", read_banner);
  return cohort;
}

Balance read_balance(const Node& node) {
  node.object();
  Balance balance;
  balance.method = node.at("method").text();
  const auto read_pair = [&](const std::string& key, Count* out) {
    const auto pair = node.at(key).items();
    if (pair.size() != 2) {
      node.at(key).fail(fmt::format("{} values, expected [negatives, positives]", pair.size()));
    }
    out[0] = pair[0].count();
    out[1] = pair[1].count();
  };
  read_pair("before", balance.before);
  read_pair("after", balance.after);
  return balance;
}

Series read_series(const Node& node) {
  node.object();
  return {node.at("name").text(), node.at("values").list(number_or_nan)};
}

LearningCurve read_learning_curve(const Node& node) {
  node.object();
  return {
      node.at("title").text(), node.at("series").list(read_series), node.at("best_epoch").count()};
}

Curve read_curve(const Node& node, const std::string& x, const std::string& y, bool with_n) {
  node.object();
  Curve curve;
  const auto read = [&](const std::string& key, double (*reader)(const Node&)) {
    std::vector<double> values = node.at(key).list(reader);
    if (key != x && values.size() != curve.x.size()) {
      node.fail(fmt::format("'{}' has {} values and '{}' has {}, expected as many",
                            key,
                            values.size(),
                            x,
                            curve.x.size()));
    }
    return values;
  };
  curve.x = read(x, share_or_nan);
  curve.y = read(y, share_or_nan);
  if (node.has("low") != node.has("high")) node.fail("only one of 'low' and 'high'");
  // An empty band is how a writer without intervals fills the two keys.
  if (node.has("low") && !(node.at("low").items().empty() && node.at("high").items().empty())) {
    curve.low = read("low", share_or_nan);
    curve.high = read("high", share_or_nan);
  }
  if (with_n && node.has("n")) curve.n = read("n", count_or_nan);
  return curve;
}

BesideRow read_beside(const Node& node) {
  node.object();
  BesideRow row;
  row.id = node.at("id").text();
  row.label = node.at("label").text();
  row.mark = node.text_at("mark");
  row.metric = node.text_at("metric");
  row.n = node.at("n").count();
  row.events = node.at("events").count();
  row.model = read_estimate(node.at("model"));
  row.lowest = read_estimate(node.at("lowest"));
  row.midpoint = read_estimate(node.at("midpoint"));
  row.highest = read_estimate(node.at("highest"));
  row.difference = read_estimate(node.at("difference"));
  return row;
}

ModelSet read_model_set(const Node& node) {
  node.object();
  ModelSet set;
  set.name = node.at("name").one_of({"cross-validation", "test"});
  set.n = node.at("n").count();
  set.positives = node.at("positives").count();
  set.negatives = node.at("negatives").count();
  set.threshold = node.at("threshold").number();
  set.metrics = read_metrics(node);
  if (node.has("confusion")) {
    const Node confusion = node.at("confusion");
    std::vector<std::int64_t> cells;
    for (const Node& cell : confusion.items()) {
      const Count value = cell.count();
      if (!value) cell.fail("null, expected a count");
      cells.push_back(*value);
    }
    if (cells.size() != 4) {
      confusion.fail(fmt::format("{} values, expected [tn, fp, fn, tp]", cells.size()));
    }
    set.confusion = cells;
  }
  if (node.has("roc")) set.roc = read_curve(node.at("roc"), "fpr", "tpr", false);
  if (node.has("pr")) set.pr = read_curve(node.at("pr"), "recall", "precision", false);
  if (node.has("calibration")) {
    set.calibration = read_curve(node.at("calibration"), "predicted", "observed", true);
  }
  set.beside = node.list_at("baselines", read_beside);
  return set;
}

Model read_model(const Node& node) {
  node.object();
  Model model;
  model.id = node.at("id").text();
  model.label = node.at("label").text();
  model.family =
      node.at("family").one_of({"arm", "paper-baseline", "fusion", "baseline", "reference"});
  model.modalities = node.list_at("modalities", read_text);
  std::set<std::string> names;
  for (const Node& item : node.at("sets").items()) {
    model.sets.push_back(read_model_set(item));
    if (!names.insert(model.sets.back().name).second) {
      item.fail(fmt::format("a second set '{}' of this model", model.sets.back().name));
    }
  }
  return model;
}

Comparison read_comparison(const Node& node) {
  node.object();
  Comparison comparison;
  comparison.set = node.at("set").text();
  comparison.a = node.at("a").text();
  comparison.b = node.at("b").text();
  comparison.test = node.at("test").text();
  if (node.has("metric")) comparison.metric = node.at("metric").text();
  comparison.difference = read_estimate(node.at("difference"));
  comparison.p = node.at("p").share();
  comparison.p_adjusted = node.at("p_adjusted").share();
  return comparison;
}

AvailabilityRow read_availability_row(const Node& node) {
  return {read_pattern(node), read_metrics(node)};
}

AvailabilityResult read_availability_result(const Node& node) {
  node.object();
  return {
      node.at("set").text(), node.at("model").text(), node.at("rows").list(read_availability_row)};
}

Projection read_projection(const Node& node) {
  node.object();
  Projection projection;
  projection.title = node.at("title").text();
  projection.x = node.at("x").list(number_or_nan);
  projection.y = node.at("y").list(number_or_nan);
  projection.label = node.at("label").list(read_bit);
  projection.correct = node.at("correct").list(read_bit);
  const std::size_t n = projection.x.size();
  if (projection.y.size() != n || projection.label.size() != n || projection.correct.size() != n) {
    node.fail(fmt::format("x, y, label and correct have {}, {}, {} and {} values, expected as many",
                          n,
                          projection.y.size(),
                          projection.label.size(),
                          projection.correct.size()));
  }
  return projection;
}

LeakRow read_leak_row(const Node& node) {
  node.object();
  return {node.at("label").text(), read_metrics(node), node.at("n").count()};
}

Weight read_weight(const Node& node) {
  node.object();
  return {node.at("set").text(),
          node.text_at("model"),
          node.at("modality").text(),
          node.at("weight").number()};
}

Selection read_selection(const Node& node) {
  node.object();
  return {node.at("arm").text(),
          node.at("setting").text(),
          node.at("chosen").count(),
          node.at("of").count()};
}

TripodItem read_tripod_item(const Node& node) {
  node.object();
  return {node.at("item").scalar(),
          node.text_at("section"),
          node.at("text").text(),
          node.at("status").one_of({"filled", "author"}),
          node.text_at("value")};
}

RawReason read_raw_reason(const Node& node) {
  node.object();
  return {node.at("outcome").one_of({"skipped", "failed"}),
          node.at("reason").text(),
          node.at("n").count()};
}

RawStage read_raw_stage(const Node& node) {
  node.object();
  return {node.at("stage").text(),
          node.at("done").count(),
          node.at("skipped").count(),
          node.at("failed").count(),
          node.list_at("reasons", read_raw_reason)};
}

RawFiles read_raw_files(const std::string& kind, const Node& node) {
  node.object();
  const Node encoder = node.at("encoder");
  encoder.object();
  return {kind,
          encoder.at("name").text(),
          encoder.text_at("weights_sha256"),
          encoder.at("trained").boolean(),
          node.list_at("stages", read_raw_stage)};
}

Endpoint read_endpoint(const Node& node) {
  node.object();
  Endpoint endpoint;
  endpoint.name = node.at("name").text();
  endpoint.description = node.text_at("description");
  endpoint.positive_label = node.at("positive_label").text();
  endpoint.negative_label = node.at("negative_label").text();
  endpoint.horizon_months = node.at("horizon_months").number();
  endpoint.is_recurrence = node.at("is_recurrence").boolean();
  return endpoint;
}

std::pair<Number, Count> read_at_risk(const Node& node) {
  const auto pair = node.items();
  if (pair.size() != 2) node.fail("expected a month and a number of patients");
  return {pair[0].number(), pair[1].count()};
}

CalibrationGroup read_calibration_group(const Node& node) {
  node.object();
  return {node.at("n").count(), node.at("mean_risk").share(), read_estimate(node.at("observed"))};
}

DecisionPoint read_decision_point(const Node& node) {
  node.object();
  return {node.at("threshold").share(),
          read_estimate(node.at("net_benefit")),
          read_estimate(node.at("treat_all"))};
}

IncidenceRow read_incidence(const Node& node) {
  node.object();
  IncidenceRow row;
  row.horizon_months = node.at("horizon_months").number();
  row.at_risk = node.at("n_at_risk").count();
  row.aalen_johansen = read_estimate(node.at("aalen_johansen"));
  row.one_minus_kaplan_meier = read_estimate(node.at("one_minus_kaplan_meier"));
  row.competing = read_estimate(node.at("competing"));
  return row;
}

OptimismRow read_optimism(const Node& node) {
  node.object();
  return {node.at("label").text(),
          node.at("metric").text(),
          node.at("n").count(),
          node.at("events").count(),
          node.at("repeats").count(),
          read_estimate(node.at("apparent")),
          read_estimate(node.at("optimism")),
          read_estimate(node.at("corrected"))};
}

SampleSizeRow read_sample_size(const Node& node) {
  node.object();
  return {node.at("model").text(),
          node.text_at("not_estimable"),
          node.at("n").count(),
          node.at("events").count(),
          node.at("parameters").count(),
          node.at("patients_needed").count(),
          node.at("events_needed").count(),
          node.at("parameters_supported").count()};
}

LearningPoint read_learning_point(const Node& node) {
  node.object();
  return {node.at("model").text(),
          node.at("share").share(),
          node.at("n_training").number(),
          node.at("events_training").number(),
          read_estimate(node.at("c_index"))};
}

// Values that go with `times`, or none.
std::vector<double> beside_times(const Node& curve, const char* key, std::size_t times) {
  if (!curve.has(key)) return {};
  std::vector<double> values = curve.at(key).list(number_or_nan);
  if (values.size() != times) {
    curve.fail(fmt::format(
        "time_months and {} have {} and {} values, expected as many", key, times, values.size()));
  }
  return values;
}

SubgroupRow read_subgroup(const Node& node) {
  node.object();
  SubgroupRow row;
  row.set = node.at("set").text();
  row.subgroup = node.at("subgroup").text();
  row.value = node.at("value").scalar();
  row.model = node.at("model").text();
  row.n = node.at("n").count();
  row.events = node.at("events").count();
  row.c_index = read_estimate(node.at("c_index"));
  return row;
}

SurvivalGroup read_survival_group(const Node& node) {
  node.object();
  SurvivalGroup group;
  group.name = node.at("name").text();
  group.n = node.at("n").count();
  group.events = node.at("events").count();
  const Node curve = node.at("curve");
  group.time_months = curve.at("time_months").list(number_or_nan);
  group.survival = curve.at("survival").list(share_or_nan);
  if (group.time_months.size() != group.survival.size()) {
    curve.fail(fmt::format("time_months and survival have {} and {} values, expected as many",
                           group.time_months.size(),
                           group.survival.size()));
  }
  group.low = beside_times(curve, "low", group.time_months.size());
  group.high = beside_times(curve, "high", group.time_months.size());
  group.cumulative_hazard = beside_times(curve, "cumulative_hazard", group.time_months.size());
  group.median = read_estimate(node.at("median_months"));
  group.restricted_mean = read_estimate(node.at("restricted_mean_months"));
  group.at_risk = node.list_at("at_risk", read_at_risk);
  return group;
}

SurvivalModelSet read_survival_set(const Node& node) {
  node.object();
  SurvivalModelSet set;
  set.name = node.at("name").text();
  set.n = node.at("n").count();
  set.events = node.at("events").count();
  set.metrics = read_metrics(node);
  if (node.has("risk_groups")) {
    const Node groups = node.at("risk_groups");
    set.groups = groups.at("groups").list(read_survival_group);
    set.log_rank_p = groups.at("log_rank").at("p").share();
  }
  set.beside = node.list_at("baselines", read_beside);
  if (node.has("calibration")) {
    const Node calibration = node.at("calibration");
    set.calibration = calibration.list_at("groups", read_calibration_group);
    if (calibration.has("curve")) {
      const Node curve = calibration.at("curve");
      curve.object();
      set.calibration_x = curve.list_at("risk", share_or_nan);
      set.calibration_y = curve.list_at("observed", share_or_nan);
      if (set.calibration_x.size() != set.calibration_y.size()) {
        curve.fail(fmt::format("risk and observed have {} and {} values, expected as many",
                               set.calibration_x.size(),
                               set.calibration_y.size()));
      }
    }
  }
  set.decision = node.list_at("decision_curve", read_decision_point);
  if (node.has("proportional_hazards")) {
    set.proportional_p = node.at("proportional_hazards").at("p").share();
  }
  set.warnings = node.list_at("warnings", read_text);
  return set;
}

SurvivalModel read_survival_model(const Node& node) {
  node.object();
  SurvivalModel model{node.at("id").text(),
                      node.at("label").text(),
                      node.at("family").one_of({"arm", "head", "fusion", "baseline", "reference"}),
                      node.list_at("sets", read_survival_set)};
  // As people read them: cross-validation, the test set, then the others in the run's order.
  const auto place = [](const SurvivalModelSet& set) {
    return set.name == "cross-validation" ? 0 : set.name == "test" ? 1 : 2;
  };
  std::stable_sort(
      model.sets.begin(),
      model.sets.end(),
      [&](const SurvivalModelSet& a, const SurvivalModelSet& b) { return place(a) < place(b); });
  return model;
}

ProbastQuestion read_probast_question(const Node& node) {
  node.object();
  return {node.at("question").text(),
          node.at("text").text(),
          node.at("status").one_of({"answered", "author"}),
          node.text_at("answer"),
          node.text_at("value")};
}

ProbastDomain read_probast_domain(const Node& node) {
  node.object();
  ProbastDomain domain;
  domain.name = node.at("domain").text();
  if (node.has("judgement")) {
    domain.judgement = node.at("judgement").one_of({"low", "high", "unclear"});
  }
  domain.questions = node.list_at("questions", read_probast_question);
  return domain;
}

Survival read_survival(const Node& node) {
  node.object();
  Survival survival;
  const Node endpoint = node.at("endpoint");
  survival.name = endpoint.at("name").text();
  survival.unknown_at_horizon = endpoint.at("unknown_at_horizon").text();
  survival.main_horizon_months = endpoint.at("main_horizon_months").number();
  const Node follow_up = node.at("follow_up");
  survival.n = follow_up.at("n").count();
  survival.events = follow_up.at("events").count();
  survival.competing = follow_up.at("competing").count();
  survival.median_follow_up = read_estimate(follow_up.at("median_follow_up_months"));
  survival.median_event_free = read_estimate(follow_up.at("median_event_free_months"));
  survival.restricted_mean = read_estimate(follow_up.at("restricted_mean_months"));
  survival.longest_months = follow_up.at("longest_months").number();
  survival.incidence = node.list_at("incidence", read_incidence);
  survival.comparisons = node.list_at("comparisons", read_comparison);
  survival.optimism = node.list_at("optimism", read_optimism);
  survival.sample_size = node.list_at("sample_size", read_sample_size);
  survival.learning_curve = node.list_at("learning_curve", read_learning_point);
  survival.warnings = node.list_at("warnings", read_text);
  survival.models = node.list_at("models", read_survival_model);
  survival.subgroups = node.list_at("subgroups", read_subgroup);
  for (const char* family : {"fusion", "arm", "baseline"}) {
    const std::string id = node.at("best").text_at(family);
    if (!id.empty()) survival.best.push_back(id);
  }
  return survival;
}

const BesideRow* find_beside_row(const std::vector<BesideRow>& rows, const std::string& id) {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const BesideRow& row) { return row.id == id; });
  return found == rows.end() ? nullptr : &*found;
}

}  // namespace

const ModelSet* Model::find_set(const std::string& name) const {
  for (const ModelSet& set : sets) {
    if (set.name == name) return &set;
  }
  return nullptr;
}

const BesideRow* ModelSet::find_beside(const std::string& id) const {
  return find_beside_row(beside, id);
}

const BesideRow* SurvivalModelSet::find_beside(const std::string& id) const {
  return find_beside_row(beside, id);
}

std::string Survival::label_of(const std::string& model_id) const {
  for (const SurvivalModel& model : models) {
    if (model.id == model_id) return model.label;
  }
  return model_id;
}

std::size_t ProbastDomain::open() const {
  return static_cast<std::size_t>(
      std::count_if(questions.begin(), questions.end(), [](const ProbastQuestion& question) {
        return question.status != "answered";
      }));
}

const Model* Document::find_model(const std::string& id) const {
  for (const Model& model : models) {
    if (model.id == id) return &model;
  }
  return nullptr;
}

std::string Document::label_of(const std::string& model_id) const {
  const Model* model = find_model(model_id);
  return model == nullptr ? model_id : model->label;
}

Document read_document(const Json& report) {
  const Node root(report, "");
  root.object();
  const Count schema = root.at("schema").count();
  if (!schema) root.at("schema").fail("missing, expected 1");
  if (*schema != 1) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("report.json: schema: {}, this version reads 1", *schema));
  }
  Document document;
  document.title = root.at("title").text();
  document.version = root.text_at("version");
  // Never assumed: a page that is silent about made-up data would be taken for a real result.
  document.synthetic = root.at("synthetic").boolean();
  document.endpoint = read_endpoint(root.at("endpoint"));
  document.banners = root.list_at("banners", read_banner);
  if (root.has("protocol")) {
    const Node protocol = root.at("protocol");
    protocol.object();
    document.protocol_summary = protocol.text_at("summary");
    document.protocol_facts = protocol.list_at("facts", read_fact);
  }
  if (root.has("cohort")) document.cohort = read_cohort(root.at("cohort"));
  document.class_balance = root.list_at("class_balance", read_balance);
  document.learning_curves = root.list_at("learning_curves", read_learning_curve);
  document.models = root.list_at("models", read_model);
  std::set<std::string> ids;
  for (std::size_t i = 0; i < document.models.size(); ++i) {
    if (!ids.insert(document.models[i].id).second) {
      Node(report["models"][i], fmt::format("models[{}].id", i))
          .fail("an id that an earlier model has");
    }
  }
  document.comparisons = root.list_at("comparisons", read_comparison);
  document.availability_results = root.list_at("availability_results", read_availability_result);
  document.umap = root.list_at("umap", read_projection);
  if (root.has("paper_leak")) {
    const Node leak = root.at("paper_leak");
    leak.object();
    document.paper_leak = PaperLeak{leak.text_at("text"), leak.list_at("rows", read_leak_row)};
  }
  document.late_weights = root.list_at("late_weights", read_weight);
  document.selection = root.list_at("selection", read_selection);
  document.tripod = root.list_at("tripod", read_tripod_item);
  if (root.has("probast")) {
    const Node probast = root.at("probast");
    probast.object();
    document.probast = probast.list_at("domains", read_probast_domain);
  }
  document.model_card = root.has("model_card") && root.at("model_card").boolean();
  if (root.has("raw")) {
    const Node raw = root.at("raw");
    raw.object();
    for (const char* kind : {"slides", "scans"}) {
      if (raw.has(kind)) document.raw.push_back(read_raw_files(kind, raw.at(kind)));
    }
  }
  document.provenance = root.list_at("provenance", read_fact);
  if (root.has("survival")) document.survival = read_survival(root.at("survival"));
  return document;
}

}  // namespace med3d::report
