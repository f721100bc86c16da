#include "med3d/pipeline/models.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/nn/bag_classifier.h"
#include "med3d/nn/fusion_net.h"
#include "med3d/nn/late_fusion.h"
#include "med3d/nn/mlp.h"
#include "med3d/tabular/clinical_encoder.h"
#include "med3d/tabular/gradient_boosting.h"
#include "med3d/tabular/logistic.h"
#include "med3d/tabular/resample.h"
#include "med3d/tabular/split.h"
#include "med3d/tabular/standardizer.h"

namespace med3d::pipeline {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr const char* kPaper = "MeD-3D (Maqsood and Khan 2025)";

std::vector<std::uint8_t> labels_of(const Cohort& cohort, const Rows& rows) {
  std::vector<std::uint8_t> y;
  y.reserve(rows.size());
  for (const std::size_t row : rows) y.push_back(cohort.label[row]);
  return y;
}

void require_both_classes(std::span<const std::uint8_t> y, std::string_view what) {
  const auto positives = std::count(y.begin(), y.end(), 1);
  const auto negatives = static_cast<std::ptrdiff_t>(y.size()) - positives;
  if (positives < 2 || negatives < 2) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: {} positive and {} negative training patients, at least 2 of each "
                            "are needed",
                            what,
                            positives,
                            negatives));
  }
}

tabular::RawTable clinical_table(const Cohort& cohort, const Rows& rows) {
  tabular::RawTable table;
  for (const auto& column : cohort.columns) {
    tabular::RawColumn raw{column.name, {}};
    raw.cells.reserve(rows.size());
    for (const std::size_t row : rows) raw.cells.push_back(column.cells[row]);
    table.push_back(std::move(raw));
  }
  return table;
}

// Rows of `rows` for which `present` holds, and their positions in it.
struct Selected {
  Rows rows;
  std::vector<std::size_t> position;
};
template <class Present>
Selected select_rows(const Rows& rows, Present present) {
  Selected out;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!present(rows[i])) continue;
    out.rows.push_back(rows[i]);
    out.position.push_back(i);
  }
  return out;
}

std::vector<double> scatter(const std::vector<double>& values,
                            const std::vector<std::size_t>& position,
                            std::size_t n) {
  std::vector<double> out(n, kNone);
  for (std::size_t i = 0; i < position.size(); ++i) out[position[i]] = values[i];
  return out;
}

Matrix<float> scatter(const Matrix<float>& values,
                      const std::vector<std::size_t>& position,
                      std::size_t n) {
  Matrix<float> out(n, values.cols());
  for (std::size_t i = 0; i < position.size(); ++i) {
    std::copy(values.row(i).begin(), values.row(i).end(), out.row(position[i]).begin());
  }
  return out;
}

bool has_any(const Cohort& cohort, std::size_t row, const std::vector<std::string>& modalities) {
  for (const auto& name : modalities) {
    if (name == "clinical") {
      if (!cohort.columns.empty() && cohort.has_clinical[row]) return true;
    } else if (const Modality* modality = cohort.find_modality(name)) {
      if (modality->has(row)) return true;
    }
  }
  return false;
}

// A stratified share of the rows, held out to stop or select an epoch by. Nothing is held out where
// a class is too small to stand on both sides.
Partition carve_validation(const Cohort& cohort, Rows rows, double share, std::uint64_t seed) {
  if (share <= 0.0) return Partition::all_for_training(std::move(rows));
  Rows held_out;
  Rows training;
  NumpyRandom random(static_cast<std::uint32_t>(seed));
  for (const std::uint8_t cls : {0, 1}) {
    Rows members;
    for (const std::size_t row : rows) {
      if (cohort.label[row] == cls) members.push_back(row);
    }
    random.shuffle(members);
    const auto n =
        static_cast<std::size_t>(std::lround(share * static_cast<double>(members.size())));
    if (n == 0 || members.size() - n < 2) return Partition::all_for_training(std::move(rows));
    held_out.insert(held_out.end(), members.begin(), members.begin() + static_cast<long>(n));
    training.insert(training.end(), members.begin() + static_cast<long>(n), members.end());
  }
  std::sort(training.begin(), training.end());
  std::sort(held_out.begin(), held_out.end());
  return Partition(std::move(training), std::move(held_out));
}

nn::DeviceKind device_of(const RunSettings& settings) {
  if (settings.run.device == "cpu") return nn::DeviceKind::kCpu;
  if (settings.run.device == "cuda") return nn::DeviceKind::kCuda;
  return nn::DeviceKind::kAuto;
}

nn::MlpOptions mlp_options(const std::vector<int>& hidden,
                           const std::vector<double>& dropout,
                           bool batch_norm,
                           const FitSettings& fit,
                           std::uint64_t seed,
                           nn::DeviceKind device,
                           bool has_validation) {
  nn::MlpOptions options;
  options.hidden = hidden;
  options.dropout = dropout;
  options.dropout.resize(hidden.size(), 0.0);
  options.batch_norm = batch_norm;
  options.training = fit.training(seed, device, has_validation);
  return options;
}

Json to_json(const nn::MlpOptions& options, std::size_t inputs) {
  return {
      {"inputs", inputs},
      {"hidden", options.hidden},
      {"batch_norm", options.batch_norm},
      {"loss", options.training.loss == nn::TrainingOptions::Loss::kBce ? "bce" : "cross_entropy"}};
}

// A word of a bundle, one of those that save() writes.
std::string word_of(const Json& json, const char* key, const std::vector<std::string>& allowed) {
  const auto word = json.at(key).get<std::string>();
  if (std::find(allowed.begin(), allowed.end(), word) == allowed.end()) {
    throw Error(ErrorKind::kFormat,
                fmt::format("'{}' is '{}', expected one of {}", key, word, join(allowed, ", ")));
  }
  return word;
}

// The widths of a bundle's hidden layers. What a network of them would hold must be there in the
// arrays, which are as large as the file, so that a few digits cannot ask for any memory they like.
std::vector<int> hidden_of(const Json& json, std::uint64_t inputs, const nn::Parameters& arrays) {
  const auto hidden = json.at("hidden").get<std::vector<int>>();
  std::uint64_t held = 0;
  for (const auto& array : arrays) held += array.values.size();
  std::uint64_t needed = 0;
  std::uint64_t width = inputs;
  for (const int next : hidden) {
    if (next < 1 || width < 1) {
      throw Error(ErrorKind::kFormat, "'inputs' or 'hidden' has a width below 1");
    }
    needed = checked_add(
        needed, checked_multiply(width, static_cast<std::uint64_t>(next), "'hidden'"), "'hidden'");
    width = static_cast<std::uint64_t>(next);
  }
  if (hidden.empty() || needed > held) {
    throw Error(ErrorKind::kFormat,
                fmt::format("'inputs' and 'hidden' make a network of at least {} numbers, the "
                            "arrays hold {}",
                            needed,
                            held));
  }
  return hidden;
}

// How many networks of different seeds a bundle's model has.
std::size_t members_of(const Json& json) {
  const auto members = json.at("members").get<std::size_t>();
  if (members == 0) throw Error(ErrorKind::kFormat, "'members' is 0, expected at least 1");
  return members;
}

nn::Parameters arrays_of(const Json& json, const TensorStore& store, std::size_t member) {
  return store.get(fmt::format("{}/{}", json.at("tensors").get<std::string>(), member));
}

nn::MlpOptions mlp_options_from(const Json& json, const TensorStore& store) {
  nn::MlpOptions options;
  options.hidden =
      hidden_of(json, json.at("inputs").get<std::uint64_t>(), arrays_of(json, store, 0));
  options.dropout.assign(options.hidden.size(), 0.0);
  options.batch_norm = json.at("batch_norm").get<bool>();
  options.training.loss = word_of(json, "loss", {"bce", "cross_entropy"}) == "bce"
                              ? nn::TrainingOptions::Loss::kBce
                              : nn::TrainingOptions::Loss::kWeightedCrossEntropy;
  return options;
}

// Networks of different seeds on the same data; their probabilities are averaged.
class MlpEnsemble {
 public:
  void add(nn::Mlp member) { members_.push_back(std::move(member)); }

  std::vector<double> predict(const Matrix<float>& x) const {
    std::vector<double> mean(x.rows(), 0.0);
    for (const auto& member : members_) {
      const auto p = member.predict(x);
      for (std::size_t i = 0; i < p.size(); ++i) mean[i] += p[i];
    }
    for (double& p : mean) p /= static_cast<double>(members_.size());
    return mean;
  }
  // Hidden layers of different networks do not share axes: the first member's is the embedding.
  Matrix<float> embed(const Matrix<float>& x, int layer) const {
    return members_.front().embed(x, layer);
  }
  const nn::LearningCurve* curve() const { return &members_.front().curve(); }

