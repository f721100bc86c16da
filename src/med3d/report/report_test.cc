#include "med3d/report/report.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/json.h"
#include "med3d/report/markup.h"
#include "med3d/report/sample_report.h"
#include "med3d/report/templates.h"

namespace med3d::report {
namespace {
namespace fs = std::filesystem;

bool has(const std::string& html, const std::string& fragment) {
  return html.find(fragment) != std::string::npos;
}

std::size_t count_of(const std::string& html, const std::string& fragment) {
  std::size_t n = 0;
  for (std::size_t at = html.find(fragment); at != std::string::npos;
       at = html.find(fragment, at + 1)) {
    ++n;
  }
  return n;
}

class RunFolder {
 public:
  explicit RunFolder(const std::string& name)
      : path_(fs::path(testing::TempDir()) / ("med3d-report-" + name)) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~RunFolder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Not a check: leaves a page to look at where a person asks for one.
TEST(Report, WritesTheSampleWhereItIsAskedFor) {
  const char* folder = std::getenv("MED3D_REPORT_SAMPLE");
  if (folder == nullptr) GTEST_SKIP() << "MED3D_REPORT_SAMPLE names no folder";
  write_json(fs::path(folder) / "report.json", sample_report());
  write_report(folder);
  EXPECT_TRUE(fs::exists(fs::path(folder) / "report.html"));
}

TEST(Report, SaysOnTheFirstLineOfThePageThatDataAreSynthetic) {
  const std::string html = render_html(sample_report(2));
  EXPECT_TRUE(has(html, "<body>\n<p class=\"synthetic\"><strong>Synthetic data.</strong>"));
  EXPECT_FALSE(has(render_html(minimal_report()), "class=\"synthetic\""));
}

TEST(Report, PrintsAnEstimateWithItsInterval) {
  Json report = minimal_report();
  report["models"] = {
      {{"id", "m"},
       {"label", "Model"},
       {"family", "arm"},
       {"modalities", {"clinical"}},
       {"sets",
        {{{"name", "test"},
          {"n", 1210},
          {"positives", 1060},
          {"negatives", 150},
          {"threshold", 0.5},
          {"metrics", {{"auroc", {{"value", 0.71349}, {"low", 0.6}, {"high", 0.82}}}}}}}}}};
  const std::string html = render_html(report);
  EXPECT_TRUE(has(html,
                  "<tr><th scope=\"row\"><a href=\"#model-m\">Model</a><small>single arm: "
                  "clinical</small><td class=\"n\" data-v=\"1210\">1,210<td class=\"n\" "
                  "data-v=\"1060\">1,060<td class=\"n\" "
                  "data-v=\"0.71349\">0.713<small>0.600\u20130.820</small>"));
  // The yardstick row comes from the counts: F1 of always-positive is 2s/(1+s), s = 1060/1210.
  EXPECT_TRUE(has(html, "Always the majority"));
  EXPECT_TRUE(has(html, ">0.934"));
}

TEST(Report, PrintsNotEstimableWithItsReasonAsTooltipAndFootnote) {
  const std::string html = render_html(sample_report(4));
  EXPECT_TRUE(has(html,
                  "<span class=\"ne\" title=\"the test set has no negatives (11 of 11 "
                  "positive)\">not estimable<sup><a href=\"#note-"));
  EXPECT_TRUE(std::regex_search(
      html, std::regex("<li id=\"note-[0-9]+\">the test set has no negatives \\(11 of 11")));
  // One reason, one footnote, however often it is used.
  EXPECT_EQ(count_of(html, "<li id=\"note-1\">"), 1U);
  EXPECT_FALSE(has(html, ">nan"));
  EXPECT_FALSE(has(html, "inf<"));
}

TEST(Report, NeverCallsAnotherEndpointRecurrence) {
  Json report = minimal_report();
  EXPECT_TRUE(has(render_html(report), "This endpoint is not tumour recurrence"));
  EXPECT_FALSE(has(render_html(report), "<small>tumour recurrence</small>"));
  report["title"] = "Recurrence prediction";
  EXPECT_TRUE(has(render_html(report), "The title speaks of recurrence, but the endpoint"));
  report["endpoint"]["is_recurrence"] = true;
  EXPECT_FALSE(has(render_html(report), "not tumour recurrence"));
  EXPECT_FALSE(has(render_html(report), "The title speaks of recurrence"));
}

TEST(Report, LeavesOutSectionsThatAreNotThere) {
  const std::string html = render_html(minimal_report());
  for (const char* id : {"headline",
                         "cohort",
                         "models",
                         "comparisons",
                         "availability",
                         "fusion",
                         "training",
                         "umap",
                         "paper-leak",
                         "tripod",
                         "probast",
                         "provenance",
                         "notes"}) {
    EXPECT_FALSE(has(html, std::string("id=\"") + id + "\"")) << id;
    EXPECT_FALSE(has(html, std::string("href=\"#") + id + "\"")) << id;
  }
  EXPECT_FALSE(has(html, "{{"));
  EXPECT_TRUE(has(html, "id=\"question\""));
}

// Every section goes alone as well as with the others.
TEST(Report, RendersWithAnySingleSectionRemoved) {
  const Json whole = sample_report(3);
  for (const auto& [key, value] : whole.items()) {
    if (key == "schema" || key == "title" || key == "synthetic" || key == "endpoint") continue;
    Json report = whole;
    report.erase(key);
    EXPECT_FALSE(has(render_html(report), "{{")) << key;
    report = minimal_report();
    report[key] = value;
    EXPECT_TRUE(has(render_html(report), "</html>")) << key;
  }
}

TEST(Report, GivesTheSameBytesForTheSameDocument) {
  EXPECT_EQ(render_html(sample_report(5)), render_html(sample_report(5)));
}

TEST(Report, StaysUnderOneAndAHalfMegabytesForSixHundredPatientsAndTwentyModels) {
  const std::string html = render_html(sample_report(20));
  EXPECT_LE(html.size(), 1'500'000U);
  EXPECT_GE(html.size(), 200'000U);  // or the sample lost its models
  EXPECT_LE(page_script().size(), 10'000U);
}

TEST(Report, AsksNothingOfANetwork) {
  const std::string html = render_html(sample_report(3));
  for (const char* outside : {"http://",
                              "https://",
                              "src=",
                              "@import",
                              "url(http",
                              "<link",
                              "<img",
                              "<iframe",
                              "<object",
                              "fetch(",
                              "XMLHttpRequest",
                              "import("}) {
    EXPECT_FALSE(has(html, outside)) << outside;
  }
}

TEST(Report, PolicyNamesItsOwnScriptAndStyleByHash) {
  const std::string html = render_html(minimal_report());
  const auto between = [&](const std::string& open, const std::string& close) {
    const std::size_t from = html.find(open) + open.size();
    return html.substr(from, html.find(close, from) - from);
  };
  EXPECT_TRUE(has(html, "script-src " + csp_hash(between("<script>", "</script>"))));
  EXPECT_TRUE(has(html, "style-src " + csp_hash(between("<style>", "</style>"))));
  EXPECT_TRUE(has(html, "default-src 'none'"));
  EXPECT_FALSE(has(html, "unsafe-inline"));
  // What that policy would block anyway must not be relied on.
  const std::string page = render_html(sample_report(3));
  EXPECT_FALSE(has(page, " style=\""));
  EXPECT_FALSE(std::regex_search(page, std::regex(" on[a-z]+=\"")));
}

// Every text of the document is replaced by the payload, but for closed lists and for the sets, by
// which figures are grouped (their number would change).
void poison(Json& node, const std::string& payload, const std::string& key) {
  static const std::set<std::string> kept = {"level", "family", "status", "set", "judgement"};
  if (node.is_string() && !kept.contains(key)) {
    node = payload;
  } else if (node.is_structured()) {
    for (auto& [name, child] : node.items()) {
      // Names of sets are a closed list, ids must differ.
      if (node.is_object() && node.contains("metrics") && name == "name") continue;
      if (name == "id") {
        child = payload + child.get<std::string>();
        continue;
      }
      poison(child, payload, node.is_object() ? name : key);
    }
  }
}

TEST(Report, EscapesPayloadsInEveryText) {
  const std::vector<std::string> payloads = {
      "<script>alert(1)</script>",
      "\"><img src=x onerror=alert(1)>",
      "'><svg/onload=alert(1)>",
      "</title><script>alert(1)</script>",
      "</style><script>alert(1)</script>",
      "</svg><script>alert(1)</script>",
      "]]><script>alert(1)</script>",
      "--><script>alert(1)</script>",
      "\" onmouseover=\"alert(1)",
      "{{script}}{{#notes}}",
      "&lt;script&gt;<b>",
      "javascript:alert(1)",
      "<!--<script>",
      "\x01\x02<a href=x>",
  };
  const std::string clean = render_html(sample_report(3));
  for (const std::string& payload : payloads) {
    Json report = sample_report(3);
    poison(report, payload, "");
    const std::string html = render_html(report);
    // As many elements that run something as without the payload, and no new attribute.
    EXPECT_EQ(count_of(html, "<script"), 1U) << payload;
    EXPECT_EQ(count_of(html, "</script"), 1U) << payload;
    EXPECT_EQ(count_of(html, "<style"), 1U) << payload;
    EXPECT_EQ(count_of(html, "<img"), 0U) << payload;
    EXPECT_EQ(count_of(html, "<svg"), count_of(clean, "<svg")) << payload;
    EXPECT_EQ(count_of(html, "</svg"), count_of(clean, "</svg")) << payload;
    EXPECT_EQ(count_of(html, "<!--"), 0U) << payload;
    EXPECT_EQ(count_of(html, "<a href=x"), 0U) << payload;
    EXPECT_FALSE(
        std::regex_search(html, std::regex("<[a-z]+[^<>]* on[a-z]+=\"", std::regex::icase)))
        << payload;
  }
}

TEST(Report, ShowsBesideEachRowWhatAlwaysPositiveAndStageReach) {
  const std::string html = render_html(sample_report(2));
  EXPECT_TRUE(has(html, ">F1 above always positive<"));
  EXPECT_TRUE(has(html, ">AUROC above stage and grade"));
  // Two models in two sets, two cells each; and as many rows of the table beside the best ones.
  const std::string cell =
      "<td class=\"n\" data-v=\"-0.0125\">\u22120.013<small>\u22120.060 to 0.035</small>";
  EXPECT_GE(count_of(html, cell), 8U);
  EXPECT_TRUE(has(html, "<td>SSIGN *"));
  EXPECT_TRUE(has(html, "* point table not checked against its source."));
  Json without = sample_report(2);
  for (auto& model : without["models"]) {
    for (auto& set : model["sets"]) set.erase("baselines");
  }
  EXPECT_FALSE(has(render_html(without), "F1 above always positive"));
}

TEST(Report, ProbastIsNotJudgedOverOpenQuestions) {
  Json report = sample_report(2);
  EXPECT_TRUE(has(render_html(report), "1 of 1 questions are open: not judged"));
  EXPECT_TRUE(has(render_html(report), "risk of bias: high"));
  EXPECT_TRUE(has(render_html(report), "1 of 2 questions are answered by this run"));
  // A judgement that someone wrote over an open question is not shown.
  report["probast"]["domains"][0]["judgement"] = "low";
  EXPECT_FALSE(has(render_html(report), "risk of bias: low"));
  report["probast"]["domains"][0]["judgement"] = "fine";
  EXPECT_THROW((void)render_html(report), Error);
}

TEST(Report, LinksTheModelCardWhereThereIsOne) {
  Json report = sample_report(2);
  EXPECT_TRUE(has(render_html(report), "<a href=\"model/model_card.md\">"));
  report["model_card"] = false;
  EXPECT_FALSE(has(render_html(report), "model_card.md"));
}

TEST(Report, InsertedTextIsNeverReadAsATemplate) {
  Json report = minimal_report();
  report["title"] = "{{script}} {{#synthetic}}";
  EXPECT_TRUE(has(render_html(report), "<h1>{{script}} {{#synthetic}}</h1>"));
}

TEST(Report, WritesEveryFigureWithItsData) {
  const RunFolder run("figures");
  write_json(run.path() / "report.json", sample_report(3));
  write_report(run.path());
  const std::string html = read_file(run.path() / "report.html", 1U << 24U);
  EXPECT_EQ(html, render_html(sample_report(3)));
  std::size_t figures = 0;
  for (const auto& entry : fs::directory_iterator(run.path() / "figures")) {
    if (entry.path().extension() != ".svg") continue;
    ++figures;
    const std::string stem = entry.path().stem().string();
    EXPECT_TRUE(fs::exists(run.path() / "figures" / (stem + ".csv"))) << stem;
    EXPECT_TRUE(has(html, "<figure id=\"fig-" + stem + "\">")) << stem;
    const std::string svg = read_file(entry.path(), 1U << 24U);
    EXPECT_TRUE(svg.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=")) << stem;
  }
  EXPECT_EQ(figures, count_of(html, "<figure "));
  EXPECT_EQ(figures, count_of(html, "role=\"img\""));
  EXPECT_EQ(figures, count_of(html, "<details class=\"data\">"));
  const std::string csv = read_file(run.path() / "figures" / "missing-values.csv", 1U << 20U);
  EXPECT_EQ(csv,
            "column,share_missing,share_positive_where_missing\n"
            "cancer_history,0.882,0.879\n"
            "ajcc_clin_metastasis_cm,0.799,0.903\n"
            "VHL_mutation,0.252,0.84\n"
            "age_diag,0.028,\n");
}

TEST(Report, KeepsTheOldPageWhereTheNewDocumentIsMalformed) {
  const RunFolder run("malformed");
  write_json(run.path() / "report.json", minimal_report());
  write_report(run.path());
  const std::string before = read_file(run.path() / "report.html", 1U << 24U);
  Json broken = minimal_report();
  broken["title"] = 7;
  write_json(run.path() / "report.json", broken);
  EXPECT_THROW(write_report(run.path()), Error);
  EXPECT_EQ(read_file(run.path() / "report.html", 1U << 24U), before);
}

TEST(Report, NamesAMissingReportFile) {
  const RunFolder run("missing");
  try {
    write_report(run.path());
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
    EXPECT_TRUE(has(error.what(), "report.json"));
  }
}

TEST(Report, EveryIdIsUsedOnce) {
  const std::string html = render_html(sample_report(12));
  const std::regex id(" id=\"([^\"]+)\"");
  std::set<std::string> seen;
  for (auto it = std::sregex_iterator(html.begin(), html.end(), id); it != std::sregex_iterator();
       ++it) {
    EXPECT_TRUE(seen.insert((*it)[1]).second) << (*it)[1];
  }
  // and every link inside the page leads somewhere
  const std::regex link("href=\"#([^\"]+)\"");
  for (auto it = std::sregex_iterator(html.begin(), html.end(), link); it != std::sregex_iterator();
       ++it) {
    EXPECT_TRUE(seen.contains((*it)[1])) << (*it)[1];
  }
}

}  // namespace
}  // namespace med3d::report
