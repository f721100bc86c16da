#include "med3d/pipeline/slides/train_slides.h"

#include <gtest/gtest.h>

#include <functional>

#include "med3d/core/file.h"
#include "med3d/core/random.h"
#include "med3d/io/formats/csv.h"
#include "med3d/io/formats/hdf5.h"
#include "med3d/io/formats/torch_file.h"
#include "med3d/pipeline/slides/evaluate_slides.h"
#include "med3d/pipeline/slides/slide_splits.h"
#include "med3d/pipeline/test_support.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::TempFolder;

constexpr std::size_t kSlides = 24;

// 24 slides of 12 to 15 tiles; in those of class "t" four tiles lie far off. The last two have no
// file and stand in no split.
struct Cohort {
  TempFolder folder;
  TrainSlidesJob job;

  Cohort() {
    std::string csv = "case_id,slide_id,label\n";
    std::string survival = "case_id,slide_id,months,event\n";
    for (std::size_t i = 0; i < kSlides + 2; ++i) {
      csv += "p" + std::to_string(i) + ",s" + std::to_string(i) + (i % 2 == 0 ? ",n\n" : ",t\n");
      survival += "p" + std::to_string(i) + ",s" + std::to_string(i) + "," +
                  std::to_string(i % 2 == 0 ? 40 + i : 5 + i) + (i % 3 == 0 ? ",0\n" : ",1\n");
      if (i >= kSlides) continue;
      NumpyRandom random(static_cast<std::uint32_t>(i));
      Matrix<float> bag(12 + i % 4, 5);
      for (std::size_t j = 0; j < bag.size(); ++j) {
        bag.data()[j] = static_cast<float>(random.normal());
      }
      for (std::size_t row = 2; i % 2 == 1 && row < 6; ++row) bag(row, 1) += 5.0F;
      folder.write("f/pt_files/s" + std::to_string(i) + ".pt",
                   torch_tensor_bytes(from_matrix(bag)));
      Matrix<std::int64_t> coords(bag.rows(), 2);
      for (std::size_t row = 0; row < bag.rows(); ++row) {
        coords(row, 0) = static_cast<std::int64_t>(64 * row);
      }
      write_clam_features(
          folder.path() / "f" / "h5_files" / ("s" + std::to_string(i) + ".h5"), bag, coords);
    }
    job.dataset = folder.write("dataset.csv", csv);
    folder.write("survival.csv", survival);
    // train 0 .. 13, val 14 .. 17, test 18 .. 23
    std::string split = ",train,val,test\n";
    for (std::size_t i = 0; i < 14; ++i) {
      split += std::to_string(i) + ",s" + std::to_string(i) +
               (i < 4 ? ",s" + std::to_string(14 + i) : ",") +
               (i < 6 ? ",s" + std::to_string(18 + i) : ",") + "\n";
    }
    folder.write("splits/splits_0.csv", split);
    job.features = folder.path() / "f";
    job.splits = folder.path() / "splits";
    job.output = folder.path() / "run";
    job.options.max_epochs = 8;
    job.options.lr = 5e-4;
    job.options.k_sample = 3;
    job.options.weighted_sample = true;
  }
  std::string bytes(const std::string& name) const {
    return read_file(folder.path() / name, 1U << 28U);
  }
  std::vector<std::string> names(const fs::path& below) const {
    std::vector<std::string> out;
    for (const auto& entry : fs::recursive_directory_iterator(folder.path() / below)) {
      const auto name = fs::relative(entry.path(), folder.path() / below).string();
      if (entry.is_regular_file() && name != ".lock") out.push_back(name);
    }
    std::sort(out.begin(), out.end());
    return out;
  }
};

