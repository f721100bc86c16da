#include "med3d/report/report.h"

#include "med3d/core/file.h"
#include "med3d/report/document.h"
#include "med3d/report/page.h"

namespace med3d::report {

std::string render_html(const Json& report) { return build_page(read_document(report)).html; }

void write_report(const std::filesystem::path& run_folder) {
  const Page page = build_page(read_document(read_json(run_folder / "report.json")));
  const std::filesystem::path folder = run_folder / "figures";
  remove_stale_temporaries(run_folder);
  remove_stale_temporaries(folder);
  for (const Figure& figure : page.figures) {
    write_file_atomic(folder / (figure.id + ".csv"), to_csv(figure.data));
    write_file_atomic(folder / (figure.id + ".svg"),
                      figure.svg.standalone(figure.title, figure.description));
  }
  write_file_atomic(run_folder / "report.html", page.html);
}

}  // namespace med3d::report
