#include "med3d/mil/train.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <future>
#include <limits>
#include <map>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/hash.h"
#include "med3d/core/json.h"
#include "med3d/core/random.h"
#include "med3d/io/formats/csv.h"
#include "med3d/io/formats/safetensors.h"

namespace med3d::mil {
namespace {

void check(const ClamOptions& options, const TrainingTask& task) {
  options.validate();
  if (task.bags == nullptr || task.targets.size() != task.bags->count()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("training: {} targets for {} bags",
                            task.targets.size(),
                            task.bags == nullptr ? 0 : task.bags->count()));
  }
  if (task.training.empty()) throw Error(ErrorKind::kUsage, "training: no slides");
  if (options.early_stopping && task.validation.empty()) {
    throw Error(ErrorKind::kUsage, "training: early stopping needs validation slides");
  }
  for (const auto* rows : {&task.training, &task.validation}) {
    for (const std::size_t row : *rows) {
      if (row >= task.targets.size()) {
        throw Error(ErrorKind::kUsage,
                    fmt::format("training: slide {} of {}", row, task.targets.size()));
      }
      const int label = task.targets[row].label;
      if (label < 0 || static_cast<std::size_t>(label) >= options.n_classes) {
        throw Error(ErrorKind::kUsage,
                    fmt::format("training: slide {} has label {}, expected 0 to {}",
                                row,
                                label,
                                options.n_classes - 1));
      }
    }
  }
}

Bag read_bag(const TrainingTask& task, std::size_t row) {
  try {
    return task.bags->read(row);
  } catch (const std::exception&) {
    rethrow_with_context(fmt::format("slide {}", row));
  }
}

// Calls work(row, bag) for each row in order, with the next bag on its way.
template <class Work>
void walk(const TrainingTask& task, std::span<const std::size_t> rows, const Work& work) {
  std::future<Bag> next;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Bag bag = i == 0 ? read_bag(task, rows[0]) : next.get();
    if (i + 1 < rows.size()) {
      next = std::async(std::launch::async,
                        [&task, row = rows[i + 1]] { return read_bag(task, row); });
    }
    work(rows[i], bag);
  }
}

// What makes two trainings the same: a state of one is of no use to another.
std::string fingerprint(const ClamOptions& o, const TrainingTask& task) {
  Json json;
  json["model_type"] = to_string(o.model_type);
  json["gated"] = o.gated;
  json["drop_out"] = o.drop_out;
  json["sizes"] = {o.n_classes, o.embed_dim, o.hidden(), o.attention(), o.k_sample, o.max_patches};
  json["flags"] = {o.shared_instances, o.no_inst_cluster, o.subtyping, o.weighted_sample};
  json["inst_loss"] = to_string(o.inst_loss);
  json["bag_loss"] = to_string(o.bag_loss);
  json["numbers"] = {o.alpha_surv, o.bag_weight, o.lr, o.reg};
  json["opt"] = to_string(o.opt);
  json["stopping"] = {o.early_stopping ? 1 : 0, o.patience, o.stop_epoch};
  json["seed"] = o.seed;
  json["precision"] = o.precision == Arithmetic::kBf16 ? "bf16" : "f32";
  json["training"] = task.training;
  json["validation"] = task.validation;
  for (const Target& target : task.targets) {
    json["targets"].push_back({target.label, target.censored ? 1 : 0});
  }
  return sha256_hex(dump_json(json));
}

Array array_of(const std::vector<float>& values) {
  Array array;
  array.shape = {values.size()};
  array.bytes.assign(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  return array;
}

}  // namespace

std::vector<std::size_t> epoch_order(const ClamOptions& options,
                                     const TrainingTask& task,
                                     int epoch) {
  NumpyRandom random(static_cast<std::uint32_t>(
      derive_seed(options.seed, "mil/order", {static_cast<std::uint64_t>(epoch)})));
  std::vector<std::size_t> order = task.training;
  if (!options.weighted_sample) {
    random.shuffle(order);
    return order;
  }
  // Weight N / n_class: each class equally often, each slide of a class too.
  std::map<int, std::vector<std::size_t>> classes;
  for (const std::size_t row : task.training) classes[task.targets[row].label].push_back(row);
  std::vector<const std::vector<std::size_t>*> list;
  for (const auto& [label, rows] : classes) list.push_back(&rows);
  for (std::size_t& row : order) {
    const auto& rows = *list[random.randint(list.size())];
    row = rows[random.randint(rows.size())];
  }
  return order;
}