  Json save(const std::string& name,
            TensorStore& store,
            const nn::MlpOptions& options,
            std::size_t inputs) const {
    for (std::size_t m = 0; m < members_.size(); ++m) {
      store.put(fmt::format("{}/{}", name, m), members_[m].parameters());
    }
    Json json = to_json(options, inputs);
    json["members"] = members_.size();
    json["tensors"] = name;
    return json;
  }
  static MlpEnsemble load(const Json& json, const TensorStore& store) {
    MlpEnsemble ensemble;
    const auto options = mlp_options_from(json, store);
    for (std::size_t m = 0; m < members_of(json); ++m) {
      ensemble.add(nn::Mlp::from_parameters(
          options, json.at("inputs").get<std::size_t>(), arrays_of(json, store, m)));
    }
    return ensemble;
  }

 private:
  std::vector<nn::Mlp> members_;
};

// What is declared of the columns of `table`: loading the cohort has checked the names and left out
// what is dropped, and a model may see a part of the columns only.
tabular::EncoderOptions encoder_options(const Cohort& cohort,
                                        const RunSettings& settings,
                                        const tabular::RawTable& table) {
  tabular::EncoderOptions options;
  const auto& clinical = settings.cohort.clinical;
  options.missing.insert(
      options.missing.end(), cohort.missing_values.begin(), cohort.missing_values.end());
  for (const auto& column : table) {
    const auto& name = column.name;
    if (const auto found = clinical.ordinal.find(name); found != clinical.ordinal.end()) {
      options.ordinal.insert(*found);
    }
    if (std::find(clinical.categorical.begin(), clinical.categorical.end(), name) !=
        clinical.categorical.end()) {
      options.categorical.push_back(name);
    }
  }
  options.missing_indicators = settings.clinical_arm.missing_indicators;
  options.max_missing = settings.clinical_arm.max_missing;
  return options;
}

Rows rows_with_table(const Cohort& cohort, const Rows& rows) {
  Rows out;
  for (const std::size_t row : rows) {
    if (cohort.has_clinical[row]) out.push_back(row);
  }
  return out;
}

