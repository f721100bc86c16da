#include "med3d/mil/clam_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/limits.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/stats/delong.h"
#include "med3d/stats/intervals.h"

namespace med3d::mil {
namespace {

constexpr std::array<const char*, 3> kSides = {"train", "val", "test"};

const std::vector<std::size_t>& side_of(const ClamSplit& split, std::size_t side) {
  return side == 0 ? split.train : side == 1 ? split.val : split.test;
}
std::vector<std::size_t>& side_of(ClamSplit& split, std::size_t side) {
  return side == 0 ? split.train : side == 1 ? split.val : split.test;
}

// Numbers by value, before text by letters.
bool label_before(const std::string& a, const std::string& b) {
  const auto x = parse_double(a), y = parse_double(b);
  if (x && y && *x != *y) return *x < *y;
  if (x.has_value() != y.has_value()) return x.has_value();
  return a < b;
}

std::string text_of(const std::filesystem::path& path) {
  return read_file(path, limits().table_bytes);
}

}  // namespace

ClamDataset parse_clam_dataset(std::string_view text,
                               const std::string& source,
                               const std::vector<std::string>& classes) {
  const Table table = parse_table(text, source);
  const std::size_t case_column = table.column("case_id");
  const std::size_t slide_column = table.column("slide_id");
  const std::size_t label_column = table.column("label");
  ClamDataset out;
  out.classes = classes;
  if (classes.empty()) {
    std::set<std::string> found;
    for (const auto& row : table.rows) found.insert(std::string(trim(row[label_column])));
    out.classes.assign(found.begin(), found.end());
    std::sort(out.classes.begin(), out.classes.end(), label_before);
  }
  std::set<std::string> seen;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const auto line = [&] { return fmt::format("{}, line {}", source, table.line_of_row[i]); };
    std::string case_id(trim(table.rows[i][case_column]));
    std::string slide_id(trim(table.rows[i][slide_column]));
    const std::string label(trim(table.rows[i][label_column]));
    if (case_id.empty() || slide_id.empty() || label.empty()) {
      throw Error(ErrorKind::kData, line() + ": a blank case_id, slide_id or label");
    }
    if (!seen.insert(slide_id).second) {
      throw Error(ErrorKind::kData, line() + ": a slide that stands in the table twice");
    }
    const auto found = std::find(out.classes.begin(), out.classes.end(), label);
    if (found == out.classes.end()) {
      throw Error(
          ErrorKind::kData,
          fmt::format(
              "{}: label '{}', expected one of {}", line(), label, join(out.classes, ", ")));
    }
    out.case_ids.push_back(std::move(case_id));
    out.slide_ids.push_back(std::move(slide_id));
    out.labels.push_back(static_cast<int>(found - out.classes.begin()));
  }
  if (out.classes.size() < 2) {
    throw Error(ErrorKind::kData, source + ": one label only, expected two classes or more");
  }
  return out;
}

ClamDataset read_clam_dataset(const std::filesystem::path& path,
                              const std::vector<std::string>& classes) {
  return parse_clam_dataset(text_of(path), path.string(), classes);
}

std::string clam_dataset_csv(const ClamDataset& dataset) {
  CsvWriter csv({"case_id", "slide_id", "label"});
  for (std::size_t i = 0; i < dataset.slide_ids.size(); ++i) {
    csv.text(dataset.case_ids[i]).text(dataset.slide_ids[i]);
    csv.text(dataset.classes.at(static_cast<std::size_t>(dataset.labels[i])));
    csv.end_row();
  }
  return csv.str();
}

