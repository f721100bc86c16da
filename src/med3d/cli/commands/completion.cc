#include "med3d/cli/command.h"
#include "med3d/cli/describe.h"
#include "med3d/cli/output.h"

namespace med3d {
namespace {

int run(const Options& options) {
  const bool bash = options.choice("SHELL") == "bash";
  const std::string script = bash ? bash_completion() : zsh_completion();
  if (options.json()) {
    Json document;
    document["shell"] = options.choice("SHELL");
    document["script"] = script;
    print_json(document);
  } else {
    print(script);
  }
  return kExitDone;
}

}  // namespace

extern const Command completion_command;
const Command completion_command = {
    .name = "completion",
    .summary = "Print a script that completes commands and options in a shell",
    .reference = "",
    .examples = {{"source <(med3d completion bash)", "Complete in this bash"},
                 {"med3d completion zsh > ~/.zfunc/_med3d",
                  "Complete in every zsh that has the folder in its fpath"}},
    .declare =
        [](Schema& schema) {
          schema.positional_choice("SHELL", "bash or zsh", {"bash", "zsh"}).required();
        },
    .run = run,
};

}  // namespace med3d
