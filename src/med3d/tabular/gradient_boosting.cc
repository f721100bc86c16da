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
std::size_t check_model(const Json& model, const char* objective) {
  const Json& learner = model.at("learner");
  const auto columns =
      std::stoll(learner.at("learner_model_param").at("num_feature").get_ref<const std::string&>());
  if (columns < 0) throw Error(ErrorKind::kFormat, "num_feature is negative");
  const Json& booster = learner.at("gradient_booster");
  if (booster.at("name") != "gbtree" || learner.at("objective").at("name") != objective) {
    throw Error(ErrorKind::kFormat, std::string("not trees for ") + objective);
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

// An XGBoost booster with its number of columns.
struct Booster {
  BoosterHandle handle = nullptr;
  std::size_t columns = 0;

  // The number of threads and the silence are settings of the session, not part of a saved model.
  explicit Booster(const DMatrixHandle* data) {
    check(XGBSetGlobalConfig("{\"verbosity\": 0}"));  // for the calling thread
    check(XGBoosterCreate(data, data == nullptr ? 0 : 1, &handle));
    set("nthread", "1");
    set("verbosity", "0");
  }
  Booster(const Booster&) = delete;
  Booster& operator=(const Booster&) = delete;
  ~Booster() {
    if (handle != nullptr) XGBoosterFree(handle);
  }

  void set(const char* name, const std::string& value) {
    check(XGBoosterSetParam(handle, name, value.c_str()));
  }

  void train(const char* objective, const DataHandle& data, const BoostingOptions& options) {
    set("objective", objective);
    set("tree_method", "exact");  // every cut of so few rows; no sketch, no histogram
    set("max_depth", std::to_string(options.max_depth));
    set("eta", format_double(options.learning_rate));
    set("subsample", format_double(options.subsample));
    set("colsample_bytree", format_double(options.colsample));
    set("lambda", format_double(options.lambda));
    set("scale_pos_weight", format_double(options.scale_pos_weight));
    set("seed", std::to_string(options.seed & 0x7FFFFFFFU));
    // Each round reseeds: its draws cannot depend on what else this thread's generator served.
    set("seed_per_iteration", "1");
    for (int round = 0; round < options.rounds; ++round) {
      check(XGBoosterUpdateOneIter(handle, round, data.handle));
    }
  }

  // type 0: what the objective makes of the sum of the trees; 1: the sum itself.
  std::vector<double> predict(const Matrix<double>& x, int type) const {
    if (x.rows() == 0) return {};
    if (x.cols() != columns) {
      throw Error(ErrorKind::kUsage,
                  "gradient boosting: " + std::to_string(x.cols()) + " columns, expected " +
                      std::to_string(columns));
    }
    check_values(x);
    check(XGBSetGlobalConfig("{\"verbosity\": 0}"));
    DataHandle data;
    load_data(x, data);
    const std::string config = "{\"type\": " + std::to_string(type) +
                               ", \"training\": false, \"iteration_begin\": 0, "
                               "\"iteration_end\": 0, \"strict_shape\": false}";
    const bst_ulong* shape = nullptr;
    bst_ulong dimensions = 0;
    const float* result = nullptr;
    check(XGBoosterPredictFromDMatrix(
        handle, data.handle, config.c_str(), &shape, &dimensions, &result));
    if (dimensions != 1 || shape[0] != x.rows()) {
      throw Error(ErrorKind::kNumerical, "gradient boosting: the model has more than one output");
    }
    return {result, result + x.rows()};
  }

  std::string save() const {
    bst_ulong size = 0;
    const char* bytes = nullptr;
    check(XGBoosterSaveModelToBuffer(handle, "{\"format\": \"json\"}", &size, &bytes));
    return {bytes, bytes + size};
  }

  void load(std::string_view bytes, const char* objective) {
    const Json model = parse_json(bytes, "gradient boosting model");
    try {
      columns = check_model(model, objective);
    } catch (const std::exception& error) {
      throw Error(ErrorKind::kFormat, std::string("gradient boosting model: ") + error.what());
    }
    // What was checked is what is loaded: of the bytes themselves XGBoost could make something else
    // (after a blank, for one, it takes them for its old binary format).
    const std::string checked = model.dump();
    check(XGBoosterLoadModelFromBuffer(handle, checked.data(), checked.size()), ErrorKind::kFormat);
    set("nthread", "1");
  }
};

void check_sizes(const Matrix<double>& x, std::size_t labels, const char* what) {
  if (x.rows() != labels) {
    throw Error(ErrorKind::kUsage,
                "gradient boosting: " + std::to_string(x.rows()) + " rows and " +
                    std::to_string(labels) + " " + what + ", expected as many");
  }
  if (x.cols() == 0) throw Error(ErrorKind::kData, "gradient boosting: no columns");
}

constexpr const char* kBinary = "binary:logistic";
constexpr const char* kCox = "survival:cox";

}  // namespace

struct GradientBoosting::Impl : Booster {
  using Booster::Booster;
};
struct CoxBoosting::Impl : Booster {
  using Booster::Booster;
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
  check_sizes(x, y.size(), "labels");
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
  impl->train(kBinary, data, options);
  return GradientBoosting(std::move(impl));
}

std::vector<double> GradientBoosting::predict_proba(const Matrix<double>& x) const {
  return impl_->predict(x, 0);
}

std::size_t GradientBoosting::columns() const { return impl_->columns; }

std::string GradientBoosting::save_bytes() const { return impl_->save(); }

GradientBoosting GradientBoosting::load_bytes(std::string_view bytes) {
  auto impl = std::make_unique<Impl>(nullptr);
  impl->load(bytes, kBinary);
  return GradientBoosting(std::move(impl));
}

CoxBoosting CoxBoosting::fit(const Matrix<double>& x,
                             std::span<const double> time_months,
                             std::span<const std::uint8_t> event,
                             const BoostingOptions& options) {
  options.validate();
  if (options.scale_pos_weight != 1.0) {
    throw Error(ErrorKind::kUsage, "gradient boosting: times to event have no class to weigh");
  }
  check_sizes(x, time_months.size(), "times");
  check_sizes(x, event.size(), "events");
  constexpr double kZeroTime = 1e-6;
  std::vector<float> labels;
  bool any = false;
  for (std::size_t i = 0; i < event.size(); ++i) {
    if (!std::isfinite(time_months[i]) || time_months[i] < 0.0 || event[i] > 1) {
      throw Error(ErrorKind::kData,
                  "gradient boosting: follow-up of row " + std::to_string(i + 1) +
                      " is no time >= 0 with an event of 0 or 1");
    }
    any = any || event[i] == 1;
    const double time = std::max(time_months[i], kZeroTime);
    labels.push_back(static_cast<float>(event[i] == 1 ? time : -time));
  }
  if (!any) throw Error(ErrorKind::kData, "gradient boosting: no event among the rows");
  check_values(x);
  DataHandle data;
  load_data(x, data);
  check(XGDMatrixSetFloatInfo(data.handle, "label", labels.data(), labels.size()));
  auto impl = std::make_unique<Impl>(&data.handle);
  impl->columns = x.cols();
  impl->train(kCox, data, options);
  return CoxBoosting(std::move(impl));
}

std::vector<double> CoxBoosting::log_hazard(const Matrix<double>& x) const {
  return impl_->predict(x, 1);
}

std::size_t CoxBoosting::columns() const { return impl_->columns; }
std::string CoxBoosting::save_bytes() const { return impl_->save(); }

CoxBoosting CoxBoosting::load_bytes(std::string_view bytes) {
  auto impl = std::make_unique<Impl>(nullptr);
  impl->load(bytes, kCox);
  return CoxBoosting(std::move(impl));
}

CoxBoosting::CoxBoosting(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CoxBoosting::CoxBoosting(CoxBoosting&&) noexcept = default;
CoxBoosting& CoxBoosting::operator=(CoxBoosting&&) noexcept = default;
CoxBoosting::~CoxBoosting() = default;

GradientBoosting::GradientBoosting(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GradientBoosting::GradientBoosting(GradientBoosting&&) noexcept = default;
GradientBoosting& GradientBoosting::operator=(GradientBoosting&&) noexcept = default;
GradientBoosting::~GradientBoosting() = default;

}  // namespace med3d::tabular
