#include "med3d/report/sample_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "med3d/core/random.h"

namespace med3d::report {
namespace {

// [[key, value], ...]: braces alone would make an object of it.
Json pairs(const std::vector<std::pair<std::string, Json>>& facts) {
  Json out = Json::array();
  for (const auto& [key, value] : facts) out.push_back(Json::array({key, value}));
  return out;
}

struct Patients {
  std::vector<double> score;
  std::vector<int> label;
};

// Scores whose classes lie `separation` standard deviations apart, as probabilities.
Patients draw(NumpyRandom& random, int n, double share, double separation) {
  Patients patients;
  for (int i = 0; i < n; ++i) {
    const int label = i < share * n ? 1 : 0;
    patients.label.push_back(label);
    const double z = random.normal() + separation * label + 1.2;
    patients.score.push_back(1.0 / (1.0 + std::exp(-z)));
  }
  return patients;
}

Json estimate(double value, double half) {
  return {{"value", value},
          {"low", std::max(0.0, value - half)},
          {"high", std::min(1.0, value + half)}};
}

Json model_set(
    NumpyRandom& random, const std::string& name, int n, double share, double separation) {
  const Patients patients = draw(random, n, share, separation);
  std::vector<std::size_t> order(patients.score.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return patients.score[a] > patients.score[b];
  });
  const double positives = std::count(patients.label.begin(), patients.label.end(), 1);
  const double negatives = n - positives;
  Json fpr = {0.0}, tpr = {0.0}, low = {0.0}, high = {0.0};
  Json recall = Json::array(), precision = Json::array(), plow = Json::array(),
       phigh = Json::array();
  double tp = 0, fp = 0, auroc = 0, auprc = 0;
  for (const std::size_t i : order) {
    if (patients.label[i] == 1) {
      tp += 1;
      auprc += tp / (tp + fp) / positives;
    } else {
      fp += 1;
      auroc += tp / positives / negatives;
    }
    const double sensitivity = tp / positives;
    const double half = 1.96 * std::sqrt(sensitivity * (1 - sensitivity) / positives) + 0.01;
    fpr.push_back(fp / negatives);
    tpr.push_back(sensitivity);
    low.push_back(std::max(0.0, sensitivity - half));
    high.push_back(std::min(1.0, sensitivity + half));
    const double p = tp / (tp + fp);
    const double phalf = 1.96 * std::sqrt(p * (1 - p) / (tp + fp)) + 0.01;
    recall.push_back(sensitivity);
    precision.push_back(p);
    plow.push_back(std::max(0.0, p - phalf));
    phigh.push_back(std::min(1.0, p + phalf));
  }
  double cells[4] = {0, 0, 0, 0};
  std::vector<std::vector<double>> groups(8);
  double brier = 0;
  for (std::size_t i = 0; i < patients.score.size(); ++i) {
    const int called = patients.score[i] >= 0.86;
    cells[2 * patients.label[i] + called] += 1;
    brier += std::pow(patients.score[i] - patients.label[i], 2) / n;
    const auto group = std::min<std::size_t>(7, static_cast<std::size_t>(patients.score[i] * 8));
    groups[group].push_back(patients.label[i]);
  }
  Json calibration = {{"predicted", Json::array()},
                      {"observed", Json::array()},
                      {"low", Json::array()},
                      {"high", Json::array()},
                      {"n", Json::array()}};
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (groups[g].empty()) continue;
    const auto m = static_cast<double>(groups[g].size());
    double observed = 0;
    for (const double label : groups[g]) observed += label / m;
    const double half = 1.96 * std::sqrt(observed * (1 - observed) / m) + 0.02;
    calibration["predicted"].push_back((static_cast<double>(g) + 0.5) / 8);
    calibration["observed"].push_back(observed);
    calibration["low"].push_back(std::max(0.0, observed - half));
    calibration["high"].push_back(std::min(1.0, observed + half));
    calibration["n"].push_back(m);
  }
  const double se = std::sqrt(auroc * (1 - auroc) / std::min(positives, negatives)) * 1.3;
  const double sensitivity = cells[3] / positives;
  const double specificity = cells[0] / negatives;
  const double prec = cells[3] / std::max(1.0, cells[3] + cells[1]);
  const double npv = cells[0] / std::max(1.0, cells[0] + cells[2]);
  Json metrics = {
      {"auroc", estimate(auroc, 1.96 * se)},
      {"auprc", estimate(auprc, 0.05)},
      {"prevalence", estimate(positives / n, 0.03)},
      {"accuracy", estimate((cells[0] + cells[3]) / n, 0.04)},
      {"balanced_accuracy", estimate((sensitivity + specificity) / 2, 0.06)},
      {"sensitivity", estimate(sensitivity, 0.05)},
      {"specificity", estimate(specificity, 0.11)},
      {"precision", estimate(prec, 0.03)},
      {"npv", estimate(npv, 0.08)},
      {"f1", estimate(2 * prec * sensitivity / (prec + sensitivity), 0.03)},
      {"precision_negative", estimate(npv, 0.08)},
      {"recall_negative", estimate(specificity, 0.11)},
      {"f1_negative", estimate(2 * npv * specificity / std::max(0.01, npv + specificity), 0.08)},
      {"mcc", estimate(0.28 * separation, 0.12)},
      {"brier", estimate(brier, 0.02)},
      {"log_loss", estimate(brier * 3, 0.05)},
      {"calibration_intercept", {{"value", -0.21}, {"low", -0.55}, {"high", 0.12}}},
      {"calibration_slope", {{"value", 0.83}, {"low", 0.51}, {"high", 1.2}}},
  };
  return {{"name", name},
          {"n", n},
          {"positives", static_cast<int>(positives)},
          {"negatives", static_cast<int>(negatives)},
          {"threshold", 0.86},
          {"metrics", metrics},
          {"confusion",
           {static_cast<int>(cells[0]),
            static_cast<int>(cells[1]),
            static_cast<int>(cells[2]),
            static_cast<int>(cells[3])}},
          {"roc", {{"fpr", fpr}, {"tpr", tpr}, {"low", low}, {"high", high}}},
          {"pr", {{"recall", recall}, {"precision", precision}, {"low", plow}, {"high", phigh}}},
          {"calibration", calibration}};
}

}  // namespace

