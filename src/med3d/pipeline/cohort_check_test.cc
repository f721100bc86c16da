#include "med3d/pipeline/cohort_check.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>

#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/test_support.h"

namespace med3d::pipeline {
namespace {

using testing::has_finding;
using testing::reference_data;

// The two tables of Fisher's tea tasting: 3 of 4 cups right, then all 4. With margins of 4 the
// probabilities are 1/70, 16/70, 36/70, 16/70, 1/70.
TEST(FisherExact, MatchesHandComputedValues) {
  EXPECT_NEAR(fisher_exact(3, 1, 1, 3), 34.0 / 70.0, 1e-12);
  EXPECT_NEAR(fisher_exact(4, 0, 0, 4), 2.0 / 70.0, 1e-12);
  EXPECT_NEAR(fisher_exact(2, 2, 2, 2), 1.0, 1e-12);
}

TEST(FisherExact, MatchesScipy) {
  EXPECT_NEAR(fisher_exact(1, 9, 11, 3), 0.0027594561852200836, 1e-12);
  EXPECT_NEAR(fisher_exact(1, 9, 11, 3), fisher_exact(11, 3, 1, 9), 1e-14);
  EXPECT_NEAR(fisher_exact(1, 9, 11, 3), fisher_exact(1, 11, 9, 3), 1e-14);
}

// 13 patients without age, all of the 59 dead of 497: choose(59,13)/choose(497,13).
TEST(FisherExact, HoldsForExtremeTables) {
  double p = 1.0;
  for (int i = 0; i < 13; ++i) p *= (59.0 - i) / (497.0 - i);
  EXPECT_NEAR(fisher_exact(13, 0, 46, 438) / p, 1.0, 1e-6);
  EXPECT_LT(p, 1e-12);
}

TEST(FisherExact, IsOneWhereAMarginIsEmpty) {
  EXPECT_EQ(fisher_exact(0, 0, 3, 4), 1.0);
  EXPECT_EQ(fisher_exact(3, 4, 0, 0), 1.0);
  EXPECT_EQ(fisher_exact(0, 5, 0, 5), 1.0);
  EXPECT_EQ(fisher_exact(0, 0, 0, 0), 1.0);
}

// n patients, every second one an event, in training; one complete covariate; one modality of
// width 16 with a different vector for each.
Cohort made(std::size_t n) {
  Cohort cohort;
  cohort.name = "made";
  cohort.endpoint.name = "PFI";
  cohort.endpoint.positive_label = "event";
  cohort.endpoint.negative_label = "free";
  Column age;
  age.name = "age";
  Modality ct;
  ct.name = "ct";
  ct.width = 16;
  for (std::size_t p = 0; p < n; ++p) {
    cohort.case_ids.push_back(fmt::format("P{}", 1000 + p));
    cohort.label.push_back(p % 2 == 0 ? 1 : 0);
    cohort.has_clinical.push_back(true);
    cohort.split.push_back("train");
    cohort.source.push_back("other");
    cohort.site.push_back("");
    cohort.time_months.push_back(std::numeric_limits<double>::quiet_NaN());
    cohort.event.push_back(-1);
    age.cells.push_back(std::to_string(40 + p % 7));
    std::vector<float> row(16, 1.0F);
    row[p % 16] = 5.0F + static_cast<float>(p);
    ct.items.append_row(row);
    ct.item_ids.push_back(cohort.case_ids.back() + "-1");
    ct.patient_of_item.push_back(p);
    ct.facts.emplace_back();
    ct.items_of_patient.push_back({p});
  }
  cohort.columns = {age};
  cohort.modalities = {ct};
  return cohort;
}

TEST(CohortCheck, FindsNothingInACleanCohort) {
  const auto findings = check_cohort(made(60));
  EXPECT_TRUE(findings.empty()) << findings[0].text;
}

TEST(CohortCheck, FindsMissingnessThatTellsTheLabel) {
  Cohort cohort = made(60);
  for (std::size_t p = 0; p < 20; p += 2) cohort.columns[0].cells[p] = "";  // ten events
  const auto findings = check_cohort(cohort);
  EXPECT_TRUE(has_finding(findings,
                          "informative_missingness",
                          "column 'age': of 10 patients without it every one is 'event' (20 of 50 "
                          "others)"));
  // The same share of both classes says nothing.
  cohort = made(60);
  for (std::size_t p = 0; p < 20; ++p) cohort.columns[0].cells[p] = "NA";
  EXPECT_FALSE(has_finding(check_cohort(cohort), "informative_missingness"));
}

TEST(CohortCheck, FindsAModalityWhoseAbsenceTellsTheLabel) {
  Cohort cohort = made(60);
  for (std::size_t p = 1; p < 40; p += 2) cohort.modalities[0].items_of_patient[p].clear();
  EXPECT_TRUE(has_finding(check_cohort(cohort),
                          "informative_missingness",
                          "modality ct: of 20 patients without it none is 'event'"));
}

TEST(CohortCheck, FindsConstantColumns) {
  Cohort cohort = made(60);
  for (std::size_t p = 0; p < 60; ++p) cohort.columns[0].cells[p] = p % 4 < 2 ? "1.0" : "-1";
  EXPECT_FALSE(has_finding(check_cohort(cohort), "constant_column"));
  cohort.missing_values = {"-1"};
  EXPECT_TRUE(has_finding(check_cohort(cohort), "constant_column", "missing in 30 patients"));
  cohort.columns[0].cells.assign(60, std::string("1"));
  EXPECT_TRUE(has_finding(check_cohort(cohort), "constant_column", "same value in every patient"));
}

TEST(CohortCheck, FindsOneVectorUnderTwoPatients) {
  Cohort cohort = made(60);
  cohort.split[1] = "test";
  cohort.split[3] = "test";
  cohort.split[4] = "test";
  auto& items = cohort.modalities[0].items;
  std::copy(items.row(0).begin(), items.row(0).end(), items.row(1).begin());
  const auto findings = check_cohort(cohort);
  EXPECT_TRUE(has_finding(findings, "duplicate_vector", "(P1000-1 and P1001-1), 1 of them across"));
  EXPECT_EQ(findings[0].level, "error");  // errors come first
}

TEST(CohortCheck, FindsAVectorStoredInHalfPrecision) {
  Cohort cohort = made(60);
  auto& items = cohort.modalities[0].items;
  for (std::size_t c = 0; c < 16; ++c) {
    const float value = items(7, c) + 0.1F * static_cast<float>(c);
    items(7, c) = value;
    items(30, c) = value * (c % 2 == 0 ? 1.0004F : 0.9996F);  // 11 bits
  }
  EXPECT_TRUE(has_finding(check_cohort(cohort), "duplicate_vector", "P1007-1 and P1030-1"));
}

TEST(CohortCheck, DoesNotTakeSimilarVectorsForTheSame) {
  Cohort cohort = made(60);
  auto& items = cohort.modalities[0].items;
  for (std::size_t c = 0; c < 16; ++c) items(8, c) = items(9, c) * (c == 0 ? 1.05F : 1.0F);
  EXPECT_FALSE(has_finding(check_cohort(cohort), "duplicate_vector"));
}

// All items point nearly the same way, as of an encoder with random weights: a common 100 in every
// value, and differences of about 1 between patients.
TEST(CohortCheck, JudgesNearnessByWhatItemsUsuallyDifferBy) {
  Cohort cohort = made(60);
  NumpyRandom random(3);
  auto& items = cohort.modalities[0].items;
  for (std::size_t i = 0; i < items.rows(); ++i) {
    for (std::size_t c = 0; c < 16; ++c) {
      items(i, c) = 100.0F + static_cast<float>(random.uniform());
    }
  }
  EXPECT_FALSE(has_finding(check_cohort(cohort), "duplicate_vector"));
  for (std::size_t c = 0; c < 16; ++c) items(7, c) = items(30, c) + (c == 0 ? 0.001F : 0.0F);
  EXPECT_TRUE(has_finding(check_cohort(cohort), "duplicate_vector", "P1007-1 and P1030-1"));
}

TEST(CohortCheck, FindsVectorsOfZeros) {
  Cohort cohort = made(60);
  auto row = cohort.modalities[0].items.row(5);
  std::fill(row.begin(), row.end(), 0.0F);
  EXPECT_TRUE(has_finding(check_cohort(cohort), "zero_vector", "1 item of zeros"));
}

TEST(CohortCheck, RaisesTheAlarmOnABalancedTestSet) {
  Cohort cohort = made(60);
  for (std::size_t p = 0; p < 20; ++p) cohort.split[p] = "test";  // 10 events, 10 not
  EXPECT_TRUE(has_finding(check_cohort(cohort), "balanced_test", "(10/10)"));
  cohort.label[1] = 1;
  EXPECT_FALSE(has_finding(check_cohort(cohort), "balanced_test"));
}

TEST(CohortCheck, FindsASplitOfOneClassOrFewEvents) {
  Cohort cohort = made(60);
  for (std::size_t p = 0; p < 20; ++p) cohort.split[p] = "test";
  for (std::size_t p = 0; p < 20; ++p) cohort.label[p] = 0;
  EXPECT_TRUE(
      has_finding(check_cohort(cohort), "one_class_split", "the test patients are all 'free'"));
  cohort.label[0] = 1;
  EXPECT_TRUE(has_finding(check_cohort(cohort), "few_events", "hold only 1"));
}

TEST(CohortCheck, FindsAPatientOnBothSidesUnderTwoSpellings) {
  Cohort cohort = made(60);
  cohort.case_ids[3] = "kidney 17";
  cohort.case_ids[9] = "Kidney_17";
  cohort.split[9] = "test";
  EXPECT_TRUE(has_finding(check_cohort(cohort), "patient_across_splits", "1 patient is"));
}

TEST(CohortCheck, FindsSitesOnBothSides) {
  Cohort cohort = made(60);
  cohort.site[0] = cohort.site[1] = "BP";
  cohort.site[2] = "A3";
  cohort.split[1] = "test";
  EXPECT_TRUE(has_finding(check_cohort(cohort), "site_across_splits", "1 site has"));
  EXPECT_TRUE(has_finding(check_cohort(cohort), "site_across_splits", "(BP; 1 test patient)"));
}

TEST(CohortCheck, SuspectsCensoringCodedBackwards) {
  Cohort cohort = made(60);
  for (std::size_t p = 0; p < 60; ++p) {
    cohort.event[p] = p % 3 == 0 ? 0 : 1;
    cohort.time_months[p] = p % 3 == 0 ? 6.0 : 40.0;
  }
  EXPECT_TRUE(has_finding(check_cohort(cohort), "censoring_direction", "40 of 60"));
  for (auto& event : cohort.event) event = 1 - event;
  EXPECT_FALSE(has_finding(check_cohort(cohort), "censoring_direction"));
  for (auto& event : cohort.event) event = 0;
  EXPECT_TRUE(has_finding(check_cohort(cohort), "censoring_direction", "no patient has"));
}

TEST(CohortCheck, SaysThatACohortIsSynthetic) {
  Cohort cohort = made(60);
  cohort.synthetic = true;
  EXPECT_TRUE(has_finding(check_cohort(cohort), "synthetic"));
  EXPECT_NE(cohort_text(cohort).find("SYNTHETIC"), std::string::npos);
  EXPECT_EQ(cohort_report(cohort)["synthetic"], true);
}

TEST(CohortCheck, CountsPatternsOfAvailability) {
  Cohort cohort = made(10);
  for (std::size_t p = 0; p < 3; ++p) cohort.modalities[0].items_of_patient[p].clear();
  cohort.has_clinical[9] = false;
  const auto patterns = availability_patterns(cohort);
  ASSERT_EQ(patterns.size(), 3U);
  EXPECT_EQ(patterns[0].modalities, (StringList{"clinical", "ct"}));
  EXPECT_EQ(patterns[0].patients, 6U);
  EXPECT_EQ(patterns[0].positives, 3U);  // patients 4, 6, 8
  EXPECT_EQ(patterns[1].modalities, StringList{"clinical"});
  EXPECT_EQ(patterns[1].positives, 2U);  // patients 0, 2
  EXPECT_EQ(patterns[2].modalities, StringList{"ct"});
}

TEST(RealCohort, ShowsThatMissingAgeMeansDeath) {
  MED3D_NEEDS_REFERENCE_DATA();
  const Cohort cohort =
      load_cohort(describe_folder(reference_data() / "mmist-ccrcc"), silent_progress(), 2);
  const auto findings = check_cohort(cohort);
  EXPECT_TRUE(
      has_finding(findings,
                  "informative_missingness",
                  "column 'age_diag': of 13 patients without it every one is 'dead within 12 "
                  "months' (46 of 484 others)"));
  EXPECT_TRUE(has_finding(findings, "constant_column", "'cancer_history' has one value only"));
  EXPECT_TRUE(has_finding(findings, "site_across_splits"));
  EXPECT_FALSE(has_finding(findings, "balanced_test"));
  EXPECT_FALSE(has_finding(findings, "frozen_slides"));
  for (const auto& facts : column_facts(cohort)) {
    if (facts.name == "VHL_mutation") {
      EXPECT_EQ(facts.missing, 136U);
    }
    if (facts.name == "cancer_history") {
      EXPECT_EQ(facts.missing, 440U);
    }
    if (facts.name == "ajcc_clin_metastasis_cm") {
      EXPECT_EQ(facts.missing, 385U);
    }
  }
  const std::string text = cohort_text(cohort);
  EXPECT_NE(text.find("This endpoint is vital status, not recurrence."), std::string::npos);
  for (const auto& line : split(text, '\n')) EXPECT_LE(line.size(), 100U) << line;
  const Json report = cohort_report(cohort);
  EXPECT_EQ(report["splits"]["test"]["positives"], 12);
  EXPECT_EQ(report["sources"]["CPTAC"]["patients"], 160);
  // No patient id in the report.
  EXPECT_EQ(dump_json(report).find("C3L-"), std::string::npos);
}

TEST(RealCohort, WarnsOfFrozenAndNormalSlidesWhenTheyAreAskedFor) {
  MED3D_NEEDS_REFERENCE_DATA();
  auto settings = describe_folder(reference_data() / "mmist-ccrcc");
  settings.ct.enabled = settings.mri.enabled = false;
  settings.wsi.slide_kinds = {"DX", "TS", "BS", "MS", "unknown"};
  settings.wsi.sample_kinds = {"tumour", "normal", "unknown"};
  const Cohort cohort = load_cohort(settings, silent_progress(), 2);
  EXPECT_EQ(cohort.modalities[0].items.rows(), 1950U);
  const auto findings = check_cohort(cohort);
  EXPECT_TRUE(has_finding(findings, "frozen_slides"));
  EXPECT_TRUE(has_finding(findings, "normal_slides"));
}

}  // namespace
}  // namespace med3d::pipeline
