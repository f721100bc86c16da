// The files of templates/, compiled in.
#pragma once

#include <string_view>

namespace med3d::report {

std::string_view page_template();  // report.html: the page with {{names}} to fill, see markup.h
std::string_view page_css();       // report.css: the page around the figures
std::string_view figure_css();     // figure.css: marks, axes and words inside the figures
std::string_view page_script();    // report.js: sorting, hover values, the model picker

}  // namespace med3d::report
