#include "med3d/tabular/gradient_boosting.h"

#include <xgboost/c_api.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/json.h"
#include "med3d/core/text.h"

namespace med3d::tabular {
namespace {

// XGBoost's message is followed by a stack trace; its first line says what happened.
void check(int status, ErrorKind kind = ErrorKind::kNumerical) {
  if (status == 0) return;
  const std::string text = XGBGetLastError();
  throw Error(kind, "gradient boosting: " + text.substr(0, text.find('\n')));
}

struct DataHandle {
  DMatrixHandle handle = nullptr;
  DataHandle() = default;
  DataHandle(const DataHandle&) = delete;
  DataHandle& operator=(const DataHandle&) = delete;
  ~DataHandle() {
    if (handle != nullptr) XGDMatrixFree(handle);
  }
};

void check_values(const Matrix<double>& x) {
  for (std::size_t i = 0; i < x.rows(); ++i) {
    for (std::size_t j = 0; j < x.cols(); ++j) {
      if (std::isinf(static_cast<float>(x(i, j)))) {
        throw Error(ErrorKind::kData,
                    "gradient boosting: row " + std::to_string(i + 1) + ", column " +
                        std::to_string(j + 1) + " is " + format_double(x(i, j)) +
                        ", expected a number a float can hold, or NaN");
      }
    }
  }
}

void load_data(const Matrix<double>& x, DataHandle& out) {
  const Matrix<float> values = matrix_cast<float>(x);
  check(XGDMatrixCreateFromMat_omp(values.data(),
                                   values.rows(),
                                   values.cols(),
                                   std::numeric_limits<float>::quiet_NaN(),
                                   &out.handle,
                                   1));
}

// XGBoost follows child links without looking: a loop would hang it, an index out of range read
// foreign memory. Returns the number of columns.
std::size_t check_model(const Json& model) {
  const Json& learner = model.at("learner");
  const auto columns =
      std::stoll(learner.at("learner_model_param").at("num_feature").get_ref<const std::string&>());
  if (columns < 0) throw Error(ErrorKind::kFormat, "num_feature is negative");
  const Json& booster = learner.at("gradient_booster");
  if (booster.at("name") != "gbtree" || learner.at("objective").at("name") != "binary:logistic") {
    throw Error(ErrorKind::kFormat, "not trees for a binary label");
  }
  const Json& trees = booster.at("model").at("trees");
  const Json& group = booster.at("model").at("tree_info");
  // The sum of a tree's group is written to: there is one group.
  const bool one_group = group.is_array() && group.size() == trees.size() &&
                         std::all_of(group.begin(), group.end(), [](const Json& g) {
                           return g.is_number_integer() && g == 0;
                         });
  const Json& classes = learner.at("learner_model_param").at("num_class");
  if (!trees.is_array() || !one_group || (classes != "0" && classes != "1")) {
    throw Error(ErrorKind::kFormat, "'tree_info' or 'num_class' tell of more than one output");
  }
  for (const Json& tree : trees) {
    for (const char* key : {"categories", "categories_nodes"}) {
      if (tree.contains(key) && !tree.at(key).empty()) {
        throw Error(ErrorKind::kFormat, "a tree splits by category, which we never train");
      }
    }
    if (tree.contains("split_type")) {
      for (const Json& type : tree.at("split_type")) {
        if (type != 0) throw Error(ErrorKind::kFormat, "a tree splits by category");
      }
    }
    const Json& left = tree.at("left_children");
    const Json& right = tree.at("right_children");
    const Json& split = tree.at("split_indices");
    const auto nodes = static_cast<std::int64_t>(left.size());
    for (const char* key : {"right_children",
                            "split_indices",
                            "split_conditions",
                            "default_left",
                            "parents",
                            "base_weights"}) {
      if (!tree.at(key).is_array() || static_cast<std::int64_t>(tree.at(key).size()) != nodes) {
        throw Error(ErrorKind::kFormat, std::string("a tree's '") + key + "' has another length");
      }
    }
    if (std::stoll(tree.at("tree_param").at("num_nodes").get_ref<const std::string&>()) != nodes) {
      throw Error(ErrorKind::kFormat, "a tree's num_nodes does not fit its arrays");
    }
    std::vector<int> parents(left.size(), 0);
    for (std::int64_t i = 0; i < nodes; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const auto a = left[at].get<std::int64_t>();
      const auto b = right[at].get<std::int64_t>();
      if (a == -1 && b == -1) continue;
      const auto feature = split[at].get<std::int64_t>();
      const bool in_range = a > 0 && a < nodes && b > 0 && b < nodes && a != b;
      if (!in_range || feature < 0 || feature >= columns) {
        throw Error(ErrorKind::kFormat, "a tree's child or column is out of range");
      }
      // One parent each, and none for the root: no walk from the root can come back.
      if (++parents[static_cast<std::size_t>(a)] > 1 ||
          ++parents[static_cast<std::size_t>(b)] > 1) {
        throw Error(ErrorKind::kFormat, "a tree's node has two parents");
      }
    }
  }
  return static_cast<std::size_t>(columns);
}

}  // namespace

struct GradientBoosting::Impl {
  BoosterHandle handle = nullptr;
  std::size_t columns = 0;