TEST(TrainSlides, FindsASignalInSlidesItHasNotSeen) {
  const Cohort cohort;
  const auto summary = train_slides(cohort.job, silent_progress());
  ASSERT_EQ(summary.folds.size(), 1U);
  EXPECT_EQ(summary.embed_dim, 5U);
  EXPECT_EQ(summary.classes, (std::vector<std::string>{"n", "t"}));
  EXPECT_GE(summary.folds[0].figures.test_auc.value, 0.8);
  EXPECT_EQ(cohort.names("run"),
            (std::vector<std::string>{"curve_0.csv",
                                      "fold_0.csv",
                                      "fold_0_val.csv",
                                      "folds/fold_0.json",
                                      "run.json",
                                      "s_0_checkpoint.pt",
                                      "splits_0.csv",
                                      "summary.csv"}));
  EXPECT_EQ(cohort.bytes("run/splits_0.csv"), cohort.bytes("splits/splits_0.csv"));

  // The stored net says the same of the same slides, whatever file they are read from.
  EvaluateSlidesJob evaluate;
  evaluate.model = cohort.job.output;
  evaluate.features = cohort.job.features / "h5_files";
  evaluate.dataset = cohort.job.dataset;
  evaluate.output = cohort.folder.path() / "eval";
  const auto said = evaluate_slides(evaluate, silent_progress());
  EXPECT_EQ(cohort.bytes("eval/fold_0.csv"), cohort.bytes("run/fold_0.csv"));
  EXPECT_EQ(said.folds[0].figures.test_auc.value, summary.folds[0].figures.test_auc.value);
  ASSERT_EQ(said.outcomes.size(), 6U);
  for (const auto& outcome : said.outcomes) {
    EXPECT_EQ(outcome.status, SlideStatus::kDone) << outcome.reason;
    EXPECT_TRUE(outcome.warnings.empty());
  }
  const auto attention = read_attention_file(cohort.folder.path() / "eval/attention/s19.h5");
  ASSERT_EQ(attention.scores.size(), 15U);
  EXPECT_EQ(attention.coords(3, 0), 192);
  EXPECT_EQ(attention.attributes.at("name"), "s19");
  EXPECT_EQ(attention.attributes.at("predicted"), "1");
}

TEST(TrainSlides, IsTheSameBytesAgainAndTakesOverWhatIsDone) {
  Cohort cohort;
  cohort.job.options.max_epochs = 2;
  cohort.job.options.threads = 2;
  train_slides(cohort.job, silent_progress());
  TrainSlidesJob other = cohort.job;
  other.output = cohort.folder.path() / "again";
  other.options.threads = 1;
  const auto fresh = train_slides(other, silent_progress());
  EXPECT_FALSE(fresh.folds[0].taken_over);
  EXPECT_EQ(cohort.names("run"), cohort.names("again"));
  for (const auto& name : cohort.names("run")) {
    EXPECT_EQ(cohort.bytes("run/" + name), cohort.bytes("again/" + name)) << name;
  }
  const auto again = train_slides(other, silent_progress());
  EXPECT_TRUE(again.folds[0].taken_over);
  EXPECT_EQ(fold_text(again.folds, false, true), fold_text(fresh.folds, false, true));
  // A checkpoint that was changed since is trained anew, to the same bytes.
  cohort.folder.write("again/s_0_checkpoint.pt", "damaged");
  EXPECT_FALSE(train_slides(other, silent_progress()).folds[0].taken_over);
  EXPECT_EQ(cohort.bytes("run/s_0_checkpoint.pt"), cohort.bytes("again/s_0_checkpoint.pt"));
  // A file of another size: other features, and another net.
  Matrix<float> more(40, 5, 0.5F);
  const std::string file = "f/pt_files/s3.pt";
  const std::string before = cohort.bytes(file);
  cohort.folder.write(file, torch_tensor_bytes(from_matrix(more)));
  expect_error(ErrorKind::kUsage, "a fold of other features or another split", [&] {
    train_slides(other, silent_progress());
  });
  cohort.folder.write(file, before);
  EXPECT_TRUE(train_slides(other, silent_progress()).folds[0].taken_over);
  other.options.lr = 1e-3;
  expect_error(
      ErrorKind::kUsage, "holds another run", [&] { train_slides(other, silent_progress()); });
  other.overwrite = true;
  EXPECT_FALSE(train_slides(other, silent_progress()).folds[0].taken_over);
  EXPECT_NE(cohort.bytes("run/s_0_checkpoint.pt"), cohort.bytes("again/s_0_checkpoint.pt"));
  other.overwrite = false;
  other.output = cohort.folder.path() / "f";
  expect_error(ErrorKind::kUsage, "holds no run", [&] { train_slides(other, silent_progress()); });
}

