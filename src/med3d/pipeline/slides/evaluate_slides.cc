#include "med3d/pipeline/slides/evaluate_slides.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <system_error>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/text.h"
#include "med3d/io/features.h"
#include "med3d/io/formats/csv.h"
#include "med3d/io/formats/hdf5.h"
#include "med3d/mil/clam_weights.h"
#include "med3d/pipeline/folder_lock.h"
#include "med3d/pipeline/slides/attention.h"
#include "med3d/wsi/tile_file.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

// The fold of s_i_checkpoint.pt; nothing for another name.
std::optional<int> fold_of(const fs::path& path) {
  const std::string name = path.filename().string();
  constexpr std::string_view kStart = "s_", kEnd = "_checkpoint.pt";
  if (!name.starts_with(kStart) || !name.ends_with(kEnd)) return std::nullopt;
  const std::size_t digits = name.size() - kStart.size() - kEnd.size();
  const auto number = parse_double(name.substr(kStart.size(), digits));
  if (digits > 6 || !number || *number < 0 || *number != std::floor(*number)) return std::nullopt;
  return static_cast<int>(*number);
}

// Checkpoints by fold; -1 for one that is not of a run.
std::map<int, fs::path> checkpoints_of(const EvaluateSlidesJob& job) {
  std::error_code error;
  if (!fs::exists(job.model, error)) {
    throw Error(ErrorKind::kNotFound, job.model.string() + ": no such run or checkpoint");
  }
  std::map<int, fs::path> out;
  if (!fs::is_directory(job.model, error)) {
    out.emplace(job.fold >= 0 ? job.fold : fold_of(job.model).value_or(-1), job.model);
    return out;
  }
  for (const auto& entry : fs::directory_iterator(job.model)) {
    const auto fold = fold_of(entry.path());
    if (fold && (job.fold < 0 || job.fold == *fold)) out.emplace(*fold, entry.path());
  }
  if (out.empty()) {
    throw Error(ErrorKind::kNotFound,
                job.fold < 0
                    ? job.model.string() + ": no s_0_checkpoint.pt or other checkpoint in it"
                    : fmt::format("{}: no s_{}_checkpoint.pt in it", job.model.string(), job.fold));
  }
  return out;
}

std::vector<double> read_cuts(const fs::path& path) {
  const Table table = read_table(path);
  const auto column = table.column("to");
  std::vector<double> cuts;
  for (std::size_t i = 0; i + 1 < table.rows.size(); ++i) {
    const auto cut = parse_double(table.rows[i][column]);
    if (!cut || (!cuts.empty() && *cut <= cuts.back())) {
      throw Error(
          ErrorKind::kFormat,
          fmt::format("{}, line {}: expected rising times", path.string(), table.line_of_row[i]));
    }
    cuts.push_back(*cut);
  }
  return cuts;
}

std::vector<std::size_t> rows_of(const EvaluateSlidesJob& job,
                                 const SlideDataset& dataset,
                                 int fold) {
  std::vector<std::size_t> all(dataset.table.slide_ids.size());
  std::iota(all.begin(), all.end(), 0U);
  if (job.split == "all") return all;
  if (fold < 0) {
    throw Error(ErrorKind::kUsage,
                fmt::format("split '{}' of one checkpoint needs the number of its fold, and a "
                            "folder of splits; split 'all' needs neither",
                            job.split));
  }
  std::error_code error;
  fs::path folder = job.splits;
  if (folder.empty()) {
    folder = fs::is_directory(job.model, error) ? job.model : job.model.parent_path();
  }
  auto split = mil::read_clam_split(folder / fmt::format("splits_{}.csv", fold), dataset.table);
  if (job.split == "train") return split.train;
  if (job.split == "val") return split.val;
  if (job.split == "test") return split.test;
  throw Error(ErrorKind::kUsage,
              fmt::format("split is '{}', expected train, val, test or all", job.split));
}

struct SlideBag {
  Matrix<float> features;
  std::optional<Matrix<std::int64_t>> coords;  // level-0 pixels
  std::map<std::string, std::string> attributes;
};

