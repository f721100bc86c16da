#include "med3d/pipeline/audit.h"

#include "med3d/cli/command.h"
#include "med3d/cli/output.h"
#include "med3d/core/json.h"

namespace med3d {
namespace {

int run(const Options& options) {
  Json documents = Json::array();
  std::string text;
  bool clean = true;
  for (const std::string& path : options.all("TABLE")) {
    const auto audit = pipeline::audit_table(path, options.integer("most"));
    clean = clean && audit.clean();
    documents.push_back(pipeline::audit_json(audit));
    text += pipeline::audit_text(audit);
  }
  if (options.has("output")) write_json(options.path("output"), documents);
  if (options.json()) {
    print_json(documents);
  } else {
    print(text);
  }
  return clean ? kExitDone : kExitSomeFailed;
}

}  // namespace

extern const Command audit_command;
const Command audit_command = {
    .name = "audit",
    .summary = "Check printed tables of results for what no set of patients can give",
    .reference = "Brown and Heathers, Soc Psychol Personal Sci 2017 (the idea, for means)",
    .examples = {{"med3d audit results.csv", "Findings with their arithmetic; exit code 3 if any"},
                 {"med3d audit examples/audit/arms.csv", "A published table"},
                 {"med3d audit a.csv b.csv --json", "The same for a program to read"}},
    .declare =
        [](Schema& schema) {
          schema.positional_path("TABLE", "CSV or TSV, one row a model on a test set")
              .required()
              .repeated()
              .integer("most",
                       "patients of each class to try where the table does not say",
                       400,
                       10,
                       2000)
              .path("output", "write the findings to this JSON file too");
        },
    .run = run,
};

}  // namespace med3d
