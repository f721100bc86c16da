#include "med3d/cli/command.h"
#include "med3d/cli/commands.h"
#include "med3d/cli/describe.h"
#include "med3d/cli/output.h"

namespace med3d {
namespace {

int run(const Options& options) {
  const auto words = options.all("COMMAND");
  if (!words.empty()) {
    const FoundCommand found = find_command(words);
    if (found.words < words.size()) {
      throw Error(ErrorKind::kUsage,
                  "unexpected argument '" + words[found.words] + "' after the command's name");
    }
    if (options.json()) {
      print_json(declaration(*found.command));
    } else {
      print(help_page(*found.command));
    }
    return kExitDone;
  }
  if (options.json()) {
    Json document = Json::array();
    for (const Command* command : commands()) document.push_back(declaration(*command));
    print_json(document);
  } else if (options.quiet()) {
    for (const Command* command : commands()) print(std::string(command->name) + "\n");
  } else {
    print(help_overview());
  }
  return kExitDone;
}

}  // namespace

extern const Command help_command;
const Command help_command = {
    .name = "help",
    .summary = "List the commands, or tell the options of one",
    .reference = "",
    .examples = {{"med3d help", "List the commands"},
                 {"med3d help --quiet", "Their names alone, one on each line"},
                 {"med3d help doctor --json", "One command's options for a program to read"}},
    .declare =
        [](Schema& schema) {
          schema.positional("COMMAND", "The command, one or two words").repeated();
        },
    .run = run,
};

}  // namespace med3d
