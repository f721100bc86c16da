#include "med3d/radiology/series_filter.h"

#include <fmt/format.h>
#include <re2/re2.h>
#include <re2/set.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "med3d/core/error.h"
#include "med3d/core/text.h"

namespace med3d {
namespace {

constexpr std::array<std::pair<SeriesField, std::string_view>, 7> kFields{{
    {SeriesField::kDescription, "description"},
    {SeriesField::kProtocol, "protocol"},
    {SeriesField::kImageType, "image_type"},
    {SeriesField::kSopClass, "sop_class"},
    {SeriesField::kBodyPart, "body_part"},
    {SeriesField::kSequence, "sequence"},
    {SeriesField::kAgent, "contrast_agent"},
}};

// What a person calls the field: DICOM's keyword.
std::string_view keyword(SeriesField field) {
  switch (field) {
    case SeriesField::kDescription:
      return "SeriesDescription";
    case SeriesField::kProtocol:
      return "ProtocolName";
    case SeriesField::kImageType:
      return "ImageType";
    case SeriesField::kSopClass:
      return "SOPClassUID";
    case SeriesField::kBodyPart:
      return "BodyPartExamined";
    case SeriesField::kSequence:
      return "SequenceName";
    case SeriesField::kAgent:
      return "ContrastBolusAgent";
  }
  return "";
}

std::string_view text_of(const SeriesFacts& facts, SeriesField field) {
  switch (field) {
    case SeriesField::kDescription:
      return facts.description;
    case SeriesField::kProtocol:
      return facts.protocol;
    case SeriesField::kImageType:
      return facts.image_type;
    case SeriesField::kSopClass:
      return facts.sop_class;
    case SeriesField::kBodyPart:
      return facts.body_part;
    case SeriesField::kSequence:
      return facts.sequence_name;
    case SeriesField::kAgent:
      return facts.contrast_agent;
  }
  return "";
}

// Codes are compared as they are.
bool is_code(SeriesField field) {
  return field == SeriesField::kImageType || field == SeriesField::kSopClass;
}

// The letter without its accent, "" for what has none. ISO 8859-1 and Latin Extended-A: what the
// languages of the rules need.
std::string_view without_accent(std::uint32_t code) {
  constexpr std::string_view kLatin1 =
      "aaaaaa?ceeeeiiiidnooooo?ouuuuy??aaaaaa?ceeeeiiiidnooooo?ouuuuy?y";
  constexpr std::string_view kExtended =
      "aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiii??jjkkklllllll"
      "lllnnnnnnnnnoooooo??rrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";
  if (code == 0xDF) return "ss";
  if (code == 0xC6 || code == 0xE6) return "ae";
  if (code == 0x152 || code == 0x153) return "oe";
  if (code >= 0xC0 && code <= 0xFF) {
    const std::string_view one = kLatin1.substr(code - 0xC0, 1);
    return one == "?" ? "" : one;
  }
  if (code >= 0x100 && code <= 0x17F) {
    const std::string_view one = kExtended.substr(code - 0x100, 1);
    return one == "?" ? "" : one;
  }
  return "";
}

std::string expression_of(std::string_view word, bool code) {
  std::string out;
  bool open_left = false;
  bool open_right = false;
  if (word.starts_with('*')) {
    open_left = true;
    word.remove_prefix(1);
  }
  if (word.ends_with('*')) {
    open_right = true;
    word.remove_suffix(1);
  }
  if (!open_left) out += code ? "(?:^|[^A-Za-z0-9])" : "(?:^|[^a-z0-9])";
  for (const char c : word) {
    if (c == ' ' && !code) {
      out += "[ -]?";
    } else {
      out += RE2::QuoteMeta(re2::StringPiece(&c, 1));
    }
  }
  if (!open_right) out += code ? "(?:$|[^A-Za-z0-9])" : "(?:$|[^a-z0-9])";
  return out;
}

RE2::Options quiet() {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(32 << 20);
  return options;
}

struct Match {
  const FilterRule* rule = nullptr;
  std::string_view word;  // of the rule, in quotes, or which of its patterns
  SeriesField field = SeriesField::kDescription;
  std::string shown(std::string_view where) const { return fmt::format("{} in {}", word, where); }
  std::string shown() const { return shown(keyword(field)); }
};

// One rule, ready: all its words and patterns at once.
class CompiledRule {
 public:
  explicit CompiledRule(const FilterRule& rule) : rule_(&rule), set_(quiet(), RE2::UNANCHORED) {
    const auto refuse = [&](const std::string& what) {
      throw Error(ErrorKind::kUsage, fmt::format("rule '{}': {}", rule.rule, what));
    };
    if (rule.rule.empty()) throw Error(ErrorKind::kUsage, "a rule without a name");
    if (rule.fields.empty()) refuse("no fields to look at");
    if (rule.words.empty() && rule.patterns.empty()) refuse("neither words nor patterns");
    const bool code = is_code(rule.fields.front());
    for (const SeriesField field : rule.fields) {
      if (is_code(field) != code) refuse("image_type and sop_class need a rule of their own");
    }
    for (const std::string& word : rule.words) {
      const std::string plain = code ? word : folded_word(word);
      if (plain.find_first_not_of("* ") == plain.npos) refuse("an empty word");
      add(expression_of(plain, code), fmt::format("\"{}\"", word), word, refuse);
    }
    for (const std::string& pattern : rule.patterns) {
      if (pattern.empty()) refuse("an empty pattern");
      add(pattern,
          fmt::format("pattern {}", shown_.size() - rule.words.size() + 1),
          pattern,
          refuse);
    }
    if (!set_.Compile()) refuse("too many words and patterns for one rule");
  }

