// Which series of CT and MR are worth a model's time, and why: rules as data, a reason for each.
//
// A series is judged in this order; the first step that drops it gives the reason.
//
//   1 modality      one of the rules' modalities
//   2 exclusion     no [[exclude]] rule matches (scout, report, subtraction, derived image, ...)
//   3 plane         ImageOrientationPatient decides; only where it says nothing do [[plane]] words
//   4 slices        at least as many as the modality asks for, if their number is known
//   5 phase         the first [[phase]] rule that matches the description tells before or after
//                   contrast. An injection whose time is known overrules it. Where the description
//                   is silent, the contrast agent's tag speaks, then the study's description (which
//                   says nothing if it names scans both with and without)
//   6 sequence      where the modality asks for one: a [[sequence]] rule, or echo, repetition and
//                   inversion times and b-value; a contrast phase will do as well
//
// Before contrast is dropped for every modality; "nothing says" only where contrast is asked for.
//
// Words are compared with folded text: lower case, accents removed, camelCase parted, everything
// but letters, digits, + and - (and the point in 2.5) a space. A word stands alone, or with '*' at
// an end for any beginning or ending; its spaces match a space, a '-' or nothing. Patterns are
// regular expressions of RE2 on the folded text: linear in its length, whatever they are.
//
// A reason never shows the text that matched, only the rule's own word: descriptions may hold
// names.
//
// Source: the paper, sections 3.4 and 5.2 (criteria); DICOM PS3.3 (tags).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/radiology/series_header.h"

namespace med3d {

enum class SeriesField {
  kDescription,
  kProtocol,
  kImageType,
  kSopClass,
  kBodyPart,
  kSequence,
  kAgent
};
std::string_view to_string(SeriesField field);  // "description", "protocol", "image_type", ...

enum class ContrastMeaning { kBefore, kAfter, kBoth };

struct FilterRule {
  std::string rule;                     // short name; also what tables count by
  std::vector<std::string> modalities;  // none = all
  std::vector<SeriesField> fields;      // looked at in this order
  std::vector<std::string> words;
  std::vector<std::string> patterns;  // RE2; sop_class and image_type are compared unfolded
  ContrastMeaning meaning = ContrastMeaning::kAfter;  // of a phase rule
};

struct ModalityRules {
  std::int64_t least_slices = 0;
  bool contrast = false;  // kept only if something says that contrast was given
  bool sequence = false;  // kept only with a sequence of the list, or after contrast
};

struct FilterRules {
  std::map<std::string, ModalityRules> modalities;
  std::vector<Plane> planes;        // that are kept; none = all
  std::vector<FilterRule> exclude;  // in order, as all lists
  std::vector<FilterRule> plane;    // words for planes that are not kept
  std::vector<FilterRule> ignore;   // words that phase rules do not see: "post nephrectomy"
  std::vector<FilterRule> phase;
  std::vector<FilterRule> sequence;
  std::vector<FilterRule> no_agent;  // what stands in the agent's tag where none was given
  double injection_slack_s = 5.0;    // clocks differ: an injection this near to 0 says nothing
};

struct SeriesVerdict {
  bool kept = false;
  std::string rule;    // "localizer", "plane", "slices", "pre-contrast"; of a kept one its phase or
                       // sequence: "arterial", "T2"
  std::string reason;  // one sentence: 'localizer: "scout" in SeriesDescription'
};

class SeriesFilter {
 public:
  // Throws Error(kUsage) naming rule and word for a pattern that is none, an empty word, a rule
  // without a name, fields, or words and patterns.
  explicit SeriesFilter(const FilterRules& rules);
  SeriesFilter(SeriesFilter&&) noexcept;
  SeriesFilter& operator=(SeriesFilter&&) noexcept;
  ~SeriesFilter();

  // Thread-safe. Cost: linear in the length of the texts.
  SeriesVerdict judge(const SeriesFacts& facts) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

// Text as rules see it: "KM-Phase venös_2" becomes "km-phase venos 2".
std::string folded(std::string_view text);

}  // namespace med3d
