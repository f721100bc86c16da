#include "med3d/pipeline/audit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/stats/intervals.h"

namespace med3d::pipeline {
namespace {

using stats::Confusion;
using stats::PrintedShare;
using stats::PublishedRow;

constexpr std::size_t kMostRows = 10'000;

// ---- columns ----

struct Column {
  const char* name;
  std::array<const char*, 3> others;
};

constexpr Column kWords[] = {
    {"model", {"method", "name", "classifier"}},
    {"test_set", {"set", "dataset", "cohort"}},
    {"table", {"source", "", ""}},
};
constexpr Column kShares[] = {
    {"accuracy", {"acc", "test_accuracy", ""}},
    {"balanced_accuracy", {"ba", "bacc", "bal_acc"}},
    {"precision", {"ppv", "precision_positive", ""}},
    {"recall", {"sensitivity", "tpr", "recall_positive"}},
    {"specificity", {"tnr", "recall_negative", ""}},
    {"npv", {"precision_negative", "", ""}},
    {"f1", {"f1_score", "f1_positive", ""}},
    {"f1_negative", {"", "", ""}},
    {"auroc", {"auc", "roc_auc", ""}},
    {"auprc", {"average_precision", "pr_auc", ""}},
    {"c_index", {"cindex", "concordance", ""}},
    {"brier", {"brier_score", "", ""}},
    {"share", {"percentage", "percent", ""}},
};
constexpr Column kCounts[] = {
    {"n", {"patients", "total", ""}},
    {"positives", {"events", "n_positive", "n_events"}},
    {"negatives", {"n_negative", "", ""}},
    {"tp", {"", "", ""}},
    {"fn", {"", "", ""}},
    {"fp", {"", "", ""}},
    {"tn", {"", "", ""}},
    {"cohort_positives", {"", "", ""}},
    {"cohort_negatives", {"", "", ""}},
    {"part", {"", "", ""}},
    {"whole", {"", "", ""}},
};

std::string plain_name(std::string_view header) {
  std::string out;
  for (const char c : to_lower(header)) {
    if (c == ' ' || c == '-' || c == '/') {
      out += '_';
    } else if (c != '(' && c != ')' && c != '%') {
      out += c;
    }
  }
  while (out.ends_with('_')) out.pop_back();
  return out;
}

template <std::size_t N>
const char* known_as(const Column (&columns)[N], std::string_view header) {
  const std::string name = plain_name(header);
  for (const Column& column : columns) {
    if (name == column.name) return column.name;
    for (const char* other : column.others) {
      if (*other != 0 && name == other) return column.name;
    }
  }
  return nullptr;
}

// ---- cells ----

struct Printed {
  PrintedShare share;
  std::optional<double> low;
  std::optional<double> high;
  std::string text;  // as printed
};

bool is_missing(std::string_view cell) {
  const std::string text = to_lower(trim(cell));
  return text.empty() || text == "-" || text == "na" || text == "n/a" || text == "nan" ||
         text == "not estimable" || text == "\u2013" || text == "\u2014";
}

// The number at the front of the text, which is moved behind it; how many decimals it shows.
std::optional<PrintedShare> take_number(std::string_view& text) {
  while (!text.empty() && std::string_view(" ([,-").find(text.front()) != std::string_view::npos) {
    // A minus belongs to a number only at the very front of a cell; ranges use it as a dash.
    text.remove_prefix(1);
  }
  if (text.starts_with("\u2013")) text.remove_prefix(std::string_view("\u2013").size());
  while (text.starts_with(' ')) text.remove_prefix(1);
  std::size_t end = 0;
  std::optional<std::size_t> point;
  while (end < text.size() &&
         ((text[end] >= '0' && text[end] <= '9') || (text[end] == '.' && !point))) {
    if (text[end] == '.') point = end;
    ++end;
  }
  const auto value = parse_double(text.substr(0, end));
  if (!value) return std::nullopt;
  PrintedShare out{*value, point ? static_cast<int>(end - *point - 1) : 0};
  text.remove_prefix(end);
  while (text.starts_with(' ')) text.remove_prefix(1);
  if (text.starts_with('%')) {
    out.value /= 100.0;
    out.decimals += 2;
    text.remove_prefix(1);
    while (text.starts_with(' ')) text.remove_prefix(1);
  }
  return out;
}

// "0.87", "87 %", "0.87 (0.80-0.93)", "0.87 [0.80, 0.93]", "0.87 +- 0.02"; nothing for other text.
std::optional<Printed> read_share(std::string_view cell, bool percent) {
  std::string_view rest = trim(cell);
  if (rest.starts_with('-')) return std::nullopt;
  Printed out;
  out.text = rest;
  const auto value = take_number(rest);
  if (!value) return std::nullopt;
  out.share = *value;
  const bool was_percent = out.text.find('%') != std::string::npos;
  if (rest.starts_with('(') || rest.starts_with('[')) {
    const auto low = take_number(rest);
    const auto high = take_number(rest);
    if (!low || !high || rest.empty() || (rest.front() != ')' && rest.front() != ']')) {
      return std::nullopt;
    }
    rest.remove_prefix(1);
    out.low = low->value;
    out.high = high->value;
    // "87 (80-93) %", and "87 % (80-93)": the sign holds for all three.
    if (was_percent && *out.low > 1.0) *out.low /= 100.0;
    if (was_percent && *out.high > 1.0) *out.high /= 100.0;
    while (rest.starts_with(' ')) rest.remove_prefix(1);
    if (rest.starts_with('%')) {
      rest.remove_prefix(1);
      out.share.value /= 100.0;
      out.share.decimals += 2;
    }
  } else if (rest.starts_with("\u00b1") || rest.starts_with("+-")) {
    rest.remove_prefix(2);  // a spread over folds: no interval, not checked
    if (!take_number(rest)) return std::nullopt;
  }
  if (!trim(rest).empty()) return std::nullopt;
  if (percent && !was_percent) {
    out.share.value /= 100.0;
    out.share.decimals += 2;
    if (out.low) *out.low /= 100.0;
    if (out.high) *out.high /= 100.0;
  }
  out.share.decimals = std::clamp(out.share.decimals, 0, 9);
  return out;
}

std::optional<std::int64_t> read_count(std::string_view cell) {
  const auto value = parse_double(cell);
  if (!value || *value < 0 || *value > 1e6 || *value != std::floor(*value)) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

// ---- rows ----

// What all rows of one model on one test set print.
struct Result {
  std::string model;
  std::string test_set;
  std::vector<std::size_t> lines;
  std::vector<std::string> tables;
  std::map<std::string, std::vector<std::pair<Printed, std::string>>> shares;  // and where
  std::map<std::string, std::int64_t> counts;

  std::optional<PrintedShare> share(const std::string& name) const {
    const auto found = shares.find(name);
    if (found == shares.end()) return std::nullopt;
    return found->second.front().first.share;  // the finest is first once sorted
  }
  std::optional<std::int64_t> count(const std::string& name) const {
    const auto found = counts.find(name);
    if (found == counts.end()) return std::nullopt;
    return found->second;
  }
};

std::string place(const std::string& table, std::size_t line) {
  return table.empty() ? fmt::format("line {}", line) : fmt::format("{}, line {}", table, line);
}

std::string where(const Result& result) {
  std::vector<std::string> places;
  for (std::size_t i = 0; i < result.lines.size(); ++i) {
    places.push_back(place(result.tables[i], result.lines[i]));
  }
  return fmt::format("{}{} ({})",
                     result.model.empty() ? "row" : result.model,
                     result.test_set.empty() ? "" : fmt::format(", test set '{}'", result.test_set),
                     fmt::join(places, "; "));
}

class Auditor {
 public:
  Auditor(Audit& audit, std::int64_t max_n) : audit_(audit), max_n_(max_n) {}

  void read(const Table& table);
  void check_all();

 private:
  void add(const char* level, const char* code, std::string at, std::string text) {
    audit_.findings.push_back({level, code, std::move(at), std::move(text)});
  }

  void read_row(const Table& table, std::size_t row);
  Result& result_of(const std::string& model, const std::string& test_set);
  void check_printed(Result& result);
  bool check_counts(Result& result);  // false if they contradict each other
  PublishedRow published(const Result& result) const;
  bool solve(const Result& result, const PublishedRow& row);
  std::string contradiction(const PublishedRow& row) const;
  void check_sizes(std::span<const std::size_t> members);
  void check_against_baselines(const Result& result,
                               const PublishedRow& row,
                               std::span<const std::pair<std::int64_t, std::int64_t>> sizes);
  void check_area(const Result& result, const PublishedRow& row);
  void check_thin(const Result& result,
                  const PublishedRow& row,
                  std::pair<std::int64_t, std::int64_t> size,
                  bool stated);

  Audit& audit_;
  std::int64_t max_n_;
  std::vector<Result> results_;
  std::map<std::size_t, const char*> words_, shares_, counts_;
  std::map<std::size_t, bool> percent_;
};

void Auditor::read(const Table& table) {
  std::map<std::string, std::string> taken;
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    const std::string& header = table.columns[c];
    const char* name = nullptr;
    std::map<std::size_t, const char*>* group = nullptr;
    if ((name = known_as(kWords, header)) != nullptr) group = &words_;
    if (name == nullptr && (name = known_as(kShares, header)) != nullptr) group = &shares_;
    if (name == nullptr && (name = known_as(kCounts, header)) != nullptr) group = &counts_;
    if (name == nullptr) {
      audit_.ignored.push_back(header);
      continue;
    }
    if (const auto twice = taken.find(name); twice != taken.end()) {
      throw Error(
          ErrorKind::kData,
          fmt::format(
              "{}: columns '{}' and '{}' are both {}", table.source, twice->second, header, name));
    }
    taken[name] = header;
    (*group)[c] = name;
    if (group == &shares_) percent_[c] = header.find('%') != std::string::npos;
  }
  if (shares_.empty()) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: no column of results, expected some of accuracy, "
                            "balanced_accuracy, precision, recall, specificity, f1, auroc, ...",
                            table.source));
  }
  if (table.rows.size() > kMostRows) {
    throw Error(
        ErrorKind::kData,
        fmt::format(
            "{}: {} rows, expected at most {}", table.source, table.rows.size(), kMostRows));
  }
  audit_.rows = table.rows.size();
  for (std::size_t row = 0; row < table.rows.size(); ++row) read_row(table, row);
}

