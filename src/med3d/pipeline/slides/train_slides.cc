#include "med3d/pipeline/slides/train_slides.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <system_error>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/mil/clam_weights.h"
#include "med3d/pipeline/folder_lock.h"
#include "med3d/pipeline/slides/slide_splits.h"
#include "med3d/pipeline/version.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

// Everything of the options that decides the result: the number of threads does not.
Json options_json(const mil::ClamOptions& o) {
  return {{"model_type", to_string(o.model_type)},
          {"model_size", to_string(o.model_size)},
          {"gated", o.gated},
          {"drop_out", o.drop_out},
          {"n_classes", o.n_classes},
          {"embed_dim", o.embed_dim},
          {"B", o.k_sample},
          {"shared_instances", o.shared_instances},
          {"no_inst_cluster", o.no_inst_cluster},
          {"subtyping", o.subtyping},
          {"inst_loss", to_string(o.inst_loss)},
          {"bag_loss", to_string(o.bag_loss)},
          {"alpha_surv", o.alpha_surv},
          {"bag_weight", o.bag_weight},
          {"opt", to_string(o.opt)},
          {"lr", o.lr},
          {"reg", o.reg},
          {"max_epochs", o.max_epochs},
          {"weighted_sample", o.weighted_sample},
          {"early_stopping", o.early_stopping},
          {"patience", o.patience},
          {"stop_epoch", o.stop_epoch},
          {"max_patches", o.max_patches},
          {"seed", o.seed},
          {"precision", o.precision == Arithmetic::kBf16 ? "bf16" : "f32"}};
}

Json survival_json(const SurvivalColumns& columns) {
  if (!columns.asked()) return nullptr;
  return {{"time", columns.time},
          {"event", columns.event},
          {"censorship", columns.censorship},
          {"intervals", columns.intervals}};
}

struct FoldPlan {
  int fold = 0;
  mil::ClamSplit split;
  std::string split_csv;
  std::vector<double> cuts;
  mil::TrainingTask task;
  std::string key;
};

struct FoldPaths {
  fs::path split, intervals, checkpoint, curve, test, val, record;
  FoldPaths(const fs::path& out, int i)
      : split(out / fmt::format("splits_{}.csv", i)),
        intervals(out / fmt::format("intervals_{}.csv", i)),
        checkpoint(out / fmt::format("s_{}_checkpoint.pt", i)),
        curve(out / fmt::format("curve_{}.csv", i)),
        test(out / fmt::format("fold_{}.csv", i)),
        val(out / fmt::format("fold_{}_val.csv", i)),
        record(out / "folds" / fmt::format("fold_{}.json", i)) {}
};

// Named by what the fold is made of: the state of other features is not gone on from.
fs::path state_path(const fs::path& out, const FoldPlan& plan) {
  return out / "folds" /
         fmt::format("training_{}-{}.safetensors", plan.fold, plan.key.substr(0, 16));
}

void remove_states(const fs::path& out, int fold) {
  std::vector<fs::path> old;
  for (const auto& entry : fs::directory_iterator(out / "folds")) {
    if (entry.path().filename().string().starts_with(fmt::format("training_{}-", fold))) {
      old.push_back(entry.path());
    }
  }
  for (const auto& path : old) fs::remove(path);
}

std::string intervals_csv(const std::vector<double>& cuts) {
  CsvWriter csv({"interval", "from", "to"});
  for (std::size_t i = 0; i <= cuts.size(); ++i) {
    csv.number(i).number(i == 0 ? 0.0 : cuts[i - 1]);
    i < cuts.size() ? csv.number(cuts[i]) : csv.missing();
    csv.end_row();
  }
  return csv.str();
}

Json predictions_json(std::span<const mil::BagPrediction> predictions) {
  Json out = Json::array();
  for (const auto& said : predictions) {
    out.push_back({said.row, said.predicted, said.risk, said.bag_loss, said.probabilities});
  }
  return out;
}

