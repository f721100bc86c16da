// Published prognostic scores of kidney cancer as a table allows them: exact where every item is
// known, else the lowest and the highest value that the known items leave possible.
//
//   [lowest, highest] = range of score(c) over all completions c of the patient's facts
//
// A completion gives every item a value that agrees with what is known:
//
//   t            T1a T1b T2a T2b T3a T3b T3c T4; "T1" alone may be T1a or T1b
//   n            N0 or N1 where unknown; NX is N0 for a score whose table says so
//   m            M0 or M1 where unknown or MX
//   stage        T, N and M must give the recorded stage: stage II leaves M0 alone. Where no
//                completion does (pM1 in stage III), T, N and M win and `contradiction` is set.
//   size         recorded, else the sizes by which TNM defines T1a to T2b; any for T3 and T4
//   grade, necrosis, sarcomatoid, ecog   any where unknown
//
// A score for M0 alone takes the completions with M0; where others are possible too the patient
// "may" belong to those it was made for, where none is M0 the score does not apply.
//
// The tables are scores/clinical_scores.json, one file, each with its source and whether it was
// checked against it; no output may leave that mark out (ClinicalScore::mark).
//
// Source: named for each score in that file.
// Checked against: by hand, every row of every table.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace med3d::tabular {

enum class ScoreItem {
  kT,
  kN,
  kM,
  kStage,
  kGrade,
  kSizeCm,
  kNecrosis,
  kSarcomatoid,
  kEcog,
};
inline constexpr std::size_t kScoreItems = 9;
std::string to_string(ScoreItem item);  // "t", "size_cm", as in the file

// What is known of one tumour. -1 and NaN: not known.
struct TumourFacts {
  std::vector<int> t;  // the categories it may have, 0 = T1a .. 7 = T4; empty = not known
  int n = -1;          // 0, 1, 2
  bool nx = false;     // recorded as NX; n is -1 then
  int m = -1;          // 0, 1
  int stage = -1;      // 1 .. 4
  int grade = -1;      // 1 .. 4, Fuhrman or ISUP
  double size_cm = std::numeric_limits<double>::quiet_NaN();
  int necrosis = -1;     // 0, 1: coagulative necrosis
  int sarcomatoid = -1;  // 0, 1
  int ecog = -1;         // 0, or 1 for 1 and more
};

// A row of a table counts where all its conditions hold: an item is one of `values`, or lies in
// [from, below).
struct ScoreCondition {
  ScoreItem item = ScoreItem::kT;
  std::vector<double> values;  // empty: the range
  double from = -std::numeric_limits<double>::infinity();
  double below = std::numeric_limits<double>::infinity();
};
struct ScoreRow {
  std::vector<ScoreCondition> conditions;  // none: always
  double points = 0.0;
};
// The first row that holds gives the points of its term; the score is the sum of its terms.
struct ScoreTerm {
  std::string name;
  std::vector<ScoreRow> rows;
};
struct ScoreGroup {
  std::string name;
  double from = 0.0;  // both ends belong to it
  double to = 0.0;
  std::string published;  // what the source found for it, may be empty
};

struct ClinicalScore {
  std::string id;     // "ssign"
  std::string label;  // "SSIGN, pT4 as 0"
  std::string predicts;
  std::string applies_to;  // "M0"
  std::string source;
  std::string note;
  bool checked = false;  // the table was compared with the source
  bool nx_counts_as_n0 = false;
  std::vector<ScoreCondition> requires_all;
  std::vector<ScoreTerm> terms;
  std::vector<ScoreGroup> groups;

  // "" or "point table not checked against its source", to be printed beside every value.
  std::string mark() const;
  // The group of a whole score; "" outside all.
  std::string group_of(double points) const;
};

// All scores of the file, in its order.
const std::vector<ClinicalScore>& clinical_scores();

// Reads such a file. Throws Error(kFormat) naming the score and what is wrong with it.
std::vector<ClinicalScore> parse_clinical_scores(std::string_view text, std::string_view source);

struct ScoreBounds {
  bool applies = false;        // some completion is of those the score was made for
  bool may_not_apply = false;  // and some is not
  bool contradiction = false;  // stage and T, N, M disagree
  double lowest = std::numeric_limits<double>::quiet_NaN();  // NaN where it does not apply
  double highest = std::numeric_limits<double>::quiet_NaN();
  std::vector<ScoreItem> open;  // items of the score with more than one value left

  double midpoint() const { return (lowest + highest) / 2.0; }
  bool exact() const { return applies && lowest == highest; }
};

// Cost at most about 3,000 sums. Throws Error(kUsage) for a fact outside its range.
ScoreBounds score_bounds(const ClinicalScore& score, const TumourFacts& facts);

// The columns of a table from which facts can be read, by their names (the file's "columns";
// without case, spaces, '-' and '_').
class FactReader {
 public:
  explicit FactReader(std::span<const std::string> columns);

  // Item and index into the columns given.
  const std::vector<std::pair<ScoreItem, std::size_t>>& found() const { return found_; }
  // True with T or stage: without them no score says more than its range.
  bool enough() const;

  // One patient. Cells as people write them: "pT3a", "T1", "2b", "N+", "cM0", "Stage IIIA", "G2",
  // "yes"; for MMIST's columns its codes. What says nothing ("", "NA", "TX", "GX") is not known.
  // What is not understood is not known either, and its item is added to `unread`.
  TumourFacts read(std::span<const std::string> cells, std::vector<ScoreItem>* unread) const;

 private:
  std::vector<std::pair<ScoreItem, std::size_t>> found_;
  std::vector<std::string> names_;  // of found_, as the codes are listed
};

}  // namespace med3d::tabular
