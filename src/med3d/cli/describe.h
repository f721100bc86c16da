// What is said about commands: help pages, Markdown pages, shell completion. All of it is made from
// the declarations, so the same declarations always give the same bytes.
#pragma once

#include <span>
#include <string>

#include "med3d/cli/command.h"
#include "med3d/cli/commands.h"
#include "med3d/core/json.h"

namespace med3d {

std::string help_overview(std::span<const Command* const> list = commands());  // `med3d help`
std::string help_page(const Command& command);      // `med3d help doctor`
std::string markdown_page(const Command& command);  // docs/reference/doctor.md
std::string markdown_index(
    std::span<const Command* const> list = commands());  // docs/reference/index.md
Json declaration(const Command& command);                // `med3d help doctor --json`
std::string bash_completion(std::span<const Command* const> list = commands());
std::string zsh_completion(std::span<const Command* const> list = commands());

}  // namespace med3d
