#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/pipeline/models/networks_internal.h"
#include "med3d/pipeline/models/survival_internal.h"
#include "med3d/pipeline/models/table_internal.h"
#include "med3d/stats/lanczos.h"

namespace med3d::pipeline {
namespace {

// The leading principal axes of standardised rows: (features, components), scaled so that scores of
// these rows have standard deviation 1. By the Gram matrix: fewer patients than features.
Matrix<double> principal_axes(const Matrix<double>& z, std::size_t components) {
  const std::size_t n = z.rows();
  Matrix<double> gram(n, n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = 0.0;
      for (std::size_t c = 0; c < z.cols(); ++c) sum += z(i, c) * z(j, c);
      gram(i, j) = gram(j, i) = sum / static_cast<double>(n);
    }
  }
  const auto pairs = stats::leading_eigenpairs(
      n,
      [&](std::span<const double> x, std::span<double> y) {
        for (std::size_t i = 0; i < n; ++i) {
          double sum = 0.0;
          for (std::size_t j = 0; j < n; ++j) sum += gram(i, j) * x[j];
          y[i] = sum;
        }
      },
      components);
  std::size_t kept = 0;
  while (kept < pairs.size() && pairs[kept].value > 1e-9 * pairs.front().value) ++kept;
  Matrix<double> axes(z.cols(), kept);
  for (std::size_t k = 0; k < kept; ++k) {
    // z' u / sqrt(n lambda) is the axis; scores have variance lambda.
    const double divisor = std::sqrt(static_cast<double>(n)) * pairs[k].value;
    for (std::size_t i = 0; i < n; ++i) {
      const double u = pairs[k].vector[i] / divisor;
      for (std::size_t c = 0; c < z.cols(); ++c) axes(c, k) += z(i, c) * u;
    }
  }
  return axes;
}

bool has_arm(const Cohort& cohort, const std::string& arm, std::size_t row) {
  if (arm == "clinical") return !cohort.columns.empty() && cohort.has_clinical[row];
  for (const auto& name : modalities_of_arm(arm)) {
    const Modality* modality = cohort.find_modality(name);
    if (modality != nullptr && modality->has(row)) return true;
  }
  return false;
}

}  // namespace

ArmInputs ArmInputs::fit(const SurvivalRequest& request,
                         const std::string& arm,
                         const std::vector<std::string>& columns) {
  ArmInputs inputs;
  inputs.arm_ = arm;
  const Selected chosen = select_rows(
      request.training.rows(), [&](std::size_t row) { return has_arm(request.cohort, arm, row); });
  if (chosen.rows.size() < 2) {
    throw Error(
        ErrorKind::kData,
        fmt::format("{}: {} training patients, at least 2 are needed", arm, chosen.rows.size()));
  }
  if (arm == "clinical") {
    inputs.encoder_ = fit_encoder(
        request.cohort, request.settings, chosen_table(request.cohort, chosen.rows, columns));
  }
  const auto x = inputs.raw(request.cohort, chosen.rows);
  const auto n = static_cast<double>(x.rows());
  inputs.mean_.assign(x.cols(), 0.0);
  inputs.scale_.assign(x.cols(), 0.0);
  Matrix<double> z(x.rows(), x.cols());
  for (std::size_t c = 0; c < x.cols(); ++c) {
    double sum = 0.0;
    for (std::size_t i = 0; i < x.rows(); ++i) sum += x(i, c);
    const double mean = sum / n;
    double squares = 0.0;
    for (std::size_t i = 0; i < x.rows(); ++i) squares += (x(i, c) - mean) * (x(i, c) - mean);
    const double sd = std::sqrt(squares / n);
    inputs.mean_[c] = mean;
    // Vectors are floats: what varies by less than they resolve does not vary.
    inputs.scale_[c] = sd > 1e-7 * std::max(1.0, std::abs(mean)) ? sd : 0.0;
    for (std::size_t i = 0; i < x.rows(); ++i) {
      z(i, c) = inputs.scale_[c] > 0.0 ? (x(i, c) - mean) / inputs.scale_[c] : 0.0;
    }
  }
  const auto wanted = static_cast<std::size_t>(request.settings.survival.components);
  if (arm == "clinical") {
    inputs.names_ = inputs.encoder_.feature_names();
  } else if (wanted > 0 && wanted < std::min(x.rows() - 1, x.cols())) {
    inputs.loading_ = principal_axes(z, wanted);
    for (std::size_t k = 0; k < inputs.loading_.cols(); ++k) {
      inputs.names_.push_back(fmt::format("{}_pc{}", arm, k + 1));
    }
  } else {
    for (std::size_t c = 0; c < x.cols(); ++c)
      inputs.names_.push_back(fmt::format("{}_{}", arm, c));
  }
  if (inputs.names_.empty()) {
    throw Error(ErrorKind::kData, arm + ": every feature is constant among the training patients");
  }
  return inputs;
}

