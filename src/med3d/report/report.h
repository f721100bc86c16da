// One offline page from a finished run: report.json in, report.html and its figures out.
#pragma once

#include <filesystem>
#include <string>

#include "med3d/core/json.h"

namespace med3d::report {

// The whole page as one file: no network, no outside file, no script that its content security
// policy does not name by hash; it works with JavaScript off. The same document gives the same
// bytes.
//
// report   the document of docs/run_directory.md, section "report.json"
//
// Throws Error(kUnsupported) for another schema than 1, Error(kFormat) naming the path into the
// document for anything malformed. Sections that are not there are left out of the page.
std::string render_html(const Json& report);

// Reads <run_folder>/report.json; writes <run_folder>/report.html and, for every figure,
// <run_folder>/figures/<id>.csv (its data, all digits) and <id>.svg (a file of its own). Each file
// is written atomically, the page last: where there is a new page, its figures are there. Throws as
// render_html, and Error(kNotFound | kIo) where a file cannot be read or written.
void write_report(const std::filesystem::path& run_folder);

}  // namespace med3d::report