void SplitOptions::validate() const {
  const auto refuse = [](std::string_view field, double value, std::string_view expected) {
    throw Error(ErrorKind::kUsage, fmt::format("{} is {}, expected {}", field, value, expected));
  };
  if (k < 1 || k > 100'000) refuse("k", k, "1 to 100000");
  if (!(val_frac >= 0.0 && val_frac < 1.0)) refuse("val_frac", val_frac, "0 to below 1");
  if (!(test_frac >= 0.0 && test_frac < 1.0)) refuse("test_frac", test_frac, "0 to below 1");
  if (val_frac + test_frac >= 1.0) {
    refuse("val_frac + test_frac", val_frac + test_frac, "below 1: some must train");
  }
  if (!(label_frac > 0.0 && label_frac <= 1.0)) refuse("label_frac", label_frac, "above 0, to 1");
}

std::vector<ClamSplit> make_clam_splits(const ClamDataset& dataset, const SplitOptions& options) {
  options.validate();
  // Patients by name, so that the order of the table's rows does not matter.
  std::map<std::string, std::vector<std::size_t>> patients;
  for (std::size_t i = 0; i < dataset.case_ids.size(); ++i) {
    patients[dataset.case_ids[i]].push_back(i);
  }
  std::vector<std::vector<const std::vector<std::size_t>*>> of_class(dataset.classes.size());
  for (const auto& [name, slides] : patients) {
    std::vector<std::size_t> votes(dataset.classes.size(), 0);
    std::size_t label = 0;
    for (const std::size_t slide : slides) {
      const auto own = static_cast<std::size_t>(dataset.labels[slide]);
      ++votes[own];
      label = std::max(label, own);
    }
    if (options.voting == PatientVoting::kMajority) {
      label =
          static_cast<std::size_t>(std::max_element(votes.begin(), votes.end()) - votes.begin());
    }
    of_class[label].push_back(&slides);
  }
  const auto share = [](double fraction, std::size_t n) -> std::size_t {
    if (fraction == 0.0) return 0;
    return std::max<std::size_t>(
        1, static_cast<std::size_t>(std::lround(fraction * static_cast<double>(n))));
  };
  std::vector<ClamSplit> out;
  for (int draw = 0; draw < options.k; ++draw) {
    ClamSplit split;
    for (std::size_t c = 0; c < of_class.size(); ++c) {
      auto shuffled = of_class[c];
      const std::size_t n_val = share(options.val_frac, shuffled.size());
      const std::size_t n_test = share(options.test_frac, shuffled.size());
      if (n_val + n_test >= shuffled.size()) {
        throw Error(ErrorKind::kData,
                    fmt::format("splits: class '{}' has {} patients, expected more than {} for val "
                                "and {} for test",
                                dataset.classes[c],
                                shuffled.size(),
                                n_val,
                                n_test));
      }
      NumpyRandom random(static_cast<std::uint32_t>(
          derive_seed(options.seed,
                      "mil/splits",
                      {static_cast<std::uint64_t>(draw), static_cast<std::uint64_t>(c)})));
      random.shuffle(shuffled);
      const std::size_t rest = shuffled.size() - n_val - n_test;
      const auto n_train = static_cast<std::size_t>(
          std::ceil(options.label_frac * static_cast<double>(rest) - 1e-9));
      for (std::size_t i = 0; i < n_val + n_test + n_train; ++i) {
        auto& side = i < n_val ? split.val : i < n_val + n_test ? split.test : split.train;
        side.insert(side.end(), shuffled[i]->begin(), shuffled[i]->end());
      }
    }
    for (std::size_t side = 0; side < kSides.size(); ++side) {
      std::sort(side_of(split, side).begin(), side_of(split, side).end());
    }
    out.push_back(std::move(split));
  }
  return out;
}

std::string clam_split_folder(const std::string& task, double label_frac) {
  // 0.29 * 100 is 28.999...: CLAM's int() cuts it down, and so its folders are named.
  return fmt::format("splits/{}_{}", task, static_cast<int>(label_frac * 100.0));
}

std::string clam_split_csv(const ClamDataset& dataset, const ClamSplit& split) {
  CsvWriter csv({"", "train", "val", "test"});
  const std::size_t rows = std::max({split.train.size(), split.val.size(), split.test.size()});
  for (std::size_t i = 0; i < rows; ++i) {
    csv.number(i);
    for (std::size_t side = 0; side < kSides.size(); ++side) {
      const auto& slides = side_of(split, side);
      i < slides.size() ? csv.text(dataset.slide_ids.at(slides[i])) : csv.missing();
    }
    csv.end_row();
  }
  return csv.str();
}

std::string clam_split_bool_csv(const ClamDataset& dataset, const ClamSplit& split) {
  CsvWriter csv({"", "train", "val", "test"});
  for (std::size_t side = 0; side < kSides.size(); ++side) {
    for (const std::size_t slide : side_of(split, side)) {
      csv.text(dataset.slide_ids.at(slide));
      for (std::size_t other = 0; other < kSides.size(); ++other) {
        csv.text(other == side ? "True" : "False");
      }
      csv.end_row();
    }
  }
  return csv.str();
}

std::string clam_split_descriptor_csv(const ClamDataset& dataset, const ClamSplit& split) {
  CsvWriter csv({"", "train", "val", "test"});
  for (std::size_t c = 0; c < dataset.classes.size(); ++c) {
    csv.text(dataset.classes[c]);
    for (std::size_t side = 0; side < kSides.size(); ++side) {
      const auto& slides = side_of(split, side);
      csv.number(std::count_if(slides.begin(), slides.end(), [&](std::size_t slide) {
        return dataset.labels.at(slide) == static_cast<int>(c);
      }));
    }
    csv.end_row();
  }
  return csv.str();
}

ClamSplit parse_clam_split(std::string_view text,
                           const std::string& source,
                           const ClamDataset& dataset) {
  const Table table = parse_table(text, source);
  std::array<std::size_t, 3> column{};
  for (std::size_t side = 0; side < kSides.size(); ++side)
    column[side] = table.column(kSides[side]);
  std::map<std::string, std::size_t> row_of;
  for (std::size_t i = 0; i < dataset.slide_ids.size(); ++i) row_of[dataset.slide_ids[i]] = i;
  const auto truth = [](std::string_view cell) {
    const std::string lower = to_lower(trim(cell));
    return lower == "true" ? 1 : lower == "false" ? 0 : -1;
  };
  bool flags = !table.rows.empty() && column[0] > 0;
  for (const auto& row : table.rows) {
    for (const std::size_t at : column) flags = flags && truth(row[at]) >= 0;
  }

  ClamSplit split;
  std::vector<int> side_of_slide(dataset.slide_ids.size(), -1);
  std::map<std::string, std::size_t> side_of_patient;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    for (std::size_t side = 0; side < kSides.size(); ++side) {
      if (flags && truth(table.rows[i][column[side]]) == 0) continue;
      std::string slide(trim(table.rows[i][flags ? 0 : column[side]]));
      if (slide.empty()) continue;
      // pandas writes a column with empty cells as floats where all names are numbers.
      auto found = row_of.find(slide);
      if (found == row_of.end() && slide.ends_with(".0")) {
        found = row_of.find(slide.substr(0, slide.size() - 2));
      }
      const auto where = [&] {
        return fmt::format("{}, line {}, {}", source, table.line_of_row[i], kSides[side]);
      };
      if (found == row_of.end()) {
        throw Error(ErrorKind::kNotFound, where() + ": a slide that is not in the dataset");
      }
      int& taken = side_of_slide[found->second];
      if (taken >= 0) {
        throw Error(ErrorKind::kData,
                    fmt::format("{}: a slide that is in {} already",
                                where(),
                                kSides[static_cast<std::size_t>(taken)]));
      }
      taken = static_cast<int>(side);
      const auto [patient, fresh] = side_of_patient.emplace(dataset.case_ids[found->second], side);
      if (!fresh && patient->second != side) {
        throw Error(
            ErrorKind::kData,
            fmt::format(
                "{}: a patient with another slide in {}", where(), kSides[patient->second]));
      }
      side_of(split, side).push_back(found->second);
    }
  }
  return split;
}