std::vector<mil::BagPrediction> parse_predictions(const Json& json,
                                                  const std::vector<mil::Target>& targets) {
  std::vector<mil::BagPrediction> out;
  for (const Json& one : json) {
    mil::BagPrediction said;
    said.row = one.at(0).get<std::size_t>();
    said.target = targets.at(said.row);
    said.predicted = one.at(1).get<int>();
    said.risk = one.at(2).get<double>();
    said.bag_loss = one.at(3).get<double>();
    said.probabilities = one.at(4).get<std::vector<double>>();
    out.push_back(std::move(said));
  }
  return out;
}

struct FoldResult {
  int epochs = 0;
  std::vector<mil::BagPrediction> val, test;
};

std::vector<fs::path> fold_files(const FoldPaths& paths, bool survival) {
  std::vector<fs::path> out = {paths.split, paths.checkpoint, paths.curve, paths.test, paths.val};
  if (survival) out.push_back(paths.intervals);
  return out;
}

Json hashes_of(const std::vector<fs::path>& files) {
  Json out = Json::object();
  for (const auto& path : files) out[path.filename().string()] = sha256_file(path);
  return out;
}

// A fold of this very run that is done and whole, or nothing. Throws Error(kUsage) for one that was
// made of something else.
std::optional<FoldResult> finished(const FoldPlan& plan, const FoldPaths& paths, bool survival) {
  std::error_code error;
  if (!fs::exists(paths.record, error)) return std::nullopt;
  try {
    const Json json = read_json(paths.record);
    if (json.at("key").get<std::string>() != plan.key) {
      throw Error(
          ErrorKind::kUsage,
          fmt::format("{}: a fold of other features or another split", paths.record.string()));
    }
    if (json.at("files") != hashes_of(fold_files(paths, survival))) return std::nullopt;
    FoldResult out;
    out.epochs = json.at("epochs").get<int>();
    out.val = parse_predictions(json.at("val"), plan.task.targets);
    out.test = parse_predictions(json.at("test"), plan.task.targets);
    return out;
  } catch (const Error& damaged) {
    if (damaged.kind() == ErrorKind::kUsage) throw;
    return std::nullopt;  // a file is gone or damaged: the fold is trained again
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

std::optional<mil::TrainingState> state_of(const FoldPlan& plan,
                                           const fs::path& path,
                                           const mil::ClamOptions& options,
                                           Progress& progress) {
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  try {
    return mil::parse_training_state(
        read_file(path, limits().weights_bytes), options, plan.task, path.string());
  } catch (const Error& unusable) {
    progress.warn(fmt::format("{}: fold {} begins anew", unusable.what(), plan.fold));
    return std::nullopt;
  }
}

// Takes away what another run left, so that what it is not is not taken for this one's.
void remove_results(const fs::path& out) {
  fs::remove_all(out / "folds");
  std::vector<fs::path> old;
  for (const auto& entry : fs::directory_iterator(out)) {
    const std::string name = entry.path().filename().string();
    for (const char* start : {"splits_", "intervals_", "s_", "curve_", "fold_", "summary"}) {
      if (name.starts_with(start) && entry.is_regular_file()) old.push_back(entry.path());
    }
  }
  for (const auto& path : old) fs::remove(path);
  make_folder(out / "folds");
}

Json estimate_json(const stats::Estimate& estimate) {
  if (!estimate.ok()) return {{"not_estimable", estimate.not_estimable}};
  Json out = {{"value", estimate.value}};
  if (estimate.has_interval()) {
    out["low"] = estimate.low;
    out["high"] = estimate.high;
  }
  return out;
}

std::string estimate_text(const stats::Estimate& estimate) {
  if (!estimate.ok()) return "not estimable";
  if (!estimate.has_interval()) return fmt::format("{:.3f} (no interval)", estimate.value);
  return fmt::format("{:.3f} ({:.3f} to {:.3f})", estimate.value, estimate.low, estimate.high);
}

}  // namespace

std::size_t count_positives(std::span<const mil::BagPrediction> predictions) {
  return static_cast<std::size_t>(
      std::count_if(predictions.begin(), predictions.end(), [](const mil::BagPrediction& said) {
        return said.probabilities.size() == 2 && said.target.label == 1;
      }));
}

SurvivalFigures survival_figures(std::span<const mil::BagPrediction> predictions) {
  SurvivalFigures out;
  double loss = 0.0;
  for (const auto& said : predictions) {
    loss += said.bag_loss;
    out.events += said.target.censored ? 0 : 1;
  }
  out.slides = predictions.size();
  out.mean_loss = predictions.empty() ? std::numeric_limits<double>::quiet_NaN()
                                      : loss / static_cast<double>(predictions.size());
  return out;
}

std::string survival_fold_csv(const SlideDataset& dataset,
                              std::span<const mil::BagPrediction> predictions) {
  std::vector<std::string> columns = {"slide_id", "time", "censored", "interval", "risk"};
  const std::size_t intervals = predictions.empty() ? 0 : predictions[0].probabilities.size();
  for (std::size_t j = 0; j < intervals; ++j) columns.push_back(fmt::format("s_{}", j));
  CsvWriter csv(columns);
  for (const auto& said : predictions) {
    csv.text(dataset.table.slide_ids.at(said.row)).number(dataset.time.at(said.row));
    csv.number(said.target.censored ? 1 : 0).number(said.target.label).number(said.risk);
    for (const double probability : said.probabilities) csv.number(probability);
    csv.end_row();
  }
  return csv.str();
}

TrainSlidesSummary train_slides(const TrainSlidesJob& job, Progress& progress) {
  const SlideDataset dataset = read_slide_dataset(job.dataset, job.classes, job.survival);
  const bool survival = dataset.survival();
  mil::ClamOptions options = job.options;
  if (survival) {
    options.bag_loss = mil::BagLossKind::kNllSurv;
    options.no_inst_cluster = true;
    options.n_classes = static_cast<std::size_t>(job.survival.intervals);
  } else {
    if (options.bag_loss == mil::BagLossKind::kNllSurv) {
      throw Error(ErrorKind::kUsage, "bag_loss nll_surv needs columns of time and event");
    }
    options.n_classes = dataset.table.classes.size();
  }

  const int there = count_slide_splits(job.splits);
  const int k = job.k > 0 ? job.k : there;
  const int first = job.k_start < 0 ? 0 : job.k_start;
  const int end = job.k_end < 0 ? k : job.k_end;
  if (k == 0) {
    throw Error(ErrorKind::kNotFound, job.splits.string() + ": no splits_0.csv in it");
  }
  if (first >= end || end > k) {
    throw Error(ErrorKind::kUsage,
                fmt::format("k_start {} and k_end {} of {} splits", first, end, k));
  }

  const auto files = feature_files_by_slide(job.features);
  std::vector<fs::path> bag_files(dataset.table.slide_ids.size());
  std::vector<std::uint64_t> bytes(bag_files.size(), 0);
  for (std::size_t i = 0; i < bag_files.size(); ++i) {
    const auto found = files.find(dataset.table.slide_ids[i]);
    if (found == files.end()) continue;
    std::error_code error;
    bag_files[i] = found->second;
    bytes[i] = fs::file_size(found->second, error);
  }
  const mil::FileBags bags(bag_files);

  std::vector<FoldPlan> plans;
  std::set<std::size_t> used;
  for (int i = first; i < end; ++i) {
    FoldPlan plan;
    plan.fold = i;
    plan.split = mil::read_clam_split(job.splits / fmt::format("splits_{}.csv", i), dataset.table);
    plan.split_csv = mil::clam_split_csv(dataset.table, plan.split);
    if (survival) {
      try {
        plan.cuts = survival_cuts(dataset, plan.split.train, job.survival.intervals);
      } catch (const Error&) {
        rethrow_with_context(fmt::format("split {}", i));
      }
    }
    plan.task.bags = &bags;
    plan.task.targets = slide_targets(dataset, plan.cuts);
    plan.task.training = plan.split.train;
    plan.task.validation = plan.split.val;
    if (plan.split.train.empty()) {
      throw Error(ErrorKind::kData, fmt::format("split {}: no slides to train on", i));
    }
    for (const auto* side : {&plan.split.train, &plan.split.val, &plan.split.test}) {
      used.insert(side->begin(), side->end());
    }
    plans.push_back(std::move(plan));
  }
  std::vector<std::size_t> missing;
  for (const std::size_t row : used) {
    if (bag_files[row].empty()) missing.push_back(row);
  }
  if (!missing.empty()) {
    throw Error(ErrorKind::kNotFound,
                fmt::format("{}: no features of {} of the {} slides of the splits, the first is "
                            "'{}'",
                            job.features.string(),
                            missing.size(),
                            used.size(),
                            dataset.table.slide_ids[missing.front()]));
  }

  options.embed_dim = bags.read(plans.front().split.train.front()).view.cols;
  if (job.embed_dim != 0 && job.embed_dim != options.embed_dim) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format(
            "embed_dim is {}, the features have {} columns", job.embed_dim, options.embed_dim));
  }
  options.validate();

  TrainSlidesSummary summary;
  summary.survival = survival;
  summary.classes = dataset.table.classes;
  summary.slides = used.size();
  summary.embed_dim = options.embed_dim;
  const Arithmetic arithmetic = mil::Clam(options).arithmetic();
  summary.arithmetic = arithmetic == Arithmetic::kBf16 ? "bf16" : "f32";
  if (arithmetic != options.precision) {
    progress.note("this processor does not multiply bf16: training in f32");
  }

  // What decides the net, but not which of the folds are trained now: they may be trained apart.
  Json run = {{"program", "med3d " + version()},
              {"key", ""},
              {"options", options_json(options)},
              {"arithmetic", summary.arithmetic},
              {"survival", survival_json(job.survival)},
              {"classes", dataset.table.classes},
              {"dataset", ""}};
  std::string rows;
  for (std::size_t i = 0; i < dataset.table.slide_ids.size(); ++i) {
    rows += fmt::format("{}\n{}\n{}\n{}\n",
                        dataset.table.case_ids[i],
                        dataset.table.slide_ids[i],
                        dataset.table.labels[i],
                        survival ? format_double(dataset.time[i]) : "");
  }
  run["dataset"] = sha256_hex(rows);
  run["key"] = sha256_hex(dump_json(run));
  for (auto& plan : plans) {
    std::string inputs = run["key"].get<std::string>() + "\n" + plan.split_csv;
    for (const auto* side : {&plan.split.train, &plan.split.val, &plan.split.test}) {
      for (const std::size_t row : *side) {
        inputs += fmt::format("{} {}\n", bag_files[row].filename().string(), bytes[row]);
      }
    }
    plan.key = sha256_hex(inputs);
  }
  summary.summary_csv =
      job.output / (first == 0 && end == k ? std::string("summary.csv")
                                           : fmt::format("summary_partial_{}_{}.csv", first, end));
  if (job.dry_run) {
    for (const auto& plan : plans) {
      SlideFold fold;
      fold.fold = plan.fold;
      fold.training = plan.split.train.size();
      fold.figures.n_val = plan.split.val.size();
      fold.figures.n_test = plan.split.test.size();
      summary.folds.push_back(fold);
    }
    return summary;
  }

  const fs::path& out = job.output;
  make_folder(out);
  const FolderLock lock(out);
  remove_stale_temporaries(out);
  make_folder(out / "folds");
  remove_stale_temporaries(out / "folds");
  std::error_code error;
  if (fs::exists(out / "run.json", error)) {
    std::string found = "damaged";
    try {
      found = read_json(out / "run.json").value("key", "");
    } catch (const std::exception&) {
    }
    if (found != run["key"].get<std::string>()) {
      if (!job.overwrite) {
        throw Error(ErrorKind::kUsage,
                    out.string() + ": holds another run (other options, dataset or version)");
      }
      remove_results(out);
    }
  } else if (!job.overwrite) {
    for (const auto& entry : fs::directory_iterator(out)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with(".") && name != "folds") {
        throw Error(ErrorKind::kUsage, out.string() + ": the folder is not empty and holds no run");
      }
    }
  }
  write_json(out / "run.json", run);

  progress.start("training", plans.size() * static_cast<std::size_t>(options.max_epochs));
  for (const auto& plan : plans) {
    const FoldPaths paths(out, plan.fold);
    const fs::path state_file = state_path(out, plan);
    std::optional<FoldResult> result;
    try {
      result = finished(plan, paths, survival);
    } catch (const Error&) {
      if (!job.overwrite) throw;
      fs::remove(paths.record);
    }
    SlideFold fold;
    fold.fold = plan.fold;
    fold.training = plan.split.train.size();
    fold.taken_over = result.has_value();
    if (!result) {
      try {
        write_file_atomic(paths.split, plan.split_csv);
        if (survival) write_file_atomic(paths.intervals, intervals_csv(plan.cuts));
        const auto from = state_of(plan, state_file, options, progress);
        if (from) progress.advance(from->curve.size());
        auto trained = mil::train_clam(
            options,
            plan.task,
            [&](const mil::TrainingState& state) {
              progress.advance();
              write_file_atomic(state_file, mil::training_state_bytes(state, options, plan.task));
              return true;
            },
            from ? &*from : nullptr);
        result.emplace();
        result->epochs = static_cast<int>(trained.state.curve.size());
        result->val = mil::predict_bags(trained.net, plan.task, plan.split.val);
        result->test = mil::predict_bags(trained.net, plan.task, plan.split.test);
        const auto fold_csv = [&](const std::vector<mil::BagPrediction>& said) {
          return survival ? survival_fold_csv(dataset, said)
                          : mil::clam_fold_csv(dataset.table, said);
        };
        write_file_atomic(paths.checkpoint, mil::clam_checkpoint_bytes(trained.net));
        write_file_atomic(paths.curve, mil::curve_csv(trained.state.curve));
        write_file_atomic(paths.val, fold_csv(result->val));
        write_file_atomic(paths.test, fold_csv(result->test));
      } catch (const std::exception&) {
        rethrow_with_context(fmt::format("fold {}", plan.fold));
      }
      write_json(paths.record,
                 {{"key", plan.key},
                  {"epochs", result->epochs},
                  {"files", hashes_of(fold_files(paths, survival))},
                  {"val", predictions_json(result->val)},
                  {"test", predictions_json(result->test)}});
    }
    remove_states(out, plan.fold);
    fold.epochs = result->epochs;
    if (survival) {
      fold.val = survival_figures(result->val);
      fold.test = survival_figures(result->test);
    } else {
      fold.figures = mil::summarise_fold(plan.fold, result->val, result->test);
      fold.positives = count_positives(result->test);
    }
    summary.folds.push_back(std::move(fold));
  }
  write_file_atomic(summary.summary_csv, slide_summary_csv(summary.folds, survival, true));
  progress.finish();
  return summary;
}