Result& Auditor::result_of(const std::string& model, const std::string& test_set) {
  if (!model.empty() && !test_set.empty()) {
    for (Result& each : results_) {
      if (each.model == model && each.test_set == test_set) return each;
    }
  }
  results_.push_back({model, test_set, {}, {}, {}, {}});
  return results_.back();
}

void Auditor::read_row(const Table& table, std::size_t row) {
  const auto& cells = table.rows[row];
  const std::size_t line = table.line_of_row[row];
  std::map<std::string, std::string> words;
  for (const auto& [c, name] : words_) words[name] = trim(cells[c]);
  Result& result = result_of(words["model"], words["test_set"]);
  result.lines.push_back(line);
  result.tables.push_back(words["table"]);
  const std::string at = place(words["table"], line);
  for (const auto& [c, name] : shares_) {
    if (is_missing(cells[c])) continue;
    const auto printed = read_share(cells[c], percent_[c]);
    if (!printed) {
      add("impossible",
          "unreadable",
          where(result),
          fmt::format("{} is no number, expected one as 0.87, 87 % or 0.87 (0.80-0.93)", name));
      continue;
    }
    result.shares[name].emplace_back(*printed, at);
  }
  for (const auto& [c, name] : counts_) {
    if (is_missing(cells[c])) continue;
    const auto count = read_count(cells[c]);
    if (!count) {
      add("impossible",
          "unreadable",
          where(result),
          fmt::format("{} is no count, expected a whole number from 0 to 1000000", name));
      continue;
    }
    const auto [known, inserted] = result.counts.emplace(name, *count);
    if (!inserted && known->second != *count) {
      add("impossible",
          "counts",
          where(result),
          fmt::format("{} is {} at one place and {} at another", name, known->second, *count));
    }
  }
}

