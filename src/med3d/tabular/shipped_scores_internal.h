// The text of scores/clinical_scores.json as it was compiled in.
#pragma once

#include <string_view>

namespace med3d::tabular {

std::string_view shipped_scores();

}  // namespace med3d::tabular
