#include "med3d/pipeline/volumes/finetune.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "med3d/core/case_id.h"
#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/encoders/weights.h"
#include "med3d/io/formats/csv.h"
#include "med3d/io/formats/safetensors.h"
#include "med3d/pipeline/evaluation.h"
#include "med3d/pipeline/folder_lock.h"
#include "med3d/pipeline/version.h"
#include "med3d/pipeline/volumes/volume_model.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

const std::set<std::string> kFiles = {"model.json",
                                      "model.safetensors",
                                      "history.csv",
                                      "predictions.csv",
                                      "metrics.json",
                                      "training.safetensors"};

Json options_json(const nn::VolumeTrainingOptions& o) {
  return {{"epochs", o.epochs},
          {"batch_size", o.batch_size},
          {"learning_rate", o.learning_rate},
          {"encoder_factor", o.encoder_factor},
          {"weight_decay", o.weight_decay},
          {"optimiser", o.decoupled ? "adamw" : "adam"},
          {"schedule", o.cosine ? "cosine" : "constant"},
          {"class_weights", o.class_weights},
          {"weighted_sampler", o.weighted_sampler},
          {"label_smoothing", o.label_smoothing},
          {"dropout", o.dropout},
          {"flip", o.flip},
          {"shift", o.shift},
          {"intensity", o.intensity},
          {"patience", o.patience},
          {"seed", o.seed},
          // Not without effect: sums are split over them.
          {"threads", o.threads}};
}

NamedArray named(const std::string& name, const std::vector<float>& values) {
  NamedArray out;
  out.name = name;
  out.array.shape = {values.size()};
  out.array.bytes.resize(values.size() * sizeof(float));
  std::memcpy(out.array.bytes.data(), values.data(), out.array.bytes.size());
  return out;
}

std::string state_bytes(const nn::VolumeTrainingState& state, const std::string& key) {
  Json history = Json::array();
  for (const nn::VolumeEpoch& epoch : state.history) {
    history.push_back(
        {epoch.learning_rate, epoch.training_loss, epoch.validation_loss, epoch.validation_auroc});
  }
  const Json facts = {{"key", key},
                      {"best_epoch", state.best_epoch},
                      {"finished", state.finished},
                      {"steps", state.steps},
                      {"history", history}};
  const std::vector<NamedArray> arrays = {named("state", state.state),
                                          named("moments", state.moments),
                                          named("best_state", state.best_state)};
  return safetensors_bytes(arrays, {{"training", facts.dump()}});
}

// Nothing where there is no state of this very run, or a damaged one.
std::optional<nn::VolumeTrainingState> read_state(const fs::path& path,
                                                  const std::string& key,
                                                  Progress& progress) {
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  try {
    const Safetensors file = read_safetensors(path);
    const Json facts = parse_json(file.metadata.at("training"), path.string());
    if (facts.at("key").get<std::string>() != key) return std::nullopt;
    nn::VolumeTrainingState state;
    state.best_epoch = facts.at("best_epoch").get<int>();
    state.finished = facts.at("finished").get<bool>();
    state.steps = facts.at("steps").get<std::int64_t>();
    for (const Json& one : facts.at("history")) {
      state.history.push_back({one.at(0).get<double>(),
                               one.at(1).get<double>(),
                               one.at(2).get<double>(),
                               one.at(3).get<double>()});
    }
    const auto values = [&](const char* name) {
      const Array* array = file.find(name);
      if (array == nullptr) throw Error(ErrorKind::kFormat, fmt::format("no array '{}'", name));
      return as_f32(*array, name);
    };
    state.state = values("state");
    state.moments = values("moments");
    state.best_state = values("best_state");
    return state;
  } catch (const std::exception& damaged) {
    progress.warn(fmt::format("{}: {}; training begins anew", path.string(), damaged.what()));
    return std::nullopt;
  }
}

std::string history_csv(const std::vector<nn::VolumeEpoch>& history) {
  CsvWriter csv({"epoch", "learning_rate", "training_loss", "validation_loss", "validation_auroc"});
  for (std::size_t i = 0; i < history.size(); ++i) {
    csv.number(i + 1)
        .number(history[i].learning_rate)
        .number(history[i].training_loss)
        .number(history[i].validation_loss)
        .number(history[i].validation_auroc)
        .end_row();
  }
  return csv.str();
}

// One side's predictions by patient: the mean over their volumes.
struct Judged {
  std::vector<std::uint8_t> label;
  std::vector<double> probability;
  std::size_t volumes = 0;
};