void Auditor::check_printed(Result& result) {
  for (auto entry = result.shares.begin(); entry != result.shares.end();) {
    auto& [name, printed] = *entry;
    std::erase_if(printed, [&](const auto& each) {
      const Printed& p = each.first;
      if (p.share.value > 1.0) {
        add("impossible",
            "out_of_range",
            where(result),
            fmt::format(
                "{} {}, expected a number from 0 to 1 (or one with a % sign)", name, p.text));
        return true;
      }
      const double slack = std::pow(10.0, -p.share.decimals);
      if (p.low && (*p.low > p.share.value + slack || *p.high < p.share.value - slack)) {
        add("impossible",
            "out_of_range",
            where(result),
            fmt::format("{} {}: the interval does not hold its value", name, p.text));
      }
      return false;
    });
    if (printed.empty()) {
      entry = result.shares.erase(entry);
      continue;
    }
    std::stable_sort(printed.begin(), printed.end(), [](const auto& a, const auto& b) {
      return a.first.share.decimals > b.first.share.decimals;
    });
    const Printed& finest = printed.front().first;
    for (std::size_t i = 1; i < printed.size(); ++i) {
      const Printed& other = printed[i].first;
      if (stats::same_when_rounded(other.share, finest.share)) continue;
      const bool cut = stats::cut_off(other.share, finest.share);
      add(cut ? "note" : "impossible",
          "printed_twice",
          where(result),
          fmt::format("{} is {} ({}) and {} ({}){}",
                      name,
                      other.text,
                      printed[i].second,
                      finest.text,
                      printed.front().second,
                      cut ? ": cut off instead of rounded" : ": two numbers for one result"));
    }
    ++entry;
  }
}