Json TrainSlidesSummary::to_json() const {
  return {{"summary", summary_csv.string()},
          {"slides", slides},
          {"embed_dim", embed_dim},
          {"arithmetic", arithmetic},
          {"classes", classes},
          {"survival", survival},
          {"folds", folds_json(folds, survival, true)}};
}

SlideRun read_slide_run(const fs::path& folder) {
  SlideRun out;
  const fs::path path = folder / "run.json";
  std::error_code error;
  if (!fs::exists(path, error)) return out;
  const Json json = read_json(path);
  try {
    const Json& options = json.at("options");
    const auto text = [&](const char* name) { return options.at(name).get<std::string>(); };
    out.options.model_type = mil::model_type_of(text("model_type"));
    out.options.bag_loss = mil::bag_loss_of(text("bag_loss"));
    out.options.alpha_surv = options.at("alpha_surv").get<double>();
    const Json& survival = json.at("survival");
    if (survival.is_null()) {
      out.classes = json.at("classes").get<std::vector<std::string>>();
    } else {
      out.survival.time = survival.at("time").get<std::string>();
      out.survival.event = survival.at("event").get<std::string>();
      out.survival.censorship = survival.at("censorship").get<std::string>();
      out.survival.intervals = survival.at("intervals").get<int>();
      out.options.no_inst_cluster = true;
    }
  } catch (const Json::exception&) {
    throw Error(ErrorKind::kFormat, path.string() + ": not the record of a training");
  }
  return out;
}