  // The number of threads and the silence are settings of the session, not part of a saved model.
  explicit Impl(const DMatrixHandle* data) {
    check(XGBSetGlobalConfig("{\"verbosity\": 0}"));  // for the calling thread
    check(XGBoosterCreate(data, data == nullptr ? 0 : 1, &handle));
    set("nthread", "1");
    set("verbosity", "0");
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (handle != nullptr) XGBoosterFree(handle);
  }

  void set(const char* name, const std::string& value) {
    check(XGBoosterSetParam(handle, name, value.c_str()));
  }
};

void BoostingOptions::validate() const {
  const auto refuse = [](const std::string& name, const std::string& found, const char* expected) {
    throw Error(ErrorKind::kUsage,
                "gradient boosting: " + name + " is " + found + ", expected " + expected);
  };
  if (rounds < 1) refuse("rounds", std::to_string(rounds), "at least 1");
  if (max_depth < 1 || max_depth > 32) refuse("max_depth", std::to_string(max_depth), "1 to 32");
  const std::pair<const char*, double> shares[] = {
      {"learning_rate", learning_rate}, {"subsample", subsample}, {"colsample", colsample}};
  for (const auto& [name, value] : shares) {
    if (!(value > 0.0 && value <= 1.0)) refuse(name, format_double(value), "a number in (0, 1]");
  }
  if (!(lambda >= 0.0) || !std::isfinite(lambda)) {
    refuse("lambda", format_double(lambda), "a finite number >= 0");
  }
  if (!(scale_pos_weight > 0.0) || !std::isfinite(scale_pos_weight)) {
    refuse("scale_pos_weight", format_double(scale_pos_weight), "a finite number above 0");
  }
}

GradientBoosting GradientBoosting::fit(const Matrix<double>& x,
                                       std::span<const std::uint8_t> y,
                                       const BoostingOptions& options) {
  options.validate();
  if (x.rows() != y.size()) {
    throw Error(ErrorKind::kUsage,
                "gradient boosting: " + std::to_string(x.rows()) + " rows and " +
                    std::to_string(y.size()) + " labels, expected as many");
  }
  if (x.cols() == 0) throw Error(ErrorKind::kData, "gradient boosting: no columns");
  bool present[2] = {false, false};
  std::vector<float> labels;
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (y[i] > 1) {
      throw Error(ErrorKind::kData,
                  "gradient boosting: label of row " + std::to_string(i + 1) + " is " +
                      std::to_string(y[i]) + ", expected 0 or 1");
    }
    present[y[i]] = true;
    labels.push_back(static_cast<float>(y[i]));
  }
  for (const int label : {0, 1}) {
    if (!present[label]) {
      throw Error(ErrorKind::kData,
                  "gradient boosting: no row of class " + std::to_string(label) +
                      ", expected both classes");
    }
  }
  check_values(x);
  DataHandle data;
  load_data(x, data);
  check(XGDMatrixSetFloatInfo(data.handle, "label", labels.data(), labels.size()));
  auto impl = std::make_unique<Impl>(&data.handle);
  impl->columns = x.cols();
  impl->set("objective", "binary:logistic");
  impl->set("tree_method", "exact");  // every cut of so few rows; no sketch, no histogram
  impl->set("max_depth", std::to_string(options.max_depth));
  impl->set("eta", format_double(options.learning_rate));
  impl->set("subsample", format_double(options.subsample));
  impl->set("colsample_bytree", format_double(options.colsample));
  impl->set("lambda", format_double(options.lambda));
  impl->set("scale_pos_weight", format_double(options.scale_pos_weight));
  impl->set("seed", std::to_string(options.seed & 0x7FFFFFFFU));
  // Each round reseeds: its draws cannot depend on what else this thread's generator served.
  impl->set("seed_per_iteration", "1");
  for (int round = 0; round < options.rounds; ++round) {
    check(XGBoosterUpdateOneIter(impl->handle, round, data.handle));
  }
  return GradientBoosting(std::move(impl));
}