std::vector<BagPrediction> predict_bags(Clam& net,
                                        const TrainingTask& task,
                                        std::span<const std::size_t> rows) {
  std::vector<BagPrediction> out;
  out.reserve(rows.size());
  walk(task, rows, [&](std::size_t row, const Bag& bag) {
    BagOutput said = net.forward(bag.view);
    BagPrediction prediction;
    prediction.row = row;
    prediction.target = task.targets.at(row);
    prediction.bag_loss = net.head().loss(said.logits, prediction.target, {});
    prediction.logits = std::move(said.logits);
    prediction.probabilities = std::move(said.probabilities);
    prediction.predicted = said.predicted;
    prediction.risk = said.risk;
    out.push_back(std::move(prediction));
  });
  return out;
}

TrainedClam train_clam(const ClamOptions& options,
                       const TrainingTask& task,
                       const AfterEpoch& after_epoch,
                       const TrainingState* from) {
  check(options, task);
  TrainedClam out{Clam(options), {}};
  Clam& net = out.net;
  TrainingState& state = out.state;
  if (from != nullptr) {
    state = *from;
    net.set_parameters(state.parameters);
    net.set_optimiser_state(state.optimiser);
  } else {
    state.best_loss = std::numeric_limits<double>::infinity();
  }
  const auto fold_in = [&](bool all) {
    state.parameters.assign(net.parameters().begin(), net.parameters().end());
    if (all) state.optimiser = net.optimiser_state();
  };
  while (!state.stopped && static_cast<int>(state.curve.size()) < options.max_epochs) {
    EpochRecord record;
    record.epoch = static_cast<int>(state.curve.size());
    try {
      const std::vector<std::size_t> order = epoch_order(options, task, record.epoch);
      walk(task, order, [&](std::size_t row, const Bag& whole) {
        const std::uint64_t seed = derive_seed(options.seed, "mil/step", {state.steps++});
        const Bag bag = subsample(whole, options.max_patches, derive_seed(seed, "patches"));
        const BagOutput said = net.train_step(bag.view, task.targets[row], seed);
        record.training_loss += said.bag_loss;
        record.training_instance_loss += said.instance_loss;
        record.training_error += said.predicted == task.targets[row].label ? 0.0 : 1.0;
      });
      const auto steps = static_cast<double>(order.size());
      record.training_loss /= steps;
      record.training_instance_loss /= steps;
      record.training_error /= steps;
      record.validation_loss = record.validation_error = std::numeric_limits<double>::quiet_NaN();
      if (!task.validation.empty()) {
        double loss = 0.0, wrong = 0.0;
        for (const BagPrediction& said : predict_bags(net, task, task.validation)) {
          loss += said.bag_loss;
          wrong += said.predicted == said.target.label ? 0.0 : 1.0;
        }
        record.validation_loss = loss / static_cast<double>(task.validation.size());
        record.validation_error = wrong / static_cast<double>(task.validation.size());
      }
    } catch (const std::exception&) {
      rethrow_with_context(fmt::format("epoch {}", record.epoch));
    }
    if (options.early_stopping) {
      // CLAM counts an equal loss as a gain.
      if (record.validation_loss <= state.best_loss) {
        record.best = true;
        state.best_loss = record.validation_loss;
        state.best_parameters.assign(net.parameters().begin(), net.parameters().end());
        state.epochs_without_gain = 0;
      } else {
        ++state.epochs_without_gain;
        state.stopped =
            state.epochs_without_gain >= options.patience && record.epoch > options.stop_epoch;
      }
    }
    state.curve.push_back(record);
    if (after_epoch) {
      fold_in(true);
      if (!after_epoch(state)) break;
    }
  }
  fold_in(true);
  if (!state.best_parameters.empty()) net.set_parameters(state.best_parameters);
  return out;
}