Json folds_json(std::span<const SlideFold> folds, bool survival, bool validation) {
  Json out = Json::array();
  for (const auto& fold : folds) {
    Json one = {{"fold", fold.fold}};
    if (validation) {
      one["training"] = fold.training;
      one["epochs"] = fold.epochs;
      one["taken_over"] = fold.taken_over;
    }
    const auto add_survival = [&](const char* name, const SurvivalFigures& side) {
      one[name] = {{"slides", side.slides}, {"events", side.events}, {"loss", side.mean_loss}};
    };
    if (survival) {
      add_survival("test", fold.test);
      if (validation) add_survival("val", fold.val);
    } else {
      one["n_test"] = fold.figures.n_test;
      one["test_auc"] = estimate_json(fold.figures.test_auc);
      one["test_acc"] = estimate_json(fold.figures.test_acc);
      if (validation) {
        one["n_val"] = fold.figures.n_val;
        one["val_auc"] = estimate_json(fold.figures.val_auc);
        one["val_acc"] = estimate_json(fold.figures.val_acc);
      }
    }
    out.push_back(std::move(one));
  }
  return out;
}

std::string slide_summary_csv(std::span<const SlideFold> folds, bool survival, bool validation) {
  if (!survival && validation) {
    std::vector<mil::FoldSummary> figures;
    for (const auto& fold : folds) figures.push_back(fold.figures);
    return mil::clam_summary_csv(figures);
  }
  std::vector<std::string> columns = {"", "folds"};
  for (const std::string side : {"test", "val"}) {
    if (side == "val" && !validation) continue;
    if (survival) {
      for (const char* name : {"_loss", "_slides", "_events"}) columns.push_back(side + name);
    } else {
      for (const char* name : {"_auc", "_acc", "_auc_low", "_auc_high", "_acc_low", "_acc_high"}) {
        columns.push_back(side + name);
      }
    }
  }
  if (!survival) {
    columns.emplace_back("n_test");
    columns.emplace_back("not_estimable");
  }
  CsvWriter csv(columns);
  for (std::size_t i = 0; i < folds.size(); ++i) {
    csv.number(i).number(folds[i].fold);
    const auto add_survival = [&](const SurvivalFigures& side) {
      side.slides == 0 ? csv.missing() : csv.number(side.mean_loss);
      csv.number(side.slides).number(side.events);
    };
    if (survival) {
      add_survival(folds[i].test);
      if (validation) add_survival(folds[i].val);
    } else {
      const auto& auc = folds[i].figures.test_auc;
      const auto& acc = folds[i].figures.test_acc;
      for (const auto* one : {&auc, &acc}) one->ok() ? csv.number(one->value) : csv.missing();
      for (const auto* one : {&auc, &acc}) {
        one->has_interval() ? csv.number(one->low) : csv.missing();
        one->has_interval() ? csv.number(one->high) : csv.missing();
      }
      csv.number(folds[i].figures.n_test);
      csv.text(auc.ok() ? "" : "test_auc: " + auc.not_estimable);
    }
    csv.end_row();
  }
  return csv.str();
}

