#include "med3d/report/document.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "med3d/core/error.h"
#include "med3d/report/sample_report.h"

namespace med3d::report {
namespace {

TEST(ReadDocument, ReadsTheSample) {
  const Document document = read_document(sample_report(12));
  EXPECT_EQ(document.models.size(), 12U);
  EXPECT_EQ(document.cohort->n, 600);
  EXPECT_EQ(document.cohort->flow[1].excluded[0].n, 41);
  EXPECT_EQ(document.class_balance[1].after[0], 431);
  EXPECT_EQ(document.comparisons[0].metric, "auroc");
  EXPECT_EQ(document.label_of("ehr"), "Clinical MLP");
  EXPECT_EQ(document.label_of("nobody"), "nobody");
  EXPECT_EQ(document.provenance[2].value, "7");
  EXPECT_FALSE(document.cohort->missing[3].missing_positive_share.has_value());
}

TEST(ReadDocument, TakesNullForAnyNumber) {
  Json report = sample_report(1);
  Json& set = report["models"][0]["sets"][0];
  set["n"] = nullptr;
  set["threshold"] = nullptr;
  set["metrics"]["auroc"] = nullptr;
  set["metrics"]["f1"]["value"] = nullptr;
  set["pr"]["precision"][0] = nullptr;
  set["calibration"]["n"][0] = nullptr;
  report["learning_curves"][0]["best_epoch"] = nullptr;
  report["cohort"]["n"] = nullptr;
  const Document document = read_document(report);
  EXPECT_FALSE(document.models[0].sets[0].metrics.at("auroc").value);
  EXPECT_FALSE(document.models[0].sets[0].metrics.at("f1").value);
}

TEST(ReadDocument, IgnoresKeysItDoesNotKnow) {
  Json report = minimal_report();
  report["later"] = {1, 2, 3};
  EXPECT_NO_THROW(read_document(report));
}

TEST(ReadDocument, RefusesAnotherSchema) {
  Json report = minimal_report();
  report["schema"] = 2;
  try {
    read_document(report);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    EXPECT_STREQ(error.what(), "report.json: schema: 2, this version reads 1");
  }
}

struct Defect {
  const char* message;
  std::function<void(Json&)> apply;
};

TEST(ReadDocument, NamesThePathOfEachDefect) {
  const Defect defects[] = {
      {"report.json: schema: missing, expected 1", [](Json& r) { r.erase("schema"); }},
      {"report.json: title: missing or null, expected a text", [](Json& r) { r.erase("title"); }},
      {"report.json: synthetic: missing or null, expected true or false",
       [](Json& r) { r.erase("synthetic"); }},
      {"report.json: endpoint: missing or null, expected an object",
       [](Json& r) { r.erase("endpoint"); }},
      {"report.json: endpoint.is_recurrence: '\"no\"', expected true or false",
       [](Json& r) { r["endpoint"]["is_recurrence"] = "no"; }},
      {"report.json: banners: an object, expected an array",
       [](Json& r) { r["banners"] = Json::object(); }},
      {"report.json: banners[0].level: 'loud', expected one of danger, error, info, warning",
       [](Json& r) { r["banners"][0]["level"] = "loud"; }},
      {"report.json: protocol.facts[1]: 3 values, expected [key, value]",
       [](Json& r) { r["protocol"]["facts"][1].push_back("x"); }},
      {"report.json: cohort.n: -1, expected a count", [](Json& r) { r["cohort"]["n"] = -1; }},
      {"report.json: cohort.flow[1].excluded[0].n: 1.5, expected a count",
       [](Json& r) { r["cohort"]["flow"][1]["excluded"][0]["n"] = 1.5; }},
      {"report.json: cohort.missing[0].share: 1.2, expected a number from 0 to 1",
       [](Json& r) { r["cohort"]["missing"][0]["share"] = 1.2; }},
      {"report.json: class_balance[0].after: 3 values, expected [negatives, positives]",
       [](Json& r) {
         r["class_balance"][0]["after"] = {1, 2, 3};
       }},
      {"report.json: models[1].id: an id that an earlier model has",
       [](Json& r) { r["models"][1]["id"] = r["models"][0]["id"]; }},
      {"report.json: models[0].family: 'deep', expected one of arm, baseline, fusion, "
       "paper-baseline, reference",
       [](Json& r) { r["models"][0]["family"] = "deep"; }},
      {"report.json: models[0].sets[0].name: 'train', expected one of cross-validation, test",
       [](Json& r) { r["models"][0]["sets"][0]["name"] = "train"; }},
      {"report.json: models[0].sets[1]: a second set 'cross-validation' of this model",
       [](Json& r) { r["models"][0]["sets"][1]["name"] = "cross-validation"; }},
      {"report.json: models[0].sets[0].metrics.auroc: '0.7', expected an object",
       [](Json& r) { r["models"][0]["sets"][0]["metrics"]["auroc"] = 0.7; }},
      {"report.json: models[0].sets[0].metrics.auroc: no 'value' and no 'not_estimable'",
       [](Json& r) { r["models"][0]["sets"][0]["metrics"]["auroc"] = Json::object(); }},
      {"report.json: models[0].sets[0].metrics.auroc: 'low' 0.9 is above 'high' 0.1",
       [](Json& r) {
         r["models"][0]["sets"][0]["metrics"]["auroc"] = {
             {"value", 0.5}, {"low", 0.9}, {"high", 0.1}};
       }},
      {"report.json: models[0].sets[0].confusion: 3 values, expected [tn, fp, fn, tp]",
       [](Json& r) {
         r["models"][0]["sets"][0]["confusion"] = {1, 2, 3};
       }},
      {"report.json: models[0].sets[0].roc.tpr[1]: 1.5, expected a number from 0 to 1",
       [](Json& r) { r["models"][0]["sets"][0]["roc"]["tpr"][1] = 1.5; }},
      {"report.json: models[0].sets[0].roc: 'tpr' has 1 values and 'fpr' has 481, expected as many",
       [](Json& r) { r["models"][0]["sets"][0]["roc"]["tpr"] = {0.0}; }},
      {"report.json: models[0].sets[0].roc: only one of 'low' and 'high'",
       [](Json& r) { r["models"][0]["sets"][0]["roc"].erase("low"); }},
      {"report.json: comparisons[0].p: 2, expected a number from 0 to 1",
       [](Json& r) { r["comparisons"][0]["p"] = 2; }},
      {"report.json: umap[0].label[2]: '3', expected 0 or 1",
       [](Json& r) { r["umap"][0]["label"][2] = 3; }},
      {"report.json: umap[0]: x, y, label and correct have 1, 600, 600 and 600 values, expected as "
       "many",
       [](Json& r) { r["umap"][0]["x"] = {1.0}; }},
      {"report.json: tripod[0].status: 'done', expected one of author, filled",
       [](Json& r) { r["tripod"][0]["status"] = "done"; }},
  };
  for (const Defect& defect : defects) {
    Json report = sample_report(2);
    defect.apply(report);
    try {
      read_document(report);
      ADD_FAILURE() << "no error: " << defect.message;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kFormat);
      EXPECT_STREQ(error.what(), defect.message);
    }
  }
}

TEST(ReadDocument, RefusesADocumentThatIsNoObject) {
  EXPECT_THROW(read_document(Json::array()), Error);
  EXPECT_THROW(read_document(Json()), Error);
}

}  // namespace
}  // namespace med3d::report
