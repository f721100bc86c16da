#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "med3d/core/text.h"
#include "med3d/report/figures.h"
#include "med3d/report/headline.h"
#include "med3d/report/markup.h"
#include "med3d/report/page_internal.h"
#include "med3d/report/templates.h"

namespace med3d::report {
namespace {

// A figure's data are repeated below it up to here; the rest is in its CSV. Keeps a page of twenty
// models under 1.5 MB.
constexpr std::size_t kShownRows = 40;

struct MetricName {
  const char* key;
  const char* name;
};

// Every metric of the document, in the order people read them.
constexpr MetricName kMetrics[] = {
    {"auroc", "AUROC"},
    {"auprc", "AUPRC"},
    {"prevalence", "Prevalence"},
    {"balanced_accuracy", "Balanced accuracy"},
    {"f1", "F1"},
    {"precision", "Precision"},
    {"sensitivity", "Recall (sensitivity)"},
    {"specificity", "Specificity"},
    {"npv", "Negative predictive value"},
    {"accuracy", "Accuracy"},
    {"precision_negative", "Precision, negative class"},
    {"recall_negative", "Recall, negative class"},
    {"f1_negative", "F1, negative class"},
    {"mcc", "MCC"},
    {"brier", "Brier score"},
    {"log_loss", "Log loss"},
    {"calibration_intercept", "Calibration intercept"},
    {"calibration_slope", "Calibration slope"},
};

// What the table of all models has room for; every metric stands below each model.
const std::vector<std::string> kHeadlineMetrics = {
    "auroc", "auprc", "balanced_accuracy", "f1", "precision", "sensitivity", "brier"};

std::string data_cell(const Cell& cell) {
  if (!cell.number) return fmt::format("<td>{}", escape(cell.text));
  return fmt::format("<td class=\"n\">{}",
                     std::isfinite(*cell.number) ? fmt::format("{:.4g}", *cell.number) : "");
}

std::string data_table(const Figure& figure) {
  std::string out = "<table><thead><tr>";
  for (const std::string& column : figure.data.columns) {
    out += fmt::format("<th scope=\"col\">{}", escape(column));
  }
  out += "<tbody>";
  const std::size_t shown = std::min(figure.data.rows.size(), kShownRows);
  for (std::size_t i = 0; i < shown; ++i) {
    out += "<tr>";
    for (const Cell& cell : figure.data.rows[i]) out += data_cell(cell);
    out += '\n';
  }
  out += "</table>";
  std::string where = fmt::format("all digits in <code>figures/{}.csv</code>", figure.id);
  if (shown < figure.data.rows.size()) {
    where = fmt::format("the first {} of {} rows; all of them in <code>figures/{}.csv</code>",
                        shown,
                        figure.data.rows.size(),
                        figure.id);
  }
  return fmt::format(
      "<details class=\"data\"><summary>Data</summary><p class=\"note\">Rounded; {}.</p>"
      "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Data: "
      "{}\">{}</div></details>",
      where,
      escape(figure.title),
      out);
}

}  // namespace

std::string number_cell(const Count& value) {
  return fmt::format(
      "<td class=\"n\" data-v=\"{}\">{}", value ? std::to_string(*value) : "", count(value));
}

std::string scroll(const std::string& name, const std::string& table) {
  return fmt::format(
      "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{}\">{}</div>\n",
      escape(name),
      table);
}

std::string set_title(const std::string& set) {
  return set == "test" ? "Test set" : set == "cross-validation" ? "Cross-validation" : set;
}

const Estimate* find_metric(const Metrics& metrics, const std::string& key) {
  const auto found = metrics.find(key);
  return found == metrics.end() ? nullptr : &found->second;
}

std::string metric_name(const std::string& key) {
  for (const MetricName& metric : kMetrics) {
    if (key == metric.key) return metric.name;
  }
  return key;
}

std::string Builder::unique_id(const std::string& wanted) {
  const std::string base = slug(wanted);
  std::string id = base;
  for (int k = 2; !ids_.insert(id).second; ++k) id = fmt::format("{}-{}", base, k);
  return id;
}

std::string Builder::figure(Figure figure,
                            const std::string& wanted_id,
                            bool wide,
                            const std::string& heading) {
  figure.id = unique_id(wanted_id);
  const std::string anchor = "fig-" + figure.id;
  std::string caption = escape(heading.empty() ? figure.title : heading);
  if (!figure.caption.empty()) caption += fmt::format("<small>{}</small>", escape(figure.caption));
  std::string drawing = figure.svg.inline_markup(anchor, figure.title, figure.description);
  // Wide drawings scroll sideways on a telephone instead of shrinking past reading.
  if (wide) {
    drawing =
        fmt::format("<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-label=\"{}\">{}</div>",
                    escape(figure.title),
                    drawing);
  }
  std::string out = fmt::format("<figure id=\"{}\"><figcaption>{}</figcaption>{}{}</figure>\n",
                                anchor,
                                caption,
                                drawing,
                                data_table(figure));
  figures_.push_back(std::move(figure));
  return out;
}

std::string Builder::not_estimable(const std::string& reason) {
  const std::string why = reason.empty() ? "no reason was recorded" : reason;
  auto found = std::find(reasons_.begin(), reasons_.end(), why);
  if (found == reasons_.end()) {
    reasons_.push_back(why);
    found = reasons_.end() - 1;
  }
  const auto number = found - reasons_.begin() + 1;
  return fmt::format(
      "<span class=\"ne\" title=\"{}\">not estimable<sup><a href=\"#note-{}\">{}</a></sup></span>",
      escape(why),
      number,
      number);
}

std::string Builder::estimate_cell(const Estimate* estimate) {
  if (estimate == nullptr) return "<td class=\"n\" data-v=\"\">\u2013";
  if (!estimate->value) {
    return fmt::format("<td class=\"n\" data-v=\"\">{}", not_estimable(estimate->reason));
  }
  std::string out = fmt::format("<td class=\"n\" data-v=\"{}\">{}",
                                format_double(*estimate->value),
                                fixed(estimate->value, 3));
  const std::string range = interval(estimate->low, estimate->high, 3);
  if (!range.empty()) out += fmt::format("<small>{}</small>", range);
  return out;
}

std::string Builder::facts(const std::vector<Fact>& facts) const {
  std::string out = "<dl class=\"facts\">";
  for (const Fact& fact : facts) {
    out += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape(fact.key), escape(fact.value));
  }
  return out + "</dl>\n";
}