// Whether a column is text is read from all patients: a fact of the table's schema, like its name.
// Else a word that stands only among held-out patients would not be readable there.
void declare_text_columns(const Cohort& cohort,
                          const tabular::RawTable& table,
                          tabular::EncoderOptions& options) {
  Rows all(cohort.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  auto whole = clinical_table(cohort, rows_with_table(cohort, all));
  std::erase_if(whole, [&](const tabular::RawColumn& column) {
    return std::none_of(table.begin(), table.end(), [&](const tabular::RawColumn& kept) {
      return kept.name == column.name;
    });
  });
  for (auto& name : tabular::ClinicalEncoder::text_columns(whole, options)) {
    options.categorical.push_back(std::move(name));
  }
}

// The rows of the table, restricted to chosen columns; all of them where none is chosen.
tabular::RawTable chosen_table(const Cohort& cohort,
                               const Rows& rows,
                               const std::vector<std::string>& columns) {
  auto table = clinical_table(cohort, rows);
  if (!columns.empty()) {
    std::vector<std::string> names;
    for (const auto& column : table) names.push_back(column.name);
    for (const auto& wanted : columns) {
      if (std::find(names.begin(), names.end(), wanted) == names.end()) {
        throw Error(
            ErrorKind::kUsage,
            fmt::format("the table has no column '{}'{}", wanted, did_you_mean(wanted, names)));
      }
    }
    std::erase_if(table, [&](const tabular::RawColumn& column) {
      return std::find(columns.begin(), columns.end(), column.name) == columns.end();
    });
  }
  return table;
}

tabular::ClinicalEncoder fit_encoder(const Cohort& cohort,
                                     const RunSettings& settings,
                                     const tabular::RawTable& training) {
  auto options = encoder_options(cohort, settings, training);
  declare_text_columns(cohort, training, options);
  return tabular::ClinicalEncoder::fit(training, options);
}

std::vector<std::string> encoder_warnings(const tabular::ClinicalEncoder& encoder,
                                          const Cohort& cohort,
                                          const Rows& rows) {
  std::vector<std::string> warnings;
  const Rows present = rows_with_table(cohort, rows);
  if (!present.empty()) (void)encoder.transform(clinical_table(cohort, present), &warnings);
  return warnings;
}

tabular::Balance balance_of(const std::string& name) {
  if (name == "smote") return tabular::Balance::kSmote;
  if (name == "adasyn") return tabular::Balance::kAdasyn;
  if (name == "smotenc") return tabular::Balance::kSmotenc;
  if (name == "random") return tabular::Balance::kRandom;
  return tabular::Balance::kNone;
}

// ---------------------------------------------------------------------------------------------
// The clinical arm: encoder, oversampling inside the training rows, MLP.

class ClinicalModel final : public Model {
 public:
  static std::unique_ptr<Model> fit(const FitRequest& request) {
    const auto& section = request.settings.clinical_arm;
    auto model = std::make_unique<ClinicalModel>();
    const auto training = select_rows(
        request.training.rows(), [&](std::size_t row) { return request.cohort.has_clinical[row]; });
    require_both_classes(labels_of(request.cohort, training.rows), "clinical table");
    const Partition partition = carve_validation(request.cohort,
                                                 training.rows,
                                                 section.fit.validation_share,
                                                 derive_seed(request.seed, "validation"));
    const Rows& rows = partition.training().rows();
    const auto table = chosen_table(request.cohort, rows, section.columns);
    model->encoder_ = fit_encoder(request.cohort, request.settings, table);
    const auto x = model->encoder_.transform(table);
    const auto y = labels_of(request.cohort, rows);
    const auto x_val = matrix_cast<float>(model->encode(request.cohort, partition.held_out()));
    const auto y_val = labels_of(request.cohort, partition.held_out());

    for (int member = 0; member < section.fit.ensemble; ++member) {
      const auto seed = derive_seed(request.seed, "member", {static_cast<std::uint64_t>(member)});
      tabular::ResampleOptions resample;
      resample.k_neighbors = section.k_neighbors;
      resample.seed = static_cast<std::uint32_t>(seed);
      resample.categorical = binary_columns(x);
      const auto balanced = tabular::resample(x, y, balance_of(section.balance), resample);
      if (member == 0) {
        model->remarks_ = balanced.warnings;
        for (const std::uint8_t label : y) ++model->counts_.before[label];
        for (const std::uint8_t label : balanced.y) ++model->counts_.after[label];
      }
      model->options_ = mlp_options(section.hidden,
                                    section.dropout,
                                    section.batch_norm,
                                    section.fit,
                                    seed,
                                    device_of(request.settings),
                                    x_val.rows() > 0);
      // Oversampled rows are balanced already: weights on top would tip the scale the other way.
      if (section.balance != "none") model->options_.training.class_weights = false;
      model->networks_.add(nn::Mlp::fit(matrix_cast<float>(balanced.x),
                                        balanced.y,
                                        model->options_,
                                        x_val.rows() > 0 ? &x_val : nullptr,
                                        y_val));
    }
    for (const auto& finding : model->encoder_.findings()) {
      model->remarks_.push_back(finding.message);
    }
    return model;
  }

  static std::unique_ptr<Model> load(const Json& json,
                                     const TensorStore& store,
                                     const FittedModels&) {
    auto model = std::make_unique<ClinicalModel>();
    model->encoder_ = tabular::ClinicalEncoder::from_json(json.at("encoder"));
    model->networks_ = MlpEnsemble::load(json.at("network"), store);
    model->options_ = mlp_options_from(json.at("network"), store);
    return model;
  }

  std::vector<double> predict(const Cohort& cohort, const Rows& rows) const override {
    const auto chosen = present(cohort, rows);
    if (chosen.rows.empty()) return std::vector<double>(rows.size(), kNone);
    return scatter(networks_.predict(matrix_cast<float>(encode(cohort, chosen.rows))),
                   chosen.position,
                   rows.size());
  }

  Matrix<float> embed(const Cohort& cohort, const Rows& rows, int layer) const override {
    const auto chosen = present(cohort, rows);
    const int depth = std::min(layer, static_cast<int>(options_.hidden.size()));
    if (chosen.rows.empty()) {
      return Matrix<float>(
          rows.size(),
          static_cast<std::size_t>(options_.hidden[static_cast<std::size_t>(depth - 1)]));
    }
    return scatter(networks_.embed(matrix_cast<float>(encode(cohort, chosen.rows)), depth),
                   chosen.position,
                   rows.size());
  }

  const nn::LearningCurve* curve() const override { return networks_.curve(); }
  const ClassCounts* class_counts() const override { return &counts_; }
  std::vector<std::string> remarks() const override { return remarks_; }

  Json save(const std::string& name, TensorStore& store) const override {
    return {{"encoder", encoder_.to_json()},
            {"network", networks_.save(name, store, options_, encoder_.feature_names().size())}};
  }

  std::vector<std::string> input_warnings(const Cohort& cohort, const Rows& rows) const override {
    return encoder_warnings(encoder_, cohort, rows);
  }

  Matrix<double> encode(const Cohort& cohort, const Rows& rows) const {
    if (rows.empty()) return Matrix<double>(0, encoder_.feature_names().size());
    return encoder_.transform(clinical_table(cohort, rows));
  }
  std::size_t encoded_width() const { return encoder_.feature_names().size(); }

 private:
  static Selected present(const Cohort& cohort, const Rows& rows) {
    return select_rows(rows, [&](std::size_t row) { return cohort.has_clinical[row]; });
  }
  // SMOTENC must not interpolate what is 0 or 1: gender 0.43 is nobody's.
  static std::vector<bool> binary_columns(const Matrix<double>& x) {
    std::vector<bool> binary(x.cols(), true);
    for (std::size_t i = 0; i < x.rows(); ++i) {
      for (std::size_t j = 0; j < x.cols(); ++j) {
        if (x(i, j) != 0.0 && x(i, j) != 1.0) binary[j] = false;
      }
    }
    return binary;
  }

  tabular::ClinicalEncoder encoder_;
  MlpEnsemble networks_;
  nn::MlpOptions options_;
  ClassCounts counts_;
  std::vector<std::string> remarks_;
};

// ---------------------------------------------------------------------------------------------
// The radiology arm: a bag of scan vectors per patient.

struct PatientBags {
  Matrix<float> instances;
  std::vector<std::size_t> bag_of_instance;
  Selected chosen;  // rows that have at least one scan
};

PatientBags gather_bags(const Cohort& cohort,
                        const Rows& rows,
                        const std::vector<std::string>& modalities) {
  PatientBags bags;
  bags.chosen =
      select_rows(rows, [&](std::size_t row) { return has_any(cohort, row, modalities); });
  for (std::size_t b = 0; b < bags.chosen.rows.size(); ++b) {
    for (const auto& name : modalities) {
      const Modality* modality = cohort.find_modality(name);
      if (modality == nullptr) continue;
      for (const std::size_t item : modality->items_of_patient[bags.chosen.rows[b]]) {
        if (!bags.instances.empty() && bags.instances.cols() != modality->width) {
          throw Error(ErrorKind::kData,
                      fmt::format("{}: vectors of {} numbers beside others of {}; an arm over "
                                  "several modalities needs one width",
                                  name,
                                  modality->width,
                                  bags.instances.cols()));
        }
        bags.instances.append_row(modality->items.row(item));
        bags.bag_of_instance.push_back(b);
      }
    }
  }
  return bags;
}

nn::Pool pool_of(const std::string& name) {
  if (name == "mean") return nn::Pool::kMean;
  if (name == "noisy_or") return nn::Pool::kNoisyOr;
  if (name == "attention") return nn::Pool::kAttention;
  return nn::Pool::kMax;
}

class BagModel final : public Model {
 public:
  static std::unique_ptr<Model> fit(const FitRequest& request,
                                    const std::vector<std::string>& modalities) {
    const auto& section = request.settings.radiology_arm;
    auto model = std::make_unique<BagModel>();
    model->modalities_ = modalities;
    const auto training = select_rows(request.training.rows(), [&](std::size_t row) {
      return has_any(request.cohort, row, modalities);
    });
    require_both_classes(labels_of(request.cohort, training.rows), join(modalities, " and "));
    const Partition partition = carve_validation(request.cohort,
                                                 training.rows,
                                                 section.fit.validation_share,
                                                 derive_seed(request.seed, "validation"));
    auto bags = gather_bags(request.cohort, partition.training().rows(), modalities);
    auto held_out = gather_bags(request.cohort, partition.held_out(), modalities);
    model->scale_ = section.standardize;
    if (model->scale_) {
      model->standardizer_ = tabular::Standardizer::fit(bags.instances);
      bags.instances = model->standardizer_.transform(bags.instances);
      if (!held_out.instances.empty()) {
        held_out.instances = model->standardizer_.transform(held_out.instances);
      }
    }
    model->inputs_ = bags.instances.cols();
    const auto y = labels_of(request.cohort, bags.chosen.rows);
    const auto y_val = labels_of(request.cohort, held_out.chosen.rows);
    const nn::Bags data{bags.instances, bags.bag_of_instance};
    const nn::Bags data_val{held_out.instances, held_out.bag_of_instance};
    for (int member = 0; member < section.fit.ensemble; ++member) {
      model->options_.hidden = section.hidden;
      model->options_.dropout.assign(section.hidden.size(), section.dropout);
      model->options_.pool = pool_of(section.pool);
      model->options_.training = section.fit.training(
          derive_seed(request.seed, "member", {static_cast<std::uint64_t>(member)}),
          device_of(request.settings),
          !y_val.empty());
      model->members_.push_back(nn::BagClassifier::fit(
          data, y, model->options_, y_val.empty() ? nullptr : &data_val, y_val));
    }
    return model;
  }

  static std::unique_ptr<Model> load(const Json& json,
                                     const TensorStore& store,
                                     const FittedModels&) {
    auto model = std::make_unique<BagModel>();
    model->modalities_ = json.at("modalities").get<std::vector<std::string>>();
    model->scale_ = json.at("standardize").get<bool>();
    if (model->scale_) {
      model->standardizer_ = tabular::Standardizer::from_json(json.at("standardizer"));
    }
    model->inputs_ = json.at("inputs").get<std::size_t>();
    const std::size_t members = members_of(json);
    model->options_.hidden = hidden_of(json, model->inputs_, arrays_of(json, store, 0));
    model->options_.dropout.assign(model->options_.hidden.size(), 0.0);
    model->options_.pool = pool_of(word_of(json, "pool", {"max", "mean", "noisy_or", "attention"}));
    for (std::size_t m = 0; m < members; ++m) {
      model->members_.push_back(nn::BagClassifier::from_parameters(
          model->options_, model->inputs_, arrays_of(json, store, m)));
    }
    return model;
  }

  std::vector<double> predict(const Cohort& cohort, const Rows& rows) const override {
    const auto bags = scaled(cohort, rows);
    if (bags.chosen.rows.empty()) return std::vector<double>(rows.size(), kNone);
    std::vector<double> mean(bags.chosen.rows.size(), 0.0);
    for (const auto& member : members_) {
      const auto p = member.predict({bags.instances, bags.bag_of_instance});
      for (std::size_t i = 0; i < p.size(); ++i) mean[i] += p[i];
    }
    for (double& p : mean) p /= static_cast<double>(members_.size());
    return scatter(mean, bags.chosen.position, rows.size());
  }

  Matrix<float> embed(const Cohort& cohort, const Rows& rows, int) const override {
    const auto bags = scaled(cohort, rows);
    if (bags.chosen.rows.empty()) {
      return Matrix<float>(rows.size(), static_cast<std::size_t>(options_.hidden.back()));
    }
    return scatter(members_.front().embed({bags.instances, bags.bag_of_instance}),
                   bags.chosen.position,
                   rows.size());
  }

  const nn::LearningCurve* curve() const override { return &members_.front().curve(); }

  Json save(const std::string& name, TensorStore& store) const override {
    static const std::map<nn::Pool, std::string> pools = {{nn::Pool::kMax, "max"},
                                                          {nn::Pool::kMean, "mean"},
                                                          {nn::Pool::kNoisyOr, "noisy_or"},
                                                          {nn::Pool::kAttention, "attention"}};
    for (std::size_t m = 0; m < members_.size(); ++m) {
      store.put(fmt::format("{}/{}", name, m), members_[m].parameters());
    }
    Json json = {{"modalities", modalities_},
                 {"inputs", inputs_},
                 {"hidden", options_.hidden},
                 {"pool", pools.at(options_.pool)},
                 {"members", members_.size()},
                 {"tensors", name},
                 {"standardize", scale_}};
    if (scale_) json["standardizer"] = standardizer_.to_json();
    return json;
  }

 private:
  PatientBags scaled(const Cohort& cohort, const Rows& rows) const {
    auto bags = gather_bags(cohort, rows, modalities_);
    check_width(bags.instances, inputs_, modalities_);
    if (scale_ && !bags.instances.empty()) {
      bags.instances = standardizer_.transform(bags.instances);
    }
    return bags;
  }
  static void check_width(const Matrix<float>& instances,
                          std::size_t expected,
                          const std::vector<std::string>& modalities) {
    if (instances.rows() > 0 && instances.cols() != expected) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: vectors of {} numbers, the model was trained on {}",
                              join(modalities, " and "),
                              instances.cols(),
                              expected));
    }
  }

  std::vector<std::string> modalities_;
  bool scale_ = true;
  tabular::Standardizer standardizer_;
  std::size_t inputs_ = 0;
  nn::BagOptions options_;
  std::vector<nn::BagClassifier> members_;
};

// ---------------------------------------------------------------------------------------------
// One vector per patient, standardised: the whole-slide arm and the paper's unimodal baselines.

// How a patient's slides become one vector: mean, attention-weighted mean, or the top slide.
class SlidePooling {
 public:
  static SlidePooling fit(const FitRequest& request,
                          const std::string& rule,
                          const std::vector<std::string>& modalities,
                          const Rows& rows) {
    SlidePooling pooling;
    pooling.rule_ = rule;
    pooling.modalities_ = modalities;
    if (rule == "mean") return pooling;
    auto bags = gather_bags(request.cohort, rows, modalities);
    pooling.inputs_ = bags.instances.cols();
    pooling.standardizer_ = tabular::Standardizer::fit(bags.instances);
    bags.instances = pooling.standardizer_.transform(bags.instances);
    pooling.options_ = attention_options();
    pooling.options_.training = request.settings.wsi_arm.fit.training(
        derive_seed(request.seed, "attention"), device_of(request.settings), false);
    pooling.options_.training.loss = nn::TrainingOptions::Loss::kBce;
    pooling.attention_ = std::make_shared<const nn::BagClassifier>(
        nn::BagClassifier::fit({bags.instances, bags.bag_of_instance},
                               labels_of(request.cohort, bags.chosen.rows),
                               pooling.options_,
                               nullptr,
                               {}));
    return pooling;
  }

