// The models of a run: the paper's arms, its fusions, and the classical baselines beside them.
//
// A model is fitted on TrainingRows of a cohort and predicts for any rows of any cohort of the same
// schema. It answers NaN for a patient of whom it has no modality: a missing prediction is a fact
// to count, not a probability to invent.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/matrix.h"
#include "med3d/nn/parameters.h"
#include "med3d/nn/training.h"
#include "med3d/pipeline/cohort.h"
#include "med3d/pipeline/run_settings.h"
#include "med3d/pipeline/training_rows.h"

namespace med3d::pipeline {

using Rows = std::vector<std::size_t>;

// Arrays of a model bundle by name ("clinical/0/fc1.weight"); the JSON beside them says the rest.
// Networks are floats; what has to come back to the last bit of a double goes to `matrices`.
class TensorStore {
 public:
  void put(const std::string& name, const nn::Parameters& parameters);
  nn::Parameters get(const std::string& name) const;  // throws Error(kFormat) if there is none
  void put_bytes(const std::string& name, const std::string& bytes);
  std::string get_bytes(const std::string& name) const;
  // Throws Error(kFormat) if there is none of that name and size.
  const Matrix<double>& matrix(const std::string& name, std::size_t rows, std::size_t cols) const;

  // The whole store as a safetensors file, and back: equal stores are equal bytes. `file` is the
  // path in messages. Throws Error(kFormat) for a damaged file or a name without a '/', kData for
  // a number that is not finite.
  std::string safetensors() const;
  static TensorStore from_safetensors(std::string_view bytes, const std::string& file);

  std::map<std::string, nn::Parameters> arrays;
  std::map<std::string, Matrix<double>> matrices;
};

// Patients of each class (negative, positive) before and after oversampling.
struct ClassCounts {
  std::array<std::size_t, 2> before{};
  std::array<std::size_t, 2> after{};
};

// What a model of bags makes of one scan of a patient.
struct ScanScore {
  std::string modality;      // "ct", "mri"
  std::size_t item = 0;      // of that modality
  double weight = 0.0;       // in the patient's bag; those of a bag add up to 1
  double probability = 0.0;  // of the scan by itself
};

class Model {
 public:
  virtual ~Model() = default;

  // P(positive class) for each row, NaN where none of the model's modalities is there.
  virtual std::vector<double> predict(const Cohort& cohort, const Rows& rows) const = 0;

  // An inner layer for each row (rows without a modality are zero); empty if there is none.
  virtual Matrix<float> embed(const Cohort&, const Rows&, int /*layer*/) const { return {}; }

  // Of a model of bags of scans: one for each scan of these rows, means over its members. The
  // weight is that of attention, or 1 for the scan by which max pooling decides (the first of
  // equals), or one over their number. Empty for every other model.
  virtual std::vector<ScanScore> scan_scores(const Cohort&, const Rows&) const { return {}; }

  // The learning curve of the first member, or null.
  virtual const nn::LearningCurve* curve() const { return nullptr; }

  // Of a model that oversamples, else null.
  virtual const ClassCounts* class_counts() const { return nullptr; }

  // What is to be told about this fit: columns dropped, neighbours lowered, members that fell back.
  virtual std::vector<std::string> remarks() const { return {}; }

  // Cells of these patients that the model has not met before (unknown categories).
  virtual std::vector<std::string> input_warnings(const Cohort&, const Rows&) const { return {}; }

  virtual Json save(const std::string& name, TensorStore& store) const = 0;
};

using FittedModels = std::map<std::string, std::shared_ptr<const Model>>;

struct FitRequest {
  const Cohort& cohort;
  const RunSettings& settings;
  const TrainingRows& training;
  std::uint64_t seed;
  const FittedModels& fitted;  // models earlier in the list, fitted on the same rows
};

struct ModelSpec {
  std::string id;      // "clinical", "late_weighted"
  std::string label;   // "Clinical and genomic MLP"
  std::string family;  // arm | paper-baseline | fusion | baseline | reference
  std::vector<std::string> modalities;
  std::string settings_section;  // where [select] finds its candidates; empty: none
  std::string reference;         // paper behind it
  // Throws Error(kData) where the training rows cannot support it (one class only).
  std::function<std::unique_ptr<Model>(const FitRequest&)> fit;
  std::function<std::unique_ptr<Model>(const Json&, const TensorStore&, const FittedModels&)> load;
  bool ensemble_of_arms = false;  // late fusion: built from out-of-fold predictions of the arms
};

// The reference row of every table: always the majority class of the training rows.
inline constexpr const char* kMajorityModel = "majority";

// The arm whose hidden layers fusions read.
inline constexpr const char* kClinicalArm = "clinical";

// Whether a model is made of others': fusions, and the baselines on all modalities at once, whose
// table is the one that the clinical arm encodes.
bool is_fusion(const ModelSpec& spec);

// The list, in fitting order: arms before the fusions that use them. Which entries are in it
// depends on the cohort's modalities and on [run] models.
std::vector<ModelSpec> model_list(const RunSettings& settings,
                                  const std::vector<std::string>& modalities);

// The arms that late fusion combines ("clinical", "ct_mri", "wsi"), in order.
std::vector<std::string> arm_ids(const std::vector<ModelSpec>& specs);

// An arm's probability made comparable with another's: sigmoid(intercept + slope * logit(p)),
// fitted on out-of-fold predictions (Platt 1999). The default leaves p as it is.
struct Recalibration {
  double intercept = 0.0;
  double slope = 1.0;

  double operator()(double probability) const;  // NaN stays NaN
};

// A fitted late fusion: weights over the arms' recalibrated probabilities, renormalised over those
// present.
std::unique_ptr<Model> make_late_fusion(std::vector<std::string> arms,
                                        std::vector<double> weights,
                                        std::vector<Recalibration> recalibration,
                                        const FittedModels& fitted);

// The weighted sum over the arms present in a row of probability (n, arms; NaN = absent), weights
// renormalised over them; their plain mean where none of them has a weight; NaN where none is
// there.
std::vector<double> combine_late(const Matrix<double>& probability,
                                 const std::vector<double>& weights);
// 1 where a probability is there.
Matrix<std::uint8_t> present_mask(const Matrix<double>& probability);

// Which of the cohort's modalities an arm reads: "ct_mri" -> ct, mri.
std::vector<std::string> modalities_of_arm(const std::string& arm);

// The table (the columns of the clinical arm) encoded by an encoder fitted on these very rows: only
// for the demonstration of what a leak does (paper_leak.h). Everything else encodes by a model
// fitted on TrainingRows.
Matrix<double> encode_all_rows(const Cohort& cohort, const RunSettings& settings, const Rows& rows);

// Throws Error(kData) naming row and column of a cell that no model could read ("old" among
// numbers), before hours are spent on the others.
void check_table(const Cohort& cohort, const RunSettings& settings);

// Mean over a patient's items of one or two modalities, rows without any are zero.
struct VectorBlock {
  Matrix<float> values;               // rows.size() x width
  std::vector<std::uint8_t> present;  // rows.size()
};
VectorBlock mean_block(const Cohort& cohort,
                       const Rows& rows,
                       const std::vector<std::string>& modalities);

}  // namespace med3d::pipeline