std::string Builder::findings(const std::vector<Banner>& findings) const {
  std::string out = "<ul class=\"findings\">";
  for (const Banner& finding : findings) {
    out += fmt::format(
        "<li class=\"{}\"><b>{}</b> {}</li>\n", finding.level, finding.level, escape(finding.text));
  }
  return out + "</ul>\n";
}

std::string Builder::lede() const {
  const Endpoint& endpoint = document_.endpoint;
  std::string out = fmt::format("Predicting {}", escape(endpoint.name));
  if (endpoint.horizon_months) {
    out += fmt::format(" at {} months", escape(format_double(*endpoint.horizon_months)));
  }
  if (document_.cohort) {
    const Cohort& cohort = *document_.cohort;
    if (!cohort.name.empty()) out += fmt::format(" in {}", escape(cohort.name));
    if (cohort.n) {
      out += fmt::format(": {} patients, {} of them \u201C{}\u201D",
                         count(cohort.n),
                         count(cohort.positives),
                         escape(endpoint.positive_label));
    }
  }
  return out + ".";
}

std::string Builder::banners() const {
  std::string out;
  const auto add = [&](const std::string& level, const std::string& text) {
    out += fmt::format("<p class=\"banner {}\" role=\"note\">{}</p>\n", level, escape(text));
  };
  for (const Banner& banner : document_.banners) add(banner.level, banner.text);
  // The paper called one-year survival "recurrence"; a title must not do that here unnoticed.
  if (!document_.endpoint.is_recurrence &&
      to_lower(document_.title).find("recurrence") != std::string::npos) {
    add("warning",
        fmt::format("The title speaks of recurrence, but the endpoint \"{}\" is not recurrence.",
                    document_.endpoint.name));
  }
  return out;
}

std::string Builder::endpoint() const {
  const Endpoint& endpoint = document_.endpoint;
  std::string out;
  if (!endpoint.description.empty())
    out += fmt::format("<p>{}</p>\n", escape(endpoint.description));
  if (!endpoint.is_recurrence) {
    out +=
        "<p class=\"note\">This endpoint is not tumour recurrence, and nothing below should be "
        "read as such.</p>\n";
  }
  out += "<dl class=\"endpoint\">";
  const auto item =
      [&](const std::string& name, const std::string& value, const std::string& small) {
        out += fmt::format("<div><dt>{}</dt><dd>{}{}</dd></div>",
                           name,
                           escape(value),
                           small.empty() ? "" : fmt::format("<small>{}</small>", escape(small)));
      };
  item("Endpoint", endpoint.name, endpoint.is_recurrence ? "tumour recurrence" : "");
  if (endpoint.horizon_months) {
    item("Horizon", format_double(*endpoint.horizon_months) + " months", "");
  }
  const auto of_cohort = [&](const Count& n) { return n ? count(n) + " patients" : std::string(); };
  const bool known = document_.cohort.has_value();
  item("Positive class",
       endpoint.positive_label,
       known ? of_cohort(document_.cohort->positives) : "");
  item("Negative class",
       endpoint.negative_label,
       known ? of_cohort(document_.cohort->negatives) : "");
  return out + "</dl>\n";
}