bool Auditor::check_counts(Result& result) {
  const std::size_t before = audit_.findings.size();
  const auto derive = [&](const char* total, const char* a, const char* b) {
    const auto whole = result.count(total);
    const auto first = result.count(a);
    const auto second = result.count(b);
    if (whole && first && second && *whole != *first + *second) {
      add("impossible",
          "counts",
          where(result),
          fmt::format("{} {} + {} {} = {}, but {} is {}",
                      a,
                      *first,
                      b,
                      *second,
                      *first + *second,
                      total,
                      *whole));
    } else if (!whole && first && second) {
      result.counts[total] = *first + *second;
    } else if (whole && first && !second && *whole >= *first) {
      result.counts[b] = *whole - *first;
    } else if (whole && second && !first && *whole >= *second) {
      result.counts[a] = *whole - *second;
    }
  };
  derive("positives", "tp", "fn");
  derive("negatives", "fp", "tn");
  derive("n", "positives", "negatives");
  derive("positives", "tp", "fn");
  derive("negatives", "fp", "tn");

  const auto part = result.count("part");
  const auto whole = result.count("whole");
  const auto share = result.share("share");
  if (part && whole && *part > *whole) {
    add("impossible", "counts", where(result), fmt::format("{} of {}", *part, *whole));
  } else if (part && whole && *whole > 0 && share) {
    const double value = static_cast<double>(*part) / static_cast<double>(*whole);
    if (!stats::same_when_rounded(*share, {value, 9})) {
      add("impossible",
          "counts",
          where(result),
          fmt::format("{} of {} is {:.5g}, but the share is printed as {}",
                      *part,
                      *whole,
                      value,
                      result.shares.at("share").front().first.text));
    }
  }
  return audit_.findings.size() == before;
}

PublishedRow Auditor::published(const Result& result) const {
  PublishedRow row;
  const auto exact = [&](const char* name) {
    auto share = result.share(name);
    if (share && share->decimals < 1) share.reset();  // "1" alone says nothing of its rounding
    return share;
  };
  row.accuracy = exact("accuracy");
  row.balanced_accuracy = exact("balanced_accuracy");
  row.precision = exact("precision");
  row.recall = exact("recall");
  row.specificity = exact("specificity");
  row.npv = exact("npv");
  row.f1 = exact("f1");
  row.f1_negative = exact("f1_negative");
  row.positives = result.count("positives");
  row.negatives = result.count("negatives");
  const auto tp = result.count("tp");
  const auto fn = result.count("fn");
  const auto fp = result.count("fp");
  const auto tn = result.count("tn");
  if (tp && fn && fp && tn) row.table = Confusion{*tn, *fp, *fn, *tp};
  return row;
}

