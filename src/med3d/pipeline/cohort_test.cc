#include "med3d/pipeline/cohort.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

#include "med3d/pipeline/patient_table.h"
#include "med3d/pipeline/test_support.h"

namespace med3d::pipeline {
namespace {

using testing::has_finding;
using testing::load_error;
using testing::reference_data;
using testing::TempFolder;

// Six patients, three CT items of width 2.
class SmallCohort : public ::testing::Test {
 protected:
  void SetUp() override {
    table =
        "case_id,age,stage,label,months,seen,part\n"
        "P3,50,I,0,30,0,train\n"
        "P1,61,II,1,5,1,train\n"
        "P2,,I,0,24,0,train\n"
        "P4,70,III,1,9,1,test\n"
        "P5,44,-1,,2,0,test\n"
        "P6,39,I,0,12,0,test\n";
    folder.vector("ct/P1.npz", {1, 2});
    folder.vector("ct/P2.npz", {3, 4});
    folder.vector("ct/P6.npz", {5, 6});
    settings.cohort.name = "small";
    settings.endpoint.name = "PFI";
    settings.endpoint.column = "label";
    settings.endpoint.positive_class = "1";
    settings.split.column = "part";
    settings.ct.features = {folder.path() / "ct"};
  }
  void save() { settings.clinical.table = folder.write("t.csv", table); }
  Cohort load(int threads = 1) {
    save();
    return load_cohort(settings, silent_progress(), threads);
  }
  std::string error() {
    save();
    return load_error(settings);
  }
  void replace(const std::string& from, const std::string& to) {
    const auto at = table.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    table.replace(at, from.size(), to);
  }
  static const ItemOutcome* outcome(const Cohort& cohort, const std::string& item) {
    for (const auto& o : cohort.outcomes) {
      if (o.item == item) return &o;
    }
    return nullptr;
  }