// 2 positives among 5 slides, all above the others: chance does that once in C(5, 2) = 10 times.
// One against four whose interval reaches one half is said to show nothing.
TEST(FoldText, SaysHowMuchAnAucShows) {
  const auto said = [](int label, double p1) {
    mil::BagPrediction out;
    out.target.label = label;
    out.probabilities = {1.0 - p1, p1};
    out.predicted = p1 > 0.5 ? 1 : 0;
    return out;
  };
  const auto text_of = [](const std::vector<mil::BagPrediction>& test) {
    SlideFold fold;
    fold.figures = mil::summarise_fold(0, {}, test);
    fold.positives = count_positives(test);
    return fold_text(std::vector<SlideFold>{fold}, false, false);
  };
  const auto apart =
      text_of({said(1, 0.9), said(1, 0.8), said(0, 0.1), said(0, 0.2), said(0, 0.3)});
  EXPECT_NE(apart.find("1.000 (no interval)"), std::string::npos) << apart;
  EXPECT_NE(apart.find("with 3 and 2 slides once in 10 times"), std::string::npos) << apart;
  EXPECT_EQ(apart.find("better than chance"), std::string::npos) << apart;
  const auto mixed = text_of({said(1, 0.9), said(1, 0.2), said(0, 0.1), said(0, 0.3)});
  EXPECT_NE(mixed.find("not shown to be better than chance: fold 0"), std::string::npos) << mixed;
  const auto one = text_of({said(1, 0.9), said(1, 0.2)});
  EXPECT_NE(one.find("fold 0: AUC not estimable: "), std::string::npos) << one;
}

TEST(TrainSlides, NamesWhatIsMissing) {
  const Cohort cohort;
  TrainSlidesJob job = cohort.job;
  fs::remove(cohort.folder.path() / "f/pt_files/s20.pt");
  fs::remove(cohort.folder.path() / "f/h5_files/s20.h5");
  expect_error(ErrorKind::kNotFound,
               "no features of 1 of the 24 slides of the splits, the first "
               "is 's20'",
               [&] { train_slides(job, silent_progress()); });
  job.k_start = 1;
  expect_error(ErrorKind::kUsage, "k_start 1 and k_end 1 of 1 splits", [&] {
    train_slides(job, silent_progress());
  });
  job = cohort.job;
  job.splits = cohort.folder.path() / "f";
  expect_error(
      ErrorKind::kNotFound, "no splits_0.csv", [&] { train_slides(job, silent_progress()); });
  job = cohort.job;
  job.survival.time = "months";
  expect_error(ErrorKind::kUsage, "one column of events or of censorship", [&] {
    train_slides(job, silent_progress());
  });
  EXPECT_FALSE(fs::exists(job.output));
}

TEST(TrainSlides, PredictsSurvivalByIntervals) {
  Cohort cohort;
  cohort.job.dataset = cohort.folder.path() / "survival.csv";
  cohort.job.survival.time = "months";
  cohort.job.survival.event = "event";
  cohort.job.survival.intervals = 3;
  const auto summary = train_slides(cohort.job, silent_progress());
  ASSERT_TRUE(summary.survival);
  // Slides 18 .. 23, of which 18 and 21 are censored.
  EXPECT_EQ(summary.folds[0].test.slides, 6U);
  EXPECT_EQ(summary.folds[0].test.events, 4U);
  const Table fold = read_table(cohort.folder.path() / "run/fold_0.csv");
  EXPECT_EQ(fold.columns,
            (std::vector<std::string>{
                "slide_id", "time", "censored", "interval", "risk", "s_0", "s_1", "s_2"}));
  double early = 0.0, late = 0.0;
  for (const auto& row : fold.rows) {
    (std::stod(row[1]) < 40 ? early : late) += std::stod(row[4]) / 3;
    EXPECT_GE(std::stod(row[5]), std::stod(row[6]));
    EXPECT_GE(std::stod(row[6]), std::stod(row[7]));
  }
  EXPECT_GT(early, late);  // those with far tiles have their events early
  EvaluateSlidesJob evaluate;
  evaluate.model = cohort.job.output;
  evaluate.features = cohort.job.features;
  evaluate.dataset = cohort.job.dataset;
  evaluate.output = cohort.folder.path() / "eval";
  evaluate_slides(evaluate, silent_progress());
  EXPECT_EQ(cohort.bytes("eval/fold_0.csv"), cohort.bytes("run/fold_0.csv"));
}