std::string Builder::protocol() const {
  std::string out;
  if (!document_.protocol_summary.empty()) {
    out += fmt::format("<p>{}</p>\n", escape(document_.protocol_summary));
  }
  if (!document_.protocol_facts.empty()) out += facts(document_.protocol_facts);
  return out;
}

std::string Builder::verdicts() const {
  const auto answer = [](Verdict verdict) -> std::pair<const char*, const char*> {
    switch (verdict) {
      case Verdict::kBeats:
        return {"better", "Better"};
      case Verdict::kLoses:
        return {"worse", "Worse"};
      case Verdict::kNotShown:
        return {"open", "No difference shown"};
      case Verdict::kUntested:
        return {"open", "Not tested"};
      case Verdict::kDifferent:
        return {"open", "Not comparable"};
    }
    return {"open", ""};
  };
  std::string out;
  std::string question;
  for (const Contest& contest : contests(document_)) {
    const std::string asked = contest.b->family == "baseline"
                                  ? "Deep models against classical baselines"
                                  : "Fusion against the best single arm";
    if (asked != question) {
      if (!question.empty()) out += "</div>\n";
      out += fmt::format("<div class=\"verdict\"><h3>{}</h3>", asked);
      question = asked;
    }
    const auto [css, word] = answer(contest.verdict);
    out += fmt::format("<p class=\"answer {}\">{}<small>{}</small></p><p>{}</p>\n",
                       css,
                       word,
                       set_title(contest.set),
                       escape(contest.sentence));
  }
  return question.empty() ? out : out + "</div>\n";
}

std::string Builder::cards() const {
  struct Role {
    const char* name;
    std::vector<std::string> families;
  };
  const std::vector<Role> roles = {{"Best fusion", {"fusion"}},
                                   {"Best single arm", {"arm", "paper-baseline"}},
                                   {"Best classical baseline", {"baseline"}}};
  std::string out;
  for (const Role& role : roles) {
    const Model* model = best_model(document_, "cross-validation", role.families);
    if (model == nullptr) model = best_model(document_, "test", role.families);
    if (model == nullptr) continue;
    for (const std::string set_name : {"test", "cross-validation"}) {
      const ModelSet* set = model->find_set(set_name);
      const Estimate* auroc = set == nullptr ? nullptr : find_metric(set->metrics, "auroc");
      if (auroc == nullptr || !auroc->value) continue;
      const std::string range = interval(auroc->low, auroc->high, 2);
      out += fmt::format(
          "<div class=\"card\"><p class=\"role\">{}</p><p class=\"who\">{}</p>"
          "<p class=\"value\">{}</p><p class=\"range\">AUROC{}</p><p class=\"of\">{}: n = {}, {} "
          "positives</p></div>\n",
          role.name,
          escape(model->label),
          fixed(auroc->value, 2),
          range.empty() ? "" : ", 95\u00A0% CI " + range,
          set_title(set_name),
          count(set->n),
          count(set->positives));
      break;
    }
  }
  return out;
}

