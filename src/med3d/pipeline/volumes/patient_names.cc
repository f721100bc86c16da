#include "med3d/pipeline/volumes/patient_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "med3d/core/case_id.h"
#include "med3d/core/error.h"
#include "med3d/core/hash.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"

namespace med3d::pipeline {
namespace {

constexpr int kMostDays = 1825;
constexpr std::size_t kMaxName = 64;

bool safe_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.';
}

}  // namespace

std::string public_id(std::string_view text) {
  const std::string id = case_id_of(text);
  return source_of(id) == "other" ? "" : id;
}

bool safe_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxName && name.front() != '.' && name.front() != '-' &&
         std::ranges::all_of(name, safe_character);
}

PatientNames::PatientNames(bool keep_ids, std::string secret, const std::filesystem::path& case_ids)
    : keep_ids_(keep_ids), secret_(std::move(secret)) {
  if (case_ids.empty()) return;
  const Table table = read_table(case_ids);
  const std::size_t patient = table.column("patient_id");
  const std::size_t name = table.column("case_id");
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const std::string given(trim(table.rows[i][name]));
    // The cell is not shown: both columns may hold a patient's number.
    if (!safe_name(given)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{}:{}: column 'case_id': letters, digits, '-', '_' and '.' are "
                              "expected, 64 at most",
                              table.source,
                              table.line_of_row[i]));
    }
    const auto [at, added] = case_ids_.emplace(std::string(trim(table.rows[i][patient])), given);
    if (!added && at->second != given) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}:{}: a second case_id for a patient of a line above",
                              table.source,
                              table.line_of_row[i]));
    }
  }
}

std::string PatientNames::digits(std::string_view what,
                                 std::string_view text,
                                 std::size_t count) const {
  // The secret's length goes first, so that no secret and text can pass for another pair.
  Sha256 hash;
  hash.update(fmt::format("med3d {} {}\n", what, secret_.size()));
  hash.update(secret_);
  hash.update(text);
  return hash.hex().substr(0, count);
}

std::string PatientNames::name_of(std::string_view patient_id) const {
  const std::string id(trim(patient_id));
  if (const auto found = case_ids_.find(id); found != case_ids_.end()) return found->second;
  if (std::string open = public_id(id); !open.empty()) return open;
  if (!keep_ids_) return pseudonym_of(id);
  if (safe_name(id)) return id;
  std::string name;
  for (const char c : id.substr(0, kMaxName - 16)) name += safe_character(c) ? c : '_';
  if (name.empty() || !safe_name(name)) name = "p" + name;
  return name + "-" + digits("patient", id, 8);
}

std::string PatientNames::pseudonym_of(std::string_view text) const {
  return "p-" + digits("patient", text, 12);
}

std::string PatientNames::study_of(std::string_view patient, std::string_view study_uid) const {
  if (study_uid.empty()) return "";
  return "t" + digits("study", fmt::format("{}\n{}", patient, study_uid), 12);
}

std::string PatientNames::series_of(std::string_view patient, std::string_view series_uid) const {
  return digits("series", fmt::format("{}\n{}", patient, series_uid), 16);
}

std::string PatientNames::shifted(std::string_view date, std::string_view patient) const {
  using namespace std::chrono;
  if (date.size() != 8) return "";
  const auto number = [&](std::size_t at, std::size_t count) {
    return static_cast<int>(parse_double(date.substr(at, count)).value_or(0));
  };
  const year_month_day day{year(number(0, 4)),
                           month(static_cast<unsigned>(number(4, 2))),
                           std::chrono::day(static_cast<unsigned>(number(6, 2)))};
  if (!day.ok() || number(0, 4) < 1900) return "";
  const unsigned long drawn = std::stoul(digits("days", patient, 8), nullptr, 16);
  // 0 would leave the date as it is.
  int days_moved = static_cast<int>(drawn % (2 * kMostDays)) - kMostDays;
  if (days_moved >= 0) ++days_moved;
  const year_month_day moved{sys_days(day) + days(days_moved)};
  return fmt::format("{:04}{:02}{:02}",
                     static_cast<int>(moved.year()),
                     static_cast<unsigned>(moved.month()),
                     static_cast<unsigned>(moved.day()));
}

std::string PatientNames::fingerprint() const {
  std::string names;
  for (const auto& [patient, name] : case_ids_) names += fmt::format("{}\n{}\n", patient, name);
  return fmt::format("{} {}", keep_ids_ ? "kept" : "hidden", digits("names", names, 8));
}

}  // namespace med3d::pipeline