// Patients a, b, c, d with events at 2, 4, 6, 8 train; e with one at 100 does not, f is censored.
// Thirds of 2, 4, 6, 8 by linear interpolation: 2 + 2 * 1/3 * 3 = 4 and 2 + 2 * 2/3 * 3 = 6.
TEST(SurvivalCuts, ComeFromTrainingEventsAlone) {
  const TempFolder folder;
  const auto path = folder.write("d.csv",
                                 "case_id,slide_id,t,censorship\n"
                                 "a,a1,2,0\na,a2,2,0\nb,b,4,0\nc,c,6,0\nd,d,8,0\ne,e,100,0\n"
                                 "f,f,50,1\n");
  SurvivalColumns columns;
  columns.time = "t";
  columns.censorship = "censorship";
  const auto dataset = read_slide_dataset(path, {}, columns);
  const std::vector<std::size_t> training = {0, 1, 2, 3, 4, 6};
  const auto cuts = survival_cuts(dataset, training, 3);
  ASSERT_EQ(cuts.size(), 2U);
  EXPECT_DOUBLE_EQ(cuts[0], 4.0);
  EXPECT_DOUBLE_EQ(cuts[1], 6.0);
  const auto targets = slide_targets(dataset, cuts);
  // A time at a cut belongs to the interval that begins there.
  const std::vector<int> labels = {0, 0, 1, 2, 2, 2, 2};
  for (std::size_t i = 0; i < labels.size(); ++i) {
    EXPECT_EQ(targets[i].label, labels[i]) << i;
    EXPECT_EQ(targets[i].censored, i == 6) << i;
  }
  const std::vector<std::size_t> few = {0, 1, 2};
  EXPECT_NO_THROW(survival_cuts(dataset, few, 3));
  const std::vector<std::size_t> one = {0, 1};
  expect_error(ErrorKind::kData, "1 patients with an event on the training side", [&] {
    survival_cuts(dataset, one, 3);
  });
}

TEST(SlideDataset, NamesWhatIsWrongWithFollowUp) {
  const TempFolder folder;
  SurvivalColumns columns;
  columns.time = "t";
  columns.event = "e";
  const auto refused = [&](const std::string& rows) {
    const auto path = folder.write("d.csv", "case_id,slide_id,t,e\n" + rows);
    return [path, columns] { read_slide_dataset(path, {}, columns); };
  };
  expect_error(ErrorKind::kData, "line 2: t is '-1', expected a number", refused("a,a,-1,0\n"));
  expect_error(ErrorKind::kData, "line 2: t is 'nan'", refused("a,a,nan,0\n"));
  expect_error(
      ErrorKind::kData, "line 3: e is '2', expected 0 or 1", refused("a,a,1,0\nb,b,1,2\n"));
  expect_error(ErrorKind::kData,
               "line 3: a slide whose patient has other follow-up",
               refused("a,a,1,0\na,b,2,0\n"));
  expect_error(ErrorKind::kData, "line 3: a slide that stands", refused("a,a,1,0\na,a,1,0\n"));
  expect_error(ErrorKind::kData, "no slides", refused(""));
}

TEST(SlideSplits, AreWrittenOnceAndOtherOnesOnlyByDemand) {
  const TempFolder folder;
  std::string csv = "case_id,slide_id,label\n";
  for (int i = 0; i < 20; ++i) {
    csv += "p" + std::to_string(i) + ",s" + std::to_string(i) + "," + std::to_string(i % 2) + "\n";
  }
  const auto dataset = read_slide_dataset(folder.write("d.csv", csv), {}, {});
  mil::SplitOptions options;
  options.k = 3;
  const auto out = folder.path() / "splits";
  const auto splits = write_slide_splits(dataset, options, out, false);
  EXPECT_EQ(count_slide_splits(out), 3);
  EXPECT_EQ(mil::read_clam_split(out / "splits_2.csv", dataset.table), splits[2]);
  EXPECT_EQ(mil::read_clam_split(out / "splits_2_bool.csv", dataset.table).test, splits[2].test);
  EXPECT_NO_THROW(write_slide_splits(dataset, options, out, false));
  options.seed = 2;
  expect_error(ErrorKind::kUsage, "holds other splits", [&] {
    write_slide_splits(dataset, options, out, false);
  });
  options.k = 2;
  write_slide_splits(dataset, options, out, true);
  EXPECT_EQ(count_slide_splits(out), 2);
}