std::string Builder::results_table(const std::string& set_name) {
  std::string rows;
  const ModelSet* largest = nullptr;
  bool has_reference = false;
  std::set<Count> sizes;
  bool beside = false;
  for (const Model& model : document_.models) {
    const ModelSet* set = model.find_set(set_name);
    beside = beside || (set != nullptr && !set->beside.empty());
  }
  const auto add_row = [&](const std::string& name,
                           const std::string& kind,
                           const Count& n,
                           const Count& positives,
                           const Metrics& metrics,
                           const ModelSet* set,
                           bool reference) {
    rows += fmt::format("<tr{}><th scope=\"row\">{}<small>{}</small>",
                        reference ? " class=\"reference\"" : "",
                        name,
                        escape(kind));
    rows += number_cell(n) + number_cell(positives);
    for (const std::string& key : kHeadlineMetrics) {
      rows += estimate_cell(find_metric(metrics, key));
    }
    if (beside) {
      rows += difference_cell(set == nullptr ? nullptr : set->find_beside("always_positive"));
      rows += difference_cell(set == nullptr ? nullptr : set->find_beside("stage_grade_logistic"));
    }
    rows += '\n';
  };
  for (const std::string family : {"arm", "paper-baseline", "fusion", "baseline", "reference"}) {
    for (const Model& model : document_.models) {
      const ModelSet* set = model.find_set(set_name);
      if (model.family != family || set == nullptr) continue;
      sizes.insert(set->n);
      has_reference = has_reference || family == "reference";
      if (largest == nullptr || set->n > largest->n) largest = set;
      std::string kind = family_name(family);
      if (!model.modalities.empty()) kind += ": " + join(model.modalities, ", ");
      add_row(
          fmt::format("<a href=\"#{}\">{}</a>", model_anchor_.at(model.id), escape(model.label)),
          kind,
          set->n,
          set->positives,
          set->metrics,
          set,
          family == "reference");
    }
  }
  if (rows.empty()) return "";
  // Every table needs its yardstick; where the run did not score one, the counts give it exactly.
  if (!has_reference && largest != nullptr && largest->positives && largest->negatives) {
    add_row("Always the majority",
            "reference, from the counts alone",
            largest->n,
            largest->positives,
            always_majority(*largest->positives, *largest->negatives),
            nullptr,
            true);
  }
  std::string head =
      "<th scope=\"col\">Model<th scope=\"col\" class=\"n\">n<th scope=\"col\" "
      "class=\"n\">Positives";
  for (const std::string& key : kHeadlineMetrics) {
    head += fmt::format("<th scope=\"col\" class=\"n\">{}", metric_name(key));
  }
  if (beside) {
    head +=
        "<th scope=\"col\" class=\"n\">F1 above always positive<th scope=\"col\" "
        "class=\"n\">AUROC above stage and grade";
  }
  std::string out = scroll(
      "Results, " + set_title(set_name),
      fmt::format("<table class=\"sortable\"><caption>{} <small>95\u00A0% intervals below each "
                  "figure</small></caption><thead><tr>{}<tbody>{}</table>",
                  set_title(set_name),
                  head,
                  rows));
  if (sizes.size() > 1) {
    out +=
        "<p class=\"note\">Not all models were scored on the same number of patients: compare "
        "rows of equal n only.</p>\n";
  }
  if (beside) {
    out +=
        "<p class=\"note\">The last two columns are paired differences on the same patients: F1 to "
        "calling everybody positive (by bootstrap), AUROC to a logistic of stage and grade "
        "(DeLong). Below zero, the model is worse than that.</p>\n";
  }
  return out;
}

std::string Builder::headline() {
  const std::string cross_validation = results_table("cross-validation");
  const std::string test = results_table("test");
  if (cross_validation.empty() && test.empty()) return "";
  return fmt::format(
      "{}{}<p class=\"note\">Positive class: \u201C{}\u201D. The tinted row is what a rule that "
      "ignores the patient reaches; a high F1 or precision means nothing unless it is above it. "
      "AUPRC is to be read against the share of positives.</p>\n",
      cross_validation,
      test,
      escape(document_.endpoint.positive_label));
}

std::string Builder::difference_cell(const BesideRow* row) {
  return row == nullptr ? "<td class=\"n\" data-v=\"\">\u2013" : estimate_cell(&row->difference);
}

std::string Builder::beside_table(const std::string& metric, const std::vector<BesidePair>& pairs) {
  std::string rows;
  std::set<std::string> marks;
  for (const BesidePair& pair : pairs) {
    const BesideRow& row = *pair.row;
    if (!row.mark.empty()) marks.insert(row.mark);
    rows += fmt::format("<tr><th scope=\"row\">{}<small>{}</small><td>{}{}{}{}{}",
                        escape(pair.who),
                        escape(pair.set),
                        escape(row.label),
                        row.mark.empty() ? "" : " *",
                        row.metric == "f1" ? "<small>by F1</small>" : "",
                        number_cell(row.n),
                        number_cell(row.events));
    for (const Estimate* estimate :
         {&row.model, &row.lowest, &row.midpoint, &row.highest, &row.difference}) {
      rows += estimate_cell(estimate);
    }
    rows += '\n';
  }
  if (rows.empty()) return "";
  std::string head = "<th scope=\"col\">Model<th scope=\"col\">Beside it";
  for (const char* title :
       {"n", "Events", "The model's", "Lowest", "Midpoint", "Highest", "Difference"}) {
    head += fmt::format("<th scope=\"col\" class=\"n\">{}", title);
  }
  std::string out = scroll(
      "Beside the scores of the clinic",
      fmt::format(
          "<table class=\"sortable\"><caption>Beside the scores of the clinic <small>{} on the "
          "same patients; items that the table lacks make a score a range, judged with everybody "
          "at its lowest, middle and highest value; difference: model minus "
          "midpoint</small></caption><thead><tr>{}<tbody>{}</table>",
          metric,
          head,
          rows));
  for (const std::string& mark : marks) {
    out += fmt::format("<p class=\"note\">* {}.</p>\n", escape(mark));
  }
  return out;
}