  bool for_modality(const std::string& modality) const {
    return rule_->modalities.empty() ||
           std::ranges::find(rule_->modalities, modality) != rule_->modalities.end();
  }

  // text  folded, unless the field is a code
  std::optional<Match> match_text(const std::string& text, SeriesField field) const {
    if (text.empty()) return std::nullopt;
    std::vector<int> found;
    RE2::Set::ErrorInfo error{};
    if (!set_.Match(text, &found, &error)) {
      if (error.kind == RE2::Set::kNoError) return std::nullopt;
      throw Error(ErrorKind::kData,
                  fmt::format("rule '{}': its patterns need too much memory", rule_->rule));
    }
    const auto first = static_cast<std::size_t>(*std::ranges::min_element(found));
    return Match{rule_, shown_[first], field};
  }

  const FilterRule& rule() const { return *rule_; }

  // Before without() is called.
  void prepare_removal() {
    std::string any;
    for (const std::string& expression : expressions_) {
      any += fmt::format("{}(?:{})", any.empty() ? "" : "|", expression);
    }
    removal_ = std::make_unique<RE2>(any, quiet());
  }

  // The text without what matches, a space in its place.
  std::string without(std::string text) const {
    RE2::GlobalReplace(&text, *removal_, " ");
    return text;
  }

 private:
  static std::string folded_word(const std::string& word) {
    const bool left = word.starts_with('*');
    const bool right = word.size() > 1 && word.ends_with('*');
    return (left ? "*" : "") + folded(word) + (right ? "*" : "");
  }

  template <class Refuse>
  void add(const std::string& expression,
           std::string shown,
           const std::string& given,
           const Refuse& refuse) {
    std::string why;
    if (set_.Add(expression, &why) < 0) refuse(fmt::format("pattern '{}': {}", given, why));
    shown_.push_back(std::move(shown));
    expressions_.push_back(expression);
  }

  const FilterRule* rule_;
  RE2::Set set_;
  std::vector<std::string> shown_;
  std::vector<std::string> expressions_;
  std::unique_ptr<RE2> removal_;
};

std::vector<CompiledRule> compiled(const std::vector<FilterRule>& rules) {
  std::vector<CompiledRule> out;
  out.reserve(rules.size());
  for (const FilterRule& rule : rules) out.emplace_back(rule);
  return out;
}

// Texts of one series, folded once.
class Texts {
 public:
  explicit Texts(const SeriesFacts& facts) : modality_(facts.modality) {
    for (std::size_t i = 0; i < kFields.size(); ++i) {
      const auto [field, name] = kFields[i];
      const std::string_view text = text_of(facts, field);
      texts_[i] = is_code(field) ? std::string(text) : folded(text);
    }
  }

  // Takes the words that are to be ignored out of the description.
  void strip(const std::vector<CompiledRule>& ignore) {
    std::string& text = texts_[static_cast<std::size_t>(SeriesField::kDescription)];
    for (const CompiledRule& rule : ignore) {
      if (rule.for_modality(modality_)) text = rule.without(std::move(text));
    }
  }

  std::optional<Match> first(const std::vector<CompiledRule>& rules) const {
    for (const CompiledRule& rule : rules) {
      if (!rule.for_modality(modality_)) continue;
      for (const SeriesField field : rule.rule().fields) {
        if (auto found = rule.match_text(texts_[static_cast<std::size_t>(field)], field)) {
          return found;
        }
      }
    }
    return std::nullopt;
  }

