#include "med3d/cli/output.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "med3d/core/error.h"

namespace med3d {
namespace {

void check(bool written) {
  if (written || errno == EPIPE) return;
  const int reason = errno;
  std::clearerr(stdout);
  throw Error(ErrorKind::kIo,
              fmt::format("standard output: {}", std::generic_category().message(reason)));
}

}  // namespace

void print(std::string_view text) {
  if (text.empty()) return;
  check(std::fwrite(text.data(), 1, text.size(), stdout) == text.size());
}

void print_json(const Json& document) { print(dump_json(document)); }

void flush_output() { check(std::fflush(stdout) == 0); }

}  // namespace med3d
