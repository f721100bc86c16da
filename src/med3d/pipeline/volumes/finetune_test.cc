#include "med3d/pipeline/volumes/finetune.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "med3d/core/file.h"
#include "med3d/core/random.h"
#include "med3d/encoders/medicalnet.h"
#include "med3d/io/formats/npy.h"
#include "med3d/io/formats/png.h"
#include "med3d/pipeline/test_support.h"
#include "med3d/pipeline/volumes/grad_cam.h"
#include "med3d/pipeline/volumes/volume_model.h"
#include "med3d/radiology/nifti.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::TempFolder;

constexpr std::int64_t kSide = 24;

// Noise; where `blob`, a brighter cube of eight voxels a side with its corner at `corner`.
std::vector<float> scan(std::uint32_t seed, bool blob, const std::array<std::int64_t, 3>& corner) {
  NumpyRandom random(seed);
  std::vector<float> v(kSide * kSide * kSide);
  for (float& voxel : v) voxel = static_cast<float>(random.normal());
  for (std::int64_t j = 0; blob && j < 512; ++j) {
    const std::int64_t z = corner[0] + j / 64;
    const std::int64_t y = corner[1] + j / 8 % 8;
    v[static_cast<std::size_t>((z * kSide + y) * kSide + corner[2] + j % 8)] += 4.0F;
  }
  return v;
}

std::array<std::int64_t, 3> corner_of(std::uint32_t seed) {
  return {seed * 7 % 17, seed * 5 % 17, seed * 11 % 17};
}

NamedArray named(const std::string& name,
                 std::vector<std::uint64_t> shape,
                 const std::vector<float>& values) {
  NamedArray out{name, {}};
  out.array.shape = std::move(shape);
  out.array.bytes.resize(values.size() * sizeof(float));
  std::memcpy(out.array.bytes.data(), values.data(), out.array.bytes.size());
  return out;
}

NamedArray labels(const std::string& name, std::size_t n) {
  NamedArray out{name, {}};
  out.array.shape = {n, 1};
  out.array.dtype = DType::kU8;
  for (std::size_t i = 0; i < n; ++i) out.array.bytes.push_back(i % 2 == 0 ? '\1' : '\0');
  return out;
}

struct BlobRun {
  TempFolder folder;
  FinetuneJob job;

  BlobRun() {
    std::vector<NamedArray> arrays;
    std::uint32_t seed = 1;
    for (const auto& [name, n] :
         {std::pair<std::string, std::size_t>{"train", 40}, {"val", 12}, {"test", 14}}) {
      std::vector<float> all;
      for (std::size_t i = 0; i < n; ++i, ++seed) {
        const auto one = scan(seed, i % 2 == 0, corner_of(seed));
        all.insert(all.end(), one.begin(), one.end());
      }
      arrays.push_back(named(name + "_images", {n, kSide, kSide, kSide}, all));
      arrays.push_back(labels(name + "_labels", n));
    }
    write_file_atomic(folder.path() / "blobs.npz", npz_bytes(arrays));
    job.data = folder.path() / "blobs.npz";
    job.output = folder.path() / "run";
    job.design = {{1, 1, 1, 1}, false, true, true, 4};
    job.preparation.extent = {kSide, kSide, kSide};
    job.options.epochs = 5;
    job.options.batch_size = 8;
    job.options.learning_rate = 5e-3;
    job.options.seed = 1;
  }

  std::string file(const std::string& name) const {
    return read_file(job.output / name, 1U << 26U);
  }
};

// Stops a run as a kill would, at the end of an epoch: the state has been written by then.
class Killer : public Progress {
 public:
  explicit Killer(int after) : left_(after) {}
  void start(std::string_view, std::size_t) override {}
  void advance(std::size_t) override {}
  void note(std::string_view message) override {
    if (message.starts_with("epoch") && --left_ == 0) throw std::runtime_error("killed");
  }
  void warn(std::string_view) override {}
  void finish() override {}

 private:
  int left_;
};

