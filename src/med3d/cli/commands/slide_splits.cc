#include "med3d/pipeline/slides/slide_splits.h"

#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/slide_learning.h"
#include "med3d/cli/output.h"

namespace med3d {
namespace {

int run(const Options& options) {
  const auto dataset = pipeline::read_slide_dataset(
      options.path("DATASET"), options.list("classes"), survival_columns(options));
  mil::SplitOptions split;
  split.k = static_cast<int>(options.integer("k"));
  split.seed = static_cast<std::uint64_t>(options.integer("seed"));
  split.val_frac = options.real("val-frac");
  split.test_frac = options.real("test-frac");
  split.label_frac = options.real("label-frac");
  split.voting = options.choice("patient-voting") == "maj" ? mil::PatientVoting::kMajority
                                                           : mil::PatientVoting::kMax;
  const auto folder = options.path("output");
  std::vector<mil::ClamSplit> splits;
  if (options.flag("dry-run")) {
    splits = mil::make_clam_splits(dataset.table, split);
  } else {
    with_overwrite_hint([&] {
      splits = pipeline::write_slide_splits(dataset, split, folder, options.flag("overwrite"));
    });
  }
  if (options.json()) {
    Json list = Json::array();
    for (const auto& one : splits) {
      list.push_back(
          {{"train", one.train.size()}, {"val", one.val.size()}, {"test", one.test.size()}});
    }
    print_json({{"output", folder.string()},
                {"slides", dataset.table.slide_ids.size()},
                {"classes", dataset.table.classes},
                {"splits", list}});
  } else if (!options.quiet()) {
    std::string text = fmt::format("{:<6} {:>6} {:>6} {:>6}\n", "split", "train", "val", "test");
    for (std::size_t i = 0; i < splits.size(); ++i) {
      text += fmt::format("{:<6} {:>6} {:>6} {:>6}\n",
                          i,
                          splits[i].train.size(),
                          splits[i].val.size(),
                          splits[i].test.size());
    }
    print(text);
  }
  return kExitDone;
}

}  // namespace

extern const Command slide_splits_command;
const Command slide_splits_command = {
    .name = "slide splits",
    .summary = "Draw which patients train, validate and test (CLAM's create_splits_seq.py)",
    .reference = "Lu et al., Nat Biomed Eng 5:555-570, 2021",
    .examples = {{"med3d slide splits dataset.csv --output splits/grade_100",
                  "Ten draws, a tenth of the patients each to validate and to test"},
                 {"med3d slide splits dataset.csv --output splits/grade_50 --label-frac 0.5",
                  "Half of the training patients alone"}},
    .declare =
        [](Schema& schema) {
          schema.positional_path("DATASET", "table of case_id, slide_id and label (CSV)")
              .required();
          schema.path("output", "folder of splits_i.csv", "splits");
          schema.integer("k", "draws, each of all patients", 10, 1, 100'000);
          schema.integer("seed", "seed of the draws", 1, 0, 0xFFFFFFFF);
          schema.real("val-frac", "share of each class's patients that validate", 0.1, 0, 1);
          schema.real("test-frac", "share of each class's patients that test", 0.1, 0, 1);
          schema.real("label-frac", "share of the rest that trains", 1.0, 0, 1);
          schema.choice("patient-voting",
                        "label of a patient with slides of several: the largest, or the most",
                        {"max", "maj"},
                        "max");
          declare_classes(schema);
          declare_survival(schema);
          add_common_dry_run(schema);
          add_common_overwrite(schema);
        },
    .run = run,
};

}  // namespace med3d
