#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/slide_learning.h"
#include "med3d/cli/output.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/slides/train_slides.h"

namespace med3d {
namespace {

mil::ClamOptions clam_options(const Options& options) {
  mil::ClamOptions out;
  out.model_type = mil::model_type_of(options.choice("model-type"));
  out.model_size = mil::model_size_of(options.choice("model-size"));
  out.gated = !options.flag("ungated");
  out.drop_out = options.real("drop-out");
  out.k_sample = static_cast<std::size_t>(options.integer("B"));
  out.shared_instances = options.flag("shared-instances");
  out.no_inst_cluster = options.flag("no-inst-cluster");
  out.subtyping = options.flag("subtyping");
  out.inst_loss = mil::instance_loss_of(options.choice("inst-loss"));
  out.bag_loss = mil::bag_loss_of(options.choice("bag-loss"));
  out.alpha_surv = options.real("alpha-surv");
  out.bag_weight = options.real("bag-weight");
  out.opt = mil::optimiser_of(options.choice("opt"));
  out.lr = options.real("lr");
  out.reg = options.real("reg");
  out.max_epochs = static_cast<int>(options.integer("max-epochs"));
  out.weighted_sample = options.flag("weighted-sample");
  out.early_stopping = options.flag("early-stopping");
  out.patience = static_cast<int>(options.integer("patience"));
  out.stop_epoch = static_cast<int>(options.integer("stop-epoch"));
  out.max_patches = static_cast<std::size_t>(options.integer("max-patches"));
  out.seed = static_cast<std::uint64_t>(options.integer("seed"));
  out.precision = options.choice("precision") == "bf16" ? Arithmetic::kBf16 : Arithmetic::kF32;
  out.threads = options.threads();
  return out;
}

int run(const Options& options) {
  pipeline::TrainSlidesJob job;
  job.features = options.path("FEATURES");
  job.dataset = options.path("dataset");
  job.splits = options.path("splits");
  job.output = options.path("output");
  job.classes = options.list("classes");
  job.survival = survival_columns(options);
  job.options = clam_options(options);
  job.embed_dim = static_cast<std::size_t>(options.integer("embed-dim"));
  job.k = static_cast<int>(options.integer("k"));
  job.k_start = static_cast<int>(options.integer("k-start"));
  job.k_end = static_cast<int>(options.integer("k-end"));
  job.overwrite = options.flag("overwrite");
  job.dry_run = options.flag("dry-run");
  if (job.survival.asked() && options.given("bag-loss") &&
      job.options.bag_loss != mil::BagLossKind::kNllSurv) {
    throw Error(ErrorKind::kUsage,
                "--bag-loss: survival is learnt by nll_surv, found " + options.choice("bag-loss"));
  }
  const auto progress = make_console_progress(options.quiet() || options.json());
  pipeline::TrainSlidesSummary summary;
  with_overwrite_hint([&] { summary = pipeline::train_slides(job, *progress); });
  if (options.json()) {
    print_json(summary.to_json());
  } else if (job.dry_run) {
    std::string text = fmt::format("would train {} nets on {} slides of {} features into {}\n",
                                   summary.folds.size(),
                                   summary.slides,
                                   summary.embed_dim,
                                   job.output.string());
    for (const auto& fold : summary.folds) {
      text += fmt::format("fold {}: {} train, {} validate, {} test\n",
                          fold.fold,
                          fold.training,
                          fold.figures.n_val,
                          fold.figures.n_test);
    }
    print(text);
  } else if (!options.quiet()) {
    print(pipeline::fold_text(summary.folds, summary.survival, true));
    print(fmt::format("summary: {}\n", summary.summary_csv.string()));
  }
  return kExitDone;
}

}  // namespace

extern const Command slide_train_command;
const Command slide_train_command = {
    .name = "slide train",
    .summary = "Train CLAM or a plainer net on features of slides (CLAM's main.py)",
    .reference = "Lu et al., Nat Biomed Eng 5:555-570, 2021; Ilse et al., ICML 2018",
    .examples =
        {{"med3d slide train job --dataset dataset.csv --splits splits/grade_100 --output run",
          "CLAM with one attention branch on each split"},
         {"med3d slide train job --dataset dataset.csv --splits splits/grade_100 --output run "
          "--model-type clam_mb --weighted-sample --early-stopping --drop-out 0.25",
          "One branch a class, options as CLAM's README has them"},
         {"med3d slide train job --dataset outcome.csv --splits splits/pfs_100 --output run "
          "--survival-time months --survival-event event",
          "Discrete-time survival"}},
    .declare =
        [](Schema& schema) {
          schema
              .positional_path("FEATURES",
                               "folder with pt_files or h5_files, or any folder of feature files")
              .required()
              .alias("data-root-dir");
          schema.path("dataset", "table of case_id, slide_id and label (CSV)").required();
          schema.path("splits", "folder of splits_i.csv").required().alias("split-dir");
          schema.path("output", "the run folder; a run that was stopped goes on", "slide-run")
              .alias("results-dir");
          schema.choice("model-type",
                        "the net",
                        {"clam_sb", "clam_mb", "mil", "abmil", "mean", "max"},
                        "clam_sb");
          schema.choice(
              "model-size", "width of the attention, 256 or 384", {"small", "big"}, "small");
          schema.flag("ungated", "attention without its gate");
          schema.real("drop-out", "share of activations dropped in training", 0.25, 0, 0.99);
          schema.real("lr", "learning rate", 1e-4, 1e-12, 100);
          schema.real("reg", "L2 penalty, added to the gradient", 1e-5, 0, 100);
          schema.choice("opt", "optimiser", {"adam", "sgd"}, "adam");
          schema.integer("B", "patches in each instance cluster", 8, 1, 1'000'000);
          schema.real("bag-weight", "share of the bag's loss in the whole", 0.7, 0, 1);
          schema.choice("inst-loss", "loss of the instance clusters", {"svm", "ce"}, "svm");
          schema.choice("bag-loss", "loss of the slide", {"ce", "svm", "nll_surv"}, "ce");
          schema.flag("no-inst-cluster", "train no instance clusters");
          schema.flag("subtyping", "the classes exclude each other: cluster by all of them");
          schema.flag("shared-instances",
                      "CLAM's own clusters on small slides, where a patch can be in both");
          schema.flag("weighted-sample", "draw slides so that classes come equally often");
          schema.flag("early-stopping", "keep the net of the lowest validation loss");
          schema.integer("patience", "epochs without a lower validation loss", 20, 1, 1'000'000);
          schema.integer("stop-epoch", "epochs from 0 to this are always done", 50, 0, 1'000'000);
          schema.integer("max-epochs", "epochs at most", 200, 1, 1'000'000);
          schema.integer("max-patches",
                         "patches of a slide in a step, drawn anew each time; 0 = all",
                         0,
                         0,
                         1'000'000'000);
          schema.integer("k", "splits; 0 = all in the folder", 0, 0, 100'000);
          schema.integer("k-start", "first split to train; -1 = 0", -1, -1, 100'000);
          schema.integer("k-end", "the split after the last; -1 = k", -1, -1, 100'000);
          schema.integer("seed", "seed of weights, order and dropout", 1, 0, 0xFFFFFFFF);
          schema.choice("precision", "products in training", {"bf16", "f32"}, "bf16");
          schema.integer("embed-dim", "width that the features must have; 0 = any", 0, 0, 1 << 20);
          declare_classes(schema);
          declare_survival(schema);
          schema.real("alpha-surv", "weight taken from the censored", 0.0, 0, 0.99);
          add_common_threads(schema);
          add_common_dry_run(schema);
          add_common_overwrite(schema);
        },
    .run = run,
};

}  // namespace med3d