bool is_h5(const fs::path& path) {
  const std::string extension = to_lower(path.extension().string());
  return extension == ".h5" || extension == ".hdf5";
}

// STAMP's coordinates are micrometres: nothing can be drawn from them as they are.
bool is_stamp(const std::map<std::string, std::string>& attributes) {
  return attributes.contains("stamp_version");
}

SlideBag read_bag(const fs::path& path) {
  SlideBag out;
  if (!is_h5(path)) {
    out.features = read_features(path);
    return out;
  }
  FeatureFile file = read_feature_file(path);
  out.features = std::move(file.features);
  if (out.features.empty()) throw Error(ErrorKind::kData, path.string() + ": no tiles");
  for (std::size_t i = 0; i < out.features.size(); ++i) {
    if (!std::isfinite(out.features.data()[i])) {
      throw Error(
          ErrorKind::kData,
          fmt::format(
              "{}: row {}: a feature that is not finite", path.string(), i / out.features.cols()));
    }
  }
  if (file.coords && file.convention != "stamp") {
    out.coords = std::move(file.coords);
    for (const auto& [name, value] : file.attributes) {
      constexpr std::string_view kPrefix = "coords.";
      if (name.starts_with(kPrefix)) out.attributes[name.substr(kPrefix.size())] = value;
    }
  }
  return out;
}

std::optional<std::int64_t> whole_number(const std::map<std::string, std::string>& attributes,
                                         const char* name) {
  const auto found = attributes.find(name);
  if (found == attributes.end()) return std::nullopt;
  const auto value = parse_double(found->second);
  if (!value || *value < 1 || *value > 1e9 ||
      *value != static_cast<double>(static_cast<std::int64_t>(*value))) {
    return std::nullopt;
  }
  return static_cast<std::int64_t>(*value);
}

class Evaluator {
 public:
  Evaluator(const EvaluateSlidesJob& job, const SlideDataset& dataset)
      : job_(job), dataset_(dataset), files_(feature_files_by_slide(job.features)) {
    std::error_code error;
    patches_ = job.patches;
    if (patches_.empty() && fs::is_directory(job.features / "patches", error)) {
      patches_ = job.features / "patches";
    }
    // A bare table of .pt files beside h5_files/ and patches/ of the same job.
    const auto parent =
        job.features.filename() == "pt_files" ? job.features.parent_path() : job.features;
    h5_ = parent / "h5_files";
    if (patches_.empty() && fs::is_directory(parent / "patches", error)) {
      patches_ = parent / "patches";
    }
  }

  // The prediction of one slide; its failures are in the outcome.
  std::optional<mil::BagPrediction> predict(mil::Clam& net,
                                            std::size_t row,
                                            const mil::Target& target,
                                            const std::string& checkpoint,
                                            const fs::path& attention,
                                            SlideOutcome& outcome) {
    const std::string& slide = dataset_.table.slide_ids[row];
    std::optional<mil::BagPrediction> out;
    SlideBag bag;
    mil::BagOutput said;
    try {
      outcome.step = "features";
      const auto found = files_.find(slide);
      if (found == files_.end()) {
        throw Error(ErrorKind::kNotFound, job_.features.string() + ": no features of it");
      }
      bag = read_bag(found->second);
      outcome.features = static_cast<std::int64_t>(bag.features.rows());
      outcome.step = "predict";
      said = net.forward({bag.features.data(), bag.features.rows(), bag.features.cols()});
      out.emplace();
      out->row = row;
      out->target = target;
      out->bag_loss = net.head().loss(said.logits, target, {});
      out->logits = said.logits;
      out->probabilities = said.probabilities;
      out->predicted = said.predicted;
      out->risk = said.risk;
    } catch (const Error& error) {
      outcome.status = SlideStatus::kFailed;
      outcome.reason = error.what();
      return std::nullopt;
    }
    const bool tile_scores =
        net.options().has_attention() || net.options().model_type == mil::ModelType::kMil;
    if (!attention.empty() && tile_scores) {
      outcome.step = "attention";
      write_attention(net, said, std::move(bag), slide, checkpoint, attention, outcome);
    }
    return out;
  }

