// Which encoder made a folder of features, as far as records beside them tell.
//
// Features of two encoders are numbers of two languages: a model trained on the one answers to the
// other with nonsense and without a murmur. Ours have a record beside each file (slides/<id>.json,
// ct/<patient>/<series>.json) or beside the folder their table lies in; those of others have none.
#pragma once

#include <compare>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/json.h"

namespace med3d::pipeline {

struct FeatureMaker {
  std::string encoder;         // "uni"
  std::string weights_sha256;  // empty for untrained weights

  auto operator<=>(const FeatureMaker&) const = default;
  std::string text() const;  // "uni (weights 0123abcd...)"
  Json to_json() const;
  static FeatureMaker from_json(const Json& json);  // throws Error(kFormat)
};

// Distinct and ascending; empty where nothing tells. A damaged record is passed over.
//
// features   feature files, or tables of vectors (CSV)
// modality   "ct", "mri" or "wsi"
std::vector<FeatureMaker> makers_of(const std::vector<std::filesystem::path>& features,
                                    std::string_view modality);

}  // namespace med3d::pipeline