TEST(EvaluateSlides, GoesOnWhereASlideCannotBeRead) {
  Cohort cohort;
  cohort.job.options.max_epochs = 1;
  train_slides(cohort.job, silent_progress());
  cohort.folder.write("f/pt_files/s19.pt", "broken");
  fs::remove(cohort.folder.path() / "f/pt_files/s20.pt");
  fs::remove(cohort.folder.path() / "f/h5_files/s20.h5");
  Matrix<float> wide(3, 7, 1.0F);
  cohort.folder.write("f/pt_files/s21.pt", torch_tensor_bytes(from_matrix(wide)));
  EvaluateSlidesJob job;
  job.model = cohort.job.output;
  job.features = cohort.job.features;
  job.dataset = cohort.job.dataset;
  job.output = cohort.folder.path() / "eval";
  const auto said = evaluate_slides(job, silent_progress());
  ASSERT_EQ(said.outcomes.size(), 6U);
  EXPECT_EQ(said.outcomes[1].step, "features");
  EXPECT_NE(said.outcomes[2].reason.find("no features of it"), std::string::npos);
  EXPECT_EQ(said.outcomes[3].step, "predict");
  EXPECT_EQ(exit_code(said.outcomes), 3);
  EXPECT_EQ(said.folds[0].figures.n_test, 3U);
  EXPECT_EQ(cohort.names("eval/attention"),
            (std::vector<std::string>{"s18.h5", "s22.h5", "s23.h5"}));
  expect_error(ErrorKind::kUsage, "the folder is not empty", [&] {
    evaluate_slides(job, silent_progress());
  });
  job.overwrite = true;
  job.fold = 3;
  expect_error(ErrorKind::kNotFound, "no s_3_checkpoint.pt", [&] {
    evaluate_slides(job, silent_progress());
  });
  job.fold = -1;
  job.classes = {"n", "t", "u"};
  expect_error(ErrorKind::kUsage, "a net of 2 classes, the dataset has 3", [&] {
    evaluate_slides(job, silent_progress());
  });
}

// CLAM's own checkpoint on one bag, through the whole way, against what CLAM's code gave.
TEST(EvaluateSlides, ClamsCheckpointGivesItsProbabilities) {
  const auto data = testing::reference_data();
  const auto checkpoint = data / "reference/weights/clam_real_s_0_checkpoint.pt";
  const auto bag = data / "reference/clam/bag_scaled64.npy";
  const auto expected = data / "reference/clam/fwd/real_ckpt__bag_scaled64__label0__ce.json";
  if (data.empty() || !fs::exists(checkpoint) || !fs::exists(bag) || !fs::exists(expected)) {
    GTEST_SKIP() << "SKIPPED: no reference/clam in $MED3D_TEST_DATA; CLAM's checkpoint is not run";
  }
  const TempFolder folder;
  fs::create_directories(folder.path() / "f");
  fs::copy_file(bag, folder.path() / "f/bag.npy");
  EvaluateSlidesJob job;
  job.model = checkpoint;
  job.features = folder.path() / "f";
  job.dataset = folder.write("d.csv", "case_id,slide_id,label\np,bag,0\n");
  job.classes = {"0", "1"};
  job.split = "all";
  job.output = folder.path() / "eval";
  const auto said = evaluate_slides(job, silent_progress());
  EXPECT_EQ(said.outcomes[0].status, SlideStatus::kDone) << said.outcomes[0].reason;
  EXPECT_NE(said.outcomes[0].warnings.at(0).find("no attention file"), std::string::npos);
  EXPECT_FALSE(said.folds[0].figures.test_auc.ok());
  const Table fold = read_table(job.output / "fold_0.csv");
  const Json json = read_json(expected);
  Json p = json.at("Y_prob");
  while (p.is_array() && p.size() == 1 && p[0].is_array()) p = p[0];
  EXPECT_NEAR(std::stod(fold.rows[0][fold.column("p_0")]), p.at(0).get<double>(), 1e-5);
  EXPECT_NEAR(std::stod(fold.rows[0][fold.column("p_1")]), p.at(1).get<double>(), 1e-5);
}

}  // namespace
}  // namespace med3d::pipeline