 private:
  void write_attention(const mil::Clam& net,
                       const mil::BagOutput& said,
                       SlideBag bag,
                       const std::string& slide,
                       const std::string& checkpoint,
                       const fs::path& folder,
                       SlideOutcome& outcome) {
    const auto warn = [&](const std::string& what) {
      if (std::find(outcome.warnings.begin(), outcome.warnings.end(), what) ==
          outcome.warnings.end()) {
        outcome.warnings.push_back(what);
      }
    };
    std::error_code error;
    if (!bag.coords && fs::is_regular_file(h5_ / (slide + ".h5"), error)) {
      try {
        CoordinateFile file = read_coordinate_file(h5_ / (slide + ".h5"));
        if (!is_stamp(file.attributes)) {
          bag.coords = std::move(file.coords);
          bag.attributes = std::move(file.attributes);
        }
      } catch (const Error& unreadable) {
        warn(unreadable.what());
      }
    }
    std::optional<TileFile> tiles;
    if (!patches_.empty() && fs::is_regular_file(patches_ / (slide + ".h5"), error)) {
      try {
        tiles = read_tiles(patches_ / (slide + ".h5"));
      } catch (const Error& unreadable) {
        warn(unreadable.what());
      }
    }
    if (!bag.coords && tiles && tiles->tiles.coords.rows() == bag.features.rows()) {
      bag.coords = tiles->tiles.coords;
    }
    if (!bag.coords || bag.coords->rows() != bag.features.rows()) {
      warn("no attention file: it is not known where the tiles lie (h5_files/ or patches/)");
      return;
    }
    if (tiles && !is_part_of(*bag.coords, tiles->tiles.coords)) {
      warn("the features are of other tiles than patches/ holds: their size is not taken from it");
      tiles.reset();
    }

    std::vector<Hdf5Attribute> attributes = {
        {"name", slide},
        {"model_type", std::string(to_string(net.options().model_type))},
        {"predicted", static_cast<std::int64_t>(said.predicted)},
        {"checkpoint_sha256", checkpoint},
    };
    const auto add = [&](const char* name, std::optional<std::int64_t> value) {
      if (value && *value > 0) attributes.push_back({name, *value});
    };
    if (tiles) {
      add("patch_size_level0", tiles->tiles.footprint);
      add("level0_width", tiles->tiles.level0_size[0]);
      add("level0_height", tiles->tiles.level0_size[1]);
    } else {
      for (const char* name : {"patch_size_level0", "level0_width", "level0_height"}) {
        add(name, whole_number(bag.attributes, name));
      }
    }
    const auto scores = said.attention_raw.row(attention_row(net.options(), said));
    write_attention_file(folder / (slide + ".h5"), scores, *bag.coords, attributes);
  }

  const EvaluateSlidesJob& job_;
  const SlideDataset& dataset_;
  std::map<std::string, fs::path> files_;
  fs::path patches_;
  fs::path h5_;
};

// Slide names become file names.
void check_names(const SlideDataset& dataset) {
  for (std::size_t i = 0; i < dataset.table.slide_ids.size(); ++i) {
    const std::string& id = dataset.table.slide_ids[i];
    if (id.find('/') != std::string::npos || id.find('\0') != std::string::npos ||
        id.starts_with(".") || id.size() > 200) {
      throw Error(ErrorKind::kData,
                  fmt::format("slide {} of the dataset has an id that no file can be called", i));
    }
  }
}

}  // namespace

