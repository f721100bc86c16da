// How the volume commands are told what to call patients.
#pragma once

#include <string>

#include "med3d/cli/command.h"

namespace med3d {

void declare_names(Schema& schema);  // --keep-ids, --secret-file

// The first line of --secret-file, "" without it. Throws Error(kUsage) if it has fewer than 16
// characters, kNotFound | kFormat | kIo as read_file.
std::string read_secret(const Options& options);

}  // namespace med3d