  // Rows without an item are zero; `present` tells them.
  VectorBlock apply(const Cohort& cohort, const Rows& rows) const {
    if (rule_ == "mean") return mean_block(cohort, rows, modalities_);
    const auto bags = gather_bags(cohort, rows, modalities_);
    VectorBlock block{Matrix<float>(rows.size(), inputs_),
                      std::vector<std::uint8_t>(rows.size(), 0)};
    if (bags.chosen.rows.empty()) return block;
    const auto weight = attention_->attention_weights(
        {standardizer_.transform(bags.instances), bags.bag_of_instance});
    // The features stay the encoder's own: attention weighs the inputs, not a hidden layer.
    std::vector<double> best(bags.chosen.rows.size(), -1.0);
    for (std::size_t i = 0; i < bags.bag_of_instance.size(); ++i) {
      const std::size_t bag = bags.bag_of_instance[i];
      const std::size_t position = bags.chosen.position[bag];
      block.present[position] = 1;
      auto target = block.values.row(position);
      const auto source = bags.instances.row(i);
      if (rule_ == "attention") {
        for (std::size_t j = 0; j < target.size(); ++j) {
          target[j] += static_cast<float>(weight[i]) * source[j];
        }
      } else if (weight[i] > best[bag]) {
        best[bag] = weight[i];
        std::copy(source.begin(), source.end(), target.begin());
      }
    }
    return block;
  }

  Json save(const std::string& name, TensorStore& store) const {
    Json json = {{"rule", rule_}, {"modalities", modalities_}};
    if (attention_) {
      store.put(name + "/attention", attention_->parameters());
      json["inputs"] = inputs_;
      json["tensors"] = name + "/attention";
      json["standardizer"] = standardizer_.to_json();
    }
    return json;
  }
  static SlidePooling load(const Json& json, const TensorStore& store) {
    SlidePooling pooling;
    pooling.rule_ = word_of(json, "rule", {"mean", "attention", "top"});
    pooling.modalities_ = json.at("modalities").get<std::vector<std::string>>();
    if (pooling.rule_ == "mean") return pooling;
    pooling.inputs_ = json.at("inputs").get<std::size_t>();
    pooling.standardizer_ = tabular::Standardizer::from_json(json.at("standardizer"));
    pooling.options_ = attention_options();
    const auto arrays = store.get(json.at("tensors").get<std::string>());
    (void)hidden_of({{"hidden", pooling.options_.hidden}}, pooling.inputs_, arrays);
    pooling.attention_ = std::make_shared<const nn::BagClassifier>(
        nn::BagClassifier::from_parameters(pooling.options_, pooling.inputs_, arrays));
    return pooling;
  }

 private:
  static nn::BagOptions attention_options() {
    nn::BagOptions options;
    options.hidden = {128};
    options.dropout = {0.25};
    options.pool = nn::Pool::kAttention;
    return options;
  }

  std::string rule_ = "mean";
  std::vector<std::string> modalities_;
  std::size_t inputs_ = 0;
  tabular::Standardizer standardizer_;
  nn::BagOptions options_;
  std::shared_ptr<const nn::BagClassifier> attention_;
};

struct VectorModelOptions {
  std::vector<std::string> modalities;
  std::vector<int> hidden;
  std::vector<double> dropout;
  bool batch_norm = false;
  std::string pool = "mean";
  FitSettings fit;
};

class VectorModel final : public Model {
 public:
  static std::unique_ptr<Model> fit(const FitRequest& request, const VectorModelOptions& options) {
    auto model = std::make_unique<VectorModel>();
    const auto training = select_rows(request.training.rows(), [&](std::size_t row) {
      return has_any(request.cohort, row, options.modalities);
    });
    require_both_classes(labels_of(request.cohort, training.rows),
                         join(options.modalities, " and "));
    const Partition partition = carve_validation(request.cohort,
                                                 training.rows,
                                                 options.fit.validation_share,
                                                 derive_seed(request.seed, "validation"));
    const Rows& rows = partition.training().rows();
    model->pooling_ = SlidePooling::fit(request, options.pool, options.modalities, rows);
    auto x = model->pooling_.apply(request.cohort, rows).values;
    model->standardizer_ = tabular::Standardizer::fit(x);
    x = model->standardizer_.transform(x);
    model->inputs_ = x.cols();
    auto x_val = model->pooling_.apply(request.cohort, partition.held_out()).values;
    if (x_val.rows() > 0) x_val = model->standardizer_.transform(x_val);
    for (int member = 0; member < options.fit.ensemble; ++member) {
      model->options_ =
          mlp_options(options.hidden,
                      options.dropout,
                      options.batch_norm,
                      options.fit,
                      derive_seed(request.seed, "member", {static_cast<std::uint64_t>(member)}),
                      device_of(request.settings),
                      x_val.rows() > 0);
      model->networks_.add(nn::Mlp::fit(x,
                                        labels_of(request.cohort, rows),
                                        model->options_,
                                        x_val.rows() > 0 ? &x_val : nullptr,
                                        labels_of(request.cohort, partition.held_out())));
    }
    return model;
  }

  static std::unique_ptr<Model> load(const Json& json,
                                     const TensorStore& store,
                                     const FittedModels&) {
    auto model = std::make_unique<VectorModel>();
    model->pooling_ = SlidePooling::load(json.at("pooling"), store);
    model->standardizer_ = tabular::Standardizer::from_json(json.at("standardizer"));
    model->networks_ = MlpEnsemble::load(json.at("network"), store);
    model->options_ = mlp_options_from(json.at("network"), store);
    model->inputs_ = json.at("network").at("inputs").get<std::size_t>();
    return model;
  }

  std::vector<double> predict(const Cohort& cohort, const Rows& rows) const override {
    const auto [x, position] = inputs(cohort, rows);
    if (position.empty()) return std::vector<double>(rows.size(), kNone);
    return scatter(networks_.predict(x), position, rows.size());
  }
  Matrix<float> embed(const Cohort& cohort, const Rows& rows, int layer) const override {
    const auto [x, position] = inputs(cohort, rows);
    const int depth = std::min(layer, static_cast<int>(options_.hidden.size()));
    if (position.empty()) {
      return Matrix<float>(
          rows.size(),
          static_cast<std::size_t>(options_.hidden[static_cast<std::size_t>(depth - 1)]));
    }
    return scatter(networks_.embed(x, depth), position, rows.size());
  }
  const nn::LearningCurve* curve() const override { return networks_.curve(); }

  Json save(const std::string& name, TensorStore& store) const override {
    return {{"pooling", pooling_.save(name, store)},
            {"standardizer", standardizer_.to_json()},
            {"network", networks_.save(name, store, options_, inputs_)}};
  }

 private:
  std::pair<Matrix<float>, std::vector<std::size_t>> inputs(const Cohort& cohort,
                                                            const Rows& rows) const {
    const auto block = pooling_.apply(cohort, rows);
    std::vector<std::size_t> position;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (block.present[i] != 0) position.push_back(i);
    }
    if (position.empty()) return {Matrix<float>(), position};
    if (block.values.cols() != inputs_) {
      throw Error(
          ErrorKind::kData,
          fmt::format(
              "vectors of {} numbers, the model was trained on {}", block.values.cols(), inputs_));
    }
    return {standardizer_.transform(block.values.take_rows(position)), position};
  }

  SlidePooling pooling_;
  tabular::Standardizer standardizer_;
  std::size_t inputs_ = 0;
  nn::MlpOptions options_;
  MlpEnsemble networks_;
};

// ---------------------------------------------------------------------------------------------
// What early fusion and the classical baselines see: one block per arm, each with a presence bit.

class FusedInputs {
 public:
  // `layer` 0 takes the encoded table, 2 or 3 the clinical arm's hidden layer.
  static FusedInputs fit(const FitRequest& request,
                         const TrainingRows& training,
                         const std::vector<std::string>& arms,
                         int layer) {
    FusedInputs inputs;
    inputs.arms_ = arms;
    inputs.layer_ = layer;
    inputs.bind(request.fitted);
    const auto raw = inputs.raw(request.cohort, training.rows());
    for (std::size_t k = 0; k < arms.size(); ++k) {
      Rows present;
      for (std::size_t i = 0; i < raw.present.rows(); ++i) {
        if (raw.present(i, k) != 0) present.push_back(i);
      }
      inputs.widths_.push_back(raw.blocks[k].cols());
      inputs.standardizers_.push_back(tabular::Standardizer::fit(raw.blocks[k].take_rows(present)));
    }
    return inputs;
  }