Judged by_patient(const VolumeDataset& dataset,
                  const std::vector<std::size_t>& rows,
                  const std::vector<double>& probability) {
  std::map<std::string, std::vector<std::size_t>> of_patient;
  for (std::size_t k = 0; k < rows.size(); ++k) {
    const std::string& patient = dataset.patients[rows[k]];
    of_patient[dataset.patients_known ? normalised_case_id(patient) : patient].push_back(k);
  }
  Judged out;
  out.volumes = rows.size();
  for (const auto& [patient, members] : of_patient) {
    double sum = 0.0;
    for (const std::size_t k : members) sum += probability[k];
    out.label.push_back(dataset.labels[rows[members.front()]]);
    out.probability.push_back(sum / static_cast<double>(members.size()));
  }
  return out;
}

Json side_json(const Judged& side, double threshold, const nn::VolumeTrainingOptions& training) {
  stats::EvaluateOptions options;
  options.seed = training.seed;
  options.threads = training.threads;
  const stats::MetricSet set =
      stats::evaluate_set(side.label, side.probability, threshold, options);
  Json metrics = Json::object();
  for (const auto& [name, estimate] : set.metrics) metrics[name] = to_json(estimate);
  return {{"n", set.n},
          {"events", set.positives},
          {"volumes", side.volumes},
          {"threshold", threshold},
          {"metrics", metrics}};
}

void remove_run(const fs::path& folder) {
  for (const std::string& name : kFiles) fs::remove(folder / name);
}

std::string key_in(const fs::path& path) {
  try {
    return read_json(path).value("key", "");
  } catch (const std::exception&) {
    return "";
  }
}

}  // namespace

double threshold_of_validation(const std::vector<std::uint8_t>& label,
                               const std::vector<double>& probability) {
  std::vector<double> candidates = probability;
  std::sort(candidates.begin(), candidates.end(), std::greater<>());
  double best = -1.0;
  double threshold = 0.5;
  for (const double candidate : candidates) {
    const auto found = stats::balanced_accuracy(stats::confusion(label, probability, candidate));
    if (found.ok() && found.value > best) {
      best = found.value;
      threshold = candidate;
    }
  }
  return threshold;
}

