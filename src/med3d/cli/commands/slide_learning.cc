#include "med3d/cli/commands/slide_learning.h"

#include <string_view>

namespace med3d {

void declare_classes(Schema& schema) {
  schema.list("classes",
              "names of the labels, in the order of the classes; default: those of the dataset, "
              "numbers before text");
}

void declare_survival(Schema& schema) {
  schema.text("survival-time", "column of follow-up time; learns survival instead of a label");
  schema.text("survival-event", "column of events: 1 = seen, 0 = censored");
  schema.text("survival-censorship", "column of censorship: 1 = censored, 0 = event seen");
  schema.integer("intervals", "intervals of time for survival", 4, 2, 100);
}

pipeline::SurvivalColumns survival_columns(const Options& options) {
  pipeline::SurvivalColumns out;
  if (options.has("survival-time")) out.time = options.text("survival-time");
  if (options.has("survival-event")) out.event = options.text("survival-event");
  if (options.has("survival-censorship")) out.censorship = options.text("survival-censorship");
  out.intervals = static_cast<int>(options.integer("intervals"));
  return out;
}

void with_overwrite_hint(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    const std::string_view what = error.what();
    if (error.kind() == ErrorKind::kUsage &&
        (what.find("holds") != std::string_view::npos ||
         what.find("the folder is not empty") != std::string_view::npos ||
         what.find("a fold of other features") != std::string_view::npos)) {
      throw CommandError(error.kind(),
                         error.what(),
                         "choose another --output, or replace what is there with --overwrite");
    }
    throw;
  }
}

}  // namespace med3d