  nn::FusionInput apply(const Cohort& cohort, const Rows& rows) const {
    nn::FusionInput input = raw(cohort, rows);
    for (std::size_t k = 0; k < arms_.size(); ++k) {
      if (input.blocks[k].cols() == 0) input.blocks[k] = Matrix<float>(rows.size(), widths_[k]);
      if (input.blocks[k].cols() != widths_[k]) {
        throw Error(ErrorKind::kData,
                    fmt::format("{}: vectors of {} numbers, the model was trained on {}",
                                arms_[k],
                                input.blocks[k].cols(),
                                widths_[k]));
      }
      input.blocks[k] = standardizers_[k].transform(input.blocks[k]);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        if (input.present(i, k) == 0) std::ranges::fill(input.blocks[k].row(i), 0.0F);
      }
    }
    return input;
  }

  // All blocks side by side with their presence bits; absent blocks hold `fill`.
  Matrix<double> flat(const Cohort& cohort, const Rows& rows, double fill) const {
    const auto input = apply(cohort, rows);
    std::size_t width = arms_.size();
    for (const std::size_t w : widths_) width += w;
    Matrix<double> out(rows.size(), width);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      std::size_t at = 0;
      for (std::size_t k = 0; k < arms_.size(); ++k) {
        const bool there = input.present(i, k) != 0;
        for (const float value : input.blocks[k].row(i)) {
          out(i, at++) = there ? static_cast<double>(value) : fill;
        }
      }
      for (std::size_t k = 0; k < arms_.size(); ++k) out(i, at++) = input.present(i, k);
    }
    return out;
  }

  const std::vector<std::string>& arms() const { return arms_; }
  const std::vector<std::size_t>& widths() const { return widths_; }
  std::vector<std::string> warnings(const Cohort& cohort, const Rows& rows) const {
    return clinical_ ? clinical_->input_warnings(cohort, rows) : std::vector<std::string>{};
  }

  Json save() const {
    Json json = {{"arms", arms_}, {"layer", layer_}, {"widths", widths_}};
    json["standardizers"] = Json::array();
    for (const auto& s : standardizers_) json["standardizers"].push_back(s.to_json());
    return json;
  }
  static FusedInputs load(const Json& json, const FittedModels& fitted) {
    FusedInputs inputs;
    inputs.arms_ = json.at("arms").get<std::vector<std::string>>();
    inputs.layer_ = json.at("layer").get<int>();
    inputs.widths_ = json.at("widths").get<std::vector<std::size_t>>();
    for (const auto& s : json.at("standardizers").get<std::vector<Json>>()) {
      inputs.standardizers_.push_back(tabular::Standardizer::from_json(s));
    }
    bool fit = inputs.widths_.size() == inputs.arms_.size() &&
               inputs.standardizers_.size() == inputs.arms_.size();
    for (std::size_t k = 0; fit && k < inputs.arms_.size(); ++k) {
      fit = inputs.standardizers_[k].columns() == inputs.widths_[k];
    }
    if (!fit) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("fusion: 'widths' and 'standardizers' do not fit the {} 'arms'",
                              inputs.arms_.size()));
    }
    if (inputs.layer_ < 0) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("fusion: 'layer' is {}, expected 0 or more", inputs.layer_));
    }
    inputs.bind(fitted);
    return inputs;
  }

 private:
  void bind(const FittedModels& fitted) {
    if (std::find(arms_.begin(), arms_.end(), "clinical") == arms_.end()) return;
    const auto found = fitted.find("clinical");
    if (found == fitted.end()) {
      throw Error(ErrorKind::kData,
                  "fusion needs the clinical arm, which could not be fitted on these rows");
    }
    clinical_ = std::dynamic_pointer_cast<const ClinicalModel>(found->second);
  }

  nn::FusionInput raw(const Cohort& cohort, const Rows& rows) const {
    nn::FusionInput input;
    input.present = Matrix<std::uint8_t>(rows.size(), arms_.size());
    for (std::size_t k = 0; k < arms_.size(); ++k) {
      if (arms_[k] == "clinical") {
        const auto chosen =
            select_rows(rows, [&](std::size_t row) { return cohort.has_clinical[row]; });
        for (const std::size_t position : chosen.position) input.present(position, k) = 1;
        input.blocks.push_back(
            layer_ > 0 ? clinical_->embed(cohort, rows, layer_)
                       : scatter(matrix_cast<float>(clinical_->encode(cohort, chosen.rows)),
                                 chosen.position,
                                 rows.size()));
      } else {
        auto block = mean_block(cohort, rows, modalities_of_arm(arms_[k]));
        for (std::size_t i = 0; i < rows.size(); ++i) input.present(i, k) = block.present[i];
        input.blocks.push_back(std::move(block.values));
      }
    }
    return input;
  }

  std::vector<std::string> arms_;
  int layer_ = 3;
  std::vector<std::size_t> widths_;
  std::vector<tabular::Standardizer> standardizers_;
  std::shared_ptr<const ClinicalModel> clinical_;
};

// Rows that have at least one of the arms' modalities.
Selected rows_with_any(const Cohort& cohort,
                       const Rows& rows,
                       const std::vector<std::string>& arms) {
  std::vector<std::string> modalities;
  for (const auto& arm : arms) {
    for (auto& name : modalities_of_arm(arm)) modalities.push_back(name);
  }
  return select_rows(rows, [&](std::size_t row) { return has_any(cohort, row, modalities); });
}

class EarlyFusionModel final : public Model {
 public:
  static std::unique_ptr<Model> fit(const FitRequest& request,
                                    const std::vector<std::string>& arms,
                                    nn::FusionMode mode) {
    const auto& section = request.settings.fusion;
    auto model = std::make_unique<EarlyFusionModel>();
    const int layer =
        section.clinical_input == "encoded" ? 0 : (section.clinical_input == "fc2" ? 2 : 3);
    const auto training = rows_with_any(request.cohort, request.training.rows(), arms);
    require_both_classes(labels_of(request.cohort, training.rows), "fusion");
    const Partition partition = carve_validation(request.cohort,
                                                 training.rows,
                                                 section.fit.validation_share,
                                                 derive_seed(request.seed, "validation"));
    model->inputs_ = FusedInputs::fit(request, partition.training(), arms, layer);
    const auto x = model->inputs_.apply(request.cohort, partition.training().rows());
    const auto x_val = model->inputs_.apply(request.cohort, partition.held_out());
    const auto y_val = labels_of(request.cohort, partition.held_out());
    for (int member = 0; member < section.fit.ensemble; ++member) {
      model->options_.mode = mode;
      model->options_.projection = section.projection;
      model->options_.hidden = section.hidden;
      model->options_.dropout = section.dropout;
      model->options_.dropout.resize(section.hidden.size(), 0.0);
      model->options_.training = section.fit.training(
          derive_seed(request.seed, "member", {static_cast<std::uint64_t>(member)}),
          device_of(request.settings),
          !y_val.empty());
      model->options_.training.modality_dropout = section.modality_dropout;
      model->members_.push_back(
          nn::FusionNet::fit(x,
                             labels_of(request.cohort, partition.training().rows()),
                             model->options_,
                             y_val.empty() ? nullptr : &x_val,
                             y_val));
    }
    return model;
  }

  static std::unique_ptr<Model> load(const Json& json,
                                     const TensorStore& store,
                                     const FittedModels& fitted) {
    auto model = std::make_unique<EarlyFusionModel>();
    model->inputs_ = FusedInputs::load(json.at("inputs"), fitted);
    const bool mean = word_of(json, "mode", {"mean", "concat"}) == "mean";
    const std::size_t members = members_of(json);
    model->options_.mode = mean ? nn::FusionMode::kMean : nn::FusionMode::kConcat;
    model->options_.projection = json.at("projection").get<int>();
    std::uint64_t inputs = model->inputs_.arms().size();
    for (const std::size_t width : model->inputs_.widths()) inputs += width;
    const auto arrays = arrays_of(json, store, 0);
    if (mean) {
      // The projection stands before the hidden layers and is held to the arrays as they are.
      Json projected = {{"hidden", json.at("hidden").get<std::vector<int>>()}};
      projected["hidden"].insert(projected["hidden"].begin(), model->options_.projection);
      (void)hidden_of(projected, inputs, arrays);
      inputs = static_cast<std::uint64_t>(model->options_.projection);
    }
    model->options_.hidden = hidden_of(json, inputs, arrays);
    model->options_.dropout.assign(model->options_.hidden.size(), 0.0);
    for (std::size_t m = 0; m < members; ++m) {
      model->members_.push_back(nn::FusionNet::from_parameters(
          model->options_, model->inputs_.widths(), arrays_of(json, store, m)));
    }
    return model;
  }

