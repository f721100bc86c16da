// Who is tested when: folds and hold-out splits that agree with scikit-learn's, row for row.
//
// One row is one patient. Where a patient has several rows, split the patients and carry the rows
// along, or use group_folds. A fold number f means: tested in fold f, trained on in all others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace med3d::tabular {

// The test fold of each row, classes spread evenly: StratifiedKFold(folds, shuffle, random_state).
//
// labels  (n,) class of each row
// folds   >= 2
// seed    absent: no shuffling, the first rows of each class go to fold 0; else
//         numpy.random.RandomState(seed)
//
// Unlike scikit-learn, which warns, a class with fewer rows than folds is refused: some fold would
// be tested without it. Throws Error(kUsage) if folds < 2, Error(kData) naming the class.
// Checked against: scikit-learn 1.2.1.
std::vector<int> stratified_folds(std::span<const std::uint8_t> labels,
                                  int folds,
                                  std::optional<std::uint32_t> seed = std::nullopt);

// The test fold of each row, all rows of a group in the same fold and folds of nearly equal size:
// GroupKFold(folds). Largest group first, into the lightest fold.
// groups  (n,) any integers. Throws Error(kData) if there are fewer groups than folds.
// Checked against: scikit-learn 1.2.1.
std::vector<int> group_folds(std::span<const int> groups, int folds);

// Both at once: groups kept whole, classes as even as that allows: StratifiedGroupKFold(folds)
// without shuffling. Groups in order of falling spread of their class counts go to the fold that
// keeps the class shares most alike over folds. Throws like the two above, except that a class may
// miss in a fold where groups force it.
// Checked against: scikit-learn 1.2.1.
std::vector<int> stratified_group_folds(std::span<const std::uint8_t> labels,
                                        std::span<const int> groups,
                                        int folds);

struct HoldOut {
  std::vector<std::size_t> train;  // row indices in scikit-learn's (shuffled) order
  std::vector<std::size_t> test;
};

// One stratified split: train_test_split(test_size, stratify=labels, random_state=seed).
//
// test_fraction  in (0, 1); ceil(test_fraction n) rows are tested
//
// Throws Error(kUsage) on a fraction outside (0, 1), Error(kData) if a class has a single row or a
// side would have fewer rows than there are classes. Checked against: scikit-learn 1.2.1.
HoldOut stratified_hold_out(std::span<const std::uint8_t> labels,
                            double test_fraction,
                            std::uint32_t seed);

// fold_of_row[repeat][row] for repeated stratified cross-validation, each repeat shuffled anew.
//
// labels  (n,) class of each row; every fold gets each class' share, rounded up or down
// strata  (n,) or empty: a second property to spread evenly within the classes (the source cohort,
//         the set of available modalities). Combinations too rare for every fold are allowed
// seed    each repeat draws from derive_seed(seed, "folds", {repeat}): repeats are independent and
//         the first r repeats do not depend on how many follow
//
// Throws Error(kUsage) if folds < 2, repeats < 1 or sizes differ; Error(kData) if a class has fewer
// members than folds ("class 0 has 3 patients, 5 folds need at least 5") or only one is present.
std::vector<std::vector<int>> repeated_stratified_folds(std::span<const std::uint8_t> labels,
                                                        std::span<const int> strata,
                                                        int folds,
                                                        int repeats,
                                                        std::uint64_t seed);

}  // namespace med3d::tabular