std::string training_state_bytes(const TrainingState& state,
                                 const ClamOptions& options,
                                 const TrainingTask& task) {
  std::vector<NamedArray> arrays = {{"parameters", array_of(state.parameters)},
                                    {"m", array_of(state.optimiser.m)}};
  if (!state.optimiser.v.empty()) arrays.push_back({"v", array_of(state.optimiser.v)});
  if (!state.best_parameters.empty()) {
    arrays.push_back({"best_parameters", array_of(state.best_parameters)});
  }
  Json json;
  json["training"] = fingerprint(options, task);
  json["steps"] = state.steps;
  json["optimiser_steps"] = state.optimiser.steps;
  if (std::isfinite(state.best_loss)) json["best_loss"] = state.best_loss;
  json["epochs_without_gain"] = state.epochs_without_gain;
  json["stopped"] = state.stopped;
  json["curve"] = Json::array();
  for (const EpochRecord& r : state.curve) {
    json["curve"].push_back({r.training_loss,
                             r.training_instance_loss,
                             r.training_error,
                             r.validation_loss,
                             r.validation_error,
                             r.best});
  }
  return safetensors_bytes(arrays, {{"med3d.training", dump_json(json)}});
}

TrainingState parse_training_state(std::string_view bytes,
                                   const ClamOptions& options,
                                   const TrainingTask& task,
                                   const std::string& source) {
  const Safetensors file = parse_safetensors(bytes, source);
  const auto found = file.metadata.find("med3d.training");
  if (found == file.metadata.end()) {
    throw Error(ErrorKind::kFormat, source + ": no training state");
  }
  const Json json = parse_json(found->second, source);
  TrainingState state;
  try {
    if (json.at("training").get<std::string>() != fingerprint(options, task)) {
      throw Error(ErrorKind::kData,
                  source + ": the state of a training with other options or slides");
    }
    state.steps = json.at("steps").get<std::uint64_t>();
    state.optimiser.steps = json.at("optimiser_steps").get<std::vector<std::int64_t>>();
    state.best_loss = json.contains("best_loss") ? json["best_loss"].get<double>()
                                                 : std::numeric_limits<double>::infinity();
    state.epochs_without_gain = json.at("epochs_without_gain").get<int>();
    state.stopped = json.at("stopped").get<bool>();
    const auto number = [](const Json& value) {
      return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
    };
    for (const Json& row : json.at("curve")) {
      EpochRecord r;
      r.epoch = static_cast<int>(state.curve.size());
      r.training_loss = number(row.at(0));
      r.training_instance_loss = number(row.at(1));
      r.training_error = number(row.at(2));
      r.validation_loss = number(row.at(3));
      r.validation_error = number(row.at(4));
      r.best = row.at(5).get<bool>();
      state.curve.push_back(r);
    }
  } catch (const Json::exception&) {
    throw Error(ErrorKind::kFormat, source + ": a damaged training state");
  }
  const auto values = [&](const char* name, bool needed) {
    const Array* array = file.find(name);
    if (array == nullptr && needed) {
      throw Error(ErrorKind::kFormat, fmt::format("{}: no '{}'", source, name));
    }
    return array == nullptr ? std::vector<float>{} : as_f32(*array, name);
  };
  state.parameters = values("parameters", true);
  state.optimiser.m = values("m", true);
  state.optimiser.v = values("v", options.opt == Optimiser::kAdam);
  state.best_parameters = values("best_parameters", false);
  return state;
}

std::string curve_csv(std::span<const EpochRecord> curve) {
  CsvWriter csv({"epoch",
                 "training_loss",
                 "training_instance_loss",
                 "training_error",
                 "validation_loss",
                 "validation_error",
                 "best"});
  for (const EpochRecord& r : curve) {
    csv.number(r.epoch).number(r.training_loss).number(r.training_instance_loss);
    csv.number(r.training_error);
    for (const double value : {r.validation_loss, r.validation_error}) {
      std::isnan(value) ? csv.missing() : csv.number(value);
    }
    csv.number(r.best ? 1 : 0);
    csv.end_row();
  }
  return csv.str();
}

}  // namespace med3d::mil