  std::vector<double> predict(const Cohort& cohort, const Rows& rows) const override {
    const auto chosen = rows_with_any(cohort, rows, inputs_.arms());
    if (chosen.rows.empty()) return std::vector<double>(rows.size(), kNone);
    const auto x = inputs_.apply(cohort, chosen.rows);
    std::vector<double> mean(chosen.rows.size(), 0.0);
    for (const auto& member : members_) {
      const auto p = member.predict(x);
      for (std::size_t i = 0; i < p.size(); ++i) mean[i] += p[i];
    }
    for (double& p : mean) p /= static_cast<double>(members_.size());
    return scatter(mean, chosen.position, rows.size());
  }
  Matrix<float> embed(const Cohort& cohort, const Rows& rows, int layer) const override {
    const auto chosen = rows_with_any(cohort, rows, inputs_.arms());
    const int depth = std::min(layer, static_cast<int>(options_.hidden.size()));
    if (chosen.rows.empty()) {
      return Matrix<float>(
          rows.size(),
          static_cast<std::size_t>(options_.hidden[static_cast<std::size_t>(depth - 1)]));
    }
    return scatter(members_.front().embed(inputs_.apply(cohort, chosen.rows), depth),
                   chosen.position,
                   rows.size());
  }
  const nn::LearningCurve* curve() const override { return &members_.front().curve(); }
  std::vector<std::string> input_warnings(const Cohort& cohort, const Rows& rows) const override {
    return inputs_.warnings(cohort, rows);
  }

  Json save(const std::string& name, TensorStore& store) const override {
    for (std::size_t m = 0; m < members_.size(); ++m) {
      store.put(fmt::format("{}/{}", name, m), members_[m].parameters());
    }
    return {{"inputs", inputs_.save()},
            {"mode", options_.mode == nn::FusionMode::kMean ? "mean" : "concat"},
            {"projection", options_.projection},
            {"hidden", options_.hidden},
            {"members", members_.size()},
            {"tensors", name}};
  }

 private:
  FusedInputs inputs_;
  nn::FusionOptions options_;
  std::vector<nn::FusionNet> members_;
};

class LateFusionModel final : public Model {
 public:
  LateFusionModel(std::vector<std::string> arms,
                  std::vector<double> weights,
                  std::vector<Recalibration> recalibration,
                  const FittedModels& fitted)
      : arms_(std::move(arms)),
        weights_(std::move(weights)),
        recalibration_(std::move(recalibration)) {
    for (const auto& arm : arms_) {
      const auto found = fitted.find(arm);
      models_.push_back(found == fitted.end() ? nullptr : found->second);
    }
  }

  static std::unique_ptr<Model> load(const Json& json,
                                     const TensorStore&,
                                     const FittedModels& fitted) {
    std::vector<Recalibration> recalibration;
    for (const auto& entry : json.at("recalibration")) {
      recalibration.push_back({entry.at(0).get<double>(), entry.at(1).get<double>()});
    }
    auto arms = json.at("arms").get<std::vector<std::string>>();
    auto weights = json.at("weights").get<std::vector<double>>();
    if (weights.size() != arms.size() || recalibration.size() != arms.size()) {
      throw Error(
          ErrorKind::kFormat,
          fmt::format("late fusion: {} arms, {} weights, {} recalibrations, expected one each",
                      arms.size(),
                      weights.size(),
                      recalibration.size()));
    }
    return std::make_unique<LateFusionModel>(
        std::move(arms), std::move(weights), std::move(recalibration), fitted);
  }

  std::vector<double> predict(const Cohort& cohort, const Rows& rows) const override {
    Matrix<double> probability(rows.size(), arms_.size(), kNone);
    for (std::size_t k = 0; k < arms_.size(); ++k) {
      if (!models_[k]) continue;
      const auto p = models_[k]->predict(cohort, rows);
      for (std::size_t i = 0; i < rows.size(); ++i) probability(i, k) = recalibration_[k](p[i]);
    }
    return combine_late(probability, weights_);
  }

  std::vector<std::string> input_warnings(const Cohort& cohort, const Rows& rows) const override {
    std::vector<std::string> warnings;
    for (const auto& model : models_) {
      if (!model) continue;
      for (auto& warning : model->input_warnings(cohort, rows)) {
        warnings.push_back(std::move(warning));
      }
    }
    return warnings;
  }

  Json save(const std::string&, TensorStore&) const override {
    Json recalibration = Json::array();
    for (const auto& r : recalibration_)
      recalibration.push_back(Json::array({r.intercept, r.slope}));
    return {{"arms", arms_}, {"weights", weights_}, {"recalibration", recalibration}};
  }

 private:
  std::vector<std::string> arms_;
  std::vector<double> weights_;
  std::vector<Recalibration> recalibration_;
  std::vector<std::shared_ptr<const Model>> models_;
};

// ---------------------------------------------------------------------------------------------
// Classical baselines.

class MajorityModel final : public Model {
 public:
  static std::unique_ptr<Model> fit(const FitRequest& request) {
    const auto y = labels_of(request.cohort, request.training.rows());
    auto model = std::make_unique<MajorityModel>();
    model->prevalence_ = static_cast<double>(std::count(y.begin(), y.end(), 1)) /
                         static_cast<double>(std::max<std::size_t>(1, y.size()));
    return model;
  }
  static std::unique_ptr<Model> load(const Json& json, const TensorStore&, const FittedModels&) {
    auto model = std::make_unique<MajorityModel>();
    model->prevalence_ = json.at("prevalence").get<double>();
    return model;
  }
  std::vector<double> predict(const Cohort&, const Rows& rows) const override {
    return std::vector<double>(rows.size(), prevalence_);
  }
  Json save(const std::string&, TensorStore&) const override {
    return {{"prevalence", prevalence_}};
  }

 private:
  double prevalence_ = 0.5;
};

tabular::BoostingOptions boosting_options(const RunSettings& settings, std::uint64_t seed) {
  const auto& section = settings.classical;
  tabular::BoostingOptions options;
  options.rounds = section.rounds;
  options.max_depth = section.max_depth;
  options.learning_rate = section.learning_rate;
  options.subsample = section.subsample;
  options.colsample = section.colsample;
  options.seed = static_cast<std::uint32_t>(seed & 0x7FFFFFFFU);
  return options;
}

// Logistic regression or boosted trees behind one face.
class Classifier {
 public:
  static Classifier fit(const std::string& kind,
                        const Matrix<double>& x,
                        const std::vector<std::uint8_t>& y,
                        double c,
                        const FitRequest& request) {
    Classifier classifier;
    if (kind == "logistic") {
      tabular::LogisticOptions options;
      options.c = c;
      options.balanced = true;
      classifier.logistic_ = tabular::LogisticRegression::fit(x, y, options);
    } else {
      classifier.trees_ = std::make_shared<const tabular::GradientBoosting>(
          tabular::GradientBoosting::fit(x, y, boosting_options(request.settings, request.seed)));
    }
    return classifier;
  }
  std::vector<double> predict(const Matrix<double>& x) const {
    return logistic_ ? logistic_->predict_proba(x) : trees_->predict_proba(x);
  }
  bool is_trees() const { return trees_ != nullptr; }

  Json save(const std::string& name, TensorStore& store) const {
    if (logistic_) return {{"kind", "logistic"}, {"model", logistic_->to_json()}};
    store.put_bytes(name + "/trees", trees_->save_bytes());
    return {{"kind", "trees"}, {"tensors", name + "/trees"}};
  }
  static Classifier load(const Json& json, const TensorStore& store) {
    Classifier classifier;
    if (word_of(json, "kind", {"logistic", "trees"}) == "logistic") {
      classifier.logistic_ = tabular::LogisticRegression::from_json(json.at("model"));
    } else {
      classifier.trees_ =
          std::make_shared<const tabular::GradientBoosting>(tabular::GradientBoosting::load_bytes(
              store.get_bytes(json.at("tensors").get<std::string>())));
    }
    return classifier;
  }

 private:
  std::optional<tabular::LogisticRegression> logistic_;
  std::shared_ptr<const tabular::GradientBoosting> trees_;
};

class TableBaseline final : public Model {
 public:
  static std::unique_ptr<Model> fit(const FitRequest& request,
                                    const std::string& kind,
                                    const std::vector<std::string>& columns) {
    auto model = std::make_unique<TableBaseline>();
    const auto training = select_rows(
        request.training.rows(), [&](std::size_t row) { return request.cohort.has_clinical[row]; });
    const auto y = labels_of(request.cohort, training.rows);
    require_both_classes(y, "clinical table");
    const auto table = chosen_table(request.cohort, training.rows, columns);
    model->encoder_ = fit_encoder(request.cohort, request.settings, table);
    model->classifier_ = Classifier::fit(
        kind, model->encoder_.transform(table), y, request.settings.classical.logistic_c, request);
    return model;
  }
  static std::unique_ptr<Model> load(const Json& json,
                                     const TensorStore& store,
                                     const FittedModels&) {
    auto model = std::make_unique<TableBaseline>();
    model->encoder_ = tabular::ClinicalEncoder::from_json(json.at("encoder"));
    model->classifier_ = Classifier::load(json.at("classifier"), store);
    return model;
  }
  std::vector<double> predict(const Cohort& cohort, const Rows& rows) const override {
    const auto chosen =
        select_rows(rows, [&](std::size_t row) { return cohort.has_clinical[row]; });
    if (chosen.rows.empty()) return std::vector<double>(rows.size(), kNone);
    return scatter(classifier_.predict(encoder_.transform(clinical_table(cohort, chosen.rows))),
                   chosen.position,
                   rows.size());
  }
  std::vector<std::string> input_warnings(const Cohort& cohort, const Rows& rows) const override {
    return encoder_warnings(encoder_, cohort, rows);
  }
  Json save(const std::string& name, TensorStore& store) const override {
    return {{"encoder", encoder_.to_json()}, {"classifier", classifier_.save(name, store)}};
  }