std::string fold_text(std::span<const SlideFold> folds, bool survival, bool validation) {
  std::string text;
  const auto line = [&](const std::string& left, const std::string& right) {
    std::string whole = validation ? left + right : left;
    whole.erase(whole.find_last_not_of(' ') + 1);
    text += whole + "\n";
  };
  if (survival) {
    const auto cells = [](std::string_view a, std::string_view b, std::string_view c) {
      return fmt::format(" {:>7} {:>7} {:>9}", a, b, c);
    };
    const auto side_text = [&](const SurvivalFigures& side) {
      return cells(std::to_string(side.slides),
                   std::to_string(side.events),
                   side.slides == 0 ? "none" : fmt::format("{:.4f}", side.mean_loss));
    };
    line("fold " + cells("slides", "events", "loss"), cells("val", "events", "loss"));
    for (const auto& fold : folds) {
      line(fmt::format("{:<5}", fold.fold) + side_text(fold.test), side_text(fold.val));
    }
    return text +
           "The loss is the negative log-likelihood a slide. Risks are in fold_i.csv; no "
           "concordance index is computed here.\n";
  }
  line(fmt::format("{:<5} {:>6}  {:<24} {:<26}",
                   "fold",
                   "slides",
                   "AUC (95 % interval)",
                   "accuracy (95 % interval)"),
       fmt::format("{:>5}  {}", "val", "AUC (95 % interval)"));
  std::vector<std::string> unproven;
  double sum = 0.0;
  int estimated = 0;
  for (const auto& fold : folds) {
    const auto& figures = fold.figures;
    line(fmt::format("{:<5} {:>6}  {:<24} {:<26}",
                     fold.fold,
                     figures.n_test,
                     estimate_text(figures.test_auc),
                     estimate_text(figures.test_acc)),
         fmt::format("{:>5}  {}", figures.n_val, estimate_text(figures.val_auc)));
    if (figures.test_auc.ok()) {
      sum += figures.test_auc.value;
      ++estimated;
    }
    if (figures.test_auc.has_interval() && figures.test_auc.low <= 0.5) {
      unproven.push_back(std::to_string(fold.fold));
    }
  }
  if (estimated > 1) {
    text += fmt::format(
        "mean AUC of {} folds: {:.3f}; folds share patients, so that no interval "
        "of the mean is given\n",
        estimated,
        sum / estimated);
  }
  if (!unproven.empty()) {
    text += fmt::format("not shown to be better than chance: fold {}\n", join(unproven, ", "));
  }
  for (const auto& fold : folds) {
    const auto& auc = fold.figures.test_auc;
    if (auc.ok() && !auc.has_interval() && fold.positives > 0) {
      // DeLong's variance is 0 there, however few slides there are.
      const std::size_t negatives = fold.figures.n_test - fold.positives;
      double orders = 1.0;
      for (std::size_t i = 1; i <= std::min(fold.positives, negatives); ++i) {
        orders *= static_cast<double>(fold.figures.n_test - i + 1) / static_cast<double>(i);
      }
      text += fmt::format(
          "fold {}: the classes are apart in full, so that there is no interval; chance alone does "
          "so with {} and {} slides once in {:.6g} times\n",
          fold.fold,
          negatives,
          fold.positives,
          orders);
    }
    if (!auc.ok()) {
      text += fmt::format("fold {}: AUC not estimable: {}\n", fold.fold, auc.not_estimable);
    }
  }
  return text;
}

}  // namespace med3d::pipeline