EvaluateSlidesSummary evaluate_slides(const EvaluateSlidesJob& job, Progress& progress) {
  const auto checkpoints = checkpoints_of(job);
  std::error_code error;
  const bool is_run = fs::is_directory(job.model, error);
  const fs::path run_folder = is_run ? job.model : job.model.parent_path();
  SlideRun run = read_slide_run(run_folder);
  if (!job.classes.empty()) run.classes = job.classes;
  const SlideDataset dataset = read_slide_dataset(job.dataset, run.classes, run.survival);
  check_names(dataset);
  run.options.threads = job.threads;
  if (job.model_type == mil::ModelType::kMax) run.options.model_type = job.model_type;

  // Everything that can be refused is, before anything is written.
  struct Plan {
    std::optional<mil::Clam> net;
    std::string sha256;
    std::vector<std::size_t> rows;
    std::vector<mil::Target> targets;
  };
  std::map<int, Plan> plans;
  std::size_t total = 0;
  for (const auto& [fold, path] : checkpoints) {
    Plan plan;
    plan.rows = rows_of(job, dataset, fold);
    plan.net = mil::read_clam(path, run.options);
    plan.sha256 = sha256_file(path);
    std::vector<double> cuts;
    if (dataset.survival()) cuts = read_cuts(run_folder / fmt::format("intervals_{}.csv", fold));
    plan.targets = slide_targets(dataset, cuts);
    const std::size_t classes = dataset.survival() ? cuts.size() + 1 : dataset.table.classes.size();
    if (plan.net->options().n_classes != classes) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{}: a net of {} classes, the dataset has {}",
                              path.string(),
                              plan.net->options().n_classes,
                              classes));
    }
    total += plan.rows.size();
    plans.emplace(fold, std::move(plan));
  }
  Evaluator evaluator(job, dataset);

  const fs::path& out = job.output;
  make_folder(out);
  const FolderLock lock(out);
  remove_stale_temporaries(out);
  if (!job.overwrite) {
    for (const auto& entry : fs::directory_iterator(out)) {
      if (!entry.path().filename().string().starts_with(".")) {
        throw Error(ErrorKind::kUsage, out.string() + ": the folder is not empty");
      }
    }
  }
  fs::remove_all(out / "attention");
  EvaluateSlidesSummary summary;
  summary.survival = dataset.survival();
  std::map<std::size_t, SlideOutcome> outcomes;
  progress.start("evaluating", total);
  for (auto& [fold, plan] : plans) {
    fs::path attention;
    if (job.attention) {
      attention =
          plans.size() == 1 ? out / "attention" : out / "attention" / fmt::format("fold_{}", fold);
    }
    std::vector<mil::BagPrediction> said;
    for (const std::size_t row : plan.rows) {
      SlideOutcome& outcome = outcomes[row];
      outcome.slide_id = dataset.table.slide_ids[row];
      const bool failed = outcome.status == SlideStatus::kFailed;
      if (!failed) {
        auto one =
            evaluator.predict(*plan.net, row, plan.targets[row], plan.sha256, attention, outcome);
        if (one) said.push_back(std::move(*one));
      }
      progress.advance();
    }
    SlideFold figures;
    figures.fold = std::max(0, fold);
    if (summary.survival) {
      figures.test = survival_figures(said);
    } else {
      figures.figures = mil::summarise_fold(figures.fold, {}, said);
      figures.positives = count_positives(said);
    }
    write_file_atomic(out / fmt::format("fold_{}.csv", figures.fold),
                      summary.survival ? survival_fold_csv(dataset, said)
                                       : mil::clam_fold_csv(dataset.table, said));
    summary.folds.push_back(std::move(figures));
  }
  write_file_atomic(out / "summary.csv", slide_summary_csv(summary.folds, summary.survival, false));
  for (auto& [row, outcome] : outcomes) summary.outcomes.push_back(std::move(outcome));
  write_file_atomic(out / "outcomes.csv", outcomes_csv(summary.outcomes));
  progress.finish();
  return summary;
}

Json EvaluateSlidesSummary::to_json() const {
  Json out = {{"survival", survival}, {"folds", folds_json(folds, survival, false)}};
  out["outcomes"] = Json::array();
  for (const auto& outcome : outcomes) out["outcomes"].push_back(outcome.to_json());
  return out;
}

}  // namespace med3d::pipeline
