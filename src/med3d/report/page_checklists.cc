#include <fmt/format.h>

#include "med3d/report/markup.h"
#include "med3d/report/page_internal.h"

namespace med3d::report {

std::string Builder::tripod() const {
  if (document_.tripod.empty()) return "";
  std::string rows;
  std::size_t filled = 0;
  for (const TripodItem& item : document_.tripod) {
    const bool is_filled = item.status == "filled";
    filled += is_filled;
    rows += fmt::format(
        "<tr><th scope=\"row\">{}<small>{}</small><td>{}<td><span class=\"tag "
        "{}\">{}</span>{}\n",
        escape(item.item),
        escape(item.section),
        escape(item.text),
        is_filled ? "filled" : "author",
        is_filled ? "Filled" : "Author to complete",
        item.value.empty() ? "" : "<br>" + escape(item.value));
  }
  return fmt::format(
             "<p>{} of {} items are filled from this run; the others only the authors can "
             "answer. Collins et al., BMJ 2024;385:e078378.</p>\n",
             filled,
             document_.tripod.size()) +
         scroll("TRIPOD+AI",
                "<table class=\"checklist\"><thead><tr><th scope=\"col\">Item<th "
                "scope=\"col\">Asks for<th "
                "scope=\"col\">In this run<tbody>" +
                    rows + "</table>");
}

std::string Builder::probast() const {
  if (document_.probast.empty()) return "";
  std::string rows;
  std::size_t all = 0;
  std::size_t open = 0;
  for (std::size_t d = 0; d < document_.probast.size(); ++d) {
    const ProbastDomain& domain = document_.probast[d];
    all += domain.questions.size();
    open += domain.open();
    // Never a judgement over open questions, whatever the document says.
    const std::string judged =
        domain.open() > 0
            ? fmt::format(
                  "{} of {} questions are open: not judged", domain.open(), domain.questions.size())
        : domain.judgement.empty() ? "not judged"
                                   : "risk of bias: " + domain.judgement;
    rows += fmt::format(
        "<tr class=\"domain\"><th scope=\"rowgroup\" colspan=\"3\">{}. "
        "{}<small>{}</small>\n",
        d + 1,
        escape(domain.name),
        escape(judged));
    for (const ProbastQuestion& question : domain.questions) {
      const bool answered = question.status == "answered";
      rows += fmt::format("<tr><th scope=\"row\">{}<td>{}<td><span class=\"tag {}\">{}</span>{}\n",
                          escape(question.question),
                          escape(question.text),
                          answered ? "filled" : "author",
                          answered ? escape(question.answer) : "Author to complete",
                          question.value.empty() ? "" : "<br>" + escape(question.value));
    }
  }
  return fmt::format(
             "<p>{} of {} questions are answered by this run; the others only people can answer, "
             "and beside some stands what the run knows. \u201CYes\u201D always speaks for a low "
             "risk of bias. A domain with an open question is not judged. Wolff et al., Ann "
             "Intern Med 2019;170:51; the wording is ours.</p>\n",
             all - open,
             all) +
         scroll("PROBAST",
                "<table class=\"checklist\"><thead><tr><th scope=\"col\">Question<th "
                "scope=\"col\">Asks<th "
                "scope=\"col\">In this run<tbody>" +
                    rows + "</table>");
}

}  // namespace med3d::report
