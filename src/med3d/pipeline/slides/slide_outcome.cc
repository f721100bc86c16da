#include "med3d/pipeline/slides/slide_outcome.h"

#include <fmt/format.h>

#include <algorithm>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"

namespace med3d::pipeline {
namespace {

std::string dropped_text(const std::map<std::string, std::int64_t>& dropped) {
  std::vector<std::string> parts;
  for (const auto& [reason, count] : dropped) parts.push_back(fmt::format("{} {}", count, reason));
  return join(parts, "; ");
}

std::size_t count(const std::vector<SlideOutcome>& outcomes, SlideStatus status) {
  return static_cast<std::size_t>(
      std::count_if(outcomes.begin(), outcomes.end(), [&](const SlideOutcome& outcome) {
        return outcome.status == status;
      }));
}

}  // namespace

std::string to_string(SlideStatus status) {
  switch (status) {
    case SlideStatus::kDone:
      return "done";
    case SlideStatus::kKept:
      return "kept";
    case SlideStatus::kEmpty:
      return "empty";
    case SlideStatus::kFailed:
      return "failed";
  }
  return "failed";
}

Json SlideOutcome::to_json() const {
  Json json = {{"slide_id", slide_id},
               {"status", to_string(status)},
               {"step", step},
               {"reason", reason},
               {"format", format},
               {"mpp", mpp > 0 ? Json(mpp) : Json()},
               {"mpp_source", mpp_source},
               {"tiles", tiles},
               {"features", features},
               {"warnings", warnings}};
  json["dropped"] = Json::object();
  for (const auto& [name, n] : dropped) json["dropped"][name] = n;
  return json;
}

SlideOutcome SlideOutcome::from_json(const Json& json) {
  SlideOutcome out;
  try {
    out.slide_id = json.at("slide_id").get<std::string>();
    const auto status = json.at("status").get<std::string>();
    for (const auto one :
         {SlideStatus::kDone, SlideStatus::kKept, SlideStatus::kEmpty, SlideStatus::kFailed}) {
      if (to_string(one) == status) out.status = one;
    }
    if (to_string(out.status) != status) {
      throw Error(ErrorKind::kFormat, fmt::format("slide outcome: status '{}'", status));
    }
    out.step = json.at("step").get<std::string>();
    out.reason = json.at("reason").get<std::string>();
    out.format = json.at("format").get<std::string>();
    if (!json.at("mpp").is_null()) out.mpp = json.at("mpp").get<double>();
    out.mpp_source = json.at("mpp_source").get<std::string>();
    out.tiles = json.at("tiles").get<std::int64_t>();
    out.features = json.at("features").get<std::int64_t>();
    out.warnings = json.at("warnings").get<std::vector<std::string>>();
    for (const auto& [name, n] : json.at("dropped").items()) {
      out.dropped[name] = n.get<std::int64_t>();
    }
  } catch (const Json::exception& error) {
    throw Error(ErrorKind::kFormat, fmt::format("slide outcome: {}", error.what()));
  }
  return out;
}

std::string outcomes_text(const std::vector<SlideOutcome>& outcomes) {
  std::string text =
      fmt::format("{} slides: {} done, {} kept from before, {} without tissue, {} failed\n",
                  outcomes.size(),
                  count(outcomes, SlideStatus::kDone),
                  count(outcomes, SlideStatus::kKept),
                  count(outcomes, SlideStatus::kEmpty),
                  count(outcomes, SlideStatus::kFailed));
  for (const auto& outcome : outcomes) {
    if (outcome.status == SlideStatus::kFailed || outcome.status == SlideStatus::kEmpty) {
      text += fmt::format(
          "  {}  {}: {}\n", to_string(outcome.status), outcome.slide_id, outcome.reason);
    }
  }
  return text;
}

std::string outcomes_csv(const std::vector<SlideOutcome>& outcomes) {
  CsvWriter csv({"slide_id",
                 "status",
                 "step",
                 "reason",
                 "format",
                 "mpp",
                 "mpp_source",
                 "tiles",
                 "features",
                 "dropped",
                 "warnings"});
  for (const auto& outcome : outcomes) {
    csv.text(outcome.slide_id)
        .text(to_string(outcome.status))
        .text(outcome.step)
        .text(outcome.reason)
        .text(outcome.format);
    if (outcome.mpp > 0) {
      csv.number(outcome.mpp);
    } else {
      csv.missing();
    }
    csv.text(outcome.mpp_source)
        .number(outcome.tiles)
        .number(outcome.features)
        .text(dropped_text(outcome.dropped))
        .text(join(outcome.warnings, "; "));
    csv.end_row();
  }
  return csv.str();
}

int exit_code(const std::vector<SlideOutcome>& outcomes) {
  const std::size_t failed = count(outcomes, SlideStatus::kFailed);
  if (failed == 0) return 0;
  return failed == outcomes.size() ? 1 : 3;
}

}  // namespace med3d::pipeline
