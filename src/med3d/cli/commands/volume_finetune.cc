#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/slide_learning.h"
#include "med3d/cli/output.h"
#include "med3d/core/progress.h"
#include "med3d/core/text.h"
#include "med3d/encoders/medicalnet.h"
#include "med3d/pipeline/volumes/finetune.h"
#include "med3d/pipeline/volumes/volume_model.h"

namespace med3d {
namespace {

// "64" or "56,448,448": depth, height, width.
nn::VolumeShape extent_of(const std::vector<std::string>& sides) {
  nn::VolumeShape extent{};
  if (sides.size() != 1 && sides.size() != 3) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("--size: {} numbers, expected one side or depth,height,width", sides.size()));
  }
  for (std::size_t a = 0; a < 3; ++a) {
    const std::string& side = sides[sides.size() == 1 ? 0 : a];
    const auto number = parse_double(side);
    if (!number || !(*number >= 1.0 && *number <= 4096.0) ||
        *number != static_cast<double>(static_cast<std::int64_t>(*number))) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("--size: '{}', expected a whole number from 1 to 4096", side));
    }
    extent[a] = static_cast<std::int64_t>(*number);
  }
  return extent;
}

int run(const Options& options) {
  pipeline::FinetuneJob job;
  job.data = options.path("DATA");
  job.output = options.path("output");
  if (options.given("weights")) job.weights = options.path("weights");
  MedicalNetDesign design =
      medicalnet_design(std::stoi(options.choice("depth")), options.choice("net") == "medicalnet");
  design.width = options.integer("width");
  if (options.has("shortcut")) {
    design.shortcut = options.choice("shortcut") == "A" ? Shortcut::kA : Shortcut::kB;
  }
  job.design = pipeline::net_design(design);
  job.preparation.recipe = options.choice("recipe");
  job.preparation.extent = extent_of(options.list("size"));
  auto& training = job.options;
  training.epochs = static_cast<int>(options.integer("max-epochs"));
  training.batch_size = static_cast<int>(options.integer("batch-size"));
  training.learning_rate = options.real("lr");
  training.encoder_factor = options.real("encoder-factor");
  training.weight_decay = options.real("weight-decay");
  training.decoupled = options.choice("opt") == "adamw";
  training.cosine = options.choice("schedule") == "cosine";
  training.weighted_sampler = options.choice("balance") == "sampler";
  training.class_weights = options.choice("balance") == "weights";
  training.label_smoothing = options.real("label-smoothing");
  training.dropout = options.real("dropout");
  training.flip = {false, false, false};
  for (const std::string& axis : options.list("flip")) {
    if (axis == "none") continue;
    training.flip[axis == "depth" ? 0 : axis == "height" ? 1 : 2] = true;
  }
  training.shift = static_cast<int>(options.integer("shift"));
  training.intensity = options.real("intensity");
  training.patience = static_cast<int>(options.integer("patience"));
  training.seed = options.seed();
  training.threads = options.threads();
  job.overwrite = options.flag("overwrite");
  const auto progress = make_console_progress(options.quiet() || options.json());
  pipeline::FinetuneSummary summary;
  with_overwrite_hint([&] { summary = pipeline::finetune_volumes(job, *progress); });
  if (options.json()) {
    print_json(summary.to_json());
  } else if (!options.quiet()) {
    print(summary.text());
  }
  return kExitDone;
}

}  // namespace

extern const Command volume_finetune_command;
const Command volume_finetune_command = {
    .name = "volume finetune",
    .summary = "Train a three-dimensional residual net on labelled scans",
    .reference = "Chen et al., Med3D, arXiv:1904.00625",
    .examples =
        {{"med3d volume finetune scans.csv --weights resnet_18_23dataset.pth --lr 1e-4 --output "
          "run",
          "From MedicalNet's weights, on scans listed with label, patient and split"},
         {"med3d volume finetune adrenalmnist3d_64.npz --net monai --depth 10 --width 16 --size 32 "
          "--output run",
          "A small net from seeded weights, on a file of MedMNIST"}},
    .declare =
        [](Schema& schema) {
          schema
              .positional_path("DATA",
                               "table of file, label, patient and split (CSV), or MedMNIST's .npz")
              .required();
          schema.path("output", "the run folder; a run that was stopped goes on", "volume-run");
          schema.path("weights", "encoder to start from; none: seeded weights");
          schema.choice("net",
                        "dilated last groups as in MedicalNet, or strides as in MONAI",
                        {"medicalnet", "monai"},
                        "medicalnet");
          schema.choice("depth", "layers of the net", {"10", "18", "34", "50"}, "18");
          schema.choice("shortcut", "A or B; as published for the depth unless said", {"A", "B"});
          schema.integer("width", "channels of the stem; published weights have 64", 64, 1, 1024);
          schema.choice("recipe",
                        "how voxels are prepared; dataset: mean and sd of the training volumes",
                        {"dataset", "paper", "ct", "mr", "medicalnet"},
                        "dataset");
          schema.list("size", "side, or depth,height,width, of what the net sees", "56,448,448");
          schema.integer("max-epochs", "epochs at most", 30, 1, 1'000'000);
          schema.integer(
              "patience", "epochs without a higher AUROC; 0 = never stop", 10, 0, 1'000'000);
          schema.integer("batch-size", "volumes in a step", 16, 2, 65536);
          schema.real("lr", "learning rate", 1e-3, 1e-12, 10);
          schema.real("encoder-factor", "the encoder's learning rate as a multiple", 1.0, 0, 1);
          schema.choice(
              "schedule", "learning rate over the epochs", {"cosine", "constant"}, "cosine");
          schema.choice("opt", "optimiser", {"adamw", "adam"}, "adamw");
          schema.real("weight-decay", "decay of weights", 1e-2, 0, 10);
          schema.choice(
              "balance",
              "against unequal classes: weights in the loss, or drawing both equally often",
              {"weights", "sampler", "none"},
              "weights");
          schema.real("label-smoothing", "share of a label spread over both classes", 0, 0, 0.99);
          schema.real("dropout", "share of the embedding dropped in training", 0.2, 0, 0.99);
          schema.list("flip",
                      "axes along which training volumes are mirrored at random",
                      "depth,height,width",
                      {"depth", "height", "width", "none"});
          schema.integer("shift", "random shift of training volumes, voxels", 2, 0, 1024);
          schema.real(
              "intensity", "random change of scale and offset of training voxels", 0.1, 0, 0.99);
          add_common_seed(schema);
          add_common_threads(schema);
          add_common_overwrite(schema);
        },
    .run = run,
};

}  // namespace med3d
