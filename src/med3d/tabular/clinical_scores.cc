#include "med3d/tabular/clinical_scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "med3d/core/error.h"
#include "med3d/core/json.h"
#include "med3d/core/text.h"
#include "med3d/tabular/shipped_scores_internal.h"

namespace med3d::tabular {
namespace {

constexpr std::array<const char*, kScoreItems> kItemNames = {
    "t", "n", "m", "stage", "grade", "size_cm", "necrosis", "sarcomatoid", "ecog"};
constexpr std::array<const char*, 8> kT = {"T1a", "T1b", "T2a", "T2b", "T3a", "T3b", "T3c", "T4"};
constexpr int kT4 = 7;
constexpr const char* kSource = "clinical_scores.json";

using Completion = std::array<double, kScoreItems>;

std::size_t at(ScoreItem item) { return static_cast<std::size_t>(item); }

ScoreItem item_named(const std::string& name, const std::string& where) {
  for (std::size_t i = 0; i < kItemNames.size(); ++i) {
    if (name == kItemNames[i]) return static_cast<ScoreItem>(i);
  }
  throw Error(ErrorKind::kFormat, fmt::format("{}: no item is named '{}'", where, name));
}

// "T1" is T1a and T1b; empty for what is no category.
std::vector<int> t_categories(std::string_view name) {
  std::vector<int> out;
  if (name.size() < 2 || (name[0] != 'T' && name[0] != 't')) return out;
  const std::string wanted = to_lower(name);
  for (int i = 0; i < static_cast<int>(kT.size()); ++i) {
    const std::string category = to_lower(kT[static_cast<std::size_t>(i)]);
    if (category == wanted || (wanted.size() == 2 && category.starts_with(wanted))) {
      out.push_back(i);
    }
  }
  return out;
}

std::vector<double> values_of(ScoreItem item, const Json& list, const std::string& where) {
  std::vector<double> out;
  for (const Json& value : list) {
    if (value.is_number()) {
      out.push_back(value.get<double>());
      continue;
    }
    const std::string text = value.is_string() ? value.get<std::string>() : std::string();
    if (item == ScoreItem::kT) {
      for (const int t : t_categories(text)) out.push_back(t);
    } else if (text.size() == 2 && (text[0] == 'N' || text[0] == 'M') && text[1] >= '0' &&
               text[1] <= '2') {
      out.push_back(text[1] - '0');
    }
  }
  if (out.size() < list.size() || out.empty()) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: a value of '{}' is not understood", where, to_string(item)));
  }
  return out;
}

std::vector<ScoreCondition> conditions_of(const Json& json, const std::string& where) {
  std::vector<ScoreCondition> out;
  for (const auto& [name, value] : json.items()) {
    ScoreCondition condition;
    condition.item = item_named(name, where);
    if (value.is_array()) {
      condition.values = values_of(condition.item, value, where);
    } else if (value.is_object() && (value.contains("from") || value.contains("below"))) {
      if (value.contains("from")) condition.from = value.at("from").get<double>();
      if (value.contains("below")) condition.below = value.at("below").get<double>();
    } else {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: '{}' needs a list, or 'from' and 'below'", where, name));
    }
    out.push_back(std::move(condition));
  }
  return out;
}

ClinicalScore score_of(const Json& json, const std::string& source) {
  ClinicalScore score;
  score.id = json.at("id").get<std::string>();
  const std::string where = fmt::format("{}: score '{}'", source, score.id);
  score.label = json.at("label").get<std::string>();
  score.predicts = json.at("predicts").get<std::string>();
  score.applies_to = json.at("applies_to").get<std::string>();
  score.source = json.at("source").get<std::string>();
  score.note = json.at("note").get<std::string>();
  score.checked = json.at("checked").get<bool>();
  score.nx_counts_as_n0 = json.at("nx_counts_as_n0").get<bool>();
  if (score.source.empty()) {
    throw Error(ErrorKind::kFormat, fmt::format("{}: a score without a source", where));
  }
  if (json.contains("requires")) score.requires_all = conditions_of(json.at("requires"), where);
  for (const Json& entry : json.at("terms")) {
    ScoreTerm term;
    term.name = entry.at("name").get<std::string>();
    for (const Json& row : entry.at("rows")) {
      term.rows.push_back({conditions_of(row.at("if"), where), row.at("points").get<double>()});
    }
    score.terms.push_back(std::move(term));
  }
  if (score.terms.empty()) {
    throw Error(ErrorKind::kFormat, fmt::format("{}: no terms", where));
  }
  for (const Json& group : json.at("groups")) {
    score.groups.push_back({group.at("name").get<std::string>(),
                            group.at("from").get<double>(),
                            group.at("to").get<double>(),
                            group.at("published").get<std::string>()});
  }
  return score;
}

bool holds(const ScoreCondition& condition, const Completion& completion) {
  const double value = completion[at(condition.item)];
  if (condition.values.empty()) return value >= condition.from && value < condition.below;
  return std::find(condition.values.begin(), condition.values.end(), value) !=
         condition.values.end();
}

bool all_hold(const std::vector<ScoreCondition>& conditions, const Completion& completion) {
  return std::all_of(conditions.begin(), conditions.end(), [&](const auto& condition) {
    return holds(condition, completion);
  });
}

double points_of(const ClinicalScore& score, const Completion& completion) {
  double sum = 0.0;
  for (const auto& term : score.terms) {
    for (const auto& row : term.rows) {
      if (!all_hold(row.conditions, completion)) continue;
      sum += row.points;
      break;
    }
  }
  return sum;
}

int stage_of(int t, int n, int m) {
  if (m == 1 || t == kT4) return 4;
  if (n > 0 || t >= 4) return 3;
  return t >= 2 ? 2 : 1;
}

// N2 is stage IV in the 6th edition and no category of the 7th, where such nodes are N1.
bool agrees(int stage, int t, int n, int m) {
  return stage_of(t, n, m) == stage || (n == 2 && stage == 4);
}

void require_fact(bool ok, const char* item) {
  if (!ok) {
    throw Error(ErrorKind::kUsage, fmt::format("clinical score: '{}' outside its range", item));
  }
}

void validate(const TumourFacts& facts) {
  const auto within = [](int value, int low, int high) {
    return value == -1 || (value >= low && value <= high);
  };
  for (const int t : facts.t) require_fact(t >= 0 && t <= kT4, "t");
  require_fact(within(facts.n, 0, 2), "n");
  require_fact(within(facts.m, 0, 1), "m");
  require_fact(within(facts.stage, 1, 4), "stage");
  require_fact(within(facts.grade, 1, 4), "grade");
  require_fact(std::isnan(facts.size_cm) || (facts.size_cm > 0.0 && facts.size_cm <= 100.0),
               "size_cm");
  require_fact(within(facts.necrosis, 0, 1), "necrosis");
  require_fact(within(facts.sarcomatoid, 0, 1), "sarcomatoid");
  require_fact(within(facts.ecog, 0, 1), "ecog");
}

std::vector<int> either(int known, std::vector<int> all) {
  return known >= 0 ? std::vector<int>{known} : std::move(all);
}

// The categories left by what is recorded of T; a recorded size tells T1a from T1b and T2a from
// T2b.
std::vector<int> t_left(const TumourFacts& facts) {
  std::vector<int> all = facts.t;
  if (all.empty()) {
    for (int t = 0; t <= kT4; ++t) all.push_back(t);
  }
  if (all.size() == 1 || std::isnan(facts.size_cm)) return all;
  std::vector<int> out;
  for (const int t : all) {
    const double size = facts.size_cm;
    const bool fits = t == 0   ? size <= 4.0
                      : t == 1 ? size > 4.0 && size <= 7.0
                      : t == 2 ? size > 7.0 && size <= 10.0
                      : t == 3 ? size > 10.0
                               : true;
    if (fits) out.push_back(t);
  }
  return out.empty() ? all : out;
}

const Json& shipped() {
  static const Json json = parse_json(shipped_scores(), kSource);
  return json;
}

const std::array<std::vector<double>, 8>& sizes_of_t() {
  static const auto sizes = [] {
    std::array<std::vector<double>, 8> out;
    for (std::size_t t = 0; t < out.size(); ++t) {
      out[t] = shipped().at("sizes_of_t").at(kT[t]).get<std::vector<double>>();
    }
    return out;
  }();
  return sizes;
}

bool uses(const std::vector<ScoreCondition>& conditions, ScoreItem item) {
  return std::any_of(
      conditions.begin(), conditions.end(), [&](const auto& c) { return c.item == item; });
}

bool uses(const ClinicalScore& score, ScoreItem item) {
  if (uses(score.requires_all, item)) return true;
  for (const auto& term : score.terms) {
    for (const auto& row : term.rows) {
      if (uses(row.conditions, item)) return true;
    }
  }
  return false;
}

std::string plain(std::string_view name) {
  std::string out;
  for (const char c : to_lower(trim(name))) {
    if (c != ' ' && c != '_' && c != '-') out.push_back(c);
  }
  return out;
}

bool says_nothing(const std::string& text) {
  static const std::vector<std::string> words = {"",
                                                 "-1",
                                                 "-1.0",
                                                 "na",
                                                 "n/a",
                                                 "nan",
                                                 "none",
                                                 "null",
                                                 "unknown",
                                                 "not available",
                                                 "[not available]",
                                                 "[unknown]",
                                                 "not reported",
                                                 "[not evaluated]",
                                                 "[not applicable]",
                                                 "tx",
                                                 "ptx",
                                                 "ctx",
                                                 "mx",
                                                 "pmx",
                                                 "cmx",
                                                 "gx",
                                                 "stage x",
                                                 "--",
                                                 "'--",
                                                 "not evaluated"};
  return std::find(words.begin(), words.end(), text) != words.end();
}

// "3" and "3.0" alike; nothing for what is no whole number from 0 to 99.
int whole_number(const std::string& text) {
  const auto value = parse_double(text);
  if (!value || !(*value >= 0.0 && *value < 100.0) || *value != std::floor(*value)) return -1;
  return static_cast<int>(*value);
}

int yes_or_no(const std::string& text) {
  for (const char* word : {"yes", "y", "true", "present", "1", "1.0"}) {
    if (text == word) return 1;
  }
  for (const char* word : {"no", "n", "false", "absent", "0", "0.0"}) {
    if (text == word) return 0;
  }
  return -1;
}

// The part after prefixes such as "p", "c", "yp" and "(a)" notes; lower case in, lower case out.
std::string without_prefix(std::string text, char letter) {
  std::string out = text;
  const auto found = text.find(letter);
  if (found != std::string::npos && found <= 2) out = text.substr(found + 1);
  return out;
}

int stage_number(std::string text) {
  if (text.starts_with("stage")) text = std::string(trim(text.substr(5)));
  const int whole = whole_number(text);
  if (whole >= 1 && whole <= 4) return whole;
  while (!text.empty() && text.back() >= 'a' && text.back() <= 'c') text.pop_back();
  if (text == "i") return 1;
  if (text == "ii") return 2;
  if (text == "iii") return 3;
  return text == "iv" ? 4 : -1;
}

// False where the text is not understood.
bool read_item(ScoreItem item, const std::string& text, TumourFacts& facts) {
  switch (item) {
    case ScoreItem::kT:
      facts.t = t_categories("t" + without_prefix(text, 't'));
      if (facts.t.empty()) {
        // "t3a (sinus fat)" and subdivisions that the tables do not know ("t1a1").
        facts.t = t_categories("t" + without_prefix(text, 't').substr(0, 2));
      }
      return !facts.t.empty();
    case ScoreItem::kN: {
      const std::string rest = without_prefix(text, 'n');
      facts.nx = rest == "x";
      if (rest == "+") facts.n = 1;
      if (!rest.empty() && rest[0] >= '0' && rest[0] <= '2') facts.n = rest[0] - '0';
      return facts.nx || facts.n >= 0;
    }
    case ScoreItem::kM: {
      const std::string rest = without_prefix(text, 'm');
      if (!rest.empty() && (rest[0] == '0' || rest[0] == '1')) facts.m = rest[0] - '0';
      return facts.m >= 0;
    }
    case ScoreItem::kStage:
      facts.stage = stage_number(text);
      return facts.stage > 0;
    case ScoreItem::kGrade: {
      const int grade = whole_number(without_prefix(text, 'g'));
      if (grade >= 1 && grade <= 4) facts.grade = grade;
      return facts.grade > 0;
    }
    case ScoreItem::kSizeCm: {
      const auto size = parse_double(text);
      if (size && *size > 0.0 && *size <= 100.0) facts.size_cm = *size;
      return !std::isnan(facts.size_cm);
    }
    case ScoreItem::kNecrosis:
      facts.necrosis = yes_or_no(text);
      return facts.necrosis >= 0;
    case ScoreItem::kSarcomatoid:
      facts.sarcomatoid = yes_or_no(text);
      return facts.sarcomatoid >= 0;
    case ScoreItem::kEcog: {
      const int ecog = whole_number(text);
      if (ecog >= 0 && ecog <= 5) facts.ecog = std::min(ecog, 1);
      return facts.ecog >= 0;
    }
  }
  return false;
}

}  // namespace

