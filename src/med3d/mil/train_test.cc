#include "med3d/mil/train.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "med3d/core/file.h"
#include "med3d/io/formats/npy.h"
#include "med3d/io/formats/safetensors.h"
#include "med3d/io/formats/torch_file.h"
#include "med3d/mil/test_reference.inc"

namespace med3d::mil {
namespace {

using testing_mil::drawn_bag;
using testing_mil::expect_error;

ClamOptions small() {
  ClamOptions options;
  options.embed_dim = 6;
  options.hidden_dim = 16;
  options.attention_dim = 8;
  options.k_sample = 4;
  options.max_epochs = 6;
  options.lr = 2e-3;
  options.weighted_sample = true;
  options.early_stopping = true;
  options.patience = 3;
  options.stop_epoch = 2;
  return options;
}

// Slides of 20 to 39 patches; in those of class 1 five patches lie far off.
std::vector<Matrix<float>> slides(std::size_t count) {
  std::vector<Matrix<float>> out;
  for (std::size_t i = 0; i < count; ++i) {
    out.push_back(drawn_bag(20 + i % 20, 6, static_cast<std::uint32_t>(i)));
    if (i % 2 == 1) {
      for (std::size_t row = 3; row < 8; ++row) out.back()(row, 2) += 4.0F;
    }
  }
  return out;
}

struct Cohort {
  MemoryBags bags{slides(30)};
  TrainingTask task;
  Cohort() {
    task.bags = &bags;
    for (std::size_t i = 0; i < bags.count(); ++i) {
      task.targets.push_back({static_cast<int>(i % 2), false});
      (i < 22 ? task.training : task.validation).push_back(i);
    }
  }
};

TEST(TrainClam, LearnsWhichSlidesHoldTheFarPatches) {
  const Cohort cohort;
  ClamOptions options = small();
  options.max_epochs = 40;
  options.stop_epoch = 40;
  TrainedClam trained = train_clam(options, cohort.task);
  ASSERT_EQ(trained.state.curve.size(), 40U);
  EXPECT_LT(trained.state.curve.back().training_loss,
            0.5 * trained.state.curve.front().training_loss);
  int right = 0;
  for (const BagPrediction& said : predict_bags(trained.net, cohort.task, cohort.task.validation)) {
    right += said.predicted == said.target.label ? 1 : 0;
  }
  EXPECT_GE(right, 7);  // of 8
  double best = HUGE_VAL;
  for (const EpochRecord& record : trained.state.curve)
    best = std::min(best, record.validation_loss);
  double loss = 0.0;
  for (const BagPrediction& said : predict_bags(trained.net, cohort.task, cohort.task.validation)) {
    loss += said.bag_loss / 8.0;
  }
  EXPECT_NEAR(loss, best, 1e-12);
}

TEST(TrainClam, EndsWithTheSameBytesAtAnyNumberOfThreads) {
  const Cohort cohort;
  ClamOptions options = small();
  options.max_patches = 24;
  options.threads = 1;
  const TrainedClam one = train_clam(options, cohort.task);
  options.threads = 3;
  const TrainedClam three = train_clam(options, cohort.task);
  EXPECT_EQ(training_state_bytes(one.state, options, cohort.task),
            training_state_bytes(three.state, options, cohort.task));
  options.seed = 2;
  EXPECT_NE(train_clam(options, cohort.task).state.parameters, one.state.parameters);
}

// Killed after the third epoch, written, read, gone on: as if it had never been interrupted.
TEST(TrainClam, GoesOnToTheSameBytes) {
  const Cohort cohort;
  for (const Optimiser opt : {Optimiser::kAdam, Optimiser::kSgd}) {
    ClamOptions options = small();
    options.opt = opt;
    const TrainedClam whole = train_clam(options, cohort.task);
    std::string file;
    train_clam(options, cohort.task, [&](const TrainingState& state) {
      file = training_state_bytes(state, options, cohort.task);
      return state.curve.size() < 3;
    });
    const TrainingState state = parse_training_state(file, options, cohort.task, "state");
    EXPECT_EQ(state.curve.size(), 3U);
    const TrainedClam rest = train_clam(options, cohort.task, {}, &state);
    EXPECT_EQ(training_state_bytes(rest.state, options, cohort.task),
              training_state_bytes(whole.state, options, cohort.task));
    EXPECT_TRUE(std::equal(rest.net.parameters().begin(),
                           rest.net.parameters().end(),
                           whole.net.parameters().begin()));
    EXPECT_EQ(curve_csv(rest.state.curve), curve_csv(whole.state.curve));
  }
}

TEST(TrainClam, RefusesAStateOfAnotherTraining) {
  const Cohort cohort;
  ClamOptions options = small();
  options.max_epochs = 1;
  const TrainedClam trained = train_clam(options, cohort.task);
  const std::string file = training_state_bytes(trained.state, options, cohort.task);
  ClamOptions other = options;
  other.lr = 1e-3;
  expect_error(ErrorKind::kData, "other options", [&] {
    parse_training_state(file, other, cohort.task, "state");
  });
  TrainingTask fewer = cohort.task;
  fewer.training.pop_back();
  expect_error(ErrorKind::kData, "other options or slides", [&] {
    parse_training_state(file, options, fewer, "state");
  });
  expect_error(ErrorKind::kFormat, "", [&] {
    parse_training_state(file.substr(0, file.size() / 2), options, cohort.task, "state");
  });
  EXPECT_NO_THROW(parse_training_state(file, options, cohort.task, "state"));
}

// A learning rate at which the loss soon grows: the last epochs are none of the best, and epochs up
// to stop_epoch are done all the same. Should the weights leave the reals, that is said with the
// epoch.
TEST(TrainClam, StopsEarlyButNotBeforeTheStopEpoch) {
  const Cohort cohort;
  ClamOptions options = small();
  options.lr = 3.0;
  options.opt = Optimiser::kSgd;
  options.drop_out = 0.0;
  options.max_epochs = 30;
  options.patience = 2;
  options.stop_epoch = 5;
  try {
    const TrainedClam trained = train_clam(options, cohort.task);
    ASSERT_TRUE(trained.state.stopped);
    EXPECT_GE(trained.state.curve.size(), 7U);  // epochs 0 to 6
    EXPECT_GE(trained.state.epochs_without_gain, 2);
    const auto& curve = trained.state.curve;
    EXPECT_FALSE(curve[curve.size() - 1].best);
    EXPECT_FALSE(curve[curve.size() - 2].best);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNumerical);
    EXPECT_NE(std::string(error.what()).find("epoch "), std::string::npos);
  }
}

TEST(EpochOrder, TakesEachSlideOnceOrEachClassEquallyOften) {
  Cohort cohort;
  ClamOptions options = small();
  options.weighted_sample = false;
  const auto plain = epoch_order(options, cohort.task, 0);
  EXPECT_EQ(std::set<std::size_t>(plain.begin(), plain.end()).size(), cohort.task.training.size());
  EXPECT_NE(plain, epoch_order(options, cohort.task, 1));
  EXPECT_EQ(plain, epoch_order(options, cohort.task, 0));
  // One slide of class 1 among 22: drawn in about half of 200 epochs' draws (sd 0.0075).
  for (Target& target : cohort.task.targets) target.label = 0;
  cohort.task.targets[5].label = 1;
  options.weighted_sample = true;
  int drawn = 0;
  for (int epoch = 0; epoch < 200; ++epoch) {
    for (const std::size_t row : epoch_order(options, cohort.task, epoch))
      drawn += row == 5 ? 1 : 0;
  }
  EXPECT_NEAR(drawn / (200.0 * 22.0), 0.5, 0.03);
}

TEST(TrainClam, RefusesTasksThatDoNotFit) {
  Cohort cohort;
  ClamOptions options = small();
  TrainingTask task = cohort.task;
  task.training.clear();
  expect_error(ErrorKind::kUsage, "no slides", [&] { train_clam(options, task); });
  task = cohort.task;
  task.validation.clear();
  expect_error(ErrorKind::kUsage, "validation", [&] { train_clam(options, task); });
  task = cohort.task;
  task.targets[3].label = 2;
  expect_error(ErrorKind::kUsage, "slide 3 has label 2", [&] { train_clam(options, task); });
  task = cohort.task;
  task.training.push_back(99);
  expect_error(ErrorKind::kUsage, "slide 99", [&] { train_clam(options, task); });
}

// ---- Bags

TEST(FileBags, MapsStoredFilesAndReadsTheOthers) {
  const testing_mil::TemporaryFolder folder;
  const Matrix<float> bag = drawn_bag(40, 6, 3);
  Array half = from_matrix(bag);
  half.dtype = DType::kF64;
  std::string wide;
  for (std::size_t i = 0; i < bag.size(); ++i) {
    const auto value = static_cast<double>(bag.data()[i]);
    wide.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  half.bytes = wide;
  write_file_atomic(folder / "a.npy", npy_bytes(bag));
  write_file_atomic(folder / "b.pt", torch_tensor_bytes(from_matrix(bag)));
  write_file_atomic(folder / "c.safetensors",
                    safetensors_bytes(std::vector<NamedArray>{{"features", from_matrix(bag)}}));
  write_file_atomic(folder / "d.npy", npy_bytes(half));
  const FileBags bags(
      {folder / "a.npy", folder / "b.pt", folder / "c.safetensors", folder / "d.npy"});
  for (int pass = 0; pass < 2; ++pass) {
    for (std::size_t i = 0; i < bags.count(); ++i) {
      const Bag read = bags.read(i);
      ASSERT_EQ(read.view.rows, 40U);
      ASSERT_EQ(read.view.cols, 6U);
      EXPECT_TRUE(std::equal(bag.data(), bag.data() + bag.size(), read.view.data)) << i;
      EXPECT_EQ(bags.mapped(i), i < 3) << i;
    }
  }
  // A file that changed is read anew, and what is no file any more is said.
  Matrix<float> other = drawn_bag(41, 6, 4);
  write_file_atomic(folder / "a.npy", npy_bytes(other));
  EXPECT_EQ(bags.read(0).view.rows, 41U);
  EXPECT_EQ(bags.read(0).view.data[7], other.data()[7]);
  std::filesystem::remove(folder / "b.pt");
  expect_error(ErrorKind::kNotFound, "b.pt", [&] { bags.read(1); });
  expect_error(ErrorKind::kUsage, "bag 4 of 4", [&] { bags.read(4); });
}

TEST(TrainClam, TrainsTheSameFromFilesAsFromMemory) {
  const testing_mil::TemporaryFolder folder;
  const Cohort cohort;
  std::vector<std::filesystem::path> files;
  const std::vector<Matrix<float>> made = slides(30);
  for (std::size_t i = 0; i < made.size(); ++i) {
    files.push_back(folder / (std::to_string(i) + ".pt"));
    write_file_atomic(files.back(), torch_tensor_bytes(from_matrix(made[i])));
  }
  const FileBags bags(files);
  TrainingTask task = cohort.task;
  task.bags = &bags;
  ClamOptions options = small();
  options.max_epochs = 3;
  EXPECT_EQ(train_clam(options, task).state.parameters,
            train_clam(options, cohort.task).state.parameters);
  write_file_atomic(files[4], "nothing");
  expect_error(ErrorKind::kFormat, "slide 4", [&] { train_clam(options, task); });
}

TEST(Subsample, DrawsWithoutReplacementInOrder) {
  Matrix<float> bag(50, 1);
  for (std::size_t i = 0; i < 50; ++i) bag(i, 0) = static_cast<float>(i);
  const Bag whole{testing_mil::view_of(bag), nullptr};
  const Bag drawn = subsample(whole, 20, 1);
  ASSERT_EQ(drawn.view.rows, 20U);
  for (std::size_t i = 1; i < 20; ++i) EXPECT_LT(drawn.view.data[i - 1], drawn.view.data[i]);
  EXPECT_EQ(subsample(whole, 50, 1).view.data, bag.data());
  EXPECT_EQ(subsample(whole, 0, 1).view.data, bag.data());
  const Bag again = subsample(whole, 20, 1);
  EXPECT_TRUE(std::equal(drawn.view.data, drawn.view.data + 20, again.view.data));
}

TEST(MemoryBags, RefusesEmptyAndUnequalBags) {
  std::vector<Matrix<float>> bags;
  bags.emplace_back(3, 2);
  bags.emplace_back(3, 4);
  expect_error(ErrorKind::kData, "bag 1 is 3 x 4", [&] { MemoryBags refused(bags); });
}

}  // namespace
}  // namespace med3d::mil