TEST(FinetuneVolumes, LearnsWritesItsFilesAndExplainsWhatItUsed) {
  BlobRun run;
  const FinetuneSummary summary = finetune_volumes(run.job, silent_progress());
  const Json& test = summary.metrics.at("test");
  EXPECT_EQ(test.at("n"), 14);
  EXPECT_EQ(test.at("events"), 7);
  EXPECT_GT(test.at("metrics").at("auroc").at("value").get<double>(), 0.85);
  EXPECT_EQ(test.at("threshold"), summary.metrics.at("val").at("threshold"));
  EXPECT_FALSE(fs::exists(run.job.output / "training.safetensors"));
  EXPECT_TRUE(finetune_volumes(run.job, silent_progress()).taken_over);

  // The same embedding from the encoder as from the net that was trained.
  const VolumeModel model = read_volume_model(run.job.output);
  const auto net = nn::VolumeClassifier::from_parameters(model.design, model.parameters);
  const auto encoder = model.encoder(1);
  Volume one;
  one.size = {kSide, kSide, kSide};
  one.voxels = scan(900, true, {8, 8, 8});
  const Volume prepared = model.preparation.apply(one, 1);
  const nn::VolumeSet set = {model.preparation.extent, 1, [&](std::size_t, std::span<float> out) {
                               std::copy(
                                   prepared.voxels.begin(), prepared.voxels.end(), out.begin());
                             }};
  const auto said = net.predict(set);
  std::vector<float> embedding(static_cast<std::size_t>(model.design.embedding_dim()));
  FeatureMap map = encoder->encode_with_map(prepared.voxels, model.preparation.extent, embedding);
  double largest = 0.0;
  for (const float v : embedding) largest = std::max(largest, std::abs(static_cast<double>(v)));
  for (std::size_t c = 0; c < embedding.size(); ++c) {
    EXPECT_NEAR(embedding[c], said.embedding[0][c], 1e-4 * largest);
  }
  // What the positions add is the logit less the bias.
  const std::vector<float> head = model.head();
  const auto activation = class_activation(map, head);
  const double bias = nn::find_parameter(model.parameters, "fc.bias").values[0];
  EXPECT_NEAR(std::accumulate(activation.begin(), activation.end(), 0.0) + bias,
              said.logit[0],
              1e-3 * (1.0 + std::abs(said.logit[0])));

  // On a scan whose axes lie otherwise (x and y swapped, z downwards) and with an origin of its
  // own, the heat lies on the scan's grid, and most of it on the blob.
  Volume turned = one;
  turned.patient_from_voxel.m = {{{0, 2, 0, -30}, {2, 0, 0, 12}, {0, 0, -2, 50}, {0, 0, 0, 1}}};
  turned.spacing_mm = {2, 2, 2};
  turned.voxels = scan(901, true, {16, 8, 0});  // z, y, x
  write_nifti(run.folder.path() / "a scan.nii.gz", turned);
  ExplainJob explain;
  explain.model = run.job.output;
  explain.output = run.folder.path() / "cam";
  explain.scans = {run.folder.path() / "a scan.nii.gz", run.folder.path() / "none.nii"};
  const ExplainSummary found = explain_volumes(explain, silent_progress());
  ASSERT_EQ(found.failed(), 1U);
  EXPECT_NE(found.scans[1].error, "");
  EXPECT_EQ(found.scans[0].name, "a_scan");
  EXPECT_GT(found.scans[0].probability, 0.5);
  const Volume heat = read_nifti(explain.output / "a_scan_cam.nii.gz");
  EXPECT_EQ(heat.size, turned.size);
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t c = 0; c < 4; ++c) {
      EXPECT_NEAR(heat.patient_from_voxel.m[r][c], turned.patient_from_voxel.m[r][c], 1e-5);
    }
  }
  const std::array<double, 3> middle = {3.5, 11.5, 19.5};  // x, y, z of the blob
  for (std::size_t a = 0; a < 3; ++a) {
    EXPECT_NEAR(static_cast<double>(found.scans[0].peak[a]), middle[a], 8.0) << a;
  }
  const PngImage png = read_png(explain.output / "a_scan_cam.png");
  EXPECT_EQ(png.channels, 3);
  expect_error(
      ErrorKind::kUsage, "not empty", [&] { explain_volumes(explain, silent_progress()); });
}

TEST(FinetuneVolumes, GoesOnAfterAKillToTheSameBytes) {
  BlobRun run;
  run.job.options.epochs = 3;
  run.job.design.width = 2;
  finetune_volumes(run.job, silent_progress());
  const fs::path whole = run.job.output;
  run.job.output = run.folder.path() / "killed";
  Killer killer(2);
  EXPECT_THROW(finetune_volumes(run.job, killer), std::runtime_error);
  EXPECT_TRUE(fs::exists(run.job.output / "training.safetensors"));
  finetune_volumes(run.job, silent_progress());
  for (const char* name :
       {"model.json", "model.safetensors", "history.csv", "predictions.csv", "metrics.json"}) {
    EXPECT_EQ(read_file(whole / name, 1U << 26U), run.file(name)) << name;
  }
  // Another seed is another run.
  run.job.options.seed = 2;
  expect_error(ErrorKind::kUsage, "does not hold this run", [&] {
    finetune_volumes(run.job, silent_progress());
  });
}

