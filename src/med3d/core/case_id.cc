#include "med3d/core/case_id.h"

#include <algorithm>
#include <cctype>

#include "med3d/core/text.h"

namespace med3d {
namespace {

bool alnum(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }
bool digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

// TCGA-XX-XXXX, two then four letters or digits.
bool is_tcga(std::string_view id) {
  return id.size() >= 12 && upper(id.substr(0, 5)) == "TCGA-" && alnum(id[5]) && alnum(id[6]) &&
         id[7] == '-' && std::all_of(id.begin() + 8, id.begin() + 12, alnum) &&
         (id.size() == 12 || !alnum(id[12]));
}

// C3L-00004 or C3N-01078.
bool is_cptac(std::string_view id) {
  if (id.size() < 9) return false;
  const std::string head = upper(id.substr(0, 4));
  return (head == "C3L-" || head == "C3N-") &&
         std::all_of(id.begin() + 4, id.begin() + 9, digit) && (id.size() == 9 || !alnum(id[9]));
}

}  // namespace

std::string case_id_of(std::string_view name) {
  name = trim(name);
  if (is_tcga(name)) return upper(name.substr(0, 12));
  if (is_cptac(name)) return upper(name.substr(0, 9));
  return std::string(name);
}

std::string normalised_case_id(std::string_view name) {
  std::string out;
  for (const char c : to_lower(case_id_of(name))) {
    const bool separator = c == ' ' || c == '_' || c == '.' || c == '-' || c == '\t';
    if (!separator) {
      out += c;
    } else if (!out.empty() && out.back() != '-') {
      out += '-';
    }
  }
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out;
}

SlideFacts slide_facts(std::string_view name) {
  SlideFacts facts;
  name = trim(name);
  if (!is_tcga(name)) return facts;
  const auto parts = split(name.substr(0, name.find('.')), '-');
  if (parts.size() > 3 && parts[3].size() >= 2 && digit(parts[3][0]) && digit(parts[3][1])) {
    const int type = (parts[3][0] - '0') * 10 + (parts[3][1] - '0');
    if (type >= 1 && type <= 9) facts.sample = SampleKind::kTumour;
    if (type >= 10 && type <= 19) facts.sample = SampleKind::kNormal;
  }
  if (parts.size() > 5) {
    const std::string kind = upper(parts[5]).substr(0, 2);
    if (kind == "DX") facts.slide = SlideKind::kDiagnostic;
    if (kind == "TS") facts.slide = SlideKind::kTopFrozen;
    if (kind == "BS") facts.slide = SlideKind::kBottomFrozen;
    if (kind == "MS") facts.slide = SlideKind::kMiddleFrozen;
  }
  return facts;
}

std::string to_string(SlideKind kind) {
  switch (kind) {
    case SlideKind::kDiagnostic:
      return "DX";
    case SlideKind::kTopFrozen:
      return "TS";
    case SlideKind::kBottomFrozen:
      return "BS";
    case SlideKind::kMiddleFrozen:
      return "MS";
    case SlideKind::kUnknown:
      break;
  }
  return "unknown";
}

std::string to_string(SampleKind kind) {
  if (kind == SampleKind::kTumour) return "tumour";
  if (kind == SampleKind::kNormal) return "normal";
  return "unknown";
}

std::string source_of(std::string_view case_id) {
  if (is_tcga(case_id)) return "TCGA";
  if (is_cptac(case_id)) return "CPTAC";
  return "other";
}

std::optional<std::string> site_of(std::string_view case_id) {
  if (!is_tcga(case_id)) return std::nullopt;
  return upper(case_id.substr(5, 2));
}

}  // namespace med3d