// The best classifier of each family beside what needs no training.
std::string Builder::clinical_scores() {
  std::vector<BesidePair> pairs;
  for (const Model* model : best_of_families()) {
    for (const ModelSet& set : model->sets) {
      for (const BesideRow& row : set.beside) pairs.push_back({model->label, set.name, &row});
    }
  }
  return beside_table("AUROC", pairs);
}

// The models named in the headline: by cross-validation, else by the test set.
std::vector<const Model*> Builder::best_of_families() const {
  std::vector<const Model*> out;
  for (const std::vector<std::string>& families :
       {std::vector<std::string>{"fusion"}, {"arm", "paper-baseline"}, {"baseline"}}) {
    const Model* model = best_model(document_, "cross-validation", families);
    if (model == nullptr) model = best_model(document_, "test", families);
    if (model != nullptr) out.push_back(model);
  }
  return out;
}

std::string Builder::cohort() {
  if (!document_.cohort) return "";
  const Cohort& cohort = *document_.cohort;
  const Endpoint& endpoint = document_.endpoint;
  std::string out;
  if (!cohort.flow.empty()) out += figure(cohort_flow(cohort), "cohort-flow", true);
  if (!cohort.splits.empty()) {
    std::string rows;
    for (const Split& split : cohort.splits) {
      const Number share =
          split.n && *split.n > 0 && split.positives
              ? Number(static_cast<double>(*split.positives) / static_cast<double>(*split.n))
              : std::nullopt;
      rows += fmt::format("<tr><th scope=\"row\">{}{}{}{}<td class=\"n\">{}\n",
                          escape(split.name),
                          number_cell(split.n),
                          number_cell(split.positives),
                          number_cell(split.negatives),
                          percent(share));
    }
    out +=
        scroll("Splits",
               fmt::format("<table><caption>Splits</caption><thead><tr><th scope=\"col\">Split"
                           "<th scope=\"col\" class=\"n\">Patients<th scope=\"col\" class=\"n\">{}"
                           "<th scope=\"col\" class=\"n\">{}<th scope=\"col\" class=\"n\">Share "
                           "positive<tbody>{}</table>",
                           escape(endpoint.positive_label),
                           escape(endpoint.negative_label),
                           rows));
  }
  if (!cohort.modalities.empty()) {
    std::string rows;
    for (const Modality& modality : cohort.modalities) {
      rows += fmt::format("<tr><th scope=\"row\">{}{}{}{}\n",
                          escape(modality.name),
                          number_cell(modality.patients),
                          number_cell(modality.items),
                          number_cell(modality.width));
    }
    out +=
        scroll("Modalities",
               "<table><caption>Modalities</caption><thead><tr><th scope=\"col\">Modality<th "
               "scope=\"col\" class=\"n\">Patients<th scope=\"col\" class=\"n\">Scans, slides or "
               "rows<th scope=\"col\" class=\"n\">Values each<tbody>" +
                   rows + "</table>");
  }
  if (!cohort.availability.empty()) {
    out += figure(availability_patterns(cohort, endpoint), "availability-patterns", true);
  }
  if (!document_.class_balance.empty()) {
    out += figure(report::class_balance(document_.class_balance, endpoint), "class-balance", true);
  }
  if (!cohort.missing.empty()) out += figure(missingness(cohort, endpoint), "missing-values", true);
  if (!cohort.findings.empty()) {
    out += "<h3>Findings about the data</h3>\n" + findings(cohort.findings);
  }
  return out;
}