// Which of the laws a row breaks by itself, in numbers.
std::string Auditor::contradiction(const PublishedRow& row) const {
  std::vector<std::string> parts;
  const auto recall = row.recall;
  std::optional<double> specificity =
      row.specificity ? std::optional(row.specificity->value) : std::nullopt;
  std::string why;
  if (!specificity && row.precision && row.precision->value >= 1.0 && recall &&
      recall->value > 0.0) {
    specificity = 1.0;
    why = "precision 1 leaves no false positive, so specificity is 1; ";
  }
  if (row.balanced_accuracy && recall && specificity) {
    const double expected = (recall->value + *specificity) / 2.0;
    const double slack =
        std::pow(10.0, -std::min(row.balanced_accuracy->decimals, recall->decimals));
    if (std::abs(expected - row.balanced_accuracy->value) > slack) {
      parts.push_back(fmt::format("{}({} + {}) / 2 = {:.3f}, but balanced accuracy is {}",
                                  why,
                                  recall->value,
                                  *specificity,
                                  expected,
                                  row.balanced_accuracy->value));
    }
  }
  const auto harmonic = [&](const char* name,
                            const std::optional<PrintedShare>& f,
                            const std::optional<PrintedShare>& p,
                            const std::optional<PrintedShare>& r) {
    if (!f || !p || !r || p->value + r->value <= 0.0) return;
    const double expected = 2.0 * p->value * r->value / (p->value + r->value);
    const double slack = 2.0 * std::pow(10.0, -std::min({f->decimals, p->decimals, r->decimals}));
    if (std::abs(expected - f->value) > slack) {
      parts.push_back(fmt::format("2 * {} * {} / ({} + {}) = {:.3f}, but {} is {}",
                                  p->value,
                                  r->value,
                                  p->value,
                                  r->value,
                                  expected,
                                  name,
                                  f->value));
    }
  };
  harmonic("F1", row.f1, row.precision, row.recall);
  harmonic("F1 of the negative class", row.f1_negative, row.npv, row.specificity);
  return fmt::format("{}", fmt::join(parts, "; "));
}

// Whether some table gives the row; what was found is kept.
bool Auditor::solve(const Result& result, const PublishedRow& row) {
  AuditedRow audited;
  audited.model = result.model;
  audited.test_set = result.test_set;
  audited.lines = result.lines;
  audited.size_stated = (row.positives && row.negatives) || row.table;
  bool possible = true;
  if (row.accuracy || row.precision || row.recall) {
    const auto verdict = stats::check_published_row(row, max_n_);
    audited.tables = verdict.tables;
    possible = verdict.possible;
    if (!possible) {
      const std::string arithmetic = contradiction(row);
      add("impossible",
          verdict.single_class ? "one_class" : "no_table",
          where(result),
          verdict.finding + (arithmetic.empty() ? "" : ". " + arithmetic));
    }
  }
  audit_.solved.push_back(std::move(audited));
  return possible;
}

void Auditor::check_area(const Result& result, const PublishedRow& row) {
  const auto area = result.share("auroc");
  if (!area || !row.recall || !row.specificity) return;
  const double r = row.recall->value;
  const double s = row.specificity->value;
  const double slack =
      std::pow(10.0, -std::min({area->decimals, row.recall->decimals, row.specificity->decimals}));
  const double low = r * s;
  const double high = 1.0 - (1.0 - r) * (1.0 - s);
  if (area->value < low - slack || area->value > high + slack) {
    add("impossible",
        "auroc_out_of_reach",
        where(result),
        fmt::format("AUROC {} with recall {} and specificity {} at some threshold: a curve through "
                    "that point has an area of {:.3f} to {:.3f}",
                    result.shares.at("auroc").front().first.text,
                    r,
                    s,
                    low,
                    high));
  }
}

void Auditor::check_against_baselines(
    const Result& result,
    const PublishedRow& row,
    std::span<const std::pair<std::int64_t, std::int64_t>> sizes) {
  // A claim about the set must hold for every size it can have.
  const auto share = [](std::pair<std::int64_t, std::int64_t> size) {
    return static_cast<double>(size.first) / static_cast<double>(size.first + size.second);
  };
  if (sizes.empty()) return;
  const double p = share(sizes.front());
  const bool one_share =
      std::all_of(sizes.begin(), sizes.end(), [&](const auto& size) { return share(size) == p; });
  if (!one_share) return;
  const auto below = [](const PrintedShare& printed, double bar) {
    return printed.value + 0.5 * std::pow(10.0, -printed.decimals) < bar;
  };
  const std::string set = fmt::format("{} of {} patients are positive",
                                      sizes.front().first,
                                      sizes.front().first + sizes.front().second);
  if (row.f1 && below(*row.f1, 2.0 * p / (1.0 + p))) {
    add("doubtful",
        "below_always_positive",
        where(result),
        fmt::format("F1 {} is below {:.3f}, which calling everybody positive gets ({})",
                    result.shares.at("f1").front().first.text,
                    2.0 * p / (1.0 + p),
                    set));
  }
  if (row.accuracy && below(*row.accuracy, std::max(p, 1.0 - p))) {
    add("doubtful",
        "below_majority",
        where(result),
        fmt::format("accuracy {} is below {:.3f}, which calling everybody {} gets ({})",
                    result.shares.at("accuracy").front().first.text,
                    std::max(p, 1.0 - p),
                    p >= 0.5 ? "positive" : "negative",
                    set));
  }
}