 private:
  std::string modality_;
  std::array<std::string, kFields.size()> texts_;
};

SeriesVerdict drop(std::string rule, std::string reason) {
  return {false, std::move(rule), std::move(reason)};
}
SeriesVerdict keep(std::string rule, std::string reason) {
  return {true, std::move(rule), std::move(reason)};
}

std::string seconds(double value) { return fmt::format("{:.0f} s", std::abs(value)); }

}  // namespace

std::string_view to_string(SeriesField field) {
  for (const auto& [one, name] : kFields) {
    if (one == field) return name;
  }
  return "";
}

std::string folded(std::string_view text) {
  std::string out;
  bool after_lower = false;
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto space = [&] {
    if (!out.empty() && out.back() != ' ') out += ' ';
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool lower = byte >= 'a' && byte <= 'z';
    const bool upper = byte >= 'A' && byte <= 'Z';
    if (upper && after_lower) space();
    after_lower = lower;
    if (upper) {
      out += static_cast<char>(byte - 'A' + 'a');
    } else if (lower || (byte >= '0' && byte <= '9') || byte == '+' || byte == '-') {
      out += static_cast<char>(byte);
    } else if (byte == '.' && i > 0 && i + 1 < text.size() && digit(text[i - 1]) &&
               digit(text[i + 1])) {
      out += '.';
    } else if ((byte & 0xE0U) == 0xC0U && i + 1 < text.size()) {
      const auto next = static_cast<unsigned char>(text[++i]);
      const std::string_view plain = without_accent((byte & 0x1FU) << 6 | (next & 0x3FU));
      if (plain.empty()) {
        space();
      } else {
        out += plain;
      }
    } else {
      space();
    }
  }
  return std::string(trim(out));
}

struct SeriesFilter::Impl {
  explicit Impl(const FilterRules& given)
      : rules(given),
        exclude(compiled(rules.exclude)),
        plane(compiled(rules.plane)),
        ignore(compiled(rules.ignore)),
        phase(compiled(rules.phase)),
        sequence(compiled(rules.sequence)),
        no_agent(compiled(rules.no_agent)) {
    for (CompiledRule& rule : ignore) rule.prepare_removal();
  }

  FilterRules rules;  // the compiled rules point into it
  std::vector<CompiledRule> exclude, plane, ignore, phase, sequence, no_agent;

  std::optional<SeriesVerdict> judge_plane(const SeriesFacts& facts, const Texts& texts) const {
    if (rules.planes.empty()) return std::nullopt;
    if (facts.several_orientations) {
      return drop("plane", "slices of several orientations by ImageOrientationPatient");
    }
    if (facts.plane) {
      if (std::ranges::find(rules.planes, *facts.plane) != rules.planes.end()) return std::nullopt;
      return drop(std::string(to_string(*facts.plane)),
                  fmt::format("{} by ImageOrientationPatient", to_string(*facts.plane)));
    }
    if (const auto found = texts.first(plane)) {
      return drop(found->rule->rule, fmt::format("{}: {}", found->rule->rule, found->shown()));
    }
    return std::nullopt;
  }

  struct Contrast {
    enum class State { kBefore, kAfter, kUnknown } state = State::kUnknown;
    std::string rule;
    std::string reason;
  };

  Contrast contrast_of(const SeriesFacts& facts, Texts texts, bool asked) const {
    using State = Contrast::State;
    texts.strip(ignore);
    const auto said = texts.first(phase);
    const bool timed = facts.contrast_delay_s.has_value() &&
                       std::abs(*facts.contrast_delay_s) > rules.injection_slack_s;
    if (timed && *facts.contrast_delay_s < 0.0) {
      return {
          State::kBefore,
          "pre-contrast",
          fmt::format("acquired {} before the injection began", seconds(*facts.contrast_delay_s))};
    }
    if (timed) {
      const std::string after =
          fmt::format("acquired {} after the injection began", seconds(*facts.contrast_delay_s));
      if (said && said->rule->meaning == ContrastMeaning::kBefore) {
        return {State::kAfter,
                "post-contrast",
                fmt::format("{}, which overrules {}", after, said->shown())};
      }
      if (said) {
        return {State::kAfter,
                said->rule->rule,
                fmt::format("{}: {}; {}", said->rule->rule, said->shown(), after)};
      }
      return {State::kAfter, "post-contrast", after};
    }
    const bool agent = !trim(facts.contrast_agent).empty() && !texts.first(no_agent);
    if (said) {
      const bool before = said->rule->meaning == ContrastMeaning::kBefore;
      std::string reason = fmt::format("{}: {}", said->rule->rule, said->shown());
      // The tag is filled for a whole protocol: it confirms a phase, but proves none against words.
      if (agent && !before) reason += "; confirmed by ContrastBolusAgent";
      return {before ? State::kBefore : State::kAfter, said->rule->rule, reason};
    }
    if (agent)
      return {State::kAfter, "post-contrast", "post-contrast: ContrastBolusAgent is given"};
    if (!asked) return {};
    std::string study = folded(facts.study_description);
    for (const CompiledRule& rule : ignore) {
      if (rule.for_modality(facts.modality)) study = rule.without(std::move(study));
    }
    for (const CompiledRule& rule : phase) {
      if (!rule.for_modality(facts.modality)) continue;
      const auto found = rule.match_text(study, SeriesField::kDescription);
      if (!found) continue;
      if (rule.rule().meaning == ContrastMeaning::kBoth) {
        return {
            State::kUnknown,
            "contrast-unknown",
            fmt::format("the description says nothing of contrast, and the study has scans with "
                        "and without ({})",
                        found->shown("StudyDescription"))};
      }
      const bool before = rule.rule().meaning == ContrastMeaning::kBefore;
      return {before ? State::kBefore : State::kAfter,
              before ? rule.rule().rule : "post-contrast",
              fmt::format("{}: {}, and the series says nothing else",
                          before ? rule.rule().rule : "post-contrast",
                          found->shown("StudyDescription"))};
    }
    return {State::kUnknown,
            "contrast-unknown",
            facts.description.empty() ? "no description, and no tag says that contrast was given"
                                      : "nothing says that contrast was given"};
  }

