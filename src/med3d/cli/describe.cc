#include "med3d/cli/describe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/text.h"

namespace med3d {
namespace {

using CommandList = std::span<const Command* const>;

constexpr std::string_view kExitCodes[][2] = {
    {"0", "done"},
    {"1", "failed; standard error says why"},
    {"2", "wrong usage: nothing was done"},
    {"3", "done, but some cases failed and are listed"},
    {"4", "refused: training and test share patients or images"},
};

// "--seed N", "FOLDER", "[CASE...]"
std::string shape(const OptionSpec& spec) {
  if (spec.positional) {
    const std::string name = spec.name + (spec.repeated ? "..." : "");
    return spec.required ? name : "[" + name + "]";
  }
  const std::string name = spec.name == "help" ? "-h, --help" : "--" + spec.name;
  return spec.value_name.empty() ? name : name + " " + spec.value_name;
}

// The facts a help line adds: default, range, choices.
std::vector<std::string> facts(const OptionSpec& spec) {
  std::vector<std::string> facts;
  if (!spec.positional && spec.required) facts.push_back("required");
  if (!spec.fallback.empty()) facts.push_back("default " + spec.fallback);
  if (spec.kind == OptionKind::kInteger) {
    facts.push_back(fmt::format("{} to {}", spec.least, spec.most));
  }
  if (spec.kind == OptionKind::kReal) {
    const bool low = std::isfinite(spec.least_real);
    const bool high = std::isfinite(spec.most_real);
    const std::string least = format_double(spec.least_real);
    const std::string most = format_double(spec.most_real);
    if (low && high) facts.push_back(least + " to " + most);
    if (low && !high) facts.push_back("at least " + least);
    if (high && !low) facts.push_back("at most " + most);
  }
  if (!spec.unit.empty()) facts.push_back("in " + spec.unit);
  const bool shows_choices = spec.kind == OptionKind::kChoice && !spec.positional;
  if (!spec.choices.empty() && !shows_choices) {
    facts.push_back(fmt::format("of {}", fmt::join(spec.choices, ", ")));
  }
  if (!spec.positional && spec.repeated) facts.push_back("may be repeated");
  if (!spec.aliases.empty())
    facts.push_back(fmt::format("also --{}", fmt::join(spec.aliases, ", --")));
  return facts;
}

std::string help_of(const OptionSpec& spec) {
  const auto known = facts(spec);
  return known.empty() ? spec.help : fmt::format("{} ({})", spec.help, fmt::join(known, "; "));
}

std::string usage_of(const Command& command, const Schema& schema) {
  std::string usage = fmt::format("med3d {}", command.name);
  for (const auto& spec : schema.options()) {
    if (!spec.positional && spec.required) usage += " " + shape(spec);
  }
  usage += " [options]";
  for (const auto& spec : schema.options()) {
    if (spec.positional) usage += " " + shape(spec);
  }
  return usage;
}

// Breaks text at spaces so that no line passes 100 columns; further lines start at `indent`.
std::string wrapped(std::string_view text, std::size_t indent) {
  std::string out;
  std::size_t column = indent;
  for (const auto& word : split(text, ' ')) {
    if (column > indent && column + 1 + word.size() > 100) {
      out += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out;
}

std::string option_lines(const Schema& schema, bool positional) {
  constexpr std::size_t kColumn = 26;
  std::string out;
  for (const auto& spec : schema.options()) {
    if (spec.positional != positional) continue;
    const std::string left = "  " + shape(spec);
    out += left;
    out += left.size() + 2 > kColumn ? "\n" + std::string(kColumn, ' ')
                                     : std::string(kColumn - left.size(), ' ');
    out += wrapped(help_of(spec), kColumn) + "\n";
  }
  return out;
}

bool has_positionals(const Schema& schema) {
  const auto options = schema.options();
  return std::any_of(
      options.begin(), options.end(), [](const OptionSpec& spec) { return spec.positional; });
}

std::string markdown_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '<' || c == '*' || c == '_' || c == '`' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

// Inside a table a bar ends the cell even in code.
std::string markdown_code(std::string_view text) {
  std::string out = "`";
  for (const char c : text) out += c == '|' ? "\\|" : std::string(1, c);
  return out + "`";
}

std::string_view kind_name(OptionKind kind) {
  switch (kind) {
    case OptionKind::kText:
      return "text";
    case OptionKind::kInteger:
      return "integer";
    case OptionKind::kReal:
      return "real";
    case OptionKind::kFlag:
      return "flag";
    case OptionKind::kPath:
      return "path";
    case OptionKind::kList:
      return "list";
    case OptionKind::kChoice:
      return "choice";
    case OptionKind::kSettings:
      return "settings";
  }
  return "text";
}

std::string first_word(const Command& command) {
  return std::string(command.name.substr(0, command.name.find(' ')));
}

// The first words of all commands, each once, in the order of the list.
std::vector<std::string> first_words(CommandList list) {
  std::vector<std::string> words;
  for (const Command* command : list) {
    const std::string word = first_word(*command);
    if (std::find(words.begin(), words.end(), word) == words.end()) words.push_back(word);
  }
  return words;
}

std::vector<std::string> second_words(CommandList list, std::string_view noun) {
  std::vector<std::string> words;
  for (const Command* command : list) {
    const auto space = command->name.find(' ');
    if (space != std::string_view::npos && command->name.substr(0, space) == noun) {
      words.emplace_back(command->name.substr(space + 1));
    }
  }
  return words;
}

std::string single_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

// For the bracketed and colon-separated parts of a zsh _arguments spec.
std::string zsh_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\' || c == '(' || c == ')') out += '\\';
    out += c;
  }
  return out;
}

std::string zsh_action(const OptionSpec& spec) {
  if (!spec.choices.empty()) return fmt::format("({})", fmt::join(spec.choices, " "));
  return spec.kind == OptionKind::kPath ? "_files" : " ";
}

}  // namespace

std::string help_overview(CommandList list) {
  std::string out =
      "med3d - honest multimodal prognosis for kidney cancer, from raw files to report\n\n"
      "usage: med3d COMMAND [options]\n\ncommands:\n";
  std::size_t width = 0;
  for (const Command* command : list) width = std::max(width, command->name.size());
  for (const Command* command : list) {
    out += fmt::format("  {:<{}}  {}\n", command->name, width, command->summary);
  }
  out +=
      "\n'med3d help COMMAND' tells the options of one command.\n"
      "Every command knows --help, --json and --quiet; 'med3d --version' names the version.\n"
      "\nexit codes:\n";
  for (const auto& [code, meaning] : kExitCodes) out += fmt::format("  {}  {}\n", code, meaning);
  return out;
}

std::string help_page(const Command& command) {
  const Schema schema = schema_of(command);
  std::string out = fmt::format(
      "med3d {} - {}\n\nusage: {}\n", command.name, command.summary, usage_of(command, schema));
  if (has_positionals(schema)) out += "\narguments:\n" + option_lines(schema, true);
  out += "\noptions:\n" + option_lines(schema, false);
  if (!command.examples.empty()) out += "\nexamples:\n";
  for (const auto& example : command.examples) {
    out += fmt::format("  {}\n      {}\n", example.command_line, example.what);
  }
  if (!command.reference.empty()) {
    out += fmt::format("\nreference: {}\n", wrapped(command.reference, 11));
  }
  return out;
}

std::string markdown_page(const Command& command) {
  const Schema schema = schema_of(command);
  std::string out = fmt::format(
      "<!-- Written by `med3d docs`; edit the declaration in src/med3d/cli/commands/{}.cc. -->\n\n"
      "# med3d {}\n\n{}.\n\n```\n{}\n```\n",
      file_stem_of(command),
      command.name,
      markdown_escaped(command.summary),
      usage_of(command, schema));
  for (const bool positional : {true, false}) {
    if (positional && !has_positionals(schema)) continue;
    out += fmt::format("\n## {0}\n\n| {1} | meaning | limits |\n| --- | --- | --- |\n",
                       positional ? "Arguments" : "Options",
                       positional ? "argument" : "option");
    for (const auto& spec : schema.options()) {
      if (spec.positional != positional) continue;
      out += fmt::format("| {} | {} | {} |\n",
                         markdown_code(shape(spec)),
                         markdown_escaped(spec.help),
                         markdown_escaped(fmt::format("{}", fmt::join(facts(spec), "; "))));
    }
  }
  if (!command.examples.empty()) out += "\n## Examples\n";
  for (const auto& example : command.examples) {
    out += fmt::format(
        "\n{}:\n\n```sh\n{}\n```\n", markdown_escaped(example.what), example.command_line);
  }
  if (!command.reference.empty()) {
    out += fmt::format("\n## Reference\n\n{}\n", markdown_escaped(command.reference));
  }
  return out;
}

std::string markdown_index(CommandList list) {
  std::string out =
      "<!-- Written by `med3d docs`. -->\n\n# Commands\n\n"
      "| command | what it does |\n| --- | --- |\n";
  for (const Command* command : list) {
    out += fmt::format("| [`med3d {}`]({}.md) | {} |\n",
                       command->name,
                       file_stem_of(*command),
                       markdown_escaped(command->summary));
  }
  out += "\n## Exit codes\n\n| code | meaning |\n| --- | --- |\n";
  for (const auto& [code, meaning] : kExitCodes) out += fmt::format("| {} | {} |\n", code, meaning);
  out +=
      "\nUnder `--json` an error is one document on standard output: "
      "`{\"error\": {\"kind\", \"message\", \"hint\", \"exit_code\"}}`.\n";
  return out;
}

Json declaration(const Command& command) {
  Json options = Json::array();
  const Schema schema = schema_of(command);
  for (const auto& spec : schema.options()) {
    Json option;
    option["name"] = spec.name;
    option["kind"] = kind_name(spec.kind);
    option["help"] = spec.help;
    option["positional"] = spec.positional;
    option["required"] = spec.required;
    option["repeated"] = spec.repeated;
    if (!spec.aliases.empty()) option["aliases"] = spec.aliases;
    if (!spec.fallback.empty()) option["default"] = spec.fallback;
    if (!spec.unit.empty()) option["unit"] = spec.unit;
    if (!spec.choices.empty()) option["choices"] = spec.choices;
    if (spec.kind == OptionKind::kInteger) option["range"] = {spec.least, spec.most};
    if (spec.kind == OptionKind::kReal) option["range"] = {spec.least_real, spec.most_real};
    options.push_back(std::move(option));
  }
  Json out;
  out["name"] = command.name;
  out["summary"] = command.summary;
  if (!command.reference.empty()) out["reference"] = command.reference;
  out["options"] = std::move(options);
  return out;
}

std::string bash_completion(CommandList list) {
  std::string out =
      "# bash completion for med3d; load it with: source <(med3d completion bash)\n"
      "_med3d() {\n"
      "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
      "  local words='' files='' name=''\n"
      "  COMPREPLY=()\n"
      "  if ((COMP_CWORD == 1)); then\n";
  out += fmt::format(
      "    words={}\n",
      single_quoted(fmt::format("{} --help --version", fmt::join(first_words(list), " "))));
  out += "  else\n    case \"${COMP_WORDS[1]}\" in\n";
  for (const auto& word : first_words(list)) {
    const auto verbs = second_words(list, word);
    if (verbs.empty()) {
      out += fmt::format("      {0}) name={0} ;;\n", word);
    } else {
      // The verb is being typed, or has been.
      out += fmt::format(
          "      {0}) if ((COMP_CWORD == 2)); then words={1}; else name=\"{0} ${{COMP_WORDS[2]}}\";"
          " fi ;;\n",
          word,
          single_quoted(fmt::format("{}", fmt::join(verbs, " "))));
    }
  }
  out += "    esac\n  fi\n  case \"$name\" in\n";
  for (const Command* command : list) {
    const Schema schema = schema_of(*command);
    std::string values;
    std::vector<std::string> flags;
    std::string rest = "files=yes";
    bool any_positional = false;
    for (const auto& spec : schema.options()) {
      if (spec.positional) {
        any_positional = true;
        if (!spec.choices.empty()) {
          rest = "words=" + single_quoted(fmt::format("{}", fmt::join(spec.choices, " ")));
        }
        continue;
      }
      flags.push_back("--" + spec.name);
      if (spec.kind == OptionKind::kFlag) continue;
      const std::string action =
          !spec.choices.empty()
              ? "words=" + single_quoted(fmt::format("{}", fmt::join(spec.choices, " ")))
          : spec.kind == OptionKind::kPath ? "files=yes"
                                           : "return";
      values += fmt::format("        --{}) {} ;;\n", spec.name, action);
    }
    if (!any_positional) rest = "words=\"$options\"";
    out += fmt::format("    {})\n", single_quoted(command->name));
    out += fmt::format("      local options={}\n",
                       single_quoted(fmt::format("{}", fmt::join(flags, " "))));
    out += "      case \"$previous\" in\n" + values;
    out += fmt::format(
        "        *) if [[ $current == -* ]]; then words=\"$options\"; else {}; fi ;;\n", rest);
    out += "      esac\n      ;;\n";
  }
  out +=
      "  esac\n"
      "  if [[ -n $files ]]; then\n"
      "    compopt -o filenames 2>/dev/null\n"
      "    mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
      "  elif [[ -n $words ]]; then\n"
      "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
      "  fi\n"
      "}\n"
      "complete -F _med3d med3d\n";
  return out;
}

std::string zsh_completion(CommandList list) {
  std::string out =
      "#compdef med3d\n"
      "# zsh completion for med3d; put it as _med3d into a folder of $fpath,\n"
      "# or load it with: source <(med3d completion zsh)\n"
      "_med3d() {\n"
      "  if (( CURRENT == 2 )); then\n"
      "    local -a names=(\n";
  for (const auto& word : first_words(list)) {
    std::string what = "work with a " + word;
    for (const Command* command : list) {
      if (command->name == word) what = command->summary;
    }
    out += fmt::format("      {}\n", single_quoted(word + ":" + zsh_escaped(what)));
  }
  out += "    )\n    _describe command names\n    return\n  fi\n";
  for (const auto& word : first_words(list)) {
    const auto verbs = second_words(list, word);
    if (verbs.empty()) continue;
    out += fmt::format("  if (( CURRENT == 3 )) && [[ $words[2] == {} ]]; then\n", word);
    out += "    local -a verbs=(\n";
    for (const Command* command : list) {
      if (!command->name.starts_with(word + " ")) continue;
      out += fmt::format(
          "      {}\n",
          single_quoted(fmt::format(
              "{}:{}", command->name.substr(word.size() + 1), zsh_escaped(command->summary))));
    }
    out += "    )\n    _describe verb verbs\n    return\n  fi\n";
  }
  for (const Command* command : list) {
    const bool two = command->name.find(' ') != std::string_view::npos;
    out += fmt::format("  if [[ \"{}\" == {} ]]; then\n",
                       two ? "$words[2] $words[3]" : "$words[2]",
                       single_quoted(command->name));
    out += fmt::format("    shift {0} words; (( CURRENT -= {0} ))\n    _arguments", two ? 2 : 1);
    const Schema schema = schema_of(*command);
    for (const auto& spec : schema.options()) {
      std::string text;
      if (spec.positional) {
        text = fmt::format("{}:{}:{}",
                           spec.repeated ? "*" : "",
                           zsh_escaped(to_lower(spec.name)),
                           zsh_action(spec));
      } else {
        text = fmt::format("{}--{}", spec.repeated ? "*" : "", spec.name);
        if (spec.kind != OptionKind::kFlag) text += "=";
        text += fmt::format("[{}]", zsh_escaped(spec.help));
        if (spec.kind != OptionKind::kFlag) {
          text += fmt::format(":{}:{}", zsh_escaped(spec.name), zsh_action(spec));
        }
      }
      out += " \\\n      " + single_quoted(text);
    }
    out += "\n    return\n  fi\n";
  }
  // Loaded as a function of $fpath the body is the completion itself; sourced, it must be tied.
  out +=
      "}\n"
      "if [[ \"$funcstack[1]\" == _med3d ]]; then\n  _med3d \"$@\"\nelse\n  compdef _med3d "
      "med3d\nfi\n";
  return out;
}

}  // namespace med3d