void Auditor::check_thin(const Result& result,
                         const PublishedRow& row,
                         std::pair<std::int64_t, std::int64_t> size,
                         bool stated) {
  const auto thin = [&](const char* name, std::int64_t patients, std::int64_t right) {
    if (patients >= 10 || patients < 1) return;
    const auto interval = stats::wilson(right, patients);
    add("note",
        "thin_class",
        where(result),
        fmt::format(
            "{} rests on {} patient(s){}: {} of {} is {:.2f} to {:.2f} with 95 % confidence",
            name,
            patients,
            stated ? "" : " if the set is the smallest that fits",
            right,
            patients,
            interval.low,
            interval.high));
  };
  for (const AuditedRow& each : audit_.solved) {
    if (each.lines != result.lines || each.tables.empty()) continue;
    const Confusion& c = each.tables.front();
    if (c.positives() != size.first || c.negatives() != size.second) continue;
    if (row.recall || row.f1 || row.balanced_accuracy) thin("recall", c.positives(), c.tp);
    if (row.specificity || row.balanced_accuracy) thin("specificity", c.negatives(), c.tn);
  }
}

// The rows of one test set together.
void Auditor::check_sizes(std::span<const std::size_t> members) {
  std::vector<PublishedRow> possible;
  std::vector<const Result*> owners;
  bool intervals = false;
  bool counted = false;
  for (const std::size_t member : members) {
    Result& result = results_[member];
    check_printed(result);
    const bool counts_agree = check_counts(result);
    for (const auto& [name, printed] : result.shares) {
      for (const auto& each : printed) intervals = intervals || each.first.low.has_value();
    }
    const PublishedRow row = published(result);
    counted = counted || (row.positives && row.negatives) || row.table || result.count("whole");
    check_area(result, row);
    if (counts_agree && solve(result, row)) {
      possible.push_back(row);
      owners.push_back(&result);
    }
  }
  const Result& first = results_[members.front()];
  const std::string set =
      first.test_set.empty()
          ? where(first)
          : fmt::format("test set '{}' ({} result(s))", first.test_set, members.size());
  const bool searchable = std::any_of(possible.begin(), possible.end(), [](const auto& row) {
    return row.accuracy || row.precision || row.recall || row.table ||
           (row.positives && row.negatives);
  });
  if (searchable) {
    const auto sizes = stats::common_sizes(possible, max_n_);
    if (sizes.empty() && possible.size() > 1) {
      add("impossible",
          "sizes_disagree",
          set,
          fmt::format("each row is possible, but no set of up to {} patients of each class gives "
                      "all of them",
                      max_n_));
    }
    if (!sizes.empty()) {
      const bool stated = sizes.size() == 1 && counted;
      const auto [p, n] = sizes.front();
      const bool balanced = std::all_of(
          sizes.begin(), sizes.end(), [](const auto& size) { return size.first == size.second; });
      if (balanced && p + n >= 20) {
        add("doubtful",
            "balanced_test",
            set,
            fmt::format(
                "{} positives and {} negatives{}: exactly balanced, as a set is that was "
                "oversampled before it was split",
                p,
                n,
                stated ? "" : fmt::format(" ({} size(s) fit, all balanced)", sizes.size())));
      }
      for (const Result* owner : owners) {
        const auto in_cohort = [&](const char* name, std::int64_t in_set, const char* what) {
          const auto there = owner->count(name);
          if (!there || in_set <= *there) return;
          add("impossible",
              "not_in_cohort",
              where(*owner),
              fmt::format("{} {} in the test set{}, but the cohort has {}: at least {} of them are "
                          "not patients",
                          in_set,
                          what,
                          stated ? "" : " at least",
                          *there,
                          in_set - *there));
        };
        std::int64_t least_p = p;
        std::int64_t least_n = n;
        for (const auto& size : sizes) {
          least_p = std::min(least_p, size.first);
          least_n = std::min(least_n, size.second);
        }
        in_cohort("cohort_positives", least_p, "positives");
        in_cohort("cohort_negatives", least_n, "negatives");
      }
      for (std::size_t i = 0; i < possible.size(); ++i) {
        check_against_baselines(*owners[i], possible[i], sizes);
        check_thin(*owners[i], possible[i], sizes.front(), stated);
      }
    }
  }
  if (!counted) {
    add("note",
        "no_counts",
        set,
        "the table does not say how many patients of each class there were");
  }
  if (!intervals && searchable) {
    add("note", "no_interval", set, "no number has an interval");
  }
}

