// CLAM's tables: datasets, splits, and what a cross-validation writes.
//
//   dataset            case_id,slide_id,label
//   splits_i.csv       <index>,train,val,test       slide ids, columns of unequal length
//   splits_i_bool.csv  <slide_id>,train,val,test    True, False
//   splits_i_descriptor.csv  <class>,train,val,test  slides of each class
//   fold_i.csv         slide_id,Y,Y_hat,p_0,p_1,...
//   summary.csv        folds,test_auc,val_auc,test_acc,val_acc, and ours: intervals and counts
//
// Source: mahmoodlab/CLAM dataset_modules/dataset_generic.py, create_splits_seq.py, main.py,
// eval.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "med3d/mil/train.h"
#include "med3d/stats/estimate.h"

namespace med3d::mil {

struct ClamDataset {
  std::vector<std::string> case_ids;   // (slides) patient of each slide
  std::vector<std::string> slide_ids;  // (slides) unique, without a file extension
  std::vector<int> labels;             // (slides) index into classes
  std::vector<std::string> classes;    // names of the labels
};

// Columns case_id, slide_id, label, in any order, others ignored.
//
// classes   the names of classes 0, 1, ...; empty: the labels of the file in order, numbers as
//           numbers ("2" before "10"), then text
// Throws Error(kNotFound) for a missing column, kData for a blank id, a slide that occurs twice, a
// label that is none of `classes` (with the line), fewer than two classes.
ClamDataset read_clam_dataset(const std::filesystem::path& path,
                              const std::vector<std::string>& classes = {});
ClamDataset parse_clam_dataset(std::string_view text,
                               const std::string& source,
                               const std::vector<std::string>& classes = {});
std::string clam_dataset_csv(const ClamDataset& dataset);

// One draw: rows of a dataset.
struct ClamSplit {
  std::vector<std::size_t> train, val, test;
  friend bool operator==(const ClamSplit&, const ClamSplit&) = default;
};

enum class PatientVoting { kMax, kMajority };  // the label of a patient with slides of several

struct SplitOptions {
  int k = 10;               // draws
  double val_frac = 0.1;    // of the patients of each class, rounded to the nearest, at least one
  double test_frac = 0.1;   //
  double label_frac = 1.0;  // of what is left for training, rounded up
  PatientVoting voting = PatientVoting::kMax;
  std::uint64_t seed = 1;

  void validate() const;  // throws Error(kUsage) naming the field
};

// CLAM's Monte-Carlo splits: for each draw anew, patients of each class go at random to val, test
// and train; all slides of a patient go with him, so that none is on two sides. Our own random
// stream: same names and sizes as create_splits_seq.py, other draws. Majority: the smallest label
// of equals.
//
// Throws Error(kData) where a class has too few patients to have one on each side that is asked
// for.
std::vector<ClamSplit> make_clam_splits(const ClamDataset& dataset, const SplitOptions& options);

// "splits/<task>_<int(100 * label_frac)>"
std::string clam_split_folder(const std::string& task, double label_frac);

std::string clam_split_csv(const ClamDataset& dataset, const ClamSplit& split);
std::string clam_split_bool_csv(const ClamDataset& dataset, const ClamSplit& split);
std::string clam_split_descriptor_csv(const ClamDataset& dataset, const ClamSplit& split);

// splits_i.csv or splits_i_bool.csv, told apart by their cells.
//
// Throws Error(kNotFound) for a missing column or a slide that is not in the dataset, kData for a
// slide on two sides or twice, or a patient on two sides (CLAM does not look: it leaks).
ClamSplit read_clam_split(const std::filesystem::path& path, const ClamDataset& dataset);
ClamSplit parse_clam_split(std::string_view text,
                           const std::string& source,
                           const ClamDataset& dataset);

// One row a prediction, in their order. Throws Error(kUsage) for a row beyond the dataset.
std::string clam_fold_csv(const ClamDataset& dataset, std::span<const BagPrediction> predictions);

// AUC of two classes with DeLong's interval on the logit scale; of more the mean over classes of one against the rest,
// without an interval (CLAM's default, classes that are absent left out there; not estimable here).
stats::Estimate bag_auc(std::span<const BagPrediction> predictions);
// Share of right Y_hat, with Wilson's interval.
stats::Estimate bag_accuracy(std::span<const BagPrediction> predictions);

struct FoldSummary {
  int fold = 0;
  stats::Estimate test_auc, val_auc, test_acc, val_acc;
  std::size_t n_test = 0, n_val = 0;
};
FoldSummary summarise_fold(int fold,
                           std::span<const BagPrediction> val,
                           std::span<const BagPrediction> test);

// CLAM's five columns, then low and high of each figure, the counts, and the reasons where a figure
// does not exist (its cell is empty then, never 0).
std::string clam_summary_csv(std::span<const FoldSummary> folds);

}  // namespace med3d::mil
