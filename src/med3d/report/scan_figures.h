// Figures of the curation of scans: how many there were, how many are kept, and what dropped the
// rest.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "med3d/report/plot.h"

namespace med3d::report {

struct ScanCount {
  std::string collection;  // "TCGA"
  std::string modality;    // "CT"
  std::int64_t before = 0;
  std::int64_t kept = 0;
};

struct ScanRule {
  std::string modality;
  bool kept = false;
  std::string rule;  // "localizer", "arterial"
  std::int64_t series = 0;
};

// Bars before and after, a pair for each modality of each collection (the paper's Figure 14).
Figure scan_distribution(const std::vector<ScanCount>& counts);

// What the rules kept and dropped, a bar each (the steps of the paper's Figure 3, with counts).
Figure scan_rules(const std::vector<ScanRule>& rules);

}  // namespace med3d::report