ClamSplit read_clam_split(const std::filesystem::path& path, const ClamDataset& dataset) {
  return parse_clam_split(text_of(path), path.string(), dataset);
}

std::string clam_fold_csv(const ClamDataset& dataset, std::span<const BagPrediction> predictions) {
  std::vector<std::string> columns = {"slide_id", "Y", "Y_hat"};
  const std::size_t classes =
      predictions.empty() ? dataset.classes.size() : predictions.front().probabilities.size();
  for (std::size_t c = 0; c < classes; ++c) columns.push_back(fmt::format("p_{}", c));
  CsvWriter csv(columns);
  for (const BagPrediction& said : predictions) {
    if (said.row >= dataset.slide_ids.size()) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("slide {} of {}", said.row, dataset.slide_ids.size()));
    }
    csv.text(dataset.slide_ids[said.row]).number(said.target.label).number(said.predicted);
    for (const double p : said.probabilities) csv.number(p);
    csv.end_row();
  }
  return csv.str();
}

stats::Estimate bag_auc(std::span<const BagPrediction> predictions) {
  if (predictions.empty()) return stats::Estimate::none("no slides");
  const std::size_t classes = predictions.front().probabilities.size();
  const auto one_against_rest = [&](std::size_t c) {
    std::vector<std::uint8_t> label;
    std::vector<double> score;
    for (const BagPrediction& said : predictions) {
      label.push_back(said.target.label == static_cast<int>(c) ? 1 : 0);
      score.push_back(said.probabilities.at(c));
    }
    return stats::auroc_delong(label, score).auroc;
  };
  if (classes == 2) return one_against_rest(1);
  double sum = 0.0;
  for (std::size_t c = 0; c < classes; ++c) {
    const stats::Estimate one = one_against_rest(c);
    if (!one.ok()) {
      return stats::Estimate::none(fmt::format("class {}: {}", c, one.not_estimable));
    }
    sum += one.value;
  }
  return stats::Estimate::of(sum / static_cast<double>(classes));
}