std::string to_string(ScoreItem item) { return kItemNames[at(item)]; }

std::string ClinicalScore::mark() const {
  return checked ? "" : "point table not checked against its source";
}

std::string ClinicalScore::group_of(double points) const {
  for (const auto& group : groups) {
    if (points >= group.from && points <= group.to) return group.name;
  }
  return "";
}

std::vector<ClinicalScore> parse_clinical_scores(std::string_view text, std::string_view source) {
  const std::string name(source);
  const Json json = parse_json(text, source);
  std::vector<ClinicalScore> out;
  try {
    for (const Json& entry : json.at("scores")) out.push_back(score_of(entry, name));
  } catch (const Json::exception& error) {
    // A key that is not there, or of another type; the library says which.
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: score {}: {}", name, out.size() + 1, error.what()));
  }
  return out;
}

const std::vector<ClinicalScore>& clinical_scores() {
  static const std::vector<ClinicalScore> scores = parse_clinical_scores(shipped_scores(), kSource);
  return scores;
}

ScoreBounds score_bounds(const ClinicalScore& score, const TumourFacts& facts) {
  validate(facts);
  const auto ts = t_left(facts);
  const auto ns = either(facts.n, {0, 1});
  const auto ms = either(facts.m, {0, 1});
  ScoreBounds out;
  if (facts.stage > 0) {
    out.contradiction = true;
    for (const int t : ts) {
      for (const int n : ns) {
        for (const int m : ms) {
          out.contradiction = out.contradiction && !agrees(facts.stage, t, n, m);
        }
      }
    }
  }
  // Items that the score does not read need only one value.
  const auto choices = [&](ScoreItem item, int known, std::vector<int> all) {
    if (!uses(score, item)) all.resize(1);
    return either(known, std::move(all));
  };
  const auto grades = choices(ScoreItem::kGrade, facts.grade, {1, 2, 3, 4});
  const auto necroses = choices(ScoreItem::kNecrosis, facts.necrosis, {0, 1});
  const auto sarcomatoids = choices(ScoreItem::kSarcomatoid, facts.sarcomatoid, {0, 1});
  const auto ecogs = choices(ScoreItem::kEcog, facts.ecog, {0, 1});

  std::array<std::vector<double>, kScoreItems> seen;
  for (const int t : ts) {
    for (const int n : ns) {
      for (const int m : ms) {
        if (facts.stage > 0 && !out.contradiction && !agrees(facts.stage, t, n, m)) continue;
        Completion c{};
        c[at(ScoreItem::kT)] = t;
        c[at(ScoreItem::kN)] = facts.nx && score.nx_counts_as_n0 ? 0 : n;
        c[at(ScoreItem::kM)] = m;
        c[at(ScoreItem::kStage)] = facts.stage > 0 ? facts.stage : stage_of(t, n, m);
        const std::vector<double> sizes = std::isnan(facts.size_cm)
                                              ? sizes_of_t()[static_cast<std::size_t>(t)]
                                              : std::vector<double>{facts.size_cm};
        for (const double size : sizes) {
          c[at(ScoreItem::kSizeCm)] = size;
          for (const int grade : grades) {
            c[at(ScoreItem::kGrade)] = grade;
            for (const int necrosis : necroses) {
              c[at(ScoreItem::kNecrosis)] = necrosis;
              for (const int sarcomatoid : sarcomatoids) {
                c[at(ScoreItem::kSarcomatoid)] = sarcomatoid;
                for (const int ecog : ecogs) {
                  c[at(ScoreItem::kEcog)] = ecog;
                  for (std::size_t i = 0; i < kScoreItems; ++i) {
                    auto& values = seen[i];
                    if (std::find(values.begin(), values.end(), c[i]) == values.end()) {
                      values.push_back(c[i]);
                    }
                  }
                  if (!all_hold(score.requires_all, c)) {
                    out.may_not_apply = true;
                    continue;
                  }
                  const double points = points_of(score, c);
                  out.lowest = out.applies ? std::min(out.lowest, points) : points;
                  out.highest = out.applies ? std::max(out.highest, points) : points;
                  out.applies = true;
                }
              }
            }
          }
        }
      }
    }
  }
  for (std::size_t i = 0; i < kScoreItems; ++i) {
    const auto item = static_cast<ScoreItem>(i);
    if (seen[i].size() > 1 && uses(score, item)) out.open.push_back(item);
  }
  return out;
}

