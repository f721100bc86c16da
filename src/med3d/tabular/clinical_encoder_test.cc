#include "med3d/tabular/clinical_encoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/tabular/test_reference.h"

namespace med3d::tabular {
namespace {

using Names = std::vector<std::string>;

RawTable table_of(std::initializer_list<RawColumn> columns) { return RawTable(columns); }

bool has_finding(const ClinicalEncoder& encoder,
                 const std::string& kind,
                 const std::string& column) {
  const auto& findings = encoder.findings();
  return std::any_of(findings.begin(), findings.end(), [&](const Finding& finding) {
    return finding.kind == kind && finding.column == column;
  });
}

std::vector<double> feature(const ClinicalEncoder& encoder,
                            const RawTable& table,
                            const std::string& name) {
  const auto& names = encoder.feature_names();
  const auto found = std::find(names.begin(), names.end(), name);
  EXPECT_NE(found, names.end()) << name;
  if (found == names.end()) return {};
  const Matrix<double> x = encoder.transform(table);
  std::vector<double> out;
  for (std::size_t i = 0; i < x.rows(); ++i) {
    out.push_back(x(i, static_cast<std::size_t>(found - names.begin())));
  }
  return out;
}

// age 20, 40, missing, 60: median 40, so (x - 20) / 40 = 0, 0.5, 0.5, 1.
// sex F, M, M, missing: mode M; "F" is the first level and has no indicator.
// Stage I, III, III, missing: 1, 3, 3, mode 3; (x - 1) / 2.
TEST(ClinicalEncoder, MatchesHandEncodedTable) {
  const RawTable training = table_of({{"age", {"20", " 40.0", "", "60"}},
                                      {"sex", {"F", "M", "M", "NA"}},
                                      {"stage", {"Stage I", "Stage III", "stage iii", "Stage X"}}});
  const auto encoder = ClinicalEncoder::fit(training);
  EXPECT_EQ(encoder.feature_names(),
            (Names{"age", "sex=M", "stage", "missing(age)", "missing(sex,stage)"}));
  const Matrix<double> x = encoder.transform(training);
  const std::vector<std::vector<double>> expected = {{0.0, 0.0, 0.0, 0.0, 0.0},
                                                     {0.5, 1.0, 1.0, 0.0, 0.0},
                                                     {0.5, 1.0, 1.0, 1.0, 0.0},
                                                     {1.0, 1.0, 1.0, 0.0, 1.0}};
  ASSERT_EQ(x.rows(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(std::vector<double>(x.row(i).begin(), x.row(i).end()), expected[i]) << i;
  }
  EXPECT_TRUE(has_finding(encoder, "merged", "missing(sex,stage)"));
  EXPECT_TRUE(has_finding(encoder, "imputed", "age"));
  EXPECT_EQ(encoder.indicator_features(), (std::vector<bool>{false, true, false, true, true}));
}

TEST(ClinicalEncoder, IsFittedOnTrainingOnly) {
  const RawTable training = table_of({{"age", {"20", "40"}}, {"sex", {"F", "M"}}});
  const auto encoder = ClinicalEncoder::fit(training);
  const RawTable other =
      table_of({{"extra", {"x", "y", "z"}}, {"sex", {"M", "D", ""}}, {"age", {"80", "0", ""}}});
  std::vector<std::string> warnings;
  const Matrix<double> x = encoder.transform(other, &warnings);
  EXPECT_EQ(x(0, 0), 3.0);  // (80 - 20) / 20: outside [0, 1] on purpose
  EXPECT_EQ(x(1, 0), -1.0);
  EXPECT_EQ(x(2, 0), 0.5);  // training median 30
  EXPECT_EQ(x(0, 1), 1.0);
  EXPECT_EQ(x(1, 1), 0.0);  // "D" was never seen
  EXPECT_EQ(x(2, 1), 0.0);  // F and M are equally common: F
  ASSERT_EQ(warnings.size(), 3U);
  EXPECT_NE(warnings[0].find("column 'age': 1 missing cell filled in"), std::string::npos);
  EXPECT_NE(warnings[1].find("('D'), all its indicators set to 0"), std::string::npos);
  EXPECT_EQ(encoder.transform(table_of({{"age", {}}, {"sex", {}}})).rows(), 0U);
}

TEST(ClinicalEncoder, DropsColumnsThatCarryNothingAndSaysWhy) {
  RawTable training = table_of({{"history", {"1", "", "1.0", "1"}},
                                {"site", {"Lisbon", "Lisbon", "Lisbon", "Lisbon"}},
                                {"empty", {"", "NA", "-1", "unknown"}},
                                {"sparse", {"1", "", "", "2"}},
                                {"age", {"1", "2", "3", "4"}}});
  EncoderOptions options;
  options.max_missing = 0.4;
  const auto encoder = ClinicalEncoder::fit(training, options);
  EXPECT_EQ(encoder.feature_names(), (Names{"age", "missing(history)"}));
  EXPECT_TRUE(has_finding(encoder, "constant", "history"));
  EXPECT_TRUE(has_finding(encoder, "constant", "site"));
  EXPECT_TRUE(has_finding(encoder, "all-missing", "empty"));
  EXPECT_TRUE(has_finding(encoder, "too-many-missing", "sparse"));
  EXPECT_EQ(feature(encoder, training, "missing(history)"), (std::vector<double>{0, 1, 0, 0}));

  RawTable with_id = table_of({{"case_id", {}}, {"age", {}}});
  for (int i = 0; i < 20; ++i) {
    with_id[0].cells.push_back("case-" + std::to_string(i));
    with_id[1].cells.push_back(std::to_string(i));
  }
  EXPECT_TRUE(has_finding(ClinicalEncoder::fit(with_id), "identifier", "case_id"));
  EncoderOptions keep;
  keep.categorical = {"case_id"};
  EXPECT_EQ(ClinicalEncoder::fit(with_id, keep).feature_names().size(), 20U);
}

TEST(ClinicalEncoder, KnowsTheMissingWordsInAnyCase) {
  const RawTable training = table_of(
      {{"x",
        {"1", "2", "-1", "-1.00", " -1e0 ", "Not Reported", "'--", "NaN", "inf", "[unknown]"}}});
  const auto encoder = ClinicalEncoder::fit(training);
  EXPECT_EQ(feature(encoder, training, "missing(x)"),
            (std::vector<double>{0, 0, 1, 1, 1, 1, 1, 1, 1, 1}));
  EncoderOptions options;
  options.missing = {""};
  const RawTable numbers = table_of({{"x", {"1", "-1", ""}}});
  EXPECT_EQ(feature(ClinicalEncoder::fit(numbers, options), numbers, "x"),
            (std::vector<double>{1.0, 0.0, 0.5}));
}

TEST(ClinicalEncoder, OrdersStageWords) {
  EncoderOptions options;
  options.min_max = false;
  const auto values = [&](std::vector<std::string> cells) {
    const RawTable table = {{"s", std::move(cells)}};
    return feature(ClinicalEncoder::fit(table, options), table, "s");
  };
  EXPECT_EQ(values({"Stage I", "II", "iiib", "stage 4", "STAGE IV"}),
            (std::vector<double>{1, 2, 3.5, 4, 4}));
  EXPECT_EQ(values({"T1", "T1a", "pT1b", "T3c", "ypT4", "Tis", "T0"}),
            (std::vector<double>{1, 1.25, 1.5, 3.75, 4, 0.5, 0}));
  EXPECT_EQ(values({"N0", "N1", "N2", "pN3"}), (std::vector<double>{0, 1, 2, 3}));
  EXPECT_EQ(values({"M0", "cM0 (i+)", "M1", "M1a"}), (std::vector<double>{0, 0, 1, 1.25}));
  EXPECT_EQ(values({"G1", "g2", "G4", "GX", "G2"}), (std::vector<double>{1, 2, 4, 2, 2}));
  // One word of another kind makes the column nominal.
  const RawTable mixed = {{"s", {"T1", "T2", "big"}}};
  EXPECT_EQ(ClinicalEncoder::fit(mixed).feature_names(), (Names{"s=T2", "s=big"}));
  const auto encoder = ClinicalEncoder::fit({{"s", {"T1", "T2"}}});
  expect_error(ErrorKind::kData, "row 2, column 's': 'T9', expected a T word", [&] {
    encoder.transform({{"s", {"T1", "T9"}}});
  });
}

TEST(ClinicalEncoder, KeepsNumbersOfAnOrdinalColumn) {
  EncoderOptions options;
  options.min_max = false;
  options.ordinal["grade"] = {"low", "medium", "high"};
  const RawTable training = {{"grade", {"LOW", "medium", "high", "5", "", "medium"}}};
  const auto encoder = ClinicalEncoder::fit(training, options);
  EXPECT_EQ(feature(encoder, training, "grade"), (std::vector<double>{0, 1, 2, 5, 1, 1}));
  expect_error(ErrorKind::kData, "row 1, column 'grade': 'hihg'", [&] {
    encoder.transform({{"grade", {"hihg"}}});
  });
  expect_error(ErrorKind::kData, "did you mean 'medium'", [&] {
    ClinicalEncoder::fit({{"grade", {"low", "mediun"}}}, options);
  });
}

TEST(ClinicalEncoder, TreatsDeclaredNumbersAsLevels) {
  EncoderOptions options;
  options.categorical = {"race"};
  options.drop_first = false;
  const RawTable training = {{"race", {"10", "2", "2.0", "1"}}};
  const auto encoder = ClinicalEncoder::fit(training, options);
  EXPECT_EQ(encoder.feature_names(), (Names{"race=1", "race=2", "race=10"}));
  EXPECT_EQ(feature(encoder, training, "race=2"), (std::vector<double>{0, 1, 1, 0}));
}

TEST(ClinicalEncoder, RefusesBadCellsByRowAndColumn) {
  expect_error(ErrorKind::kData, "row 3, column 'age': '6O', expected a number as in 3 of 4", [] {
    ClinicalEncoder::fit({{"age", {"50", "40", "6O", "30"}}});
  });
  expect_error(ErrorKind::kData, "row 2, column 'age': 1e308 is out of range", [] {
    ClinicalEncoder::fit({{"age", {"1", "1e308", "2"}}});
  });
  expect_error(ErrorKind::kData, "row 2, column 'age': 1e400 is out of range", [] {
    ClinicalEncoder::fit({{"age", {"1", "1e400", "2"}}});
  });
  const auto encoder = ClinicalEncoder::fit({{"age", {"1", "2"}}, {"sex", {"F", "M"}}});
  expect_error(ErrorKind::kData, "row 2, column 'age': 'old', expected a number", [&] {
    encoder.transform({{"age", {"1", "old"}}, {"sex", {"F", "F"}}});
  });
  expect_error(ErrorKind::kNotFound,
               "no column 'age', which the model was trained with (did you "
               "mean 'Age'?)",
               [&] {
                 encoder.transform({{"Age", {"1"}}, {"sex", {"F"}}});
               });
  const auto narrow = ClinicalEncoder::fit({{"x", {"1e-20", "2e-20"}}});
  expect_error(ErrorKind::kData, "too far from the training range", [&] {
    narrow.transform({{"x", {"1e20"}}});
  });
}

TEST(ClinicalEncoder, RefusesTablesAndOptionsThatMakeNoSense) {
  expect_error(ErrorKind::kData, "two columns are called 'a'", [] {
    ClinicalEncoder::fit({{"a", {"1"}}, {"a", {"2"}}});
  });
  expect_error(ErrorKind::kData, "column 'b' has 1 row, expected 2 as in 'a'", [] {
    ClinicalEncoder::fit({{"a", {"1", "2"}}, {"b", {"2"}}});
  });
  expect_error(ErrorKind::kData, "no rows", [] { ClinicalEncoder::fit({}); });
  expect_error(ErrorKind::kData, "no column is left", [] {
    ClinicalEncoder::fit({{"a", {"1", "1"}}});
  });
  expect_error(ErrorKind::kData, "two features would be called 'a=y'", [] {
    ClinicalEncoder::fit({{"a", {"x", "y"}}, {"a=y", {"1", "2"}}});
  });
  const RawTable table = {{"gender", {"F", "M"}}};
  EncoderOptions options;
  options.drop = {"gendr"};
  expect_error(ErrorKind::kUsage,
               "'drop' names column 'gendr', which is not in the table (did you",
               [&] { ClinicalEncoder::fit(table, options); });
  options = {};
  options.max_missing = 2.0;
  expect_error(
      ErrorKind::kUsage, "max_missing is 2", [&] { ClinicalEncoder::fit(table, options); });
  options = {};
  options.ordinal["gender"] = {"F", "f"};
  expect_error(ErrorKind::kUsage, "lists 'f' twice", [&] { ClinicalEncoder::fit(table, options); });
  options.ordinal["gender"] = {"F", "M"};
  options.categorical = {"gender"};
  expect_error(ErrorKind::kUsage, "both ordinal and categorical", [&] {
    ClinicalEncoder::fit(table, options);
  });
}

TEST(ClinicalEncoder, ReadsBackTheSameEncoder) {
  EncoderOptions options;
  options.ordinal["grade"] = {"low", "high"};
  const RawTable training = {{"age", {"20", "", "60", "33.3"}},
                             {"grade", {"low", "high", "", "low"}},
                             {"stage", {"I", "II", "", "IV"}},
                             {"race", {"White", "Asian", "White", "other"}}};
  const auto encoder = ClinicalEncoder::fit(training, options);
  const std::string bytes = dump_json(encoder.to_json());
  const auto again = ClinicalEncoder::from_json(parse_json(bytes, "test"));
  EXPECT_EQ(dump_json(again.to_json()), bytes);
  EXPECT_EQ(again.transform(training), encoder.transform(training));
  EXPECT_EQ(again.feature_names(), encoder.feature_names());
  EXPECT_EQ(again.findings().size(), encoder.findings().size());
}

TEST(ClinicalEncoder, RefusesABrokenStoredEncoder) {
  const RawTable training = {{"age", {"20", "", "60"}}, {"race", {"White", "Asian", "White"}}};
  const Json stored = ClinicalEncoder::fit(training).to_json();
  const auto with = [&](const auto& change) {
    Json copy = stored;
    change(copy);
    ClinicalEncoder::from_json(copy);
  };
  with([](Json&) {});
  expect_error(ErrorKind::kFormat, "no 'encoder'", [] { ClinicalEncoder::from_json(Json()); });
  expect_error(ErrorKind::kFormat, "'encoder' is not", [&] {
    with([](Json& json) { json["encoder"] = "x"; });
  });
  expect_error(ErrorKind::kFormat, "'columns' is not a list", [&] {
    with([](Json& json) { json["columns"] = 3; });
  });
  expect_error(ErrorKind::kFormat, "unknown kind 'odd'", [&] {
    with([](Json& json) { json["columns"][0]["kind"] = "odd"; });
  });
  expect_error(ErrorKind::kFormat, "'fill' is not one of its levels", [&] {
    with([](Json& json) { json["columns"][1]["fill"] = 7; });
  });
  expect_error(ErrorKind::kFormat, "'min' must be below 'max'", [&] {
    with([](Json& json) { json["columns"][0]["max"] = 20; });
  });
  expect_error(ErrorKind::kFormat, "an indicator names a column that is not there", [&] {
    with([](Json& json) { json["indicators"][0][0] = 9; });
  });
  expect_error(ErrorKind::kFormat, "do not follow from the columns", [&] {
    with([](Json& json) { json["feature_names"].push_back("z"); });
  });
}

// The numeric part of the mixed table of reference/preprocess: median, then min-max, both fitted on
// training; the column 'const' is dropped.
TEST(ClinicalEncoder, EqualsScikitLearnOnTheMixedTable) {
  const auto root = test_data("reference/preprocess");
  MED3D_NEEDS_REFERENCE(root);
  const RawTable train = read_plain_csv(root / "train.csv");
  const RawTable test = read_plain_csv(root / "test.csv");
  EncoderOptions options;
  options.drop = {"grade", "stage", "sex", "side"};
  const auto encoder = ClinicalEncoder::fit(train, options);
  EXPECT_TRUE(has_finding(encoder, "constant", "const"));
  for (const bool training : {true, false}) {
    const Matrix<double> expected =
        read_npy(root / (training ? "minmax_train.npy" : "minmax_test.npy"));
    std::size_t column = 0;
    for (const char* name : {"age", "size_cm", "hgb"}) {
      const auto found = feature(encoder, training ? train : test, name);
      ASSERT_EQ(found.size(), expected.rows());
      for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_NEAR(found[i], expected(i, column), 1e-12) << name << " row " << i;
      }
      column += column == 1 ? 2 : 1;  // 'const' lies between
    }
  }
}

// The table the paper used: no identifier or label may leak in, -1 is missing, cancer_history is
// constant where present and becomes an indicator.
TEST(ClinicalEncoder, EncodesTheMmistTable) {
  const auto file = test_data("mmist-ccrcc/clinical+genomic_split.csv");
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "MMIST TABLE NOT FOUND: " << file.string();
  const RawTable table = read_plain_csv(file);
  EncoderOptions options;
  options.drop = {"case_id", "vital_status_12", "Split"};
  const auto encoder = ClinicalEncoder::fit(table, options);
  const Matrix<double> x = encoder.transform(table);
  EXPECT_EQ(x.rows(), 497U);
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_GE(x.data()[i], 0.0);
    ASSERT_LE(x.data()[i], 1.0);
  }
  EXPECT_TRUE(has_finding(encoder, "constant", "cancer_history"));
  const auto& names = encoder.feature_names();
  EXPECT_EQ(std::count(names.begin(), names.end(), "missing(cancer_history)"), 1);
  EXPECT_EQ(std::count(names.begin(), names.end(), "cancer_history"), 0);
  EXPECT_EQ(std::count(names.begin(), names.end(), "vital_status_12"), 0);
}

// "t" is of stage words but for one cell, "grade" is declared, "age" is numbers.
TEST(ClinicalEncoder, TellsWhichColumnsOfAWholeTableAreText) {
  EncoderOptions options;
  options.categorical = {"grade"};
  EXPECT_EQ(ClinicalEncoder::text_columns({{"age", {"50", "60", ""}},
                                           {"t", {"T1", "T2", "T1/T2"}},
                                           {"n", {"N0", "N1", "NX"}},
                                           {"grade", {"low", "high", "low"}}},
                                          options),
            (std::vector<std::string>{"t"}));
  EXPECT_THROW(ClinicalEncoder::text_columns({{"age", {"50", "60", "old"}}}), Error);
}

}  // namespace
}  // namespace med3d::tabular
