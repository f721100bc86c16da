#include "med3d/tabular/clinical_scores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "med3d/core/error.h"

namespace med3d::tabular {
namespace {

const ClinicalScore& score(const std::string& id) {
  for (const auto& one : clinical_scores()) {
    if (one.id == id) return one;
  }
  throw Error(ErrorKind::kNotFound, "no score " + id);
}

// T1a N0 M0, 3 cm, grade 1, no necrosis, ECOG 0: nothing in any table.
TumourFacts harmless() {
  TumourFacts facts;
  facts.t = {0};
  facts.n = facts.m = 0;
  facts.size_cm = 3.0;
  facts.grade = 1;
  facts.necrosis = facts.sarcomatoid = facts.ecog = 0;
  return facts;
}

double exact(const std::string& id, const TumourFacts& facts) {
  const auto bounds = score_bounds(score(id), facts);
  EXPECT_TRUE(bounds.exact());
  EXPECT_TRUE(bounds.open.empty());
  return bounds.lowest;
}

TumourFacts read_one(const std::vector<std::string>& columns,
                     const std::vector<std::string>& cells,
                     std::vector<ScoreItem>* unread = nullptr) {
  return FactReader(columns).read(cells, unread);
}

TEST(ClinicalScores, FileGivesEachScoreASourceAndAMark) {
  ASSERT_EQ(clinical_scores().size(), 6U);
  for (const auto& one : clinical_scores()) {
    EXPECT_FALSE(one.source.empty()) << one.id;
    EXPECT_FALSE(one.checked) << one.id << ": say in docs/scores.md how it was checked";
    EXPECT_EQ(one.mark(), "point table not checked against its source");
  }
}

// Each category with everything else at 0 points.
TEST(ClinicalScores, SsignGivesEveryRowItsPoints) {
  for (const auto& [id, t4] : std::map<std::string, double>{{"ssign", 0}, {"ssign_pt4_4", 4}}) {
    const std::vector<double> of_t = {0, 0, 1, 1, 2, 2, 2, t4};
    for (int t = 0; t < 8; ++t) {
      TumourFacts facts = harmless();
      facts.t = {t};
      EXPECT_EQ(exact(id, facts), of_t[static_cast<std::size_t>(t)]) << id << " t " << t;
    }
    const auto with = [&](auto change) {
      TumourFacts facts = harmless();
      change(facts);
      return exact(id, facts);
    };
    EXPECT_EQ(with([](auto& f) { f.n = 1; }), 2.0);
    EXPECT_EQ(with([](auto& f) { f.n = 2; }), 2.0);
    EXPECT_EQ(with([](auto& f) { f.m = 1; }), 4.0);
    EXPECT_EQ(with([](auto& f) { f.size_cm = 4.9; }), 0.0);
    EXPECT_EQ(with([](auto& f) { f.size_cm = 5.0; }), 2.0);
    EXPECT_EQ(with([](auto& f) { f.grade = 2; }), 0.0);
    EXPECT_EQ(with([](auto& f) { f.grade = 3; }), 1.0);
    EXPECT_EQ(with([](auto& f) { f.grade = 4; }), 3.0);
    EXPECT_EQ(with([](auto& f) { f.necrosis = 1; }), 2.0);
  }
  // 2 + 2 + 4 + 2 + 3 + 2 = 15; with pT4 as 4 points 17, the total of the second source.
  TumourFacts worst = harmless();
  worst.t = {6};
  worst.n = worst.m = worst.necrosis = 1;
  worst.size_cm = 12.0;
  worst.grade = 4;
  EXPECT_EQ(exact("ssign", worst), 15.0);
  worst.t = {7};
  EXPECT_EQ(exact("ssign", worst), 13.0);
  EXPECT_EQ(exact("ssign_pt4_4", worst), 17.0);
}

TEST(ClinicalScores, SsignGroupsMeetWithoutGaps) {
  const auto& ssign = score("ssign");
  const std::vector<std::string> expected = {"0 to 2",
                                             "0 to 2",
                                             "0 to 2",
                                             "3 to 4",
                                             "3 to 4",
                                             "5 to 6",
                                             "5 to 6",
                                             "7 to 9",
                                             "7 to 9",
                                             "7 to 9",
                                             "10 or more",
                                             "10 or more"};
  for (std::size_t points = 0; points < expected.size(); ++points) {
    EXPECT_EQ(ssign.group_of(static_cast<double>(points)), expected[points]) << points;
  }
  EXPECT_EQ(ssign.group_of(-1.0), "");
}

TEST(ClinicalScores, LeibovichGivesEveryRowItsPoints) {
  const std::vector<double> of_t = {0, 2, 3, 3, 4, 4, 4, 4};
  for (int t = 0; t < 8; ++t) {
    TumourFacts facts = harmless();
    facts.t = {t};
    EXPECT_EQ(exact("leibovich_2003", facts), of_t[static_cast<std::size_t>(t)]) << t;
  }
  const auto with = [&](auto change) {
    TumourFacts facts = harmless();
    change(facts);
    return exact("leibovich_2003", facts);
  };
  EXPECT_EQ(with([](auto& f) { f.n = 1; }), 2.0);
  EXPECT_EQ(with([](auto& f) { f.n = 2; }), 2.0);
  EXPECT_EQ(with([](auto& f) { f.size_cm = 9.9; }), 0.0);
  EXPECT_EQ(with([](auto& f) { f.size_cm = 10.0; }), 1.0);
  EXPECT_EQ(with([](auto& f) { f.grade = 2; }), 0.0);
  EXPECT_EQ(with([](auto& f) { f.grade = 3; }), 1.0);
  EXPECT_EQ(with([](auto& f) { f.grade = 4; }), 3.0);
  EXPECT_EQ(with([](auto& f) { f.necrosis = 1; }), 1.0);
  // 4 + 2 + 1 + 3 + 1 = 11, the top of the published range.
  TumourFacts worst = harmless();
  worst.t = {7};
  worst.n = worst.necrosis = 1;
  worst.size_cm = 12.0;
  worst.grade = 4;
  EXPECT_EQ(exact("leibovich_2003", worst), 11.0);
  const auto& leibovich = score("leibovich_2003");
  EXPECT_EQ(leibovich.group_of(2), "low");
  EXPECT_EQ(leibovich.group_of(3), "intermediate");
  EXPECT_EQ(leibovich.group_of(5), "intermediate");
  EXPECT_EQ(leibovich.group_of(6), "high");
  EXPECT_EQ(leibovich.group_of(11), "high");
}

// low: T1, grade 1 or 2, ECOG 0; high: T4, or T3 with grade 2 to 4 and ECOG 1; else intermediate.
TEST(ClinicalScores, UissGivesEveryGroup) {
  for (int t = 0; t < 8; ++t) {
    for (int grade = 1; grade <= 4; ++grade) {
      for (int ecog = 0; ecog <= 1; ++ecog) {
        TumourFacts facts = harmless();
        facts.t = {t};
        facts.grade = grade;
        facts.ecog = ecog;
        double expected = 1.0;
        if (t <= 1 && grade <= 2 && ecog == 0) expected = 0.0;
        if (t >= 4 && t <= 6 && grade >= 2 && ecog == 1) expected = 2.0;
        if (t == 7) expected = 2.0;
        EXPECT_EQ(exact("uiss", facts), expected) << t << " G" << grade << " ECOG " << ecog;
      }
    }
  }
}

TEST(ClinicalScores, KeynoteGivesEveryGroup) {
  for (int t = 0; t < 8; ++t) {
    for (int grade = 1; grade <= 4; ++grade) {
      for (int n = 0; n <= 2; ++n) {
        for (int sarcomatoid = 0; sarcomatoid <= 1; ++sarcomatoid) {
          TumourFacts facts = harmless();
          facts.t = {t};
          facts.grade = grade;
          facts.n = n;
          facts.sarcomatoid = sarcomatoid;
          double expected = 0.0;
          if ((t == 2 || t == 3) && (grade == 4 || sarcomatoid == 1)) expected = 1.0;
          if (t >= 4) expected = 1.0;
          if (t == 7 || n > 0) expected = 2.0;
          EXPECT_EQ(exact("keynote_564", facts), expected) << t << " G" << grade << " N" << n;
        }
      }
    }
  }
}

TEST(ClinicalScores, AjccStageFollowsFromTheCategories) {
  const std::vector<double> of_t = {1, 1, 2, 2, 3, 3, 3, 4};
  for (int t = 0; t < 8; ++t) {
    TumourFacts facts = harmless();
    facts.t = {t};
    EXPECT_EQ(exact("ajcc_stage", facts), of_t[static_cast<std::size_t>(t)]);
    facts.n = 1;
    EXPECT_EQ(exact("ajcc_stage", facts), t == 7 ? 4.0 : 3.0);
    facts.m = 1;
    EXPECT_EQ(exact("ajcc_stage", facts), 4.0);
  }
  TumourFacts only_stage;
  only_stage.stage = 3;
  const auto bounds = score_bounds(score("ajcc_stage"), only_stage);
  EXPECT_EQ(bounds.lowest, 3.0);
  EXPECT_EQ(bounds.highest, 3.0);
  EXPECT_TRUE(bounds.open.empty());
}

// T3a N0 M0 grade 4 without size and necrosis: 2 + 0 + 0 + (0 or 2) + 3 + (0 or 2) = 5 to 9.
TEST(ClinicalScores, MissingItemsWidenTheRange) {
  TumourFacts facts;
  facts.t = {4};
  facts.n = facts.m = 0;
  facts.grade = 4;
  const auto bounds = score_bounds(score("ssign"), facts);
  EXPECT_EQ(bounds.lowest, 5.0);
  EXPECT_EQ(bounds.highest, 9.0);
  EXPECT_EQ(bounds.midpoint(), 7.0);
  EXPECT_FALSE(bounds.may_not_apply);
  EXPECT_EQ(bounds.open, (std::vector<ScoreItem>{ScoreItem::kSizeCm, ScoreItem::kNecrosis}));
}

// T1a is 4 cm or less: SSIGN knows its size item. T1b may lie on both sides of 5 cm, T2 may not.
TEST(ClinicalScores, CategoriesDefinedBySizeBoundTheSize) {
  TumourFacts facts = harmless();
  facts.size_cm = std::nan("");
  EXPECT_EQ(exact("ssign", facts), 0.0);
  facts.t = {1};
  auto bounds = score_bounds(score("ssign"), facts);
  EXPECT_EQ(bounds.lowest, 0.0);
  EXPECT_EQ(bounds.highest, 2.0);
  facts.t = {2, 3};  // "T2": 1 point and, above 7 cm, 2 more
  bounds = score_bounds(score("ssign"), facts);
  EXPECT_EQ(bounds.lowest, 3.0);
  EXPECT_EQ(bounds.highest, 3.0);
  // Leibovich: T2a ends at 10 cm, which counts already; T2b is larger.
  facts.t = {2};
  bounds = score_bounds(score("leibovich_2003"), facts);
  EXPECT_EQ(bounds.lowest, 3.0);
  EXPECT_EQ(bounds.highest, 4.0);
  facts.t = {3};
  bounds = score_bounds(score("leibovich_2003"), facts);
  EXPECT_EQ(bounds.lowest, 4.0);
  EXPECT_EQ(bounds.highest, 4.0);
}

TEST(ClinicalScores, ARecordedSizeTellsT1aFromT1b) {
  TumourFacts facts = harmless();
  facts.t = {0, 1};
  facts.size_cm = 4.0;
  EXPECT_EQ(exact("leibovich_2003", facts), 0.0);
  facts.size_cm = 4.1;
  EXPECT_EQ(exact("leibovich_2003", facts), 2.0);
}

TEST(ClinicalScores, StageNarrowsWhatIsMissing) {
  TumourFacts facts;
  facts.t = {2};
  facts.stage = 2;  // so N0 and M0
  facts.grade = 1;
  facts.necrosis = 0;
  const auto bounds = score_bounds(score("ssign"), facts);
  EXPECT_EQ(bounds.lowest, 3.0);  // 1 for T2, 2 for the size
  EXPECT_EQ(bounds.highest, 3.0);
  EXPECT_FALSE(bounds.contradiction);
  EXPECT_FALSE(score_bounds(score("leibovich_2003"), facts).may_not_apply);
  facts.stage = 4;  // T2a in stage IV: M1, for nodes alone are stage III
  EXPECT_EQ(score_bounds(score("ssign"), facts).lowest, 7.0);
  EXPECT_FALSE(score_bounds(score("leibovich_2003"), facts).applies);
}

TEST(ClinicalScores, CategoriesWinOverAStageThatContradictsThem) {
  TumourFacts facts = harmless();
  facts.m = 1;
  facts.stage = 3;
  const auto bounds = score_bounds(score("ssign"), facts);
  EXPECT_TRUE(bounds.contradiction);
  EXPECT_EQ(bounds.lowest, 4.0);
  facts.m = 0;
  facts.n = 2;
  facts.stage = 4;  // as the 6th edition has it
  EXPECT_FALSE(score_bounds(score("ssign"), facts).contradiction);
}

TEST(ClinicalScores, NodesNotExaminedAreN0WhereTheTableSaysSo) {
  TumourFacts facts = harmless();
  facts.n = -1;
  facts.nx = true;
  EXPECT_EQ(exact("ssign", facts), 0.0);
  const auto uiss = score_bounds(score("uiss"), facts);
  EXPECT_TRUE(uiss.applies);
  EXPECT_TRUE(uiss.may_not_apply);
  facts.nx = false;
  EXPECT_EQ(score_bounds(score("ssign"), facts).highest, 2.0);
}

TEST(ClinicalScores, AScoreForM0HasNoValueForM1) {
  TumourFacts facts = harmless();
  facts.m = 1;
  for (const char* id : {"leibovich_2003", "uiss", "keynote_564"}) {
    const auto bounds = score_bounds(score(id), facts);
    EXPECT_FALSE(bounds.applies) << id;
    EXPECT_TRUE(std::isnan(bounds.lowest)) << id;
  }
}

// Knowing more never widens a range, and the exact value lies in every range it came from.
TEST(ClinicalScores, ARangeHoldsEveryValueItCouldBe) {
  for (const auto& one : clinical_scores()) {
    const auto widest = score_bounds(one, TumourFacts{});
    for (int t = 0; t < 8; ++t) {
      for (int grade = 1; grade <= 4; ++grade) {
        TumourFacts facts = harmless();
        facts.t = {t};
        facts.grade = grade;
        facts.size_cm = std::nan("");
        const auto narrow = score_bounds(one, facts);
        TumourFacts less = facts;
        less.necrosis = less.ecog = less.sarcomatoid = less.n = -1;
        const auto wide = score_bounds(one, less);
        EXPECT_LE(wide.lowest, narrow.lowest) << one.id;
        EXPECT_GE(wide.highest, narrow.highest) << one.id;
        EXPECT_LE(widest.lowest, wide.lowest) << one.id;
        EXPECT_GE(widest.highest, wide.highest) << one.id;
      }
    }
  }
}

TEST(ClinicalScores, RefusesAFactOutsideItsRange) {
  TumourFacts facts = harmless();
  facts.grade = 5;
  EXPECT_THROW(score_bounds(score("ssign"), facts), Error);
  facts = harmless();
  facts.size_cm = -1.0;
  EXPECT_THROW(score_bounds(score("ssign"), facts), Error);
}

TEST(FactReader, ReadsWhatPeopleWrite) {
  const std::vector<std::string> columns = {
      "Pathologic T", "pathologic_n", "pM", "Stage", "Grade", "Tumor size cm", "necrosis"};
  const auto facts = read_one(columns, {"pT3a", "NX", "cM0", "Stage IIIA", "G2", "8.5", "yes"});
  EXPECT_EQ(facts.t, std::vector<int>{4});
  EXPECT_TRUE(facts.nx);
  EXPECT_EQ(facts.n, -1);
  EXPECT_EQ(facts.m, 0);
  EXPECT_EQ(facts.stage, 3);
  EXPECT_EQ(facts.grade, 2);
  EXPECT_EQ(facts.size_cm, 8.5);
  EXPECT_EQ(facts.necrosis, 1);
  const auto other = read_one(columns, {"T2", "N+", "M1", "4", "3.0", "", "0"});
  EXPECT_EQ(other.t, (std::vector<int>{2, 3}));
  EXPECT_EQ(other.n, 1);
  EXPECT_EQ(other.m, 1);
  EXPECT_EQ(other.stage, 4);
  EXPECT_EQ(other.grade, 3);
  EXPECT_TRUE(std::isnan(other.size_cm));
  EXPECT_EQ(other.necrosis, 0);
}

// Each code of MMIST's T, N and M beside what cBioPortal has for the same TCGA patients.
TEST(FactReader, ReadsMmistCodes) {
  const std::vector<std::string> columns = {"ajcc_path_tumor_pt",
                                            "ajcc_path_nodes_pn",
                                            "ajcc_path_metastasis_pm",
                                            "ajcc_path_tumor_stage",
                                            "grade"};
  const std::vector<std::vector<int>> of_t = {
      {0, 1}, {0}, {1}, {2, 3}, {2}, {3}, {4, 5, 6}, {4}, {5}, {6}, {7}};
  for (std::size_t code = 1; code <= of_t.size(); ++code) {
    EXPECT_EQ(read_one(columns, {std::to_string(code), "", "", "", ""}).t, of_t[code - 1]);
  }
  std::vector<ScoreItem> unread;
  auto facts = read_one(columns, {"9.0", "0", "0", "3", "5"}, &unread);
  EXPECT_EQ(facts.t, std::vector<int>{5});
  EXPECT_TRUE(facts.nx);
  EXPECT_EQ(facts.m, -1);
  EXPECT_EQ(facts.stage, 3);
  EXPECT_EQ(facts.grade, -1);
  EXPECT_TRUE(unread.empty());
  facts = read_one(columns, {"-1", "2", "2", "-1", "4"}, &unread);
  EXPECT_TRUE(facts.t.empty());
  EXPECT_EQ(facts.n, 1);
  EXPECT_EQ(facts.m, 1);
  EXPECT_EQ(facts.stage, -1);
  EXPECT_TRUE(unread.empty());
}

TEST(FactReader, NamesTheItemItDoesNotUnderstand) {
  std::vector<ScoreItem> unread;
  const auto facts = read_one({"pT", "grade"}, {"large", "high"}, &unread);
  EXPECT_TRUE(facts.t.empty());
  EXPECT_EQ(unread, (std::vector<ScoreItem>{ScoreItem::kT, ScoreItem::kGrade}));
  const std::vector<std::string> none = {"age", "sex"};
  EXPECT_FALSE(FactReader(none).enough());
}

TEST(ParseClinicalScores, SaysWhatIsWrong) {
  const auto message = [](const std::string& text) {
    try {
      (void)parse_clinical_scores(text, "mine.json");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kFormat);
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  const std::string head =
      R"({"scores":[{"id":"a","label":"A","predicts":"","applies_to":"","note":"","checked":true,)"
      R"("nx_counts_as_n0":true,"groups":[],"source":)";
  EXPECT_NE(message("{}").find("scores"), std::string::npos);
  EXPECT_NE(message(head + R"("","terms":[]}]})").find("without a source"), std::string::npos);
  EXPECT_NE(message(head + R"("x","terms":[]}]})").find("no terms"), std::string::npos);
  const auto term = [&](const std::string& condition) {
    return message(head + R"("x","terms":[{"name":"t","rows":[{"if":)" + condition +
                   R"(,"points":1}]}]}]})");
  };
  EXPECT_NE(term(R"({"colour":[1]})").find("no item is named 'colour'"), std::string::npos);
  EXPECT_NE(term(R"({"t":["T9"]})").find("a value of 't'"), std::string::npos);
  EXPECT_NE(term(R"({"grade":3})").find("needs a list"), std::string::npos);
  EXPECT_EQ(term(R"({"grade":[3]})"), "nothing");
}

}  // namespace
}  // namespace med3d::tabular