Matrix<double> ArmInputs::raw(const Cohort& cohort, const Rows& rows) const {
  if (arm_ == "clinical") return encoder_.transform(clinical_table(cohort, rows));
  return matrix_cast<double>(mean_block(cohort, rows, modalities_of_arm(arm_)).values);
}

VectorBlock ArmInputs::apply(const Cohort& cohort, const Rows& rows) const {
  const Selected chosen =
      select_rows(rows, [&](std::size_t row) { return has_arm(cohort, arm_, row); });
  VectorBlock block{Matrix<float>(rows.size(), width()), std::vector<std::uint8_t>(rows.size(), 0)};
  if (chosen.rows.empty()) return block;
  const auto x = raw(cohort, chosen.rows);
  if (x.cols() != mean_.size()) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: vectors of {} numbers, the model was trained on {}",
                            arm_,
                            x.cols(),
                            mean_.size()));
  }
  std::vector<double> z(x.cols());
  for (std::size_t i = 0; i < x.rows(); ++i) {
    for (std::size_t c = 0; c < z.size(); ++c) {
      z[c] = scale_[c] > 0.0 ? (x(i, c) - mean_[c]) / scale_[c] : 0.0;
    }
    const std::size_t at = chosen.position[i];
    block.present[at] = 1;
    if (loading_.empty()) {
      for (std::size_t c = 0; c < z.size(); ++c) block.values(at, c) = static_cast<float>(z[c]);
      continue;
    }
    for (std::size_t k = 0; k < loading_.cols(); ++k) {
      double sum = 0.0;
      for (std::size_t c = 0; c < z.size(); ++c) sum += z[c] * loading_(c, k);
      block.values(at, k) = static_cast<float>(sum);
    }
  }
  return block;
}

std::vector<std::string> ArmInputs::warnings(const Cohort& cohort, const Rows& rows) const {
  if (arm_ != "clinical") return {};
  return encoder_warnings(encoder_, cohort, rows);
}

Json ArmInputs::save(const std::string& name, TensorStore& store) const {
  // One matrix of all features: mean and scale, then a row for each component.
  Matrix<double> numbers(2 + loading_.cols(), mean_.size());
  std::copy(mean_.begin(), mean_.end(), numbers.row(0).begin());
  std::copy(scale_.begin(), scale_.end(), numbers.row(1).begin());
  for (std::size_t k = 0; k < loading_.cols(); ++k) {
    for (std::size_t c = 0; c < mean_.size(); ++c) numbers(2 + k, c) = loading_(c, k);
  }
  store.matrices["inputs/" + name] = std::move(numbers);
  Json json = {{"arm", arm_},
               {"features", mean_.size()},
               {"components", loading_.cols()},
               {"names", names_}};
  if (arm_ == "clinical") json["encoder"] = encoder_.to_json();
  return json;
}

ArmInputs ArmInputs::load(const Json& json, const std::string& name, const TensorStore& store) {
  ArmInputs inputs;
  inputs.arm_ = word_of(json, "arm", {"clinical", "ct", "mri", "ct_mri", "wsi"});
  const auto features = json.at("features").get<std::size_t>();
  const auto components = json.at("components").get<std::size_t>();
  inputs.names_ = json.at("names").get<std::vector<std::string>>();
  if (inputs.names_.empty() || inputs.names_.size() != (components > 0 ? components : features)) {
    throw Error(ErrorKind::kFormat,
                fmt::format("inputs '{}': {} 'names' of {} features and {} components",
                            name,
                            inputs.names_.size(),
                            features,
                            components));
  }
  // `components` is a count of names by now, so that the sum cannot wrap.
  const auto& numbers = store.matrix("inputs/" + name, components + 2, features);
  const auto mean = numbers.row(0);
  const auto scale = numbers.row(1);
  inputs.mean_.assign(mean.begin(), mean.end());
  inputs.scale_.assign(scale.begin(), scale.end());
  if (std::any_of(scale.begin(), scale.end(), [](double s) { return s < 0.0; })) {
    throw Error(ErrorKind::kFormat,
                fmt::format("inputs '{}': a standard deviation is below 0", name));
  }
  if (components > 0) inputs.loading_ = Matrix<double>(features, components);
  for (std::size_t k = 0; k < components; ++k) {
    for (std::size_t c = 0; c < features; ++c) inputs.loading_(c, k) = numbers(2 + k, c);
  }
  if (inputs.arm_ == "clinical") {
    inputs.encoder_ = tabular::ClinicalEncoder::from_json(json.at("encoder"));
    if (inputs.encoder_.feature_names().size() != features) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("inputs '{}': 'encoder' makes {} features, 'features' says {}",
                              name,
                              inputs.encoder_.feature_names().size(),
                              features));
    }
  }
  return inputs;
}

