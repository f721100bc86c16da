// report.json as typed values, checked once on the way in; docs/run_directory.md holds the schema.
//
// A section that is not there stays empty; one that is there and malformed is an Error naming the
// path into the document ("models[2].sets[0].roc.tpr[7]: 1.2, expected a number from 0 to 1"). Keys
// that are not known are ignored, so that a later writer can add some. Any number may be null.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "med3d/core/json.h"

namespace med3d::report {

using Count = std::optional<std::int64_t>;  // >= 0; absent = not known
using Number = std::optional<double>;       // finite; absent = not estimable or not known

// A figure with its 95 % interval, or the reason why there is none.
struct Estimate {
  Number value, low, high;
  std::string reason;  // why value is absent
};
using Metrics = std::map<std::string, Estimate>;

struct Banner {
  std::string level, text;  // level: danger, warning, info, error
};

struct Endpoint {
  std::string name, description, positive_label, negative_label;
  Number horizon_months;
  bool is_recurrence = false;
};

struct Fact {
  std::string key, value;
};

struct Exclusion {
  std::string reason;
  Count n;
};

struct FlowStep {
  std::string label;
  Count n;
  std::vector<Exclusion> excluded;  // what was left out between the step before and this one
};

struct Modality {
  std::string name;
  Count patients, items, width;
};

struct Pattern {
  std::vector<std::string> modalities;  // those that are present
  Count n, positives, negatives;
};

struct Split {
  std::string name;
  Count n, positives, negatives;
};

struct Missing {
  std::string column;
  Number share;                   // [0, 1] of patients without a value
  Number missing_positive_share;  // [0, 1] share of positives among them
};

struct Cohort {
  std::string name;
  Count n, positives, negatives;
  std::vector<FlowStep> flow;
  std::vector<Modality> modalities;
  std::vector<Pattern> availability;
  std::vector<Split> splits;
  std::vector<Missing> missing;
  std::vector<Banner> findings;
};

struct Balance {
  std::string method;
  Count before[2], after[2];  // [0] negatives, [1] positives, of the training set
};

struct Series {
  std::string name;
  std::vector<double> values;  // one for each epoch, NaN where null
};

struct LearningCurve {
  std::string title;
  std::vector<Series> series;
  Count best_epoch;  // from 0
};

// y over x with an optional band; all four as long as x, or low and high empty. NaN where null.
struct Curve {
  std::vector<double> x, y, low, high;
  std::vector<double> n;  // calibration only: patients in each group
};

// What stands beside a model's row on the same patients: the rule "always positive", stage + grade,
// a clinical score.
struct BesideRow {
  std::string id, label, mark;
  std::string metric;  // of all five estimates
  Count n, events;
  Estimate model, lowest, midpoint, highest, difference;  // difference: model minus midpoint
};

struct ModelSet {
  std::string name;  // "cross-validation" or "test"
  Count n, positives, negatives;
  Number threshold;
  Metrics metrics;
  std::optional<std::vector<std::int64_t>> confusion;  // tn, fp, fn, tp
  std::optional<Curve> roc, pr, calibration;
  std::vector<BesideRow> beside;

  const BesideRow* find_beside(const std::string& id) const;
};

struct Model {
  std::string id, label, family;
  std::vector<std::string> modalities;
  std::vector<ModelSet> sets;

  const ModelSet* find_set(const std::string& name) const;
};

struct Comparison {
  std::string set, a, b, test;
  std::string metric = "auroc";
  Estimate difference;  // metric of a minus metric of b
  Number p, p_adjusted;
};

struct AvailabilityRow {
  Pattern pattern;
  Metrics metrics;
};

struct AvailabilityResult {
  std::string set, model;
  std::vector<AvailabilityRow> rows;
};

struct Projection {
  std::string title;
  std::vector<double> x, y;
  std::vector<int> label, correct;  // 0 or 1
};

struct LeakRow {
  std::string label;
  Metrics metrics;
  Count n;
};

struct PaperLeak {
  std::string text;
  std::vector<LeakRow> rows;
};

struct Weight {
  std::string set, model, modality;  // model: empty where there is one late fusion only
  Number weight;
};

struct Selection {
  std::string arm, setting;
  Count chosen, of;
};

struct TripodItem {
  std::string item, section, text, status, value;  // status: "filled" or "author"
};

// Time to event: report.json's "survival" as far as the page shows it.
struct SurvivalGroup {
  std::string name;
  Count n, events;
  std::vector<double> time_months, survival;      // steps of Kaplan and Meier, of one length
  std::vector<double> low, high;                  // their intervals, as long or empty
  std::vector<double> cumulative_hazard;          // Nelson and Aalen, as long or empty
  Estimate median, restricted_mean;               // months
  std::vector<std::pair<Number, Count>> at_risk;  // month, patients still watched
};
struct CalibrationGroup {
  Count n;
  Number mean_risk;
  Estimate observed;
};
struct DecisionPoint {
  Number threshold;
  Estimate net_benefit, treat_all;
};
struct SurvivalModelSet {
  std::string name;
  Count n, events;
  Metrics metrics;
  std::vector<SurvivalGroup> groups;
  Number log_rank_p;
  Number proportional_p;  // test of proportional hazards of the predicted risk
  std::vector<std::string> warnings;
  std::vector<BesideRow> beside;
  std::vector<CalibrationGroup> calibration;         // at the main horizon
  std::vector<double> calibration_x, calibration_y;  // smoothed curve, of one length
  std::vector<DecisionPoint> decision;