FinetuneSummary finetune_volumes(const FinetuneJob& job, Progress& progress) {
  job.design.validate();
  job.options.validate();
  nn::Parameters initial;
  std::string weights_sha256;
  if (!job.weights.empty()) {
    const Weights weights = read_weights(job.weights);
    weights_sha256 = weights.sha256;
    initial = encoder_parameters(weights);
  }
  const VolumeDataset dataset =
      read_volume_dataset(job.data, job.preparation, job.options.threads, progress);

  VolumeModel model;
  model.design = job.design;
  model.preparation = dataset.preparation;
  Json facts = {{"training", options_json(job.options)},
                {"start_sha256", weights_sha256.empty() ? Json(nullptr) : Json(weights_sha256)},
                {"data_sha256", dataset.sha256}};
  const Json identity = {{"program", version()},
                         {"blocks", job.design.blocks},
                         {"bottleneck", job.design.bottleneck},
                         {"projection", job.design.projection},
                         {"dilated", job.design.dilated},
                         {"width", job.design.width},
                         {"facts", facts}};
  const std::string key = sha256_hex(dump_json(identity));
  facts["key"] = key;

  const fs::path& out = job.output;
  make_folder(out);
  const FolderLock lock(out);
  remove_stale_temporaries(out);
  const fs::path state_file = out / "training.safetensors";
  std::optional<nn::VolumeTrainingState> state = read_state(state_file, key, progress);
  std::error_code error;
  const auto there = [&](const char* name) { return fs::exists(out / name, error); };

  FinetuneSummary summary;
  const auto training_rows = dataset.rows_of(VolumeSplit::kTrain);
  summary.training = training_rows.size();
  const auto done = [&](const Json& metrics) {
    summary.metrics = metrics;
    summary.epochs = metrics.at("epochs").get<std::size_t>();
    summary.best_epoch = metrics.at("best_epoch").get<int>();
    return summary;
  };
  if (!job.overwrite && there("metrics.json") && key_in(out / "metrics.json") == key &&
      there("model.json") && there("model.safetensors")) {
    summary.taken_over = true;
    return done(read_json(out / "metrics.json"));
  }
  if (job.overwrite) {
    remove_run(out);
    state.reset();
  } else if (!state) {
    for (const auto& entry : fs::directory_iterator(out)) {
      if (!entry.path().filename().string().starts_with(".")) {
        throw Error(ErrorKind::kUsage,
                    out.string() +
                        ": the folder is not empty and does not hold this run (other "
                        "data, options or version)");
      }
    }
  }

  const auto labels_of = [&](const std::vector<std::size_t>& rows) {
    std::vector<std::uint8_t> labels;
    for (const std::size_t i : rows) labels.push_back(dataset.labels[i]);
    return labels;
  };
  const auto val_rows = dataset.rows_of(VolumeSplit::kVal);
  const auto test_rows = dataset.rows_of(VolumeSplit::kTest);
  progress.start("training", static_cast<std::size_t>(job.options.epochs));
  if (state) progress.advance(state->history.size());
  const nn::VolumeClassifier net = nn::VolumeClassifier::fit(
      job.design,
      dataset.set(training_rows),
      labels_of(training_rows),
      dataset.set(val_rows),
      labels_of(val_rows),
      job.options,
      initial,
      state ? &*state : nullptr,
      [&](const nn::VolumeTrainingState& now) {
        write_file_atomic(state_file, state_bytes(now, key));
        progress.advance();
        const nn::VolumeEpoch& last = now.history.back();
        progress.note(
            fmt::format("epoch {}: training loss {:.4f}, validation loss {:.4f}, AUROC "
                        "{:.4f} (best: epoch {})",
                        now.history.size(),
                        last.training_loss,
                        last.validation_loss,
                        last.validation_auroc,
                        now.best_epoch + 1));
      });

  progress.start("prediction", 0);
  CsvWriter csv({"volume_id", "case_id", "split", "label", "logit", "probability"});
  std::vector<Judged> judged;
  for (const auto* rows : {&val_rows, &test_rows}) {
    const auto said = net.predict(dataset.set(*rows), job.options.threads);
    for (std::size_t k = 0; k < rows->size(); ++k) {
      const std::size_t i = (*rows)[k];
      csv.text(dataset.ids[i])
          .text(dataset.patients[i])
          .text(to_string(dataset.splits[i]))
          .number(static_cast<int>(dataset.labels[i]))
          .number(said.logit[k])
          .number(said.probability[k])
          .end_row();
    }
    judged.push_back(by_patient(dataset, *rows, said.probability));
  }
  model.threshold = threshold_of_validation(judged[0].label, judged[0].probability);
  model.parameters = net.parameters();
  const Json metrics = {{"key", key},
                        {"epochs", net.history().size()},
                        {"best_epoch", net.best_epoch() + 1},
                        {"chosen_on", "val"},
                        {"patients_known", dataset.patients_known},
                        {"val", side_json(judged[0], model.threshold, job.options)},
                        {"test", side_json(judged[1], model.threshold, job.options)}};
  write_file_atomic(out / "history.csv", history_csv(net.history()));
  write_file_atomic(out / "predictions.csv", csv.str());
  facts["best_epoch"] = net.best_epoch() + 1;
  write_volume_model(out, model, facts);
  write_json(out / "metrics.json", metrics);
  fs::remove(state_file);
  progress.finish();
  return done(metrics);
}

Json FinetuneSummary::to_json() const {
  return {{"training_volumes", training}, {"taken_over", taken_over}, {"metrics", metrics}};
}

std::string FinetuneSummary::text() const {
  std::string out = fmt::format("{} training volumes, {} epochs, the net of epoch {}{}\n",
                                training,
                                epochs,
                                best_epoch,
                                taken_over ? " (finished before)" : "");
  for (const char* side : {"val", "test"}) {
    const Json& json = metrics.at(side);
    const Json& auroc = json.at("metrics").at("auroc");
    const std::string interval = auroc.contains("low") && !auroc.at("low").is_null()
                                     ? fmt::format(" ({:.3f} to {:.3f})",
                                                   auroc.at("low").get<double>(),
                                                   auroc.at("high").get<double>())
                                     : " (no interval)";
    out += fmt::format("{:<4}  n {}, events {}, AUROC {:.3f}{}\n",
                       side,
                       json.at("n").get<std::int64_t>(),
                       json.at("events").get<std::int64_t>(),
                       auroc.at("value").get<double>(),
                       interval);
  }
  return out;
}

}  // namespace med3d::pipeline