SurvivalInputs SurvivalInputs::fit(const SurvivalRequest& request,
                                   const std::vector<std::string>& arms,
                                   const std::vector<std::string>& columns) {
  SurvivalInputs inputs;
  inputs.arms_ = arms;
  for (const auto& arm : arms) {
    if (request.inputs == nullptr || !columns.empty()) {
      inputs.inputs_.push_back(
          std::make_shared<const ArmInputs>(ArmInputs::fit(request, arm, columns)));
      continue;
    }
    auto& kept = request.inputs->arms[arm];
    if (!kept) kept = std::make_shared<const ArmInputs>(ArmInputs::fit(request, arm));
    inputs.inputs_.push_back(kept);
  }
  return inputs;
}

SurvivalInputs::Part SurvivalInputs::apply(const Cohort& cohort, const Rows& rows) const {
  Part part;
  part.chosen = select_rows(rows, [&](std::size_t row) {
    return std::any_of(arms_.begin(), arms_.end(), [&](const std::string& arm) {
      return has_arm(cohort, arm, row);
    });
  });
  part.input.present = Matrix<std::uint8_t>(part.chosen.rows.size(), arms_.size());
  for (std::size_t k = 0; k < arms_.size(); ++k) {
    auto block = inputs_[k]->apply(cohort, part.chosen.rows);
    for (std::size_t i = 0; i < block.present.size(); ++i) {
      part.input.present(i, k) = block.present[i];
    }
    part.input.blocks.push_back(std::move(block.values));
  }
  return part;
}

Matrix<double> SurvivalInputs::flat(const nn::FusionInput& input, double fill) const {
  const bool masks = arms_.size() > 1;
  Matrix<double> out(input.present.rows(), width());
  for (std::size_t i = 0; i < out.rows(); ++i) {
    std::size_t at = 0;
    for (std::size_t k = 0; k < arms_.size(); ++k) {
      const bool there = input.present(i, k) != 0;
      for (const float value : input.blocks[k].row(i)) {
        out(i, at++) = there ? static_cast<double>(value) : fill;
      }
    }
    for (std::size_t k = 0; masks && k < arms_.size(); ++k) out(i, at++) = input.present(i, k);
  }
  return out;
}

std::size_t SurvivalInputs::width() const {
  std::size_t width = arms_.size() > 1 ? arms_.size() : 0;
  for (const auto& one : inputs_) width += one->width();
  return width;
}

std::vector<std::size_t> SurvivalInputs::block_widths() const {
  std::vector<std::size_t> widths;
  for (const auto& one : inputs_) widths.push_back(one->width());
  return widths;
}

std::vector<std::string> SurvivalInputs::warnings(const Cohort& cohort, const Rows& rows) const {
  std::vector<std::string> warnings;
  for (const auto& one : inputs_) {
    for (auto& warning : one->warnings(cohort, rows)) warnings.push_back(std::move(warning));
  }
  return warnings;
}

Json SurvivalInputs::save(SurvivalArchive& archive) const {
  Json names = Json::array();
  for (std::size_t k = 0; k < arms_.size(); ++k) {
    const auto known = std::find_if(archive.arms.begin(), archive.arms.end(), [&](const auto& one) {
      return one.second == inputs_[k];
    });
    if (known != archive.arms.end()) {
      names.push_back(known->first);
      continue;
    }
    std::string name = arms_[k];
    for (int other = 2; archive.arms.contains(name); ++other) {
      name = fmt::format("{}-{}", arms_[k], other);
    }
    archive.arms[name] = inputs_[k];
    archive.inputs[name] = inputs_[k]->save(name, archive.arrays);
    names.push_back(name);
  }
  return {{"arms", arms_}, {"inputs", names}};
}

SurvivalInputs SurvivalInputs::load(const Json& json, const SurvivalArchive& archive) {
  SurvivalInputs inputs;
  inputs.arms_ = json.at("arms").get<std::vector<std::string>>();
  const auto names = json.at("inputs").get<std::vector<std::string>>();
  if (names.empty() || names.size() != inputs.arms_.size()) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{} 'inputs' for {} 'arms'", names.size(), inputs.arms_.size()));
  }
  for (std::size_t k = 0; k < names.size(); ++k) {
    const auto found = archive.arms.find(names[k]);
    if (found == archive.arms.end() || found->second->arm() != inputs.arms_[k]) {
      throw Error(
          ErrorKind::kFormat,
          fmt::format(
              "there are no 'inputs' named '{}' of an arm '{}'", names[k], inputs.arms_[k]));
    }
    inputs.inputs_.push_back(found->second);
  }
  return inputs;
}

void load_arm_inputs(SurvivalArchive& archive) {
  for (const auto& [name, json] : archive.inputs.items()) {
    archive.arms[name] =
        std::make_shared<const ArmInputs>(ArmInputs::load(json, name, archive.arrays));
  }
}

std::vector<std::string> SurvivalInputs::names() const {
  std::vector<std::string> names;
  for (const auto& one : inputs_) {
    names.insert(names.end(), one->names().begin(), one->names().end());
  }
  for (std::size_t k = 0; arms_.size() > 1 && k < arms_.size(); ++k) {
    names.push_back("has_" + arms_[k]);
  }
  return names;
}

}  // namespace med3d::pipeline
