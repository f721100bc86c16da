// What a command is: a name, what to say about it, the options it declares, and a function to run.
//
// Help, shell completion and docs/reference are all made from `declare`, so none of them can lag
// behind the program. A new command is a file in commands/, one line in commands.cc, one in
// CMakeLists.txt and a folder in tests/commands/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "med3d/core/error.h"

namespace med3d {

// What `med3d` returns to the shell.
enum ExitCode : int {
  kExitDone = 0,
  kExitFailed = 1,
  kExitUsage = 2,
  kExitSomeFailed = 3,  // the work was done, but some cases failed and are listed
  kExitLeak = 4,        // refused: training and test are not apart
};

enum class OptionKind { kText, kInteger, kReal, kFlag, kPath, kList, kChoice, kSettings };

// One declared option or positional argument. Commands do not fill this in: Schema does.
struct OptionSpec {
  std::string name;  // "seed" for --seed; for a positional its name in help, "FOLDER"
  OptionKind kind = OptionKind::kText;
  std::string help;        // one line
  std::string value_name;  // "N" in "--seed N"; empty for a flag
  std::string fallback;    // the default as one would type it; empty = none
  std::string unit;        // "months"; only said, never parsed
  std::vector<std::string>
      choices;             // kChoice: the values; kList: the values of each element, or any
  std::int64_t least = 0;  // kInteger: bounds, both included
  std::int64_t most = 0;
  double least_real = 0.0;  // kReal: bounds, both included
  double most_real = 0.0;
  bool positional = false;
  bool required = false;
  bool repeated = false;  // may be given more than once; the values add up
  // Other names for it, without the dashes: "save-dir" for --output. A positional with aliases can
  // be given as an option.
  std::vector<std::string> aliases;
};

// Collects what a command understands. Each function returns the schema, so that declarations
// chain; required(), repeated() and alias() speak of the option declared last. A name declared
// twice, or a default that breaks its own rule, throws std::logic_error: the tests meet every
// command.
class Schema {
 public:
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();

  // --name TEXT
  Schema& text(std::string_view name, std::string_view help, std::string_view fallback = "");
  // --name N, a whole number with least <= N <= most
  Schema& integer(std::string_view name,
                  std::string_view help,
                  std::optional<std::int64_t> fallback,
                  std::int64_t least,
                  std::int64_t most);
  // --name X, a finite number with least <= X <= most, in `unit` ("" = none)
  Schema& real(std::string_view name,
               std::string_view help,
               std::optional<double> fallback,
               double least = -kInfinity,
               double most = kInfinity,
               std::string_view unit = "");
  // --name, off unless given
  Schema& flag(std::string_view name, std::string_view help);
  // --name PATH; whether it exists is for the library to find out
  Schema& path(std::string_view name, std::string_view help, std::string_view fallback = "");
  // --name A,B,C; may be given several times. Each element must be one of `choices` unless empty.
  Schema& list(std::string_view name,
               std::string_view help,
               std::string_view fallback = "",
               std::vector<std::string> choices = {});
  // --name VALUE, one of `choices`; "" = no default
  Schema& choice(std::string_view name,
                 std::string_view help,
                 std::vector<std::string> choices,
                 std::string_view fallback = "");
  // --set SECTION.KEY=VALUE, any number of times
  Schema& settings(std::string_view help);

  // Arguments without a name, in the order declared. Only the last may be repeated.
  Schema& positional(std::string_view name, std::string_view help);
  Schema& positional_path(std::string_view name, std::string_view help);
  Schema& positional_choice(std::string_view name,
                            std::string_view help,
                            std::vector<std::string> choices);

  Schema& required();
  Schema& repeated();
  // What other programs call it: --name means the same. Help tells it in the option's own line.
  Schema& alias(std::string_view name);

  std::span<const OptionSpec> options() const { return options_; }
  // By name or alias; nullptr if not declared.
  const OptionSpec* find(std::string_view name) const;

 private:
  OptionSpec& add(std::string_view name, OptionKind kind, std::string_view help);

  std::vector<OptionSpec> options_;
};

// --help, --json and --quiet: every command has them; the program adds them, no command does.
void add_common(Schema& schema);
void add_common_seed(Schema& schema);     // --seed N, default 0
void add_common_threads(Schema& schema);  // --threads N, default 0 = all; read by Options::threads
void add_common_device(Schema& schema);   // --device auto|cpu|cuda, default auto
void add_common_dry_run(Schema& schema);  // --dry-run
void add_common_overwrite(Schema& schema);  // --overwrite

// One --set: `key` is "section.key" (lower case, digits, '_' and '.'), `value` is kept as typed.
struct Setting {
  std::string key;
  std::string value;
};

// The values a command was called with, all checked against its schema.
//
// Asking for an option that was not declared, as another type than declared, or for a value that is
// not there (see has) throws std::logic_error: that is a fault of the command, not of the caller.
class Options {
 public:
  Options(Schema schema, std::map<std::string, std::vector<std::string>, std::less<>> values);

  bool given(std::string_view name) const;  // typed by the caller
  bool has(std::string_view name) const;    // typed, or has a default

  std::string text(std::string_view name) const;
  std::int64_t integer(std::string_view name) const;
  double real(std::string_view name) const;
  bool flag(std::string_view name) const;
  std::filesystem::path path(std::string_view name) const;
  std::vector<std::string> list(std::string_view name) const;  // empty if not there
  std::string choice(std::string_view name) const;
  std::vector<Setting> settings() const;  // in the order typed
  // Values of a repeated positional, paths included; empty if not there.
  std::vector<std::string> all(std::string_view name) const;

  bool json() const { return flag("json"); }
  bool quiet() const { return flag("quiet"); }
  int threads() const;         // --threads, 0 resolved to the cores we may use
  std::uint64_t seed() const;  // --seed

 private:
  const OptionSpec& spec(std::string_view name, OptionKind kind) const;
  const std::string& single(std::string_view name, OptionKind kind) const;

  Schema schema_;
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
};

struct Example {
  std::string_view command_line;  // "med3d cohort check cohort.toml"
  std::string_view what;          // what it does, one line
};

struct Command {
  std::string_view name;       // "cohort check": noun and verb, or a single word
  std::string_view summary;    // one line for `med3d help`
  std::string_view reference;  // paper behind the method, or empty
  std::vector<Example> examples;
  void (*declare)(Schema&);    // options only: opens no file
  int (*run)(const Options&);  // thin: call the library, print; returns an ExitCode
};

// An Error with one line of advice under it ("--overwrite replaces it"), and an exit code of its
// own where the kind's is not meant (0 = that of the kind).
class CommandError : public Error {
 public:
  CommandError(ErrorKind kind, const std::string& message, std::string hint, int exit_code = 0)
      : Error(kind, message), hint_(std::move(hint)), exit_code_(exit_code) {}
  const std::string& hint() const { return hint_; }
  int exit_code() const { return exit_code_; }

 private:
  std::string hint_;
  int exit_code_;
};

// The command's own options, then the common ones.
Schema schema_of(const Command& command);

// Reads the arguments that follow the command's name. Throws Error(kUsage) naming the option, what
// was found and what was expected; an unknown option comes with the nearest declared one. Where
// --help is among them nothing else is checked. An option may be typed with '_' for each '-'
// (--seg_level), as CLAM and TRIDENT spell theirs.
Options parse_options(const Schema& schema, std::span<const std::string> arguments);

}  // namespace med3d