  const BesideRow* find_beside(const std::string& id) const;
};
// Share with the event by a horizon.
struct IncidenceRow {
  Number horizon_months;
  Count at_risk;
  Estimate aalen_johansen, one_minus_kaplan_meier, competing;
};
// One score of one model fitted on all training patients, less what fitting added to it.
struct OptimismRow {
  std::string label, metric;
  Count n, events, repeats;
  Estimate apparent, optimism, corrected;
};
// Riley's criteria for one model.
struct SampleSizeRow {
  std::string model, reason;  // reason: why they are not estimable
  Count n, events, parameters, patients_needed, events_needed, parameters_supported;
};
struct LearningPoint {
  std::string model;
  Number share, n_training, events_training;
  Estimate c_index;
};
struct SubgroupRow {
  std::string set, subgroup, value, model;
  Count n, events;
  Estimate c_index;
};
struct SurvivalModel {
  std::string id, label, family;
  std::vector<SurvivalModelSet> sets;
};
struct Survival {
  std::string name, unknown_at_horizon;
  Number main_horizon_months;
  Count n, events, competing;
  std::vector<SurvivalModel> models;
  std::vector<std::string> best;  // ids of the best fusion, arm and baseline by cross-validation
  std::vector<SubgroupRow> subgroups;
  Estimate median_follow_up, median_event_free, restricted_mean;  // months
  Number longest_months;
  std::vector<IncidenceRow> incidence;
  std::vector<Comparison> comparisons;
  std::vector<OptimismRow> optimism;
  std::vector<SampleSizeRow> sample_size;
  std::vector<LearningPoint> learning_curve;
  std::vector<std::string> warnings;

  std::string label_of(const std::string& model_id) const;  // the id where there is no such model
};

// PROBAST: a question answered by the run, or left to the author with what is known.
struct ProbastQuestion {
  std::string question, text, status, answer, value;  // status: "answered" or "author"
};
struct ProbastDomain {
  std::string name, judgement;  // judgement: "" while a question is open
  std::vector<ProbastQuestion> questions;

  std::size_t open() const;
};

// What became of slides or scans before they were vectors.
struct RawReason {
  std::string outcome, reason;  // "skipped" or "failed"
  Count n;
};
struct RawStage {
  std::string stage;
  Count done, skipped, failed;
  std::vector<RawReason> reasons;
};
struct RawFiles {
  std::string kind;  // "slides" or "scans"
  std::string encoder, weights_sha256;
  bool trained = false;
  std::vector<RawStage> stages;
};

struct Document {
  std::string title, version;
  bool synthetic = false;
  std::vector<Banner> banners;
  Endpoint endpoint;
  std::string protocol_summary;
  std::vector<Fact> protocol_facts;
  std::optional<Cohort> cohort;
  std::vector<Balance> class_balance;
  std::vector<LearningCurve> learning_curves;
  std::vector<Model> models;
  std::vector<Comparison> comparisons;
  std::vector<AvailabilityResult> availability_results;
  std::vector<Projection> umap;
  std::optional<PaperLeak> paper_leak;
  std::vector<Weight> late_weights;
  std::vector<Selection> selection;
  std::vector<TripodItem> tripod;
  std::vector<ProbastDomain> probast;
  bool model_card = false;  // the run wrote model/model_card.md
  std::vector<RawFiles> raw;
  std::vector<Fact> provenance;
  std::optional<Survival> survival;

  const Model* find_model(const std::string& id) const;
  std::string label_of(
      const std::string& model_id) const;  // the id itself if there is no such model
};

// Required: schema (1), title, synthetic, endpoint. Throws Error(kUnsupported) for another schema,
// Error(kFormat) with the path for everything else that is wrong.
Document read_document(const Json& report);

}  // namespace med3d::report