 private:
  tabular::ClinicalEncoder encoder_;
  Classifier classifier_;
};

class FusedBaseline final : public Model {
 public:
  static std::unique_ptr<Model> fit(const FitRequest& request,
                                    const std::string& kind,
                                    const std::vector<std::string>& arms) {
    auto model = std::make_unique<FusedBaseline>();
    const auto training = rows_with_any(request.cohort, request.training.rows(), arms);
    const auto y = labels_of(request.cohort, training.rows);
    require_both_classes(y, "fusion");
    model->inputs_ = FusedInputs::fit(request, request.training, arms, 0);
    model->fill_ = kind == "logistic" ? 0.0 : kNone;
    model->classifier_ =
        Classifier::fit(kind,
                        model->inputs_.flat(request.cohort, training.rows, model->fill_),
                        y,
                        request.settings.classical.fused_logistic_c,
                        request);
    return model;
  }
  static std::unique_ptr<Model> load(const Json& json,
                                     const TensorStore& store,
                                     const FittedModels& fitted) {
    auto model = std::make_unique<FusedBaseline>();
    model->inputs_ = FusedInputs::load(json.at("inputs"), fitted);
    model->classifier_ = Classifier::load(json.at("classifier"), store);
    model->fill_ = model->classifier_.is_trees() ? kNone : 0.0;
    return model;
  }
  std::vector<double> predict(const Cohort& cohort, const Rows& rows) const override {
    const auto chosen = rows_with_any(cohort, rows, inputs_.arms());
    if (chosen.rows.empty()) return std::vector<double>(rows.size(), kNone);
    return scatter(classifier_.predict(inputs_.flat(cohort, chosen.rows, fill_)),
                   chosen.position,
                   rows.size());
  }
  std::vector<std::string> input_warnings(const Cohort& cohort, const Rows& rows) const override {
    return inputs_.warnings(cohort, rows);
  }
  Json save(const std::string& name, TensorStore& store) const override {
    return {{"inputs", inputs_.save()}, {"classifier", classifier_.save(name, store)}};
  }

 private:
  FusedInputs inputs_;
  double fill_ = 0.0;
  Classifier classifier_;
};

// Columns that say stage or grade, for the baseline every clinician knows.
std::vector<std::string> stage_and_grade_columns(const Cohort& cohort) {
  std::vector<std::string> columns;
  for (const auto& column : cohort.columns) {
    const std::string name = to_lower(column.name);
    if (name.find("stage") != std::string::npos || name.find("grade") != std::string::npos) {
      columns.push_back(column.name);
    }
  }
  return columns;
}

std::string title_of(const std::string& arm) {
  if (arm == "clinical") return "Clinical and genomic";
  if (arm == "ct_mri") return "CT/MRI";
  if (arm == "ct") return "CT";
  if (arm == "mri") return "MRI";
  return "Whole-slide";
}

}  // namespace

Matrix<float> Model::embed(const Cohort&, const Rows&, int) const { return {}; }

std::vector<std::string> Model::input_warnings(const Cohort&, const Rows&) const { return {}; }

void TensorStore::put(const std::string& name, const nn::Parameters& parameters) {
  arrays[name] = parameters;
}

nn::Parameters TensorStore::get(const std::string& name) const {
  const auto found = arrays.find(name);
  if (found == arrays.end()) {
    throw Error(ErrorKind::kFormat, fmt::format("the model bundle has no arrays named '{}'", name));
  }
  return found->second;
}

void TensorStore::put_bytes(const std::string& name, const std::string& bytes) {
  nn::Parameter parameter;
  parameter.name = "bytes";
  parameter.shape = {bytes.size()};
  for (const char c : bytes) {
    parameter.values.push_back(static_cast<float>(static_cast<unsigned char>(c)));
  }
  arrays[name] = {parameter};
}

std::string TensorStore::get_bytes(const std::string& name) const {
  std::string bytes;
  const auto parameters = get(name);
  if (parameters.size() != 1) {
    throw Error(ErrorKind::kFormat, fmt::format("the model bundle's '{}' is not bytes", name));
  }
  for (const float value : parameters.front().values) {
    if (!(value >= 0.0F && value <= 255.0F)) {
      throw Error(ErrorKind::kFormat, fmt::format("the model bundle's '{}' is not bytes", name));
    }
    bytes += static_cast<char>(static_cast<unsigned char>(value));
  }
  return bytes;
}

std::vector<std::string> modalities_of_arm(const std::string& arm) {
  if (arm == "ct_mri") return {"ct", "mri"};
  return {arm};
}

Matrix<double> encode_all_rows(const Cohort& cohort,
                               const RunSettings& settings,
                               const Rows& rows) {
  const auto table = chosen_table(cohort, rows, settings.clinical_arm.columns);
  return fit_encoder(cohort, settings, table).transform(table);
}

