#include "med3d/pipeline/audit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/pipeline/test_support.h"

namespace med3d::pipeline {
namespace {

class AuditTest : public ::testing::Test {
 protected:
  Audit audit(const std::string& csv) {
    const auto path = folder_.path() / "table.csv";
    write_file_atomic(path, csv);
    return audit_table(path);
  }

  static std::vector<std::string> codes(const Audit& audit, const std::string& level = "") {
    std::vector<std::string> out;
    for (const auto& finding : audit.findings) {
      if (level.empty() ? finding.level != "note" : finding.level == level) {
        out.push_back(finding.code);
      }
    }
    return out;
  }

  std::string why_refused(const std::string& csv) {
    try {
      audit(csv);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }

  testing::TempFolder folder_;
};

using Codes = std::vector<std::string>;

// TP 30 FN 10 FP 12 TN 48: accuracy .78, balanced accuracy .775, precision .714, recall .75,
// specificity .8, F1 60/82 = .732.
TEST_F(AuditTest, FindsNothingInATableThatIsTrue) {
  const auto result = audit(
      "model,accuracy,balanced_accuracy,precision,recall,specificity,f1,auroc,n,positives\n"
      "net,0.780,0.775,0.714,0.750,0.800,0.732,0.83 (0.75-0.91),100,40\n");
  EXPECT_EQ(codes(result), Codes{});
  EXPECT_TRUE(result.clean());
  ASSERT_EQ(result.solved.size(), 1U);
  EXPECT_EQ(result.solved[0].tables, (std::vector<stats::Confusion>{{48, 12, 10, 30}}));
  EXPECT_TRUE(result.solved[0].size_stated);
  EXPECT_TRUE(result.findings.empty());
}

TEST_F(AuditTest, ShowsTheArithmeticOfARowThatCannotBe) {
  const auto late =
      audit("model,balanced accuracy,F1 score,Precision,Recall\nlate,0.667,0.800,1.000,0.667\n");
  ASSERT_EQ(codes(late), Codes{"one_class"});
  EXPECT_NE(late.findings[0].text.find(
                "precision 1 leaves no false positive, so specificity is 1; (0.667 + 1) / 2 = "
                "0.834, but balanced accuracy is 0.667"),
            std::string::npos)
      << late.findings[0].text;
  EXPECT_EQ(late.findings[0].where, "late (line 2)");

  const auto f1 =
      audit("model,f1,precision,recall,positives,negatives\nx,0.95,0.90,0.90,100,100\n");
  EXPECT_EQ(codes(f1, "impossible"), Codes{"no_table"});
  EXPECT_NE(f1.findings[0].text.find("2 * 0.9 * 0.9 / (0.9 + 0.9) = 0.900, but F1 is 0.95"),
            std::string::npos);
}

// 160 of 208 positive: 320/368 = .870 for calling all positive.
TEST_F(AuditTest, ComparesWithCallingEverybodyPositive) {
  const auto result = audit(
      "model,balanced_accuracy,f1,precision,recall,positives,negatives\n"
      "ehr,0.816,0.774,1.000,0.631,160,48\n");
  ASSERT_EQ(codes(result), Codes{"below_always_positive"});
  EXPECT_NE(result.findings[0].text.find("F1 0.774 is below 0.870"), std::string::npos);
  const auto accuracy = audit("model,accuracy,recall,positives,negatives\nx,0.70,0.50,20,80\n");
  EXPECT_EQ(codes(accuracy), Codes{"below_majority"});
}

TEST_F(AuditTest, FindsABalancedTestSetAndPatientsThatDoNotExist) {
  const auto result = audit(
      "model,test_set,accuracy,precision,recall,cohort_positives,cohort_negatives\n"
      "smote,t,0.8670,0.8077,0.9633,543,75\n"
      "adasyn,t,0.9174,0.8889,0.9541,543,75\n");
  EXPECT_EQ(codes(result), (Codes{"not_in_cohort", "not_in_cohort", "balanced_test"}));
  EXPECT_NE(result.findings[0].text.find("109 negatives in the test set at least, but the cohort "
                                         "has 75: at least 34 of them are not patients"),
            std::string::npos)
      << result.findings[0].text;
}

TEST_F(AuditTest, ReadsRowsOfOneResultTogether) {
  const auto cut = audit(
      "model,test_set,balanced_accuracy,precision,recall,f1\n"
      "ehr,v,0.81,1.0,0.63,0.77\n"
      "ehr,v,0.816,1.000,0.631,0.774\n");
  EXPECT_EQ(codes(cut), Codes{});
  EXPECT_EQ(cut.solved.size(), 1U);
  EXPECT_EQ(codes(cut, "note").front(), "printed_twice");
  const auto two = audit("model,test_set,f1,recall\nwsi,v,0.73,0.60\nwsi,v,0.740,0.604\n");
  ASSERT_EQ(codes(two), Codes{"printed_twice"});
  EXPECT_NE(two.findings[0].text.find("0.73 (line 2) and 0.740 (line 3)"), std::string::npos);
}

TEST_F(AuditTest, ChecksCountsAndShares) {
  EXPECT_EQ(codes(audit("model,accuracy,n,positives,negatives\nx,0.50,10,5,6\n"), "impossible"),
            Codes{"counts"});
  EXPECT_EQ(codes(audit("model,part,whole,share\nx,191,814,23.5%\n")), Codes{});
  EXPECT_EQ(codes(audit("model,part,whole,share\nx,191,814,24.5%\n")), Codes{"counts"});
  EXPECT_EQ(codes(audit("model,part,whole,share\nx,815,814,100%\n")), Codes{"counts"});
  // The printed table gives accuracy .7.
  EXPECT_EQ(codes(audit("model,accuracy,tp,fn,fp,tn\nx,0.70,3,2,1,4\n")), Codes{});
  EXPECT_EQ(codes(audit("model,accuracy,tp,fn,fp,tn\nx,0.80,3,2,1,4\n")), Codes{"no_table"});
}

TEST_F(AuditTest, ChecksRangesIntervalsAndAreas) {
  EXPECT_EQ(codes(audit("model,accuracy\nx,1.20\n")), Codes{"out_of_range"});
  EXPECT_EQ(codes(audit("model,accuracy\nx,86.7\n")), Codes{"out_of_range"});
  EXPECT_EQ(codes(audit("model,accuracy (%)\nx,86.7\n")), Codes{});
  EXPECT_EQ(codes(audit("model,accuracy\nx,86.7 %\n")), Codes{});
  EXPECT_EQ(codes(audit("model,auroc\nx,0.80 (0.82-0.90)\n")), Codes{"out_of_range"});
  EXPECT_EQ(codes(audit("model,auroc\nx,\"0.80 [0.70, 0.90]\"\n")), Codes{});
  // 0.9 * 0.9 = 0.81 at least.
  EXPECT_EQ(codes(audit("model,auroc,recall,specificity\nx,0.75,0.90,0.90\n")),
            Codes{"auroc_out_of_reach"});
  EXPECT_EQ(codes(audit("model,auroc,recall,specificity\nx,0.85,0.90,0.90\n")), Codes{});
}

// Recall .333 needs a multiple of three, .250 one of four: with nine positives only one of them.
TEST_F(AuditTest, FindsRowsThatCannotShareATestSet) {
  EXPECT_EQ(codes(audit("model,test_set,recall,positives\na,t,0.333,9\nb,t,0.444,\n")), Codes{});
  EXPECT_EQ(codes(audit("model,test_set,recall,positives\na,t,0.333,9\nb,t,0.250,\n")),
            Codes{"sizes_disagree"});
}

TEST_F(AuditTest, SaysHowThinASpecificityIs) {
  const auto result =
      audit("model,balanced_accuracy,f1,precision,recall\nearly,0.833,0.983,0.967,1.000\n");
  EXPECT_EQ(codes(result), Codes{});
  const auto notes = codes(result, "note");
  ASSERT_NE(std::find(notes.begin(), notes.end(), "thin_class"), notes.end());
  for (const auto& finding : result.findings) {
    if (finding.code != "thin_class") continue;
    EXPECT_NE(finding.text.find("specificity rests on 3 patient(s) if the set is the smallest that "
                                "fits: 2 of 3 is 0.21 to 0.94"),
              std::string::npos)
        << finding.text;
  }
}

TEST_F(AuditTest, RecordsACellThatIsNoNumberAndGoesOn) {
  const auto result = audit("model,accuracy,n\nx,about 0.9,10\ny,0.90,ten\nz,-0.5,\nw,NA,-\n");
  EXPECT_EQ(codes(result, "impossible"), (Codes{"unreadable", "unreadable", "unreadable"}));
  EXPECT_EQ(result.rows, 4U);
}

TEST_F(AuditTest, RefusesWhatIsNoTableOfResults) {
  EXPECT_NE(why_refused("model,colour\nx,red\n").find("no column of results"), std::string::npos);
  EXPECT_NE(why_refused("recall,sensitivity\n0.5,0.5\n").find("are both recall"),
            std::string::npos);
  EXPECT_THROW(audit_table(folder_.path() / "none.csv"), Error);
  EXPECT_NE(audit("model,accuracy,colour\nx,0.5,red\n").ignored, Codes{});
}

}  // namespace
}  // namespace med3d::pipeline
