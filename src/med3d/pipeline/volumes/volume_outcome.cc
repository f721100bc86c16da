#include "med3d/pipeline/volumes/volume_outcome.h"

#include <fmt/format.h>

#include <algorithm>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"

namespace med3d::pipeline {
namespace {

std::size_t count(const std::vector<VolumeOutcome>& outcomes, VolumeStatus status) {
  return static_cast<std::size_t>(
      std::ranges::count_if(outcomes, [&](const auto& one) { return one.status == status; }));
}

}  // namespace

std::string to_string(VolumeStatus status) {
  switch (status) {
    case VolumeStatus::kDone:
      return "done";
    case VolumeStatus::kKept:
      return "kept";
    case VolumeStatus::kDropped:
      return "dropped";
    case VolumeStatus::kFailed:
      return "failed";
  }
  return "failed";
}

Json VolumeOutcome::to_json() const {
  const bool read = size[0] > 0;
  return {{"patient", patient},
          {"series", series},
          {"modality", modality},
          {"status", to_string(status)},
          {"step", step},
          {"reason", reason},
          {"files", files},
          {"size", read ? Json(size) : Json()},
          {"spacing_mm", read ? Json(spacing_mm) : Json()},
          {"recipe", recipe},
          {"warnings", warnings}};
}

VolumeOutcome VolumeOutcome::from_json(const Json& json) {
  VolumeOutcome out;
  try {
    out.patient = json.at("patient").get<std::string>();
    out.series = json.at("series").get<std::string>();
    out.modality = json.at("modality").get<std::string>();
    const auto status = json.at("status").get<std::string>();
    for (const auto one : {VolumeStatus::kDone,
                           VolumeStatus::kKept,
                           VolumeStatus::kDropped,
                           VolumeStatus::kFailed}) {
      if (to_string(one) == status) out.status = one;
    }
    if (to_string(out.status) != status) {
      throw Error(ErrorKind::kFormat, fmt::format("scan outcome: status '{}'", status));
    }
    out.step = json.at("step").get<std::string>();
    out.reason = json.at("reason").get<std::string>();
    out.files = json.at("files").get<std::int64_t>();
    if (!json.at("size").is_null()) {
      out.size = json.at("size").get<std::array<std::int64_t, 3>>();
      out.spacing_mm = json.at("spacing_mm").get<std::array<double, 3>>();
    }
    out.recipe = json.at("recipe").get<std::string>();
    out.warnings = json.at("warnings").get<std::vector<std::string>>();
  } catch (const Json::exception& error) {
    throw Error(ErrorKind::kFormat, fmt::format("scan outcome: {}", error.what()));
  }
  return out;
}

std::string outcomes_text(const std::vector<VolumeOutcome>& outcomes) {
  std::string text = fmt::format("{} scans: {} done, {} kept from before, {} dropped, {} failed\n",
                                 outcomes.size(),
                                 count(outcomes, VolumeStatus::kDone),
                                 count(outcomes, VolumeStatus::kKept),
                                 count(outcomes, VolumeStatus::kDropped),
                                 count(outcomes, VolumeStatus::kFailed));
  for (const auto& one : outcomes) {
    if (one.status == VolumeStatus::kDropped || one.status == VolumeStatus::kFailed) {
      text += fmt::format(
          "  {}  {}/{}: {}\n", to_string(one.status), one.patient, one.series, one.reason);
    }
  }
  return text;
}

std::string outcomes_csv(const std::vector<VolumeOutcome>& outcomes) {
  CsvWriter csv({"patient",
                 "series",
                 "modality",
                 "status",
                 "step",
                 "reason",
                 "files",
                 "columns",
                 "rows",
                 "slices",
                 "spacing_x_mm",
                 "spacing_y_mm",
                 "spacing_z_mm",
                 "recipe",
                 "warnings"});
  for (const auto& one : outcomes) {
    csv.text(one.patient)
        .text(one.series)
        .text(one.modality)
        .text(to_string(one.status))
        .text(one.step)
        .text(one.reason)
        .number(one.files);
    for (std::size_t i = 0; i < 3; ++i) {
      if (one.size[0] > 0) {
        csv.number(one.size[i]);
      } else {
        csv.missing();
      }
    }
    for (std::size_t i = 0; i < 3; ++i) {
      if (one.size[0] > 0) {
        csv.number(one.spacing_mm[i]);
      } else {
        csv.missing();
      }
    }
    csv.text(one.recipe).text(join(one.warnings, "; "));
    csv.end_row();
  }
  return csv.str();
}

int exit_code(const std::vector<VolumeOutcome>& outcomes) {
  const std::size_t failed = count(outcomes, VolumeStatus::kFailed);
  if (failed == 0) return 0;
  return failed + count(outcomes, VolumeStatus::kDropped) == outcomes.size() ? 1 : 3;
}

}  // namespace med3d::pipeline