std::vector<double> GradientBoosting::predict_proba(const Matrix<double>& x) const {
  if (x.rows() == 0) return {};
  if (x.cols() != impl_->columns) {
    throw Error(ErrorKind::kUsage,
                "gradient boosting: " + std::to_string(x.cols()) + " columns, expected " +
                    std::to_string(impl_->columns));
  }
  check_values(x);
  check(XGBSetGlobalConfig("{\"verbosity\": 0}"));
  DataHandle data;
  load_data(x, data);
  const char* config =
      "{\"type\": 0, \"training\": false, \"iteration_begin\": 0, \"iteration_end\": 0, "
      "\"strict_shape\": false}";
  const bst_ulong* shape = nullptr;
  bst_ulong dimensions = 0;
  const float* result = nullptr;
  check(XGBoosterPredictFromDMatrix(
      impl_->handle, data.handle, config, &shape, &dimensions, &result));
  if (dimensions != 1 || shape[0] != x.rows()) {
    throw Error(ErrorKind::kNumerical, "gradient boosting: the model is not for a binary label");
  }
  return {result, result + x.rows()};
}

std::size_t GradientBoosting::columns() const { return impl_->columns; }

std::string GradientBoosting::save_bytes() const {
  bst_ulong size = 0;
  const char* bytes = nullptr;
  check(XGBoosterSaveModelToBuffer(impl_->handle, "{\"format\": \"json\"}", &size, &bytes));
  return {bytes, bytes + size};
}

GradientBoosting GradientBoosting::load_bytes(std::string_view bytes) {
  const Json model = parse_json(bytes, "gradient boosting model");
  std::size_t columns = 0;
  try {
    columns = check_model(model);
  } catch (const std::exception& error) {
    throw Error(ErrorKind::kFormat, std::string("gradient boosting model: ") + error.what());
  }
  auto impl = std::make_unique<Impl>(nullptr);
  impl->columns = columns;
  // What was checked is what is loaded: of the bytes themselves XGBoost could make something else
  // (after a blank, for one, it takes them for its old binary format).
  const std::string checked = model.dump();
  check(XGBoosterLoadModelFromBuffer(impl->handle, checked.data(), checked.size()),
        ErrorKind::kFormat);
  impl->set("nthread", "1");
  return GradientBoosting(std::move(impl));
}

GradientBoosting::GradientBoosting(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GradientBoosting::GradientBoosting(GradientBoosting&&) noexcept = default;
GradientBoosting& GradientBoosting::operator=(GradientBoosting&&) noexcept = default;
GradientBoosting::~GradientBoosting() = default;

}  // namespace med3d::tabular
