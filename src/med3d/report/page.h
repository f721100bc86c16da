// The document as a page: which sections there are, their tables and figures, filled into
// templates/report.html.
#pragma once

#include <string>
#include <vector>

#include "med3d/report/document.h"
#include "med3d/report/plot.h"

namespace med3d::report {

struct Page {
  std::string html;
  std::vector<Figure> figures;  // in the order of the page, with their ids
};

Page build_page(const Document& document);

}  // namespace med3d::report