  static std::optional<SeriesVerdict> sequence_by_times(const SeriesFacts& facts) {
    const double te = facts.echo_time_ms.value_or(0.0);
    const double tr = facts.repetition_time_ms.value_or(0.0);
    const double ti = facts.inversion_time_ms.value_or(0.0);
    if (facts.b_value.value_or(0.0) > 0.0) {
      return keep("DWI", fmt::format("DWI by its b-value of {:.0f} s/mm2", *facts.b_value));
    }
    if (ti > 1500.0 && te > 60.0) {
      return keep("FLAIR",
                  fmt::format("FLAIR by InversionTime {:.0f} and EchoTime {:.0f} ms", ti, te));
    }
    if (te >= 60.0) return keep("T2", fmt::format("T2 by EchoTime {:.0f} ms", te));
    if (te > 0.0 && te <= 30.0 && tr > 0.0 && tr <= 1000.0) {
      return keep("T1", fmt::format("T1 by EchoTime {:.1f} and RepetitionTime {:.0f} ms", te, tr));
    }
    return std::nullopt;
  }
};

SeriesFilter::SeriesFilter(const FilterRules& rules) : impl_(std::make_unique<const Impl>(rules)) {}
SeriesFilter::SeriesFilter(SeriesFilter&&) noexcept = default;
SeriesFilter& SeriesFilter::operator=(SeriesFilter&&) noexcept = default;
SeriesFilter::~SeriesFilter() = default;

SeriesVerdict SeriesFilter::judge(const SeriesFacts& facts) const {
  const auto rules = impl_->rules.modalities.find(facts.modality);
  if (rules == impl_->rules.modalities.end()) {
    return drop(
        "modality",
        facts.modality.empty() ? "no modality" : fmt::format("modality {}", facts.modality));
  }
  const ModalityRules& asked = rules->second;
  const Texts texts(facts);
  if (const auto found = texts.first(impl_->exclude)) {
    return drop(found->rule->rule, fmt::format("{}: {}", found->rule->rule, found->shown()));
  }
  if (auto verdict = impl_->judge_plane(facts, texts)) return *verdict;
  if (facts.slices && *facts.slices < asked.least_slices) {
    return drop("slices",
                fmt::format("{} slice{}, expected at least {}",
                            *facts.slices,
                            *facts.slices == 1 ? "" : "s",
                            asked.least_slices));
  }
  const auto contrast = impl_->contrast_of(facts, texts, asked.contrast);
  using State = Impl::Contrast::State;
  if (contrast.state == State::kBefore) return drop(contrast.rule, contrast.reason);
  const bool after = contrast.state == State::kAfter;
  if (asked.contrast && !after) return drop(contrast.rule, contrast.reason);
  if (asked.sequence) {
    if (const auto found = texts.first(impl_->sequence)) {
      std::string reason = fmt::format("{}: {}", found->rule->rule, found->shown());
      if (after) reason += "; " + contrast.reason;
      return keep(found->rule->rule, reason);
    }
    if (!after) {
      if (auto verdict = Impl::sequence_by_times(facts)) return *verdict;
      return drop("sequence",
                  facts.description.empty() ? "no description, and no tag tells the sequence"
                                            : "none of the sequences that are kept");
    }
  }
  if (after) return keep(contrast.rule, contrast.reason);
  return keep(facts.modality, "nothing speaks against it");
}

}  // namespace med3d