std::string Builder::metrics_table(const Model& model) {
  std::set<std::string> known;
  std::vector<std::string> keys;
  for (const MetricName& metric : kMetrics) known.insert(metric.key);
  const auto used = [&](const std::string& key) {
    return std::any_of(model.sets.begin(), model.sets.end(), [&](const ModelSet& set) {
      return find_metric(set.metrics, key) != nullptr;
    });
  };
  for (const MetricName& metric : kMetrics) {
    if (used(metric.key)) keys.emplace_back(metric.key);
  }
  for (const ModelSet& set : model.sets) {
    for (const auto& [key, estimate] : set.metrics) {
      if (known.insert(key).second) keys.push_back(key);
    }
  }
  if (keys.empty()) return "";
  std::string out =
      "<table class=\"compact\"><caption>Every metric</caption><thead><tr><th scope=\"col\">Metric";
  for (const ModelSet& set : model.sets) {
    out += fmt::format("<th scope=\"col\" class=\"n\">{}", set_title(set.name));
  }
  out += "<tbody>";
  for (const std::string& key : keys) {
    out += fmt::format("<tr><th scope=\"row\">{}", escape(metric_name(key)));
    for (const ModelSet& set : model.sets) out += estimate_cell(find_metric(set.metrics, key));
    out += '\n';
  }
  return scroll("Metrics of " + model.label, out + "</table>");
}

std::string Builder::model_details(const Model& model, bool open) {
  std::string auc;
  std::string body;
  for (const ModelSet& set : model.sets) {
    const Estimate* auroc = find_metric(set.metrics, "auroc");
    if (auroc != nullptr && auroc->value) {
      auc = fmt::format(
          "AUROC {} ({})", fixed(auroc->value, 2), set.name == "test" ? "test" : set.name);
    }
    std::string about = fmt::format("n = {}, {} positives, {} negatives",
                                    count(set.n),
                                    count(set.positives),
                                    count(set.negatives));
    if (set.threshold) about += fmt::format(", threshold {}", fixed(set.threshold, 3));
    body += fmt::format("<h4>{} <small>{}</small></h4>\n", set_title(set.name), about);
    const std::string tail = slug(model.id).substr(0, 40) + (set.name == "test" ? "-test" : "-cv");
    std::string grid;
    if (set.confusion) {
      grid += figure(confusion_matrix(model, set, document_.endpoint),
                     "confusion-" + tail,
                     false,
                     "Confusion matrix");
    }
    if (set.roc) grid += figure(roc_curve(model, set), "roc-" + tail, false, "ROC curve");
    if (set.pr) grid += figure(pr_curve(model, set), "pr-" + tail, false, "Precision and recall");
    if (set.calibration) {
      grid += figure(calibration_plot(model, set, document_.endpoint),
                     "calibration-" + tail,
                     false,
                     "Calibration");
    }
    if (!grid.empty()) body += "<div class=\"grid four\">" + grid + "</div>\n";
  }
  body += metrics_table(model);
  std::string kind = family_name(model.family);
  if (!model.modalities.empty()) kind += ": " + join(model.modalities, ", ");
  return fmt::format(
      "<details class=\"model\" id=\"{}\"{}><summary><b>{}</b><span>{}</span><span "
      "class=\"auc\">{}</span></summary><div class=\"inside\">{}</div></details>\n",
      model_anchor_.at(model.id),
      open ? " open" : "",
      escape(model.label),
      escape(kind),
      auc,
      body);
}

std::string Builder::models() {
  const auto best = best_of_families();
  const std::set<const Model*> chosen(best.begin(), best.end());
  std::string out;
  for (const Model& model : document_.models) {
    out += model_details(model, chosen.contains(&model));
  }
  return out;
}

std::string Builder::comparisons() {
  if (document_.comparisons.empty()) return "";
  std::vector<std::string> sets;
  std::string rows;
  for (const Comparison& comparison : document_.comparisons) {
    if (std::find(sets.begin(), sets.end(), comparison.set) == sets.end()) {
      sets.push_back(comparison.set);
    }
    const auto p_cell = [](const Number& p) {
      return fmt::format(
          "<td class=\"n\" data-v=\"{}\">{}", p ? format_double(*p) : "", escape(p_value(p)));
    };
    rows += fmt::format("<tr><td>{}<td>{}<td>{}<td>{}<td>{}{}{}{}\n",
                        escape(set_title(comparison.set)),
                        escape(document_.label_of(comparison.a)),
                        escape(document_.label_of(comparison.b)),
                        escape(metric_name(comparison.metric)),
                        escape(comparison.test),
                        estimate_cell(&comparison.difference),
                        p_cell(comparison.p),
                        p_cell(comparison.p_adjusted));
  }
  std::string out;
  for (const std::string& set : sets) {
    if (auto forest = comparison_forest(document_, set)) {
      out += figure(std::move(*forest), "differences-" + set, true);
    }
  }
  return out +
         scroll(
             "Comparisons",
             "<table class=\"sortable\"><thead><tr><th scope=\"col\">Set<th scope=\"col\">First<th "
             "scope=\"col\">Second<th scope=\"col\">Metric<th scope=\"col\">Test<th scope=\"col\" "
             "class=\"n\">Difference<th scope=\"col\" class=\"n\">p<th scope=\"col\" "
             "class=\"n\">Adjusted p<tbody>" +
                 rows + "</table>");
}