TEST(FinetuneVolumes, RefusesAPatientInTwoSplits) {
  TempFolder folder;
  const std::vector<float> voxels = scan(1, false, {});
  write_file_atomic(folder.path() / "v.npy",
                    npy_bytes(named("", {kSide, kSide, kSide}, voxels).array));
  FinetuneJob job;
  job.data = folder.path() / "scans.csv";
  job.output = folder.path() / "run";
  job.preparation.extent = {8, 8, 8};
  const auto with = [&](const std::string& last) {
    folder.write("scans.csv",
                 "file,label,patient,split\nv.npy,0,ab 1,train\nv.npy,1,c2,train\nv.npy,0,d3,val\n"
                 "v.npy,1,e4,val\nv.npy,0,f5,test\n" +
                     last);
  };
  with("v.npy,1,AB_1,test\n");
  expect_error(ErrorKind::kData, "lines 2 and 7 are of one patient and have two labels", [&] {
    finetune_volumes(job, silent_progress());
  });
  with("v.npy,0,AB_1,test\nv.npy,1,g6,test\n");
  expect_error(ErrorKind::kData, "lines 2 and 7 are of one patient in two splits", [&] {
    finetune_volumes(job, silent_progress());
  });
  with("v.npy,0,g6,test\n");
  expect_error(ErrorKind::kData, "split 'test' holds 2 volumes of class 0 and 0 of class 1", [&] {
    finetune_volumes(job, silent_progress());
  });
  with("v.npy,2,g6,test\n");
  expect_error(ErrorKind::kData, "line 7: the label is neither 0 nor 1", [&] {
    finetune_volumes(job, silent_progress());
  });
  with("v.npy,1,g6,later\n");
  expect_error(ErrorKind::kData, "line 7: the split is none of", [&] {
    finetune_volumes(job, silent_progress());
  });
  with("gone.npy,1,g6,test\n");
  expect_error(ErrorKind::kNotFound, "line 7", [&] { finetune_volumes(job, silent_progress()); });
}

TEST(VolumeModel, RefusesArraysOfAnotherModel) {
  BlobRun run;
  VolumeModel model;
  model.design = {{1, 1, 1, 1}, false, true, true, 2};
  model.preparation.extent = {16, 16, 16};
  const Weights weights = untrained_medicalnet_weights(encoder_design(model.design), 1);
  model.parameters = encoder_parameters(weights);
  model.parameters.push_back({"fc.weight", {1, 16}, std::vector<float>(16, 0.5F)});
  model.parameters.push_back({"fc.bias", {1}, {0.25F}});
  const fs::path folder = run.folder.path() / "model";
  make_folder(folder);
  write_volume_model(folder, model, {});
  EXPECT_EQ(read_volume_model(folder).head(), std::vector<float>(16, 0.5F));
  model.parameters.back().values = {0.5F};
  const std::string json = read_file(folder / "model.json", 1U << 20U);
  write_volume_model(folder, model, {});
  write_file_atomic(folder / "model.json", json);
  expect_error(ErrorKind::kFormat, "not the arrays that model.json was written with", [&] {
    read_volume_model(folder);
  });
}

// Two negatives at 0.1 and 0.4, two positives at 0.3 and 0.8: at 0.8 sensitivity 1/2, specificity 1
// (0.75); at 0.4 1/2 and 1/2 (0.5); at 0.3 1 and 1/2 (0.75). The highest of equals is 0.8.
TEST(ThresholdOfValidation, IsTheHighestOfTheBest) {
  EXPECT_EQ(threshold_of_validation({0, 1, 0, 1}, {0.1, 0.3, 0.4, 0.8}), 0.8);
  // At 0.8 sensitivity 1/2, specificity 1 (0.75); at 0.3 both are 1.
  EXPECT_EQ(threshold_of_validation({0, 1, 1}, {0.2, 0.3, 0.8}), 0.3);
}

}  // namespace
}  // namespace med3d::pipeline
