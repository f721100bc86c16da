// The whole of `med3d` but its process-wide settings: words in, exit code out.
#pragma once

#include <string>
#include <vector>

namespace med3d {

// Finds the command, reads its options, runs it. Never throws: every error becomes one line
// "med3d: error: ..." on standard error, one line of advice where there is one, and under --json
// one document on standard output. Returns an ExitCode.
int run_program(const std::vector<std::string>& arguments);

}  // namespace med3d