stats::Estimate bag_accuracy(std::span<const BagPrediction> predictions) {
  std::int64_t right = 0;
  for (const BagPrediction& said : predictions)
    right += said.predicted == said.target.label ? 1 : 0;
  return stats::wilson(right, static_cast<std::int64_t>(predictions.size()));
}

FoldSummary summarise_fold(int fold,
                           std::span<const BagPrediction> val,
                           std::span<const BagPrediction> test) {
  return {fold,
          bag_auc(test),
          bag_auc(val),
          bag_accuracy(test),
          bag_accuracy(val),
          test.size(),
          val.size()};
}

std::string clam_summary_csv(std::span<const FoldSummary> folds) {
  std::vector<std::string> columns = {"", "folds"};
  const std::array<const char*, 4> names = {"test_auc", "val_auc", "test_acc", "val_acc"};
  columns.insert(columns.end(), names.begin(), names.end());
  for (const std::string name : names) {
    columns.push_back(name + "_low");
    columns.push_back(name + "_high");
  }
  for (const char* name : {"n_test", "n_val", "not_estimable"}) columns.emplace_back(name);
  CsvWriter csv(columns);
  for (std::size_t i = 0; i < folds.size(); ++i) {
    const FoldSummary& fold = folds[i];
    const std::array<const stats::Estimate*, 4> all = {
        &fold.test_auc, &fold.val_auc, &fold.test_acc, &fold.val_acc};
    csv.number(i).number(fold.fold);
    for (const auto* one : all) one->ok() ? csv.number(one->value) : csv.missing();
    std::vector<std::string> reasons;
    for (std::size_t j = 0; j < all.size(); ++j) {
      const bool interval = all[j]->has_interval();
      interval ? csv.number(all[j]->low) : csv.missing();
      interval ? csv.number(all[j]->high) : csv.missing();
      if (!all[j]->ok()) reasons.push_back(fmt::format("{}: {}", names[j], all[j]->not_estimable));
    }
    csv.number(fold.n_test).number(fold.n_val).text(join(reasons, "; "));
    csv.end_row();
  }
  return csv.str();
}

}  // namespace med3d::mil