void check_table(const Cohort& cohort, const RunSettings& settings) {
  if (cohort.columns.empty()) return;
  try {
    Rows all(cohort.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    const auto table = clinical_table(cohort, rows_with_table(cohort, all));
    (void)tabular::ClinicalEncoder::text_columns(table, encoder_options(cohort, settings, table));
  } catch (const Error&) {
    rethrow_with_context("clinical table (patients with a covariate, in ascending order of id)");
  }
}

VectorBlock mean_block(const Cohort& cohort,
                       const Rows& rows,
                       const std::vector<std::string>& modalities) {
  VectorBlock block;
  block.present.assign(rows.size(), 0);
  const auto bags = gather_bags(cohort, rows, modalities);
  std::size_t width = bags.instances.cols();
  for (const auto& name : modalities) {
    const Modality* modality = cohort.find_modality(name);
    if (width == 0 && modality != nullptr) width = modality->width;
  }
  block.values = Matrix<float>(rows.size(), width);
  std::vector<double> sum(width);
  for (std::size_t i = 0; i < bags.bag_of_instance.size();) {
    const std::size_t bag = bags.bag_of_instance[i];
    std::ranges::fill(sum, 0.0);
    std::size_t n = 0;
    for (; i < bags.bag_of_instance.size() && bags.bag_of_instance[i] == bag; ++i, ++n) {
      const auto row = bags.instances.row(i);
      for (std::size_t j = 0; j < width; ++j) sum[j] += row[j];
    }
    const std::size_t position = bags.chosen.position[bag];
    block.present[position] = 1;
    for (std::size_t j = 0; j < width; ++j) {
      block.values(position, j) = static_cast<float>(sum[j] / static_cast<double>(n));
    }
  }
  return block;
}

std::vector<double> combine_late(const Matrix<double>& probability,
                                 const std::vector<double>& weights) {
  std::vector<double> out(probability.rows(), kNone);
  Rows weighted;
  Rows unweighted;
  for (std::size_t i = 0; i < probability.rows(); ++i) {
    bool any = false;
    bool any_weight = false;
    for (std::size_t k = 0; k < weights.size(); ++k) {
      if (std::isnan(probability(i, k))) continue;
      any = true;
      any_weight |= weights[k] > 0;
    }
    if (any) (any_weight ? weighted : unweighted).push_back(i);
  }
  // A patient of whom only arms without weight are there still gets an answer: their plain mean.
  const std::vector<double> equal(weights.size(), 1.0);
  for (const auto& [rows, used] : {std::pair{&weighted, &weights}, {&unweighted, &equal}}) {
    if (rows->empty()) continue;
    const auto chosen = probability.take_rows(*rows);
    const auto combined = nn::weighted_sum(chosen, present_mask(chosen), *used);
    for (std::size_t i = 0; i < rows->size(); ++i) out[(*rows)[i]] = combined[i];
  }
  return out;
}

Matrix<std::uint8_t> present_mask(const Matrix<double>& probability) {
  Matrix<std::uint8_t> mask(probability.rows(), probability.cols());
  for (std::size_t i = 0; i < probability.size(); ++i) {
    mask.data()[i] = std::isnan(probability.data()[i]) ? 0 : 1;
  }
  return mask;
}

double Recalibration::operator()(double probability) const {
  const bool unchanged = intercept == 0.0 && slope == 1.0;
  if (unchanged || std::isnan(probability)) return probability;
  constexpr double kClip = 1e-12;
  const double p = std::clamp(probability, kClip, 1.0 - kClip);
  const double logit = intercept + slope * std::log(p / (1.0 - p));
  return 1.0 / (1.0 + std::exp(-logit));
}

std::unique_ptr<Model> make_late_fusion(std::vector<std::string> arms,
                                        std::vector<double> weights,
                                        std::vector<Recalibration> recalibration,
                                        const FittedModels& fitted) {
  return std::make_unique<LateFusionModel>(
      std::move(arms), std::move(weights), std::move(recalibration), fitted);
}

std::vector<std::string> arm_ids(const std::vector<ModelSpec>& specs) {
  std::vector<std::string> ids;
  for (const auto& spec : specs) {
    if (spec.family == "arm") ids.push_back(spec.id);
  }
  return ids;
}

std::vector<ModelSpec> model_list(const RunSettings& settings,
                                  const std::vector<std::string>& modalities) {
  const auto has = [&](std::string_view name) {
    return std::find(modalities.begin(), modalities.end(), name) != modalities.end();
  };
  std::vector<std::string> arms;
  if (has("clinical")) arms.push_back("clinical");
  if (settings.radiology_arm.joint && (has("ct") || has("mri"))) arms.push_back("ct_mri");
  if (!settings.radiology_arm.joint && has("ct")) arms.push_back("ct");
  if (!settings.radiology_arm.joint && has("mri")) arms.push_back("mri");
  if (has("wsi")) arms.push_back("wsi");

  std::vector<ModelSpec> specs;
  const auto add = [&](ModelSpec spec) { specs.push_back(std::move(spec)); };

  add({kMajorityModel,
       "Always the majority class",
       "reference",
       {},
       "",
       "",
       MajorityModel::fit,
       MajorityModel::load});
  for (const auto& arm : arms) {
    ModelSpec spec;
    spec.id = arm;
    spec.family = "arm";
    spec.modalities = modalities_of_arm(arm);
    spec.reference = kPaper;
    if (arm == "clinical") {
      spec.label = "Clinical and genomic MLP";
      spec.settings_section = "clinical_arm";
      spec.fit = ClinicalModel::fit;
      spec.load = ClinicalModel::load;
    } else if (arm == "wsi") {
      spec.label = "Whole-slide MLP";
      spec.settings_section = "wsi_arm";
      spec.fit = [](const FitRequest& request) {
        const auto& s = request.settings.wsi_arm;
        return VectorModel::fit(request,
                                {{"wsi"}, s.hidden, s.dropout, s.batch_norm, s.pool, s.fit});
      };
      spec.load = VectorModel::load;
    } else {
      spec.label = title_of(arm) + " scan bags";
      spec.settings_section = "radiology_arm";
      spec.fit = [used = spec.modalities](const FitRequest& request) {
        return BagModel::fit(request, used);
      };
      spec.load = BagModel::load;
    }
    add(std::move(spec));
  }
  for (const auto& arm : arms) {
    ModelSpec spec;
    spec.id = arm + "_mlp2";
    spec.label = title_of(arm) + ", two-layer MLP of the paper";
    spec.family = "paper-baseline";
    spec.modalities = modalities_of_arm(arm);
    spec.reference = kPaper;
    spec.settings_section = "baseline_mlp";
    if (arm == "clinical") {
      spec.fit = [](const FitRequest& request) {
        RunSettings changed = request.settings;
        const auto& s = request.settings.baseline_mlp;
        changed.clinical_arm.balance = "none";
        changed.clinical_arm.hidden = s.hidden;
        changed.clinical_arm.dropout = s.dropout;
        changed.clinical_arm.batch_norm = s.batch_norm;
        changed.clinical_arm.fit = s.fit;
        return ClinicalModel::fit(
            {request.cohort, changed, request.training, request.seed, request.fitted});
      };
      spec.load = ClinicalModel::load;
    } else {
      spec.fit = [used = spec.modalities](const FitRequest& request) {
        const auto& s = request.settings.baseline_mlp;
        return VectorModel::fit(request, {used, s.hidden, s.dropout, s.batch_norm, "mean", s.fit});
      };
      spec.load = VectorModel::load;
    }
    add(std::move(spec));
  }
  if (has("clinical")) {
    add({"stage_grade_logistic",
         "Stage and grade, logistic regression",
         "baseline",
         {"clinical"},
         "classical",
         "",
         [](const FitRequest& request) {
           const auto columns = stage_and_grade_columns(request.cohort);
           if (columns.empty()) {
             throw Error(ErrorKind::kData,
                         "no column of the table has 'stage' or 'grade' in its name");
           }
           return TableBaseline::fit(request, "logistic", columns);
         },
         TableBaseline::load});
    add({"clinical_logistic",
         "Clinical table, penalised logistic regression",
         "baseline",
         {"clinical"},
         "classical",
         "",
         [](const FitRequest& request) {
           return TableBaseline::fit(request, "logistic", request.settings.clinical_arm.columns);
         },
         TableBaseline::load});
    add({"clinical_trees",
         "Clinical table, gradient-boosted trees",
         "baseline",
         {"clinical"},
         "classical",
         "Chen and Guestrin 2016",
         [](const FitRequest& request) {
           return TableBaseline::fit(request, "trees", request.settings.clinical_arm.columns);
         },
         TableBaseline::load});
  }
  if (arms.size() > 1) {
    std::vector<std::string> used;
    for (const auto& arm : arms) {
      for (auto& name : modalities_of_arm(arm)) {
        if (has(name)) used.push_back(name);
      }
    }
    add({"early_concat",
         "Early fusion, concatenation",
         "fusion",
         used,
         "fusion",
         kPaper,
         [arms](const FitRequest& r) {
           return EarlyFusionModel::fit(r, arms, nn::FusionMode::kConcat);
         },
         EarlyFusionModel::load});
    add({"early_mean",
         "Early fusion, mean of projections",
         "fusion",
         used,
         "fusion",
         kPaper,
         [arms](const FitRequest& r) {
           return EarlyFusionModel::fit(r, arms, nn::FusionMode::kMean);
         },
         EarlyFusionModel::load});
    add({"late_weighted",
         "Late fusion, weighted sum",
         "fusion",
         used,
         "",
         kPaper,
         nullptr,
         LateFusionModel::load,
         true});
    add({"late_learned",
         "Late fusion, learned weights",
         "fusion",
         used,
         "",
         kPaper,
         nullptr,
         LateFusionModel::load,
         true});
    add({"fused_logistic",
         "All modalities, penalised logistic regression",
         "baseline",
         used,
         "classical",
         "",
         [arms](const FitRequest& r) { return FusedBaseline::fit(r, "logistic", arms); },
         FusedBaseline::load});
    add({"fused_trees",
         "All modalities, gradient-boosted trees",
         "baseline",
         used,
         "classical",
         "Chen and Guestrin 2016",
         [arms](const FitRequest& r) { return FusedBaseline::fit(r, "trees", arms); },
         FusedBaseline::load});
  }

  if (!settings.run.models.empty()) {
    std::vector<std::string> ids;
    for (const auto& spec : specs) ids.push_back(spec.id);
    for (const auto& wanted : settings.run.models) {
      if (std::find(ids.begin(), ids.end(), wanted) == ids.end()) {
        throw Error(ErrorKind::kUsage,
                    fmt::format("run.models: no model '{}' for these modalities{}; there are {}",
                                wanted,
                                did_you_mean(wanted, ids),
                                join(ids, ", ")));
      }
    }
    // What a wanted fusion is made of is fitted too.
    bool fusion_wanted = false;
    for (const auto& spec : specs) {
      const bool wanted =
          std::find(settings.run.models.begin(), settings.run.models.end(), spec.id) !=
          settings.run.models.end();
      fusion_wanted |= wanted && (spec.family == "fusion" || spec.id.starts_with("fused_"));
    }
    std::erase_if(specs, [&](const ModelSpec& spec) {
      const bool wanted =
          std::find(settings.run.models.begin(), settings.run.models.end(), spec.id) !=
          settings.run.models.end();
      return !wanted && spec.id != kMajorityModel && !(fusion_wanted && spec.family == "arm");
    });
  }
  return specs;
}

nn::TrainingOptions FitSettings::training(std::uint64_t seed,
                                          nn::DeviceKind device,
                                          bool has_validation) const {
  nn::TrainingOptions options;
  options.epochs = epochs;
  options.batch_size = batch_size;
  options.learning_rate = learning_rate;
  options.weight_decay = weight_decay;
  options.scheduler = scheduler == "none"     ? nn::TrainingOptions::Scheduler::kNone
                      : scheduler == "step"   ? nn::TrainingOptions::Scheduler::kStep
                      : scheduler == "cosine" ? nn::TrainingOptions::Scheduler::kCosine
                                              : nn::TrainingOptions::Scheduler::kPlateau;
  options.loss = loss == "bce" ? nn::TrainingOptions::Loss::kBce
                               : nn::TrainingOptions::Loss::kWeightedCrossEntropy;
  options.class_weights = class_weights;
  options.label_smoothing = label_smoothing;
  options.sampler = sampler == "weighted" ? nn::TrainingOptions::Sampler::kWeighted
                                          : nn::TrainingOptions::Sampler::kShuffle;
  options.feature_noise = feature_noise;
  options.early_stopping_patience = patience;
  options.select = select == "best_loss" ? nn::TrainingOptions::Select::kBestLoss
                   : select == "best_balanced_accuracy"
                       ? nn::TrainingOptions::Select::kBestBalancedAccuracy
                       : nn::TrainingOptions::Select::kLast;
  if (!has_validation) {
    options.early_stopping_patience = 0;
    options.select = nn::TrainingOptions::Select::kLast;
  }
  options.seed = seed;
  options.device = device;
  return options;
}

}  // namespace med3d::pipeline
