#include "med3d/cli/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <new>

#include "med3d/cli/build_info.h"
#include "med3d/cli/command.h"
#include "med3d/cli/commands.h"
#include "med3d/cli/commands/isolation_input.h"
#include "med3d/cli/describe.h"
#include "med3d/cli/output.h"
#include "med3d/io/worker.h"

namespace med3d {
namespace {

// File names reach messages; what they hold must not steer a terminal. A line of its own is
// indented, so that no part of a message can pose as another message.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += "\n  ";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

// The advice of the innermost CommandError: contexts added on the way up hide it, nested.
std::string hint_of(const std::exception& error) {
  std::string hint;
  if (const auto* advised = dynamic_cast<const CommandError*>(&error)) hint = advised->hint();
  try {
    std::rethrow_if_nested(error);
  } catch (const std::exception& inner) {
    const std::string deeper = hint_of(inner);
    if (!deeper.empty()) hint = deeper;
  }
  return hint;
}

struct Failure {
  std::string kind;
  std::string message;
  std::string hint;
  int exit_code = kExitFailed;
};

Failure failure_of(const std::exception& error, const Command* command) {
  Failure failure;
  failure.message = describe(error);
  failure.hint = hint_of(error);
  if (const auto* known = dynamic_cast<const Error*>(&error)) {
    failure.kind = to_string(known->kind());
    if (known->kind() == ErrorKind::kUsage) {
      failure.exit_code = kExitUsage;
      if (failure.hint.empty()) {
        failure.hint = command == nullptr
                           ? "'med3d help' lists the commands"
                           : fmt::format("'med3d help {}' tells its options", command->name);
      }
    }
    const auto* advised = dynamic_cast<const CommandError*>(&error);
    if (advised != nullptr && advised->exit_code() != 0) failure.exit_code = advised->exit_code();
  } else if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) {
    failure.kind = "memory";
    failure.message = "out of memory";
  } else {
    failure.kind = "internal";
  }
  return failure;
}

int report(const Failure& failure, bool json) {
  std::fputs(fmt::format("med3d: error: {}\n", printable(failure.message)).c_str(), stderr);
  if (!failure.hint.empty()) {
    std::fputs(fmt::format("med3d: hint: {}\n", printable(failure.hint)).c_str(), stderr);
  }
  if (json) {
    Json error;
    error["kind"] = failure.kind;
    error["message"] = failure.message;
    error["hint"] = failure.hint.empty() ? Json(nullptr) : Json(failure.hint);
    error["exit_code"] = failure.exit_code;
    Json document;
    document["error"] = std::move(error);
    try {
      print_json(document);
      flush_output();
    } catch (const std::exception&) {
      // Standard error has it already.
    }
  }
  return failure.exit_code;
}

int dispatch(std::vector<std::string> arguments, const Command*& command) {
  // Options before the command: those of every command may stand there too.
  std::vector<std::string> early;
  while (!arguments.empty() && arguments.front().starts_with('-')) {
    early.push_back(arguments.front());
    arguments.erase(arguments.begin());
  }
  if (early.size() == 1 && early[0] == "--version" && arguments.empty()) {
    print(fmt::format("med3d {}\n", kVersion));
    return kExitDone;
  }
  if (arguments.empty()) {
    Schema common;
    common.flag("version", "Name the version");
    add_common(common);
    if (parse_options(common, early).flag("help")) {
      print(help_overview());
      return kExitDone;
    }
  }
  const FoundCommand found = find_command(arguments);
  command = found.command;
  std::vector<std::string> rest(arguments.begin() + static_cast<std::ptrdiff_t>(found.words),
                                arguments.end());
  rest.insert(rest.begin(), early.begin(), early.end());
  const Schema schema = schema_of(*command);
  const Options options = parse_options(schema, rest);
  if (options.flag("help")) {
    print(help_page(*command));
    return kExitDone;
  }
  apply_isolation(schema, options);
  const int code = command->run(options);
  if (const std::string why = unisolated_because(); !why.empty() && !options.quiet()) {
    std::fputs(fmt::format("med3d: warning: files were decoded in this process, which one that "
                           "crashes its decoder would have ended: {}\n",
                           printable(why))
                   .c_str(),
               stderr);
  }
  return code;
}

}  // namespace

int run_program(const std::vector<std::string>& arguments) {
  const bool json = std::find(arguments.begin(), arguments.end(), "--json") != arguments.end();
  const Command* command = nullptr;
  try {
    const int code = dispatch(arguments, command);
    flush_output();
    return code;
  } catch (const std::exception& error) {
    return report(failure_of(error, command), json);
  } catch (...) {
    return report({"internal", "an exception that says nothing of itself", "", kExitFailed}, json);
  }
}

}  // namespace med3d
