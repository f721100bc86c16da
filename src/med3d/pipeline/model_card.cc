#include "med3d/pipeline/model_card.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <vector>

#include "med3d/core/file.h"
#include "med3d/core/text.h"

namespace med3d::pipeline {
namespace fs = std::filesystem;
namespace {

struct CardMetric {
  const char* key;    // in report.json
  const char* label;  // for people
  const char* type;   // Hugging Face's id
};
constexpr CardMetric kMetrics[] = {
    {"auroc", "AUROC", "roc_auc"},
    {"auprc", "AUPRC", "average_precision"},
    {"balanced_accuracy", "Balanced accuracy", "balanced_accuracy"},
    {"f1", "F1", "f1"},
    {"brier", "Brier score", "brier_score"},
    {"calibration_slope", "Calibration slope", "calibration_slope"},
};

constexpr const char* kNotADevice =
    "Research software, not a medical device: not for decisions on patients.";

// A text in double quotes as YAML reads it: JSON's quoting is a part of YAML's.
std::string quoted(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// A text inside a line or a table of Markdown: names come from files of others.
std::string inline_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '|':
      case '`':
      case '*':
      case '_':
      case '[':
      case ']':
      case '\\':
        out += '\\';
        out += c;
        break;
      case '<':
        out += "&lt;";
        break;
      case '\n':
      case '\r':
        out += ' ';
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string slug_of(const std::string& text) {
  std::string out;
  for (const char c : to_lower(text)) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (plain) {
      out += c;
    } else if (!out.empty() && out.back() != '-') {
      out += '-';
    }
  }
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out.empty() ? "unnamed" : out;
}

std::string interval_text(const Json& estimate) {
  const auto limit = [&](const char* key) {
    const auto found = estimate.find(key);
    return found != estimate.end() && found->is_number()
               ? fmt::format("{:.3f}", found->get<double>())
               : std::string();
  };
  const std::string low = limit("low");
  const std::string high = limit("high");
  return low.empty() || high.empty() ? "" : low + " to " + high;
}

std::string estimate_text(const Json& estimate) {
  if (!estimate.contains("value")) return "not estimable";
  const std::string range = interval_text(estimate);
  return fmt::format(
      "{:.3f}{}", estimate.at("value").get<double>(), range.empty() ? "" : " (" + range + ")");
}

std::string percent_text(const RunSettings& settings) {
  return format_double(100.0 * settings.validation.confidence) + " %";
}

// The models that the bundle may hold, with what was measured of them.
std::vector<Json> shown_models(const Json& report) {
  std::vector<Json> out;
  for (const auto& model : report.at("models")) {
    if (model.at("family") != "reference" && !model.at("sets").empty()) out.push_back(model);
  }
  return out;
}

std::vector<std::string> tags_of(const Cohort& cohort) {
  std::vector<std::string> tags = {
      "med3d", "medical", "oncology", "kidney-cancer", "prognosis", "multimodal"};
  for (const auto& name : cohort.modality_names()) tags.push_back(name);
  if (cohort.synthetic) tags.emplace_back("synthetic-data");
  return tags;
}

std::string model_index(const Json& report, const Cohort& cohort, const RunSettings& settings) {
  std::string out;
  for (const auto& model : shown_models(report)) {
    std::string results;
    for (const auto& set : model.at("sets")) {
      std::string metrics;
      for (const auto& metric : kMetrics) {
        const auto found = set.at("metrics").find(metric.key);
        if (found == set.at("metrics").end() || !found->contains("value")) continue;
        const std::string range = interval_text(*found);
        metrics += fmt::format(
            "        - type: {}\n          value: {:.6g}\n          name: {}\n",
            metric.type,
            found->at("value").get<double>(),
            quoted(fmt::format(
                "{} ({}n = {}, {} positive)",
                metric.label,
                range.empty() ? "" : percent_text(settings) + " interval " + range + "; ",
                set.at("n").dump(),
                set.at("positives").dump())));
      }
      if (metrics.empty()) continue;
      const auto name = set.at("name").get<std::string>();
      results += fmt::format(
          "    - task:\n        type: tabular-classification\n        name: {}\n"
          "      dataset:\n        name: {}\n        type: {}\n        split: {}\n"
          "      metrics:\n{}",
          quoted(cohort.endpoint.name),
          quoted(cohort.name),
          slug_of(cohort.name),
          slug_of(name),
          metrics);
    }
    if (results.empty()) continue;
    out += fmt::format(
        "  - name: {}\n    results:\n{}", quoted(model.at("label").get<std::string>()), results);
  }
  return out.empty() ? "" : "model-index:\n" + out;
}

std::string front_matter(const Json& report, const Cohort& cohort, const RunSettings& settings) {
  std::string out = "---\n";
  out += "# What the model is licensed under is for its author to choose: license_name.\n";
  out += "license: other\nlicense_name: not-chosen\nlibrary_name: med3d\n";
  out += "pipeline_tag: tabular-classification\ntags:\n";
  for (const auto& tag : tags_of(cohort)) out += "  - " + slug_of(tag) + "\n";
  out += "datasets:\n  - " + slug_of(cohort.name) + "\nmetrics:\n";
  for (const auto& metric : kMetrics) out += fmt::format("  - {}\n", metric.type);
  return out + model_index(report, cohort, settings) + "---\n";
}

std::string metrics_table(const Json& report) {
  std::string out = "| model | set | n | positive |";
  std::string rule = "| --- | --- | --- | --- |";
  for (const auto& metric : kMetrics) {
    out += fmt::format(" {} |", metric.label);
    rule += " --- |";
  }
  out += "\n" + rule + "\n";
  for (const auto& model : shown_models(report)) {
    for (const auto& set : model.at("sets")) {
      out += fmt::format("| {} | {} | {} | {} |",
                         inline_text(model.at("label").get<std::string>()),
                         inline_text(set.at("name").get<std::string>()),
                         set.at("n").dump(),
                         set.at("positives").dump());
      for (const auto& metric : kMetrics) {
        const auto found = set.at("metrics").find(metric.key);
        out += fmt::format(" {} |", found == set.at("metrics").end() ? "" : estimate_text(*found));
      }
      out += "\n";
    }
  }
  return out;
}

std::string baselines_text(const Json& report) {
  std::string out;
  for (const auto& model : shown_models(report)) {
    for (const auto& set : model.at("sets")) {
      for (const auto& row : set.value("baselines", Json::array())) {
        const auto id = row.at("id").get<std::string>();
        if (id != "always_positive" && id != "stage_grade_logistic") continue;
        out += fmt::format(
            "* {}, {}: {} minus that of {}: {}\n",
            inline_text(model.at("label").get<std::string>()),
            inline_text(set.at("name").get<std::string>()),
            row.at("metric") == "f1" ? "F1" : "AUROC",
            id == "always_positive" ? "the rule \"always positive\"" : "stage and grade alone",
            estimate_text(row.at("difference")));
      }
    }
  }
  return out;
}

std::string encoder_text(const Json& entry, bool synthetic) {
  std::vector<std::string> parts;
  for (const auto& encoder : entry.at("encoders")) {
    parts.push_back(fmt::format("{}{}",
                                inline_text(encoder.at("name").get<std::string>()),
                                encoder.at("trained").get<bool>()
                                    ? ""
                                    : " (**untrained weights: its vectors mean nothing**)"));
  }
  if (!parts.empty()) return join(parts, ", ");
  return synthetic ? "none: the vectors are generated" : "not recorded beside the vectors";
}

Json limits_of(const Json& report, const Cohort& cohort) {
  Json out = Json::array();
  for (const auto& banner : report.at("banners")) out.push_back(banner.at("text"));
  out.push_back(
      "Judged on patients of the same cohort: whether it holds elsewhere is not known from this.");
  for (const auto& finding : report.at("cohort").at("findings")) {
    if (finding.at("level") != "info") out.push_back(finding.at("text"));
  }
  if (cohort.synthetic) out.push_back("Trained on generated patients: of no use for real ones.");
  return out;
}

std::string intended_use(const Cohort& cohort) {
  return fmt::format(
      "Research on prognosis: a probability of '{}' ({}) for patients like those of '{}', to be "
      "validated on other patients before anything is concluded from it.",
      cohort.endpoint.positive_label,
      cohort.endpoint.name,
      cohort.name);
}

void collect_encoders(const fs::path& folder, std::map<std::string, bool>& found) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) return;
  std::vector<fs::path> records;
  for (auto it = fs::recursive_directory_iterator(folder, error);
       !error && it != fs::recursive_directory_iterator();
       it.increment(error)) {
    if (it->path().extension() == ".json" && it->is_regular_file(error)) {
      records.push_back(it->path());
    }
  }
  for (const auto& record : records) {
    try {
      const Json encoder = read_json(record).at("encoder");
      const bool trained = encoder.at("trained").get<bool>();
      const auto [at, added] = found.emplace(encoder.at("name").get<std::string>(), trained);
      at->second = at->second && trained;
    } catch (const std::exception&) {
      continue;  // not a record of ours, or a damaged one
    }
  }
}

}  // namespace