Json minimal_report() {
  return {{"schema", 1},
          {"title", "A small report"},
          {"synthetic", false},
          {"endpoint",
           {{"name", "vital_status_12"},
            {"description", "Whether the patient was alive one year after diagnosis."},
            {"positive_label", "alive"},
            {"negative_label", "dead"},
            {"horizon_months", 12},
            {"is_recurrence", false}}}};
}

Json sample_report(int models) {
  NumpyRandom random(20240601);
  Json report = minimal_report();
  report["title"] = "Twelve-month survival in clear cell renal carcinoma, from four kinds of data";
  report["version"] = "0.1.0";
  report["synthetic"] = true;
  report["banners"] = {
      {{"level", "danger"},
       {"text", "The minority class holds 72 patients: every specificity below rests on them."}},
      {{"level", "warning"},
       {"text", "Slides of 41 patients are frozen sections; the model has a covariate for it."}},
      {{"level", "info"}, {"text", "Thresholds were fixed on validation folds."}}};
  report["protocol"] = {
      {"summary",
       "Five-fold cross-validation repeated three times within the training patients, settings "
       "chosen by an inner loop, then one look at the test set. Every step that learns from data, "
       "imputation and oversampling included, sees training folds only."},
      {"facts",
       pairs({{"Outer folds", "5 x 3"},
              {"Seed", 7},
              {"Balancing", "ADASYN, training folds only"},
              {"Threshold", "maximises balanced accuracy on the validation fold"},
              {"Intervals", "patient-level bootstrap, 2000 draws, percentile"}})}};
  report["cohort"] = {
      {"name", "a made-up two-centre cohort"},
      {"n", 600},
      {"positives", 528},
      {"negatives", 72},
      {"flow",
       {{{"label", "Patients with clear cell histology"}, {"n", 671}, {"excluded", Json::array()}},
        {{"label", "With a known one-year status"},
         {"n", 618},
         {"excluded",
          {{{"reason", "lost to follow-up before 12 months"}, {"n", 41}},
           {{"reason", "date of diagnosis missing"}, {"n", 12}}}}},
        {{"label", "Analysed"},
         {"n", 600},
         {"excluded", {{{"reason", "no readable modality"}, {"n", 18}}}}}}},
      {"modalities",
       {{{"name", "clinical"}, {"patients", 600}, {"items", 600}, {"width", 17}},
        {{"name", "ct"}, {"patients", 239}, {"items", 736}, {"width", 512}},
        {{"name", "mri"}, {"patients", 52}, {"items", 522}, {"width", 512}},
        {{"name", "wsi"}, {"patients", 587}, {"items", 2907}, {"width", 1024}}}},
      {"availability",
       {{{"pattern", {"clinical", "wsi"}}, {"n", 331}, {"positives", 290}, {"negatives", 41}},
        {{"pattern", {"clinical", "ct", "wsi"}}, {"n", 207}, {"positives", 184}, {"negatives", 23}},
        {{"pattern", {"clinical", "mri", "wsi"}}, {"n", 29}, {"positives", 26}, {"negatives", 3}},
        {{"pattern", {"clinical", "ct", "mri", "wsi"}},
         {"n", 20},
         {"positives", 18},
         {"negatives", 2}},
        {{"pattern", {"clinical", "ct"}}, {"n", 9}, {"positives", 7}, {"negatives", 2}},
        {{"pattern", {"clinical"}}, {"n", 4}, {"positives", 3}, {"negatives", 1}}}},
      {"splits",
       {{{"name", "train"}, {"n", 480}, {"positives", 422}, {"negatives", 58}},
        {{"name", "test"}, {"n", 120}, {"positives", 106}, {"negatives", 14}}}},
      {"missing",
       {{{"column", "cancer_history"}, {"share", 0.882}, {"missing_positive_share", 0.879}},
        {{"column", "ajcc_clin_metastasis_cm"},
         {"share", 0.799},
         {"missing_positive_share", 0.903}},
        {{"column", "VHL_mutation"}, {"share", 0.252}, {"missing_positive_share", 0.84}},
        {{"column", "age_diag"}, {"share", 0.028}, {"missing_positive_share", nullptr}}}},
      {"findings",
       {{{"level", "warning"}, {"text", "Column 'cancer_history' is 1 or empty, never 0."}},
        {{"level", "info"}, {"text", "17 patients have no age; imputed within folds."}},
        {{"level", "error"}, {"text", "Two patients had identical slides; one was left out."}}}}};
  report["class_balance"] = {{{"method", "SMOTE"}, {"before", {58, 422}}, {"after", {422, 422}}},
                             {{"method", "ADASYN"}, {"before", {58, 422}}, {"after", {431, 422}}}};
  for (const std::string title : {"Clinical MLP, SMOTE", "Clinical MLP, ADASYN"}) {
    Json train = Json::array(), valid = Json::array(), accuracy = Json::array();
    for (int e = 0; e < 50; ++e) {
      train.push_back(0.62 * std::exp(-e / 14.0) + 0.12 + 0.008 * random.normal());
      valid.push_back(0.5 * std::exp(-e / 9.0) + 0.2 + 0.002 * e + 0.012 * random.normal());
      accuracy.push_back(0.93 - 0.35 * std::exp(-e / 10.0) + 0.008 * random.normal());
    }
    report["learning_curves"].push_back({{"title", title},
                                         {"series",
                                          {{{"name", "training loss"}, {"values", train}},
                                           {{"name", "validation loss"}, {"values", valid}},
                                           {{"name", "training accuracy"}, {"values", accuracy}}}},
                                         {"best_epoch", 23}});
  }
  struct Spec {
    const char *id, *label, *family;
    std::vector<std::string> modalities;
    double separation;
    int cv_n, test_n;
  };
  const std::vector<Spec> specs = {
      {"ehr", "Clinical MLP", "arm", {"clinical"}, 1.0, 480, 120},
      {"ct", "CT MLP", "arm", {"ct"}, 0.35, 190, 49},
      {"mri", "MRI MLP", "arm", {"mri"}, 0.1, 41, 11},
      {"wsi", "Slide MLP", "arm", {"wsi"}, 0.42, 470, 117},
      {"paper-ehr",
       "EHR MLP as printed in the paper",
       "paper-baseline",
       {"clinical"},
       0.5,
       480,
       120},
      {"early-concat",
       "Early fusion, concatenation",
       "fusion",
       {"clinical", "ct", "mri", "wsi"},
       1.1,
       480,
       120},
      {"early-mean",
       "Early fusion, masked mean",
       "fusion",
       {"clinical", "ct", "mri", "wsi"},
       0.84,
       480,
       120},
      {"late-sum",
       "Late fusion, weighted sum",
       "fusion",
       {"clinical", "ct", "mri", "wsi"},
       0.8,
       480,
       120},
      {"logistic", "Logistic regression", "baseline", {"clinical"}, 1.25, 480, 120},
      {"stage", "Stage and grade only", "baseline", {"clinical"}, 0.75, 480, 120},
      {"xgboost", "Gradient-boosted trees", "baseline", {"clinical"}, 0.88, 480, 120}};
  for (int i = 0; i < models; ++i) {
    const auto kind = static_cast<std::size_t>(i) % specs.size();
    const Spec& spec = specs[kind];
    const bool again = static_cast<std::size_t>(i) >= specs.size();
    Json sets = Json::array();
    sets.push_back(model_set(random, "cross-validation", spec.cv_n, 0.88, spec.separation));
    Json test = model_set(random, "test", spec.test_n, 0.88, spec.separation);
    if (std::string(spec.id) == "mri") {
      // What a hospital with eleven scans gets: one class only.
      const Json reason = {{"not_estimable", "the test set has no negatives (11 of 11 positive)"}};
      test["positives"] = 11;
      test["negatives"] = 0;
      for (const char* key : {"auroc", "auprc", "balanced_accuracy", "specificity", "mcc"}) {
        test["metrics"][key] = reason;
      }
      test["confusion"] = {0, 0, 4, 7};
      for (const char* key : {"roc", "pr", "calibration"}) test.erase(key);
    }
    sets.push_back(test);
    // Beside each row: always positive by F1, stage + grade and one clinical score by AUROC.
    for (Json& set : sets) {
      const auto row =
          [&](const char* id, const char* label, const char* mark, const char* metric) {
            return Json{{"id", id},
                        {"label", label},
                        {"mark", mark},
                        {"metric", metric},
                        {"n", set["n"]},
                        {"events", set["positives"]},
                        {"model", estimate(0.8, 0.05)},
                        {"lowest", estimate(0.7, 0.05)},
                        {"midpoint", estimate(0.72, 0.05)},
                        {"highest", estimate(0.74, 0.05)},
                        {"difference", {{"value", -0.0125}, {"low", -0.06}, {"high", 0.035}}}};
          };
      set["baselines"] = {
          row("always_positive", "Always positive", "", "f1"),
          row("stage_grade_logistic", "Stage and grade, logistic", "", "auroc"),
          row("ssign", "SSIGN", "point table not checked against its source", "auroc")};
    }
    report["models"].push_back(
        {{"id", again ? fmt::format("{}-{}", spec.id, i) : spec.id},
         {"label", again ? fmt::format("{}, variant {}", spec.label, i) : spec.label},
         {"family", spec.family},
         {"modalities", spec.modalities},
         {"sets", sets}});
  }
  const auto compare = [&](const std::string& set,
                           const std::string& a,
                           const std::string& b,
                           double d,
                           double half,
                           double p,
                           double adjusted) {
    report["comparisons"].push_back(
        {{"set", set},
         {"a", a},
         {"b", b},
         {"test", "DeLong"},
         {"difference", {{"value", d}, {"low", d - half}, {"high", d + half}}},
         {"p", p},
         {"p_adjusted", adjusted}});
  };
  // The pairs a run would test: the best of each family in cross-validation.
  const auto best = [&](const std::string& family) {
    std::string id;
    double value = -1;
    for (const Json& model : report["models"]) {
      const double auroc = model["sets"][0]["metrics"]["auroc"]["value"].get<double>();
      if (model["family"].get<std::string>() != family || auroc <= value) continue;
      value = auroc;
      id = model["id"].get<std::string>();
    }
    return id;
  };
  for (const char* set : {"cross-validation", "test"}) {
    const double wider = std::string(set) == "test" ? 3.0 : 1.0;
    compare(set, best("fusion"), best("arm"), 0.012, 0.031 * wider, 0.44, 0.88);
    compare(set, best("fusion"), "late-sum", 0.021, 0.04 * wider, 0.3, 0.88);
    compare(
        set, best("fusion"), best("baseline"), -0.045, 0.024 * wider, 0.011 * wider, 0.031 * wider);
    compare(set, "late-sum", "ehr", -0.018, 0.03 * wider, 0.24, 0.72);
  }
  for (const char* model : {"early-concat", "late-sum"}) {
    report["availability_results"].push_back(
        {{"set", "test"},
         {"model", model},
         {"rows",
          {{{"pattern", {"clinical", "wsi"}},
            {"n", 66},
            {"positives", 58},
            {"negatives", 8},
            {"metrics", {{"auroc", estimate(0.71, 0.14)}, {"brier", estimate(0.1, 0.03)}}}},
           {{"pattern", {"clinical", "ct", "wsi"}},
            {"n", 43},
            {"positives", 38},
            {"negatives", 5},
            {"metrics", {{"auroc", estimate(0.76, 0.19)}, {"brier", estimate(0.09, 0.03)}}}},
           {{"pattern", {"clinical", "mri", "wsi"}},
            {"n", 6},
            {"positives", 6},
            {"negatives", 0},
            {"metrics",
             {{"auroc", {{"not_estimable", "this group has no negatives"}}},
              {"brier", estimate(0.06, 0.06)}}}}}}});
  }
  for (const char* title : {"Clinical MLP, first layer", "Early fusion, shared layer"}) {
    Json x = Json::array(), y = Json::array(), label = Json::array(), correct = Json::array();
    for (int i = 0; i < 600; ++i) {
      const int positive = i >= 72;
      const double turn = 6.283 * random.uniform();
      const double radius = 2.2 * std::sqrt(random.uniform());
      x.push_back((positive ? 1.4 : -1.2) + radius * std::cos(turn) * 1.5);
      y.push_back((positive ? 0.3 : -0.4) + radius * std::sin(turn));
      label.push_back(positive);
      const double side = x.back().get<double>() * (positive ? 1 : -1);
      correct.push_back(side > -0.6 + 0.5 * random.normal() ? 1 : 0);
    }
    report["umap"].push_back(
        {{"title", title}, {"x", x}, {"y", y}, {"label", label}, {"correct", correct}});
  }
  report["paper_leak"] = {
      {"text",
       "The paper's tables fit only a test set of 109 and 109 patients, which oversampling before "
       "the split produces. Repeated here to show what that does: the gain is the leak."},
      {"rows",
       {{{"label", "ADASYN before the split (leaks)"},
         {"n", 218},
         {"metrics",
          {{"balanced_accuracy", estimate(0.92, 0.036)}, {"f1", estimate(0.917, 0.03)}}}},
        {{"label", "ADASYN on training folds only"},
         {"n", 120},
         {"metrics",
          {{"balanced_accuracy", estimate(0.617, 0.12)}, {"f1", estimate(0.886, 0.05)}}}}}}};
  report["late_weights"] = {
      {{"set", "cross-validation"}, {"modality", "clinical"}, {"weight", 0.52}},
      {{"set", "cross-validation"}, {"modality", "wsi"}, {"weight", 0.27}},
      {{"set", "cross-validation"}, {"modality", "ct"}, {"weight", 0.18}},
      {{"set", "cross-validation"}, {"modality", "mri"}, {"weight", 0.03}}};
  report["selection"] = {
      {{"arm", "clinical"}, {"setting", "lr 1e-3, dropout 0.3, ADASYN"}, {"chosen", 9}, {"of", 15}},
      {{"arm", "wsi"}, {"setting", "mean pooling, width 256"}, {"chosen", 12}, {"of", 15}}};
  report["tripod"] = {{{"item", "1"},
                       {"section", "Title"},
                       {"text", "Identify the study as developing a model"},
                       {"status", "author"},
                       {"value", ""}},
                      {{"item", "5a"},
                       {"section", "Data"},
                       {"text", "Describe the sources of data"},
                       {"status", "filled"},
                       {"value", "a made-up two-centre cohort, 600 patients"}},
                      {{"item", "10"},
                       {"section", "Sample size"},
                       {"text", "Explain how the size was arrived at"},
                       {"status", "author"},
                       {"value", ""}},
                      {{"item", "11"},
                       {"section", "Missing data"},
                       {"text", "How missing data were handled"},
                       {"status", "filled"},
                       {"value", "imputed within training folds, with indicators"}}};
  report["probast"] = {
      {"domains",
       {{{"domain", "Participants"},
         {"open", 1},
         {"judgement", nullptr},
         {"questions",
          {{{"question", "1.1"},
            {"text", "Do the data come from a fitting design?"},
            {"status", "author"},
            {"answer", ""},
            {"value", "Patients by source: TCGA: 400, CPTAC: 200."}}}}},
        {{"domain", "Analysis"},
         {"open", 0},
         {"judgement", "high"},
         {"questions",
          {{{"question", "4.1"},
            {"text", "Are there enough patients with the outcome?"},
            {"status", "answered"},
            {"answer", "no"},
            {"value", "58 patients in the smaller class for 1,650 numbers."}}}}}}}};
  report["model_card"] = true;
  report["provenance"] = pairs({{"program", "med3d 0.1.0"},
                                {"cohort file", "sha256 4f1c...e09a"},
                                {"seed", 7},
                                {"deterministic", true}});
  return report;
}

}  // namespace med3d::report