  TempFolder folder;
  std::string table;
  CohortSettings settings;
};

TEST_F(SmallCohort, OrdersPatientsAndAlignsEverythingToThem) {
  const Cohort cohort = load();
  EXPECT_EQ(cohort.case_ids, (StringList{"P1", "P2", "P3", "P4", "P6"}));
  EXPECT_EQ(cohort.label, (std::vector<std::uint8_t>{1, 0, 0, 1, 0}));
  EXPECT_EQ(cohort.split, (StringList{"train", "train", "train", "test", "test"}));
  ASSERT_EQ(cohort.columns.size(), 4U);  // age, stage, months, seen: not label and split
  EXPECT_EQ(cohort.columns[0].name, "age");
  EXPECT_EQ(cohort.columns[0].cells, (StringList{"61", "", "50", "70", "39"}));
  ASSERT_EQ(cohort.modalities.size(), 1U);
  const Modality& ct = cohort.modalities[0];
  EXPECT_EQ(ct.item_ids, (StringList{"P1", "P2", "P6"}));
  EXPECT_EQ(ct.patient_of_item, (std::vector<std::size_t>{0, 1, 4}));
  EXPECT_TRUE(ct.has(0));
  EXPECT_FALSE(ct.has(2));
  EXPECT_EQ(cohort.find_modality("ct"), &ct);
  EXPECT_EQ(cohort.find_modality("wsi"), nullptr);
  // P5 has no label: the flow says so.
  ASSERT_EQ(cohort.flow.size(), 4U);
  EXPECT_EQ(cohort.flow[0].n, 6U);
  EXPECT_EQ(cohort.flow[2].n, 5U);
  ASSERT_EQ(cohort.flow[2].excluded.size(), 1U);
  EXPECT_EQ(cohort.flow[2].excluded[0].first, "no value in 'label'");
}

TEST_F(SmallCohort, AveragesThePatientsItems) {
  folder.vector("ct/P1-b.npz", {3, 6});
  settings.ct.case_from = "map";
  settings.ct.map = folder.write("m.csv", "PATIENT,FILENAME\nP1,P1.npz\nP1,P1-b\nP2,P2.npz\n");
  const Cohort cohort = load();
  const Matrix<float> mean = cohort.modalities[0].mean_by_patient();
  EXPECT_EQ(mean(0, 0), 2.0F);  // (1 + 3) / 2
  EXPECT_EQ(mean(0, 1), 4.0F);  // (2 + 6) / 2
  EXPECT_EQ(mean(2, 0), 0.0F);  // no CT
  EXPECT_EQ(outcome(cohort, "P6.npz")->reason, "not in m.csv");
}

TEST_F(SmallCohort, IsTheSameForAnyOrderOfRowsAndThreads) {
  const Cohort first = load(1);
  const Cohort second = load(4);
  EXPECT_EQ(first.sha256, second.sha256);
  EXPECT_EQ(first.sha256.size(), 64U);
  replace("P3,50,I,0,30,0,train\n", "");
  table += "P3,50,I,0,30,0,train\n";
  EXPECT_EQ(load().sha256, first.sha256);
  folder.vector("ct/P6.npz", {5, 7});
  EXPECT_NE(load().sha256, first.sha256);
  folder.vector("ct/P6.npz", {5, 6});
  replace("P3,50", "P3,51");
  EXPECT_NE(load().sha256, first.sha256);
}

TEST_F(SmallCohort, ReducesABagOfPatchesToItsMean) {
  Matrix<float> bag;
  bag.append_row(std::vector<float>{1, 1});
  bag.append_row(std::vector<float>{2, 5});
  write_file_atomic(folder.path() / "ct/P2.npy", npy_bytes(bag));
  std::filesystem::remove(folder.path() / "ct/P2.npz");
  const Cohort cohort = load();
  EXPECT_EQ(cohort.modalities[0].items(1, 0), 1.5F);
  EXPECT_EQ(cohort.modalities[0].items(1, 1), 3.0F);
}

TEST_F(SmallCohort, GoesOnPastEveryBadFile) {
  folder.write("ct/P3.npz", "this is no zip");
  folder.vector("ct/P4.npz", {1, 2, 3});
  folder.vector("ct/P5.npz", {1, 2});
  folder.vector("ct/P9.npz", {1, 2});
  folder.write("ct/.DS_Store", "x");
  folder.write("ct/notes.txt", "x");
  const Cohort cohort = load();
  EXPECT_EQ(cohort.modalities[0].item_ids, (StringList{"P1", "P2", "P6"}));
  EXPECT_EQ(outcome(cohort, "P3.npz")->status, "failed");
  EXPECT_EQ(outcome(cohort, "P4.npz")->reason, "a vector of 3 values, expected 2");
  EXPECT_EQ(outcome(cohort, "P5.npz")->reason, "its patient has no label: no value in 'label'");
  EXPECT_EQ(outcome(cohort, "P9.npz")->reason, "its patient is not in the clinical table");
  EXPECT_EQ(outcome(cohort, "P1.npz")->status, "used");
  EXPECT_EQ(outcome(cohort, ".DS_Store"), nullptr);
  EXPECT_EQ(cohort.outcomes.size(), 8U);
  EXPECT_TRUE(has_finding(cohort.findings, "failed_items", "2 items"));
}

TEST_F(SmallCohort, FailsAnItemThatIsNotFinite) {
  folder.vector("ct/P3.npz", {NAN, 1});
  const Cohort cohort = load();
  EXPECT_EQ(outcome(cohort, "P3.npz")->status, "failed");
}

TEST_F(SmallCohort, ChecksTheWidthThatIsAskedFor) {
  settings.ct.width = 512;
  EXPECT_EQ(error(),
            "data: [ct] no usable item: none of 3: 3 x a vector of 2 values, expected 512");
}

TEST_F(SmallCohort, TakesOneOfTwoFilesOfAnItem) {
  Matrix<float> row;
  row.append_row(std::vector<float>{9, 9});
  write_file_atomic(folder.path() / "ct/P1.npy", npy_bytes(row));
  const Cohort cohort = load();
  EXPECT_EQ(cohort.modalities[0].item_ids.size(), 3U);
  EXPECT_EQ(outcome(cohort, "P1.npz")->reason, "a second file of the item 'P1'");
}

TEST_F(SmallCohort, JoinsItemsWhoseIdIsSpelledDifferently) {
  folder.vector("ct/p4.npz", {7, 8});
  const Cohort cohort = load();
  EXPECT_TRUE(cohort.modalities[0].has(3));
  EXPECT_TRUE(has_finding(cohort.findings, "id_variant", "1 item spells"));
}

TEST_F(SmallCohort, ReadsAWideTable) {
  settings.ct.features = {folder.write("ct.csv", "case_id,f0,f1\nP4,1,2\nP1,3,4\nP8,5,6\n")};
  const Cohort cohort = load();
  EXPECT_EQ(cohort.modalities[0].item_ids, (StringList{"P1", "P4"}));
  EXPECT_EQ(cohort.modalities[0].items(0, 1), 4.0F);
  EXPECT_EQ(outcome(cohort, "P8")->status, "skipped");
}

TEST_F(SmallCohort, TakesTheFolderAsThePatient) {
  folder.vector("scans/P1/1.2.3.npz", {1, 1});
  folder.vector("scans/P4/1.2.3.npz", {2, 2});
  settings.ct.features = {folder.path() / "scans"};
  settings.ct.case_from = "folder";
  const Cohort cohort = load();
  EXPECT_EQ(cohort.modalities[0].item_ids, (StringList{"P1/1.2.3", "P4/1.2.3"}));
  EXPECT_EQ(cohort.modalities[0].patient_of_item, (std::vector<std::size_t>{0, 3}));
}

TEST_F(SmallCohort, KeepsAPatientWithScansOnly) {
  replace("P6,39,I,0,12", "P6,,,0,");
  settings.clinical.columns = {"age", "stage"};
  const Cohort cohort = load();
  EXPECT_FALSE(cohort.has_clinical[4]);
  EXPECT_TRUE(cohort.modalities[0].has(4));
}

TEST_F(SmallCohort, CountsPatientsWithoutAnyModality) {
  replace("P3,50,I,0,30", "P3,,,0,");
  settings.clinical.columns = {"age", "stage"};
  const Cohort cohort = load();
  EXPECT_EQ(cohort.case_ids, (StringList{"P1", "P2", "P4", "P6"}));
  EXPECT_EQ(cohort.modalities[0].patient_of_item, (std::vector<std::size_t>{0, 1, 3}));
  EXPECT_EQ(cohort.flow.back().excluded[0].first, "no modality");
  EXPECT_EQ(cohort.flow.back().excluded[0].second, 1U);
}

TEST_F(SmallCohort, RefusesAModalityWithoutItems) {
  std::filesystem::create_directories(folder.path() / "empty");
  settings.ct.features = {folder.path() / "empty"};
  EXPECT_EQ(error(), "data: [ct] no usable item: there is no file");
  settings.ct.features = {folder.path() / "absent"};
  EXPECT_NE(error().find("not-found: [ct] features"), std::string::npos);
  settings.ct.enabled = false;
  EXPECT_TRUE(load().modalities.empty());
}

TEST_F(SmallCohort, RefusesTwoRowsOfOnePatient) {
  table += "P1,61,II,1,5,1,train\n";
  EXPECT_EQ(error(), "data: t.csv: lines 3 and 8 are the same patient in column 'case_id'");
}

TEST_F(SmallCohort, RefusesOnePatientUnderTwoSpellings) {
  table += "p_1,61,II,1,5,1,train\n";
  replace("P1,", "P-1,");
  EXPECT_EQ(
      error(),
      "data: t.csv: lines 3 and 8 are the same patient under two spellings in column 'case_id'");
}

TEST_F(SmallCohort, RefusesTcgaIdsThatDifferInCaseOnly) {
  replace("P1,", "TCGA-A3-3306,");
  replace("P2,", "tcga-a3-3306,");
  EXPECT_NE(error().find("under two spellings"), std::string::npos);
}

TEST_F(SmallCohort, RefusesARowWithoutAnId) {
  table += " ,61,II,1,5,1,train\n";
  EXPECT_EQ(error(), "data: t.csv: no patient id in column 'case_id' of line 8");
}

TEST_F(SmallCohort, PassesOverBlankRows) {
  table += ",,,,,,\n";
  EXPECT_EQ(load().size(), 5U);
}

TEST_F(SmallCohort, WarnsOfIdsASpreadsheetMangled) {
  table += "05-Jan,61,II,1,5,1,train\n";
  EXPECT_TRUE(has_finding(load().findings, "mangled_id", "1 patient id looks"));
}

TEST_F(SmallCohort, RefusesARaggedTable) {
  table += "P7,61,II\n";
  EXPECT_EQ(error().substr(0, 7), "format:");
}

TEST_F(SmallCohort, RefusesATableWithoutPatientIds) {
  replace("case_id,", "nummer,");
  EXPECT_NE(error().find("not-found: t.csv: no column of patient ids"), std::string::npos);
  settings.clinical.id_column = "numer";
  EXPECT_NE(error().find("did you mean 'nummer'"), std::string::npos);
  settings.clinical.id_column = "nummer";
  EXPECT_EQ(error(), "loaded");
}

TEST_F(SmallCohort, RefusesALabelColumnThatIsNotThere) {
  settings.endpoint.column = "lable";
  EXPECT_EQ(error(), "not-found: [endpoint] column 'lable' is in no table (did you mean 'label'?)");
}

TEST_F(SmallCohort, RefusesAnUnknownPositiveClass) {
  settings.endpoint.positive_class = "yes";
  EXPECT_EQ(error(),
            "data: [endpoint] positive_class 'yes' does not occur in column 'label'; its values "
            "are 0, 1");
}

TEST_F(SmallCohort, RefusesAnEndpointOfOneClass) {
  replace("P1,61,II,1", "P1,61,II,0");
  replace("P4,70,III,1", "P4,70,III,");
  settings.endpoint.positive_class = "0";
  EXPECT_EQ(error(), "data: column 'label' has one class only, '0': nothing can be learnt from it");
}

TEST_F(SmallCohort, RefusesACovariateOfNumbersWithATextAmongThem) {
  replace("P1,61,", "P1,6l,");
  EXPECT_NE(error().find("data: column 'age': '6l', expected a number as in "), std::string::npos)
      << error();
  settings.clinical.categorical = {"age"};
  EXPECT_EQ(error(), "loaded");
  settings.clinical.categorical.clear();
  settings.clinical.missing = {"6l"};
  EXPECT_EQ(error(), "loaded");
}

TEST_F(SmallCohort, RefusesAnEndpointOfThreeClasses) {
  replace("P3,50,I,0", "P3,50,I,2");
  EXPECT_NE(error().find("has 3 classes (0, 1, 2), expected two"), std::string::npos);
  settings.clinical.missing = {"2"};
  EXPECT_EQ(error(), "loaded");
}

TEST_F(SmallCohort, RefusesACohortLeftWithOneClass) {
  // Both events lose their only modality.
  replace("P1,61,II,1", "P1,,,1");
  replace("P4,70,III,1", "P4,,,1");
  settings.clinical.columns = {"age", "stage"};
  std::filesystem::remove(folder.path() / "ct/P1.npz");
  EXPECT_NE(error().find("all 3 usable patients are of one class"), std::string::npos);
}

TEST_F(SmallCohort, DerivesTheLabelAtTheHorizon) {
  settings.endpoint.column.clear();
  settings.endpoint.positive_class.clear();
  settings.endpoint.time_column = "months";
  settings.endpoint.event_column = "seen";
  settings.endpoint.time_unit = "months";
  settings.endpoint.horizon_months = 12;
  const Cohort cohort = load();
  // P1 event at 5, P4 event at 9; P2 24, P3 30 and P6 12 (exactly the horizon) seen free of it;
  // P5 censored at 2: excluded.
  EXPECT_EQ(cohort.case_ids, (StringList{"P1", "P2", "P3", "P4", "P6"}));
  EXPECT_EQ(cohort.label, (std::vector<std::uint8_t>{1, 0, 0, 1, 0}));
  EXPECT_EQ(cohort.event, (std::vector<int>{1, 0, 0, 1, 0}));
  EXPECT_EQ(cohort.time_months[2], 30.0);
  EXPECT_TRUE(cohort.endpoint.is_recurrence);
  EXPECT_EQ(cohort.flow[2].excluded[0].first, "censored before 12 months");
  // An event after the horizon is no event by it.
  settings.endpoint.horizon_months = 6;
  EXPECT_EQ(load().label, (std::vector<std::uint8_t>{1, 0, 0, 0, 0}));
  // Days: 30 days are 30 / 30.4375 months.
  settings.endpoint.time_unit = "days";
  settings.endpoint.horizon_months = 0.2;
  EXPECT_NEAR(load().time_months[2], 0.98562628, 1e-8);
}

TEST_F(SmallCohort, TurnsReversedCensoring) {
  settings.endpoint.time_column = "months";
  settings.endpoint.event_column = "seen";
  settings.endpoint.time_unit = "months";
  settings.endpoint.reversed_censoring = true;
  EXPECT_EQ(load().event, (std::vector<int>{0, 1, 1, 0, 1}));
}

TEST_F(SmallCohort, RefusesOrReportsBadFollowUp) {
  settings.endpoint.time_column = "months";
  settings.endpoint.event_column = "seen";
  settings.endpoint.time_unit = "months";
  settings.endpoint.event_value = "yes";
  EXPECT_NE(error().find("event_value 'yes' does not occur in column 'seen'; its values are 0, 1"),
            std::string::npos);
  settings.endpoint.event_value = "1";
  replace("P3,50,I,0,30", "P3,50,I,0,-30");
  replace("P2,,I,0,24,0", "P2,,I,0,24,");
  const Cohort cohort = load();
  EXPECT_TRUE(has_finding(cohort.findings, "negative_time", "1 patient has"));
  EXPECT_TRUE(has_finding(cohort.findings, "half_follow_up", "1 patient has"));
  EXPECT_TRUE(std::isnan(cohort.time_months[2]));
  EXPECT_EQ(cohort.event[2], -1);
  replace("P1,61,II,1,5", "P1,61,II,1,soon");
  EXPECT_NE(error().find("'soon' is no time"), std::string::npos);
}

TEST_F(SmallCohort, RefusesASplitWithoutTestPatients) {
  settings.split.test = {"holdout"};
  EXPECT_EQ(error(), "data: [split] column 'part' has no test patient; other values: test");
  settings.split.column = "prat";
  EXPECT_NE(error().find("did you mean 'part'"), std::string::npos);
}

TEST_F(SmallCohort, ReportsPatientsInNoSplit) {
  replace("P6,39,I,0,12,0,test", "P6,39,I,0,12,0,maybe");
  const Cohort cohort = load();
  EXPECT_EQ(cohort.split[4], "");
  EXPECT_TRUE(has_finding(cohort.findings, "unknown_split", "'maybe'"));
}

TEST_F(SmallCohort, RefusesTheEndpointAsACovariate) {
  settings.clinical.columns = {"age", "label"};
  EXPECT_NE(error().find("which is the endpoint"), std::string::npos);
  settings.clinical.columns = {"age", "part"};
  EXPECT_NE(error().find("which is the split"), std::string::npos);
  settings.clinical.columns = {"age", "stages"};
  EXPECT_NE(error().find("did you mean 'stage'"), std::string::npos);
}

TEST_F(SmallCohort, LeavesOutcomeColumnsOutUnlessNamed) {
  replace("months,seen", "OS.time,vital_status");
  const Cohort cohort = load();
  EXPECT_EQ(cohort.columns.size(), 2U);
  EXPECT_TRUE(has_finding(cohort.findings, "outcome_columns", "2 columns"));
  settings.clinical.columns = {"age", "OS.time"};
  EXPECT_TRUE(has_finding(load().findings, "outcome_covariate", "'OS.time'"));
}

TEST_F(SmallCohort, JoinsFurtherTables) {
  settings.clinical.joins = {
      folder.write("extra.csv", "patient_id,stage,gene\nP1,IV,1\nP2,I,0\nP9,I,0\n")};
  const Cohort cohort = load();
  // stage differs from the clinical table's: kept under the table's name.
  const Column* joined = nullptr;
  for (const auto& column : cohort.columns) {
    if (column.name == "extra:stage") joined = &column;
  }
  ASSERT_NE(joined, nullptr);
  EXPECT_EQ(joined->cells, (StringList{"IV", "I", "", "", ""}));
  EXPECT_TRUE(has_finding(cohort.findings, "join", "1 patient is not in the clinical table"));
  settings.clinical.joins = {folder.write("extra.csv", "patient_id,gene\nQ1,1\n")};
  EXPECT_NE(error().find("none of its 1 patients is in the clinical table"), std::string::npos);
}

TEST_F(SmallCohort, TakesGenomicColumnsFromTheirOwnTable) {
  settings.clinical.columns = {"age"};
  settings.genomic.table = folder.write("g.csv", "case_id,VHL,PBRM1\nP1,1,0\nP2,0,1\n");
  settings.genomic.drop = {"PBRM1"};
  const Cohort cohort = load();
  ASSERT_EQ(cohort.columns.size(), 2U);
  EXPECT_EQ(cohort.columns[1].name, "VHL");
  EXPECT_EQ(cohort.columns[1].table, "genomic");
}

TEST_F(SmallCohort, RefusesASpreadsheetFile) {
  save();
  settings.clinical.table = folder.write("t.xlsx", "PK");
  EXPECT_NE(load_error(settings).find("unsupported: "), std::string::npos);
}

TEST_F(SmallCohort, FiltersSlidesByKindAndTissue) {
  replace("P1,", "TCGA-A3-3306,");
  const std::string stem = "wsi/TCGA-A3-3306-";
  folder.vector(stem + "01Z-00-DX1.npz", {1, 1, 1});
  folder.vector(stem + "01A-01-TS1.npz", {2, 2, 2});
  folder.vector(stem + "11A-01-TS1.npz", {3, 3, 3});
  folder.vector("wsi/P2.npz", {4, 4, 4});
  settings.wsi.features = {folder.path() / "wsi"};
  Cohort cohort = load();
  EXPECT_EQ(cohort.modalities[1].item_ids, (StringList{"P2", "TCGA-A3-3306-01Z-00-DX1"}));
  EXPECT_EQ(cohort.source[4], "TCGA");
  EXPECT_EQ(cohort.site[4], "A3");
  EXPECT_EQ(outcome(cohort, "TCGA-A3-3306-01A-01-TS1.npz")->reason,
            "slide kind 'TS' is not in slide_kinds");
  EXPECT_EQ(outcome(cohort, "TCGA-A3-3306-11A-01-TS1.npz")->reason,
            "tissue kind 'normal' is not in sample_kinds");
  ASSERT_EQ(cohort.slide_counts.size(), 4U);
  settings.wsi.slide_kinds = {"DX", "TS", "unknown"};
  cohort = load();
  EXPECT_EQ(cohort.modalities[1].item_ids.size(), 3U);
}

TEST(ItemNames, LoseOnlyTheExtension) {
  EXPECT_EQ(io_stem("TCGA-A3-3306-01Z-00-DX1.9674290b.svs"), "TCGA-A3-3306-01Z-00-DX1.9674290b");
  EXPECT_EQ(io_stem("1.2.840.npy"), "1.2.840");
  EXPECT_EQ(io_stem("1.2.840"), "1.2.840");
  EXPECT_EQ(io_stem(".npy"), ".npy");
}

TEST(MissingCells, AreRecognisedAsTablesWriteThem) {
  for (const char* cell :
       {"", " ", "NA", "n/a", "NaN", "[Not Available]", "'--", "Unknown", "#N/A"}) {
    EXPECT_TRUE(is_missing_cell(cell)) << cell;
  }
  for (const char* cell : {"0", "-1", "no", "G1"}) EXPECT_FALSE(is_missing_cell(cell)) << cell;
}

// Formats of others, each with the trap it is known for.
TEST(PatientTables, AreRecognisedByTheirHeaders) {
  TempFolder folder;
  const auto format_of = [&](const std::string& text) {
    return read_patient_table(folder.write("t.csv", text), "auto", "").format;
  };
  EXPECT_EQ(format_of("case_id,vital_status_12,Split\nA,1,train\n"), "mmist");
  EXPECT_EQ(format_of("PATIENT,ISUP\nA,1\n"), "stamp");
  EXPECT_EQ(format_of("case_id,slide_id,survival_months,censorship\nA,a.svs,1,0\n"), "porpoise");
  EXPECT_EQ(format_of("bcr_patient_barcode,OS\nA,1\n"), "tcga-cdr");
  EXPECT_EQ(format_of("Study ID,Patient ID\nx,A\n"), "cbioportal");
  EXPECT_EQ(format_of("case_id,case_submitter_id\nuuid,A\n"), "gdc");
  EXPECT_EQ(format_of("Patient ID,x\nA,1\n"), "plain");
}

TEST(PatientTables, OfGdcMergeRowsAndDropWhatDiffers) {
  TempFolder folder;
  const auto table = read_patient_table(
      folder.write("clinical.tsv",
                   "case_id\tcase_submitter_id\tgender\ttreatment_type\n"
                   "u1\tA\tmale\tdrug\nu1\tA\tmale\tradiation\nu2\tB\tfemale\tdrug\n"),
      "auto",
      "");
  EXPECT_EQ(table.ids, (StringList{"A", "B"}));
  EXPECT_EQ(table.header, (StringList{"case_id", "gender"}));
  EXPECT_EQ(table.row_count, 3U);
  ASSERT_EQ(table.dropped.size(), 1U);
  EXPECT_EQ(table.dropped[0].first, "treatment_type");
}

TEST(PatientTables, OfCbioportalMaySkipTheirCommentLines) {
  TempFolder folder;
  const auto table = read_patient_table(
      folder.write("data_clinical_patient.txt",
                   "#Patient\tStatus\n#d\td\n#STRING\tSTRING\n#1\t1\n"
                   "PATIENT_ID\tDFS_STATUS\nTCGA-A3-3306\t1:Recurred/Progressed\n"),
      "auto",
      "");
  EXPECT_EQ(table.format, "cbioportal");
  EXPECT_EQ(table.ids, StringList{"TCGA-A3-3306"});
}

// ---- The real cohort ----

TEST(RealCohort, HasTheCountsOfItsTable) {
  MED3D_NEEDS_REFERENCE_DATA();
  const auto settings = describe_folder(reference_data() / "mmist-ccrcc");
  const auto start = std::chrono::steady_clock::now();
  const Cohort cohort = load_cohort(settings, silent_progress(), 2);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  RecordProperty("seconds", std::to_string(took.count()));
  EXPECT_EQ(cohort.size(), 497U);
  std::map<std::string, int> patients, dead;
  for (std::size_t p = 0; p < cohort.size(); ++p) {
    ++patients[cohort.split[p]];
    dead[cohort.split[p]] += cohort.label[p];
  }
  EXPECT_EQ(patients["train"], 398);
  EXPECT_EQ(patients["test"], 99);
  EXPECT_EQ(dead["train"], 47);  // vital_status_12 = 0
  EXPECT_EQ(dead["test"], 12);
  EXPECT_EQ(cohort.columns.size(), 17U);  // 20 less case_id, Split and the label
  EXPECT_FALSE(cohort.synthetic);
  EXPECT_FALSE(cohort.endpoint.is_recurrence);
  EXPECT_TRUE(cohort.endpoint.is_vital_status);
  std::map<std::string, int> items;
  for (const auto& outcome : cohort.outcomes) ++items[outcome.kind + " " + outcome.status];
  EXPECT_EQ(items["ct used"], 552);
  EXPECT_EQ(items["mri used"], 361);
  EXPECT_EQ(items["ct failed"] + items["mri failed"] + items["wsi failed"], 0);
  EXPECT_EQ(items["wsi used"] + items["wsi skipped"], 1950);
  std::size_t dx = 0, unknown = 0, found = 0, normal = 0;
  for (const auto& count : cohort.slide_counts) {
    found += count.found;
    if (count.slide == SlideKind::kDiagnostic) dx += count.used;
    if (count.slide == SlideKind::kUnknown) unknown += count.used;
    if (count.sample == SampleKind::kNormal) normal += count.used;
  }
  EXPECT_EQ(found, 1950U);
  EXPECT_EQ(unknown, 575U);  // CPTAC
  EXPECT_EQ(normal, 0U);
  EXPECT_EQ(items["wsi used"], static_cast<int>(dx + unknown));
  EXPECT_EQ(cohort.find_modality("ct")->width, 512U);
  EXPECT_EQ(cohort.find_modality("wsi")->width, 1024U);
  std::size_t with_ct = 0, with_mri = 0;
  for (std::size_t p = 0; p < cohort.size(); ++p) {
    if (cohort.find_modality("ct")->has(p)) ++with_ct;
    if (cohort.find_modality("mri")->has(p)) ++with_mri;
  }
  EXPECT_EQ(with_ct, 181U);
  EXPECT_EQ(with_mri, 37U);
  EXPECT_EQ(cohort.sha256, load_cohort(settings, silent_progress(), 1).sha256);
}

TEST(RealCohort, CountsItemsOfPatientsOutsideTheTable) {
  MED3D_NEEDS_REFERENCE_DATA();
  auto settings = describe_folder(reference_data() / "mmist-ccrcc");
  // The same table without its first patient, who has two slides.
  TempFolder folder;
  std::string text = read_file(settings.clinical.table, 1 << 20);
  const auto first = text.find('\n') + 1;
  text.erase(first, text.find('\n', first) + 1 - first);
  settings.clinical.table = folder.write("clinical+genomic_split.csv", text);
  settings.ct.enabled = settings.mri.enabled = false;
  const Cohort cohort = load_cohort(settings, silent_progress(), 2);
  EXPECT_EQ(cohort.size(), 496U);
  int strangers = 0;
  for (const auto& outcome : cohort.outcomes) {
    if (outcome.reason == "its patient is not in the clinical table") ++strangers;
  }
  EXPECT_EQ(strangers, 2);
}

TEST(RealCohort, DerivesProgressionFromTheJoinedEndpoints) {
  MED3D_NEEDS_REFERENCE_DATA();
  auto settings = describe_folder(reference_data() / "mmist-ccrcc");
  settings.clinical.joins = {reference_data() / "clinical" / "cohort_endpoints.csv"};
  settings.endpoint = {};
  settings.endpoint.name = "PFI";
  settings.endpoint.time_column = "PFI_days";
  settings.endpoint.event_column = "PFI";
  settings.endpoint.time_unit = "days";
  settings.endpoint.horizon_months = 24;
  settings.clinical.drop = {"vital_status_12"};
  settings.ct.enabled = settings.mri.enabled = settings.wsi.enabled = false;
  const Cohort cohort = load_cohort(settings, silent_progress(), 2);
  EXPECT_TRUE(cohort.endpoint.is_recurrence);
  // Also with pandas: 95 events within 24 months of 365.25 / 12 days, 69 censored before.
  EXPECT_EQ(cohort.size(), 497U - 72U - 69U);
  EXPECT_EQ(std::count(cohort.label.begin(), cohort.label.end(), 1), 95);
  for (const auto& column : cohort.columns) EXPECT_FALSE(looks_like_outcome(column.name));
  // 67 of the 497 have no PFI, one more no PFI_days, four a negative one (counted with pandas).
  EXPECT_EQ(cohort.flow[2].excluded.size(), 2U);
  std::map<std::string, std::size_t> excluded(cohort.flow[2].excluded.begin(),
                                              cohort.flow[2].excluded.end());
  EXPECT_EQ(excluded["censored before 24 months"], 69U);
  EXPECT_EQ(excluded["no follow-up time or event"], 72U);
}

TEST(RealCohort, ReadsPorpoiseWithItsReversedCensoring) {
  MED3D_NEEDS_REFERENCE_DATA();
  CohortSettings settings;
  settings.clinical.table = reference_data() / "clinical" / "porpoise_tcga_kirc.csv";
  settings.endpoint.name = "OS";
  settings.endpoint.time_column = "survival_months";
  settings.endpoint.event_column = "censorship";
  settings.endpoint.reversed_censoring = true;
  settings.endpoint.time_unit = "months";
  settings.endpoint.horizon_months = 36;
  const Cohort cohort = load_cohort(settings, silent_progress(), 1);
  EXPECT_GT(cohort.size(), 100U);
  EXPECT_GT(cohort.columns.size(), 1000U);
  // The first row: TCGA-A3-3311, 39.13 months, censorship 0 = event.
  for (std::size_t p = 0; p < cohort.size(); ++p) {
    if (cohort.case_ids[p] != "TCGA-A3-3311") continue;
    EXPECT_EQ(cohort.event[p], 1);
    EXPECT_DOUBLE_EQ(cohort.time_months[p], 39.13);
  }
}

TEST(RealCohort, ReadsCbioportalStatusAsText) {
  MED3D_NEEDS_REFERENCE_DATA();
  CohortSettings settings;
  settings.clinical.table =
      reference_data() / "clinical" / "cbioportal_kirc_tcga_clinical_data.tsv";
  settings.endpoint.name = "DFS";
  settings.endpoint.time_column = "Disease Free (Months)";
  settings.endpoint.event_column = "Disease Free Status";
  settings.endpoint.event_value = "Recurred/Progressed";
  settings.endpoint.time_unit = "months";
  settings.endpoint.horizon_months = 24;
  const Cohort cohort = load_cohort(settings, silent_progress(), 1);
  EXPECT_TRUE(cohort.endpoint.is_recurrence);
  EXPECT_GT(cohort.size(), 100U);
  for (const auto& column : cohort.columns) {
    EXPECT_NE(column.name, "Overall Survival (Months)");
    EXPECT_NE(column.name, "Other Patient ID");
  }
}

}  // namespace
}  // namespace med3d::pipeline