Json encoders_json(const CohortSettings& settings) {
  Json out = Json::array();
  for (const auto* modality : {&settings.ct, &settings.mri, &settings.wsi}) {
    if (!modality->enabled || modality->features.empty()) continue;
    std::map<std::string, bool> found;
    for (const auto& path : modality->features) {
      collect_encoders(path, found);
      // Records of slides lie in a folder of their own beside the vectors and the pooled table.
      collect_encoders(
          path.parent_path() / (modality == &settings.wsi ? "slides" : modality->section), found);
    }
    Json encoders = Json::array();
    for (const auto& [name, trained] : found) {
      encoders.push_back({{"name", name}, {"trained", trained}});
    }
    out.push_back({{"modality", modality->section}, {"encoders", encoders}});
  }
  return out;
}

ModelCard model_card(const Json& report, const Cohort& cohort, const RunSettings& settings) {
  const auto& endpoint = cohort.endpoint;
  const auto version = report.at("version").get<std::string>();
  const Json encoders = encoders_json(settings.cohort);
  const Json limits = limits_of(report, cohort);
  const auto best = [&](const char* family) {
    const auto id = report.at("best").at(family).get<std::string>();
    for (const auto& model : report.at("models")) {
      if (model.at("id") == id) return model.at("label").get<std::string>();
    }
    return std::string("none");
  };

  ModelCard card;
  std::string& md = card.markdown;
  md = front_matter(report, cohort, settings);
  md += fmt::format("\n# {}\n\n", inline_text(report.at("title").get<std::string>()));
  md += fmt::format("**{}**\n\n", kNotADevice);
  if (cohort.synthetic) md += "**Synthetic data: every patient is made up.**\n\n";
  md += fmt::format("Models that give the probability of \"{}\". Endpoint: {}{}{}.{}\n\n",
                    inline_text(endpoint.positive_label),
                    inline_text(endpoint.name),
                    endpoint.description.empty() ? "" : ", " + inline_text(endpoint.description),
                    endpoint.horizon_months > 0
                        ? ", at " + format_double(endpoint.horizon_months) + " months"
                        : "",
                    endpoint.is_recurrence ? "" : " It is not tumour recurrence.");
  md += fmt::format(
      "Written by med3d {}; read by `med3d predict`. The files hold numbers and no code.\n\n",
      inline_text(version));
  md += fmt::format(
      "## Intended use\n\n{}\n\nNot for: diagnosis, choice of treatment, any decision on a "
      "patient; other tumours, other endpoints or other moments than the model was trained for; "
      "vectors of other encoders. Who may use it, and for whom, is the author's to say.\n\n",
      inline_text(intended_use(cohort)));

  const auto& counts = report.at("cohort");
  md += fmt::format("## Data\n\n{}: {} patients, {} positive.",
                    inline_text(cohort.name),
                    counts.at("n").dump(),
                    counts.at("positives").dump());
  if (!cohort.description.empty()) md += " " + inline_text(cohort.description) + ".";
  md += fmt::format(" License of the data: {}.\n\n",
                    cohort.licence.empty() ? "not stated" : inline_text(cohort.licence));
  md += "| split | n | positive |\n| --- | --- | --- |\n";
  for (const auto& split : counts.at("splits")) {
    md += fmt::format("| {} | {} | {} |\n",
                      inline_text(split.at("name").get<std::string>()),
                      split.at("n").dump(),
                      split.at("positives").dump());
  }
  md += "\n| modality | patients | numbers each | encoder |\n| --- | --- | --- | --- |\n";
  for (const auto& modality : counts.at("modalities")) {
    std::string encoder = "none: a table";
    for (const auto& entry : encoders) {
      if (entry.at("modality") == modality.at("name")) {
        encoder = encoder_text(entry, cohort.synthetic);
      }
    }
    const auto name = modality.at("name").get<std::string>();
    if (name != "clinical" && encoder == "none: a table") {
      encoder = encoder_text({{"encoders", Json::array()}}, cohort.synthetic);
    }
    md += fmt::format("| {} | {} | {} | {} |\n",
                      inline_text(name),
                      modality.at("patients").dump(),
                      modality.at("width").dump(),
                      encoder);
  }

  md += fmt::format(
      "\n## How well\n\n{}. Intervals: {}. Ranked by cross-validation: best single arm {}, best "
      "fusion {}, best classical baseline {}.\n\n",
      inline_text(report.at("protocol").at("summary").get<std::string>()),
      percent_text(settings),
      inline_text(best("arm")),
      inline_text(best("fusion")),
      inline_text(best("baseline")));
  md += metrics_table(report);
  const std::string beside = baselines_text(report);
  if (!beside.empty()) md += "\nBeside what needs no model, on the same patients:\n\n" + beside;
  if (report.contains("survival")) {
    md += "\nModels of time to event were judged too; they are not in this folder.\n";
  }

  md += "\n## Limits\n\n";
  for (const auto& limit : limits) {
    md += fmt::format("* {}\n", inline_text(limit.get<std::string>()));
  }
  std::size_t open = 0;
  std::size_t questions = 0;
  for (const auto& domain : report.at("probast").at("domains")) {
    open += domain.at("open").get<std::size_t>();
    questions += domain.at("questions").size();
  }
  md += fmt::format("* PROBAST: {} of {} questions on bias are open.\n", open, questions);
  md +=
      "\n## Left to the author\n\n"
      "License of the model, contact, setting and dates of the data, ethical approval, groups of "
      "patients it was not tested on, monitoring in use.\n";

  Json metrics = Json::array();
  for (const auto& model : shown_models(report)) {
    for (const auto& set : model.at("sets")) {
      Json values = Json::object();
      for (const auto& metric : kMetrics) {
        const auto found = set.at("metrics").find(metric.key);
        if (found != set.at("metrics").end()) values[metric.key] = *found;
      }
      metrics.push_back({{"model", model.at("id")},
                         {"label", model.at("label")},
                         {"set", set.at("name")},
                         {"n", set.at("n")},
                         {"events", set.at("positives")},
                         {"metrics", values}});
    }
  }
  Json inputs = Json::object();
  for (const auto& modality : counts.at("modalities")) {
    const auto name = modality.at("name").get<std::string>();
    inputs[name] = name == "clinical" ? Json{{"type", "table"}, {"columns", modality.at("width")}}
                                      : Json{{"type", "vectors"}, {"length", modality.at("width")}};
  }
  card.json = {
      {"version", "1.0.0"},
      {"changelog", {{"1.0.0", "as written by the run"}}},
      {"med3d_version", version},
      {"name", report.at("title")},
      {"task", "Prognosis of two classes: " + endpoint.name},
      {"description", endpoint.description},
      {"authors", "left to the author"},
      {"copyright", "left to the author"},
      {"license", "left to the author"},
      {"data_source", cohort.name},
      {"data_license", cohort.licence},
      {"data_type", cohort.modality_names()},
      {"synthetic", cohort.synthetic},
      {"encoders", encoders},
      {"label_classes", {{"0", endpoint.negative_label}, {"1", endpoint.positive_label}}},
      {"pred_classes", "probability of '" + endpoint.positive_label + "'"},
      {"is_recurrence", endpoint.is_recurrence},
      {"eval_metrics", metrics},
      {"intended_use", intended_use(cohort) + " " + kNotADevice},
      {"limits", limits},
      {"references", Json::array()},
      {"network_data_format",
       {{"inputs", inputs},
        {"outputs", {{"probability", {{"type", "probability"}, {"value_range", {0, 1}}}}}}}}};
  return card;
}

void write_model_card(const std::filesystem::path& model_folder, const ModelCard& card) {
  write_file_atomic(model_folder / "model_card.md", card.markdown);
  write_json(model_folder / "card.json", card.json);
}

}  // namespace med3d::pipeline