void Auditor::check_all() {
  std::vector<bool> done(results_.size(), false);
  const auto gravity = [](const AuditFinding& finding) {
    return finding.level == "impossible" ? 0 : finding.level == "doubtful" ? 1 : 2;
  };
  for (std::size_t i = 0; i < results_.size(); ++i) {
    if (done[i]) continue;
    std::vector<std::size_t> members = {i};
    for (std::size_t j = i + 1; j < results_.size(); ++j) {
      if (results_[i].test_set.empty() || results_[j].test_set != results_[i].test_set) continue;
      members.push_back(j);
      done[j] = true;
    }
    const auto before = static_cast<std::ptrdiff_t>(audit_.findings.size());
    check_sizes(members);
    std::stable_sort(audit_.findings.begin() + before,
                     audit_.findings.end(),
                     [&](const auto& a, const auto& b) { return gravity(a) < gravity(b); });
  }
}

Json confusion_json(const Confusion& c) {
  return {{"tp", c.tp}, {"fn", c.fn}, {"fp", c.fp}, {"tn", c.tn}};
}

}  // namespace

bool Audit::clean() const {
  return std::all_of(findings.begin(), findings.end(), [](const AuditFinding& finding) {
    return finding.level == "note";
  });
}

Audit audit_table(const std::filesystem::path& path, std::int64_t max_n) {
  if (max_n < 10 || max_n > 2000) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} patients of a class at most, expected 10 to 2000", max_n));
  }
  Audit audit;
  audit.source = path.filename().string();
  Auditor auditor(audit, max_n);
  auditor.read(read_table(path));
  auditor.check_all();
  return audit;
}

Json audit_json(const Audit& audit) {
  Json findings = Json::array();
  for (const AuditFinding& finding : audit.findings) {
    findings.push_back({{"level", finding.level},
                        {"code", finding.code},
                        {"where", finding.where},
                        {"text", finding.text}});
  }
  Json solved = Json::array();
  for (const AuditedRow& row : audit.solved) {
    Json tables = Json::array();
    for (const Confusion& table : row.tables) tables.push_back(confusion_json(table));
    solved.push_back({{"model", row.model},
                      {"test_set", row.test_set},
                      {"lines", row.lines},
                      {"size_stated", row.size_stated},
                      {"tables", std::move(tables)}});
  }
  return {{"table", audit.source},
          {"rows", audit.rows},
          {"clean", audit.clean()},
          {"ignored_columns", audit.ignored},
          {"findings", std::move(findings)},
          {"solved", std::move(solved)}};
}

std::string audit_text(const Audit& audit) {
  std::array<std::size_t, 3> counts{};
  std::string body;
  for (const AuditFinding& finding : audit.findings) {
    ++counts[finding.level == "impossible" ? 0 : finding.level == "doubtful" ? 1 : 2];
    body += fmt::format(
        "  {} {}: {}\n      {}\n", finding.level, finding.code, finding.where, finding.text);
  }
  std::string out = fmt::format("{}: {} row(s), {} impossible, {} doubtful, {} note(s)\n",
                                audit.source,
                                audit.rows,
                                counts[0],
                                counts[1],
                                counts[2]);
  if (!audit.ignored.empty()) {
    out += fmt::format("  columns not checked: {}\n", fmt::join(audit.ignored, ", "));
  }
  return out + body;
}

}  // namespace med3d::pipeline
