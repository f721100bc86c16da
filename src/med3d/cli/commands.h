// The list of commands, and finding one by the words typed.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "med3d/cli/command.h"

namespace med3d {

// Every command, in the order of `med3d help`. commands.cc holds the only list.
std::span<const Command* const> commands();

struct FoundCommand {
  const Command* command = nullptr;
  std::size_t words = 0;  // arguments that its name took, 1 or 2
};
// The command that the first words name. Throws Error(kUsage) with the nearest name for an unknown
// one, and with the verbs of a noun that stands alone.
FoundCommand find_command(std::span<const std::string> arguments,
                          std::span<const Command* const> list = commands());

// "cohort check" as a file name: "cohort_check".
std::string file_stem_of(const Command& command);

}  // namespace med3d