FactReader::FactReader(std::span<const std::string> columns) {
  const Json& names = shipped().at("columns");
  for (std::size_t i = 0; i < kScoreItems; ++i) {
    bool taken = false;
    for (const Json& name : names.at(kItemNames[i])) {
      for (std::size_t c = 0; c < columns.size() && !taken; ++c) {
        if (plain(columns[c]) != plain(name.get<std::string>())) continue;
        found_.emplace_back(static_cast<ScoreItem>(i), c);
        names_.push_back(name.get<std::string>());
        taken = true;
      }
    }
  }
}

bool FactReader::enough() const {
  return std::any_of(found_.begin(), found_.end(), [](const auto& entry) {
    return entry.first == ScoreItem::kT || entry.first == ScoreItem::kStage;
  });
}

TumourFacts FactReader::read(std::span<const std::string> cells,
                             std::vector<ScoreItem>* unread) const {
  TumourFacts facts;
  for (std::size_t i = 0; i < found_.size(); ++i) {
    const auto [item, column] = found_[i];
    std::string text = to_lower(trim(cells[column]));
    const Json& codes = shipped().at("codes");
    if (codes.contains(names_[i]) && codes.at(names_[i]).is_object()) {
      const Json& code = codes.at(names_[i]);
      const int whole = whole_number(text);
      if (whole >= 0 && code.contains(std::to_string(whole))) {
        text = to_lower(code.at(std::to_string(whole)).get<std::string>());
      }
    }
    if (says_nothing(text)) continue;
    if (!read_item(item, text, facts) && unread != nullptr) unread->push_back(item);
  }
  return facts;
}

}  // namespace med3d::tabular