std::string Builder::availability_results() {
  std::string out;
  for (const AvailabilityResult& result : document_.availability_results) {
    std::set<std::string> present;
    for (const AvailabilityRow& row : result.rows) {
      for (const auto& [key, estimate] : row.metrics) present.insert(key);
    }
    std::vector<std::string> keys;
    for (const MetricName& metric : kMetrics) {
      if (present.erase(metric.key) > 0) keys.emplace_back(metric.key);
    }
    keys.insert(keys.end(), present.begin(), present.end());
    std::string head;
    for (const std::string& key : keys) {
      head += fmt::format("<th scope=\"col\" class=\"n\">{}", escape(metric_name(key)));
    }
    std::string rows;
    for (const AvailabilityRow& row : result.rows) {
      const std::string name =
          row.pattern.modalities.empty() ? "none" : join(row.pattern.modalities, " + ");
      rows += fmt::format("<tr><th scope=\"row\">{}{}{}{}",
                          escape(name),
                          number_cell(row.pattern.n),
                          number_cell(row.pattern.positives),
                          number_cell(row.pattern.negatives));
      for (const std::string& key : keys) rows += estimate_cell(find_metric(row.metrics, key));
      rows += '\n';
    }
    const std::string label = document_.label_of(result.model);
    out += scroll(label + " by available data",
                  fmt::format("<table class=\"sortable\"><caption>{} <small>{}</small></caption>"
                              "<thead><tr><th scope=\"col\">Available<th scope=\"col\" "
                              "class=\"n\">n<th scope=\"col\" class=\"n\">Positives<th "
                              "scope=\"col\" class=\"n\">Negatives{}<tbody>{}</table>",
                              escape(label),
                              escape(set_title(result.set)),
                              head,
                              rows));
  }
  return out;
}

std::string Builder::fusion() {
  std::string out;
  if (!document_.late_weights.empty()) {
    out += figure(report::late_weights(document_.late_weights), "late-weights", true);
  }
  if (!document_.selection.empty()) {
    std::string rows;
    for (const Selection& selection : document_.selection) {
      rows += fmt::format("<tr><th scope=\"row\">{}<td>{}<td class=\"n\">{} of {}\n",
                          escape(selection.arm),
                          escape(selection.setting),
                          count(selection.chosen),
                          count(selection.of));
    }
    out += scroll("Settings chosen",
                  "<table><caption>Settings chosen by inner validation <small>a setting that keeps "
                  "changing is a sign of noise</small></caption><thead><tr><th "
                  "scope=\"col\">Arm<th scope=\"col\">Setting<th scope=\"col\" "
                  "class=\"n\">Chosen<tbody>" +
                      rows + "</table>");
  }
  return out;
}

std::string Builder::paper_leak() {
  if (!document_.paper_leak) return "";
  const PaperLeak& leak = *document_.paper_leak;
  std::string out;
  if (!leak.text.empty()) out += fmt::format("<p>{}</p>\n", escape(leak.text));
  std::set<std::string> present;
  for (const LeakRow& row : leak.rows) {
    for (const auto& [key, estimate] : row.metrics) present.insert(key);
  }
  std::vector<std::string> keys;
  for (const MetricName& metric : kMetrics) {
    if (present.erase(metric.key) > 0) keys.emplace_back(metric.key);
  }
  keys.insert(keys.end(), present.begin(), present.end());
  std::string table =
      "<table class=\"sortable\"><thead><tr><th scope=\"col\">Protocol<th "
      "scope=\"col\" class=\"n\">n";
  for (const std::string& key : keys) {
    table += fmt::format("<th scope=\"col\" class=\"n\">{}", escape(metric_name(key)));
  }
  table += "<tbody>";
  for (const LeakRow& row : leak.rows) {
    table += fmt::format("<tr><th scope=\"row\">{}{}", escape(row.label), number_cell(row.n));
    for (const std::string& key : keys) table += estimate_cell(find_metric(row.metrics, key));
    table += '\n';
  }
  if (!leak.rows.empty()) out += scroll("The paper's protocol", table + "</table>");
  return out;
}

