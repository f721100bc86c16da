#include "med3d/pipeline/leaks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "med3d/core/text.h"

namespace med3d::pipeline {
namespace {

constexpr std::size_t kLeastWidth = 8;      // of vectors that are compared
constexpr double kMostApart = 2e-3;         // of their length: bfloat16 rounds by 2^-9 at most
constexpr std::size_t kLeastOfAClass = 10;  // of a balanced test set

std::string pairs(std::size_t n, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", n, n == 1 ? one : many);
}

bool across(const std::string& a, const std::string& b) {
  return !a.empty() && !b.empty() && a != b;
}

void check_patients(const Cohort& cohort, std::vector<Leak>& leaks) {
  std::map<std::string, std::set<std::string>> splits;
  for (std::size_t p = 0; p < cohort.size(); ++p) {
    if (!cohort.split[p].empty()) splits[person_of(cohort.case_ids[p])].insert(cohort.split[p]);
  }
  const auto n = std::count_if(
      splits.begin(), splits.end(), [](const auto& entry) { return entry.second.size() > 1; });
  if (n == 0) return;
  leaks.push_back({"patient_across_splits",
                   pairs(static_cast<std::size_t>(n), "patient is", "patients are") +
                       " in training and in test, under two spellings of the id"});
}

// Equal vectors have equal sums, and those that were rounded nearly so: candidates are neighbours
// in the order of the sums.
void check_vectors(const Cohort& cohort, const Modality& modality, std::vector<Leak>& leaks) {
  if (modality.width < kLeastWidth) return;
  struct Key {
    double sum;
    double length;
    std::size_t item;
  };
  std::vector<Key> keys;
  for (std::size_t i = 0; i < modality.items.rows(); ++i) {
    if (cohort.split[modality.patient_of_item[i]].empty()) continue;
    double sum = 0.0;
    double squares = 0.0;
    for (const float value : modality.items.row(i)) {
      sum += std::abs(static_cast<double>(value));
      squares += static_cast<double>(value) * static_cast<double>(value);
    }
    if (squares > 0.0) keys.push_back({sum, std::sqrt(squares), i});
  }
  std::sort(keys.begin(), keys.end(), [](const Key& a, const Key& b) {
    return a.sum != b.sum ? a.sum < b.sum : a.item < b.item;
  });
  const double width = static_cast<double>(modality.width);
  std::size_t found = 0;
  std::string example;
  for (std::size_t a = 0; a < keys.size(); ++a) {
    const double apart = kMostApart * keys[a].length;
    // The sum of n differences is at most sqrt(n) times their length.
    const double reach = std::sqrt(width) * apart;
    for (std::size_t b = a + 1; b < keys.size() && keys[b].sum - keys[a].sum <= reach; ++b) {
      if (std::abs(keys[b].length - keys[a].length) > apart) continue;
      const std::size_t p = modality.patient_of_item[keys[a].item];
      const std::size_t q = modality.patient_of_item[keys[b].item];
      if (!across(cohort.split[p], cohort.split[q])) continue;
      const auto x = modality.items.row(keys[a].item);
      const auto y = modality.items.row(keys[b].item);
      double squares = 0.0;
      for (std::size_t c = 0; c < x.size() && squares <= apart * apart; ++c) {
        const double difference = static_cast<double>(x[c]) - static_cast<double>(y[c]);
        squares += difference * difference;
      }
      if (squares > apart * apart) continue;
      if (++found == 1) {
        example = modality.item_ids[std::min(keys[a].item, keys[b].item)] + " and " +
                  modality.item_ids[std::max(keys[a].item, keys[b].item)];
      }
    }
  }
  if (found == 0) return;
  leaks.push_back({"vector_across_splits",
                   fmt::format("{}: {} of training and test the same vector ({})",
                               modality.name,
                               pairs(found, "pair of items has", "pairs of items have"),
                               example)});
}

void check_images(const Cohort& cohort,
                  std::span<const ImagePrint> images,
                  std::vector<Leak>& leaks) {
  std::map<std::string, std::string> split_of;
  for (std::size_t p = 0; p < cohort.size(); ++p) {
    split_of[person_of(cohort.case_ids[p])] = cohort.split[p];
  }
  struct Found {
    std::size_t n = 0;
    std::string example;
  };
  // Modality, whether the same; in this order they are told.
  std::map<std::pair<std::string, int>, Found> found;
  std::vector<std::string> split(images.size());
  for (std::size_t i = 0; i < images.size(); ++i) {
    const auto at = split_of.find(person_of(images[i].case_id));
    if (at != split_of.end()) split[i] = at->second;
  }
  for (std::size_t i = 0; i < images.size(); ++i) {
    if (split[i].empty()) continue;
    for (std::size_t j = i + 1; j < images.size(); ++j) {
      if (images[i].modality != images[j].modality || !across(split[i], split[j])) continue;
      const bool same = images[i].hash.content == images[j].hash.content;
      if (!same && !images[i].hash.similar(images[j].hash)) continue;
      Found& here = found[{images[i].modality, same ? 0 : 1}];
      if (++here.n == 1) here.example = images[i].item + " and " + images[j].item;
    }
  }
  for (const auto& [what, here] : found) {
    const bool same = what.second == 0;
    leaks.push_back({same ? "image_across_splits" : "similar_image_across_splits",
                     fmt::format("{}: {} of training and test {} ({})",
                                 what.first,
                                 pairs(here.n, "pair of images", "pairs of images"),
                                 same ? "with the same pixels" : "that look the same",
                                 here.example)});
  }
}

std::string refusal(std::span<const Leak> leaks) {
  std::string out = "training and test are not apart";
  for (std::size_t i = 0; i < leaks.size(); ++i) out += (i == 0 ? ": " : "; ") + leaks[i].text;
  return out;
}

void check_balance(const Cohort& cohort, std::vector<Leak>& leaks) {
  std::size_t positives = 0;
  std::size_t patients = 0;
  for (std::size_t p = 0; p < cohort.size(); ++p) {
    if (cohort.split[p] != "test") continue;
    ++patients;
    positives += cohort.label[p];
  }
  const std::size_t negatives = patients - positives;
  if (positives != negatives || positives < kLeastOfAClass) return;
  leaks.push_back(
      {"balanced_test",
       fmt::format("the test set is exactly balanced ({} positives, {} negatives), as oversampling "
                   "before the split would leave it",
                   positives,
                   negatives)});
}

}  // namespace

LeakError::LeakError(std::span<const Leak> leaks)
    : Error(ErrorKind::kData, refusal(leaks)), can_be_allowed_(true) {}

// Twice: the first turns the separators of "TCGA_BP_4352-01Z" into those by which an archive's id
// is recognised.
std::string person_of(const std::string& case_id) {
  return normalised_case_id(normalised_case_id(case_id));
}

std::vector<Leak> check_leaks(const Cohort& cohort, std::span<const ImagePrint> images) {
  std::vector<Leak> leaks;
  check_patients(cohort, leaks);
  for (const Modality& modality : cohort.modalities) check_vectors(cohort, modality, leaks);
  check_images(cohort, images, leaks);
  check_balance(cohort, leaks);
  return leaks;
}

}  // namespace med3d::pipeline