std::string Builder::raw() const {
  std::string out;
  for (const RawFiles& files : document_.raw) {
    const bool slides = files.kind == "slides";
    out += fmt::format("<h3>{}</h3>\n<p>Encoded by {}, {}.</p>\n",
                       slides ? "Slides" : "CT and MR series",
                       escape(files.encoder),
                       files.trained
                           ? "trained weights" + (files.weights_sha256.empty()
                                                      ? ""
                                                      : ", SHA-256 " + escape(files.weights_sha256))
                           : std::string("<strong>untrained weights: the features mean "
                                         "nothing</strong>"));
    std::string rows;
    std::string reasons;
    for (const RawStage& stage : files.stages) {
      rows += fmt::format("<tr><th scope=\"row\">{}", escape(stage.stage)) +
              number_cell(stage.done) + number_cell(stage.skipped) + number_cell(stage.failed) +
              "\n";
      for (const RawReason& reason : stage.reasons) {
        reasons += fmt::format("<tr><th scope=\"row\">{}<td>{}<td>{}",
                               escape(stage.stage),
                               escape(reason.outcome),
                               escape(reason.reason)) +
                   number_cell(reason.n) + "\n";
      }
    }
    out += scroll(slides ? "Slides by stage" : "Series by stage",
                  "<table><thead><tr><th scope=\"col\">Stage<th scope=\"col\">Done<th "
                  "scope=\"col\">Skipped<th scope=\"col\">Failed<tbody>" +
                      rows + "</table>");
    if (reasons.empty()) continue;
    out += scroll(slides ? "Slides that were left out" : "Series that were left out",
                  "<table><thead><tr><th scope=\"col\">Stage<th scope=\"col\">Outcome<th "
                  "scope=\"col\">Reason<th scope=\"col\">Number<tbody>" +
                      reasons + "</table>");
  }
  return out;
}

std::string Builder::notes() const {
  std::string out;
  for (std::size_t i = 0; i < reasons_.size(); ++i) {
    out += fmt::format("<li id=\"note-{}\">{}</li>\n", i + 1, escape(reasons_[i]));
  }
  return out;
}

Page Builder::build() {
  for (const Model& model : document_.models) {
    model_anchor_[model.id] = unique_id("model-" + model.id);
  }
  std::map<std::string, std::string> values;
  const std::string style = std::string(page_css()) + std::string(figure_css());
  values["style"] = style;
  values["style_hash"] = csp_hash(style);
  values["script"] = page_script();
  values["script_hash"] = csp_hash(page_script());
  values["patterns"] = svg_patterns();
  values["title"] = escape(document_.title);
  values["version_suffix"] = document_.version.empty() ? "" : " " + escape(document_.version);
  values["synthetic"] = document_.synthetic ? "yes" : "";
  values["lede"] = lede();
  values["banners"] = banners();
  values["endpoint"] = endpoint();
  values["protocol"] = protocol();
  values["verdicts"] = verdicts();
  values["cards"] = cards();
  values["headline"] = headline();
  if (auto forest = auroc_forest(document_)) {
    values["forest"] = figure(std::move(*forest), "auroc-forest", true);
  }
  values["cohort"] = cohort();
  values["models"] = models();
  values["comparisons"] = comparisons();
  values["availability_results"] = availability_results();
  values["fusion"] = fusion();
  for (const LearningCurve& curve : document_.learning_curves) {
    values["training"] += figure(learning_curve(curve), "learning-" + curve.title, false);
  }
  for (const Projection& projection : document_.umap) {
    values["umap"] +=
        figure(umap_scatter(projection, document_.endpoint), "umap-" + projection.title, false);
  }
  values["paper_leak"] = paper_leak();
  values["survival"] = survival();
  values["tripod"] = tripod();
  values["probast"] = probast();
  values["clinical_scores"] = clinical_scores();
  values["model_card"] = document_.model_card ? "yes" : "";
  values["raw"] = raw();
  if (!document_.provenance.empty()) values["provenance"] = facts(document_.provenance);
  values["notes"] = notes();
  return {fill_template(page_template(), values), std::move(figures_)};
}

Page build_page(const Document& document) { return Builder(document).build(); }

}  // namespace med3d::report
