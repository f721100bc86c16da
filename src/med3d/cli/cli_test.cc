#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <set>
#include <utility>

#include "med3d/cli/command.h"
#include "med3d/cli/commands.h"
#include "med3d/cli/commands/doctor_checks.h"
#include "med3d/cli/describe.h"
#include "med3d/cli/program.h"
#include "med3d/core/file.h"
#include "med3d/core/parallel.h"

namespace med3d {
namespace {

using Words = std::vector<std::string>;

Schema sample_schema() {
  Schema schema;
  schema.integer("folds", "Folds of the cross-validation", 5, 2, 20)
      .integer("limit", "Patients at most", std::nullopt, -5, 1000)
      .real("horizon", "Time of the question", 60.0, 0.0, 600.0, "months")
      .real("rate", "Learning rate", std::nullopt, 0.0)
      .text("name", "Name of the run")
      .path("out", "Folder of the results")
      .list("arms", "Arms to run", "clinical", {"clinical", "ct", "wsi"})
      .list("ids", "Patients to keep")
      .choice("fusion", "How modalities meet", {"concat", "gated"}, "concat")
      .settings("Change one setting of the file")
      .positional_path("COHORT", "The cohort file")
      .positional("CASE", "Patients")
      .repeated();
  add_common_seed(schema);
  add_common_threads(schema);
  add_common_device(schema);
  add_common_dry_run(schema);
  add_common_overwrite(schema);
  add_common(schema);
  return schema;
}

Options parse(const Words& words) { return parse_options(sample_schema(), words); }

// The message of the usage error, or "" if there was none.
std::string refusal(const Words& words) {
  try {
    parse(words);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    return error.what();
  }
  return "";
}

TEST(Options, HaveTheirDefaultsWhenNothingIsGiven) {
  const Options options = parse({});
  EXPECT_EQ(options.integer("folds"), 5);
  EXPECT_EQ(options.real("horizon"), 60.0);
  EXPECT_EQ(options.choice("fusion"), "concat");
  EXPECT_EQ(options.choice("device"), "auto");
  EXPECT_EQ(options.list("arms"), Words{"clinical"});
  EXPECT_TRUE(options.list("ids").empty());
  EXPECT_TRUE(options.settings().empty());
  EXPECT_TRUE(options.all("CASE").empty());
  EXPECT_EQ(options.seed(), 0U);
  EXPECT_EQ(options.threads(), available_threads());
  EXPECT_FALSE(options.flag("overwrite"));
  EXPECT_FALSE(options.json());
  EXPECT_FALSE(options.given("folds"));
  EXPECT_TRUE(options.has("folds"));
  EXPECT_FALSE(options.has("limit"));
}

TEST(Options, ReadEveryKindOfValue) {
  const Options options = parse(
      {"c.toml", "--folds",   "10",        "--limit", "-3",      "--horizon=12.5", "--rate",
       "1e-3",   "--name",    "first run", "--out",   "results", "--arms",         "ct,wsi",
       "--arms", "clinical",  "--fusion",  "gated",   "--seed",  "4294967295",     "--threads",
       "3",      "--dry-run", "P1",        "P2",      "--quiet"});
  EXPECT_EQ(options.path("COHORT"), "c.toml");
  EXPECT_EQ(options.all("CASE"), (Words{"P1", "P2"}));
  EXPECT_EQ(options.integer("folds"), 10);
  EXPECT_EQ(options.integer("limit"), -3);
  EXPECT_EQ(options.real("horizon"), 12.5);
  EXPECT_EQ(options.real("rate"), 1e-3);
  EXPECT_EQ(options.text("name"), "first run");
  EXPECT_EQ(options.path("out"), "results");
  EXPECT_EQ(options.list("arms"), (Words{"ct", "wsi", "clinical"}));
  EXPECT_EQ(options.choice("fusion"), "gated");
  EXPECT_EQ(options.seed(), 4294967295U);
  EXPECT_EQ(options.threads(), 3);
  EXPECT_TRUE(options.flag("dry-run"));
  EXPECT_TRUE(options.quiet());
}

TEST(Options, KeepSettingsInTheOrderTyped) {
  const auto settings =
      parse({"--set", "train.epochs=3", "--set", "model.name=a=b", "--set=data.note="}).settings();
  ASSERT_EQ(settings.size(), 3U);
  EXPECT_EQ(settings[0].key, "train.epochs");
  EXPECT_EQ(settings[0].value, "3");
  EXPECT_EQ(settings[1].value, "a=b");
  EXPECT_EQ(settings[2].key, "data.note");
  EXPECT_EQ(settings[2].value, "");
}

TEST(Options, TakeFileNamesWithBracketsAndCommasAsOneWord) {
  const Options options = parse({"[a,b].toml", "--out", "[x,y]"});
  EXPECT_EQ(options.path("COHORT"), "[a,b].toml");
  EXPECT_EQ(options.path("out"), "[x,y]");
  EXPECT_TRUE(options.all("CASE").empty());
}

TEST(Options, TakeWhatFollowsTwoDashesAsWords) {
  const Options options = parse({"--quiet", "--", "--odd.toml", "--seed", "--"});
  EXPECT_EQ(options.path("COHORT"), "--odd.toml");
  EXPECT_EQ(options.all("CASE"), (Words{"--seed", "--"}));
  EXPECT_TRUE(options.quiet());
}

TEST(Options, CheckNothingElseWhereHelpIsAsked) {
  EXPECT_TRUE(parse({"--folds", "1000", "--help", "--nonsense"}).flag("help"));
  EXPECT_TRUE(parse({"-h"}).flag("help"));
}

TEST(Options, RefuseEachMistakeWithItsOwnMessage) {
  const std::vector<std::pair<Words, std::string>> cases = {
      {{"--folds", "1"}, "--folds: found '1', expected a whole number from 2 to 20"},
      {{"--folds", "5.0"}, "--folds: found '5.0', expected a whole number from 2 to 20"},
      {{"--folds", "99999999999999999999"},
       "--folds: found '99999999999999999999', expected a whole number from 2 to 20"},
      {{"--seed", "-1"}, "--seed: found '-1', expected a whole number from 0 to 4294967295"},
      {{"--horizon", "601"}, "--horizon: found '601', expected a number from 0 to 600 (months)"},
      {{"--horizon", "nan"}, "--horizon: found 'nan', expected a number from 0 to 600 (months)"},
      {{"--horizon", "5y"}, "--horizon: found '5y', expected a number from 0 to 600 (months)"},
      {{"--rate", "inf"}, "--rate: found 'inf', expected a number of at least 0"},
      {{"--fusion", "gate"},
       "--fusion: found 'gate' (did you mean 'gated'?), expected one of: concat, gated"},
      {{"--arms", "ct,clincal"},
       "--arms: found 'clincal' (did you mean 'clinical'?), expected one of: clinical, ct, wsi"},
      {{"--ids", "a,,b"}, "--ids: found 'a,,b', expected values separated by single commas"},
      {{"--set", "epochs=3"},
       "--set: found 'epochs=3', expected section.key=value, the key in lower case"},
      {{"--set", "train.epochs"},
       "--set: found 'train.epochs', expected section.key=value, the key in lower case"},
      {{"--out", "--json"}, "--out: found '--json', expected a value, not another option"},
      {{"--out", ""}, "--out: found '', expected a value"},
      {{"--out=", "folder"}, "--out: found '', expected a value"},
      {{"--quiet", "--out"}, "--out: expected a value after it"},
      {{"--json=no"}, "--json: takes no value"},
      {{"--seed", "1", "--seed", "2"}, "--seed: given 2 times, expected once"},
      {{"--sead", "1"}, "unknown option '--sead' (did you mean '--seed'?)"},
      {{"--sead=1"}, "unknown option '--sead' (did you mean '--seed'?)"},
      {{"-x"}, "unknown option '-x'"},
  };
  for (const auto& [words, message] : cases) {
    const std::string found = refusal(words);
    EXPECT_TRUE(found.starts_with(message)) << "expected: " << message << "\nfound:    " << found;
  }
}

TEST(Options, RefuseAMissingOrSurplusArgument) {
  Schema schema;
  schema.positional_path("FOLDER", "Where").required().text("name", "Name").required();
  const auto message = [&](const Words& words) {
    try {
      parse_options(schema, words);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(message({"--name", "a"}), "FOLDER is required");
  EXPECT_EQ(message({"here"}), "--name is required");
  EXPECT_EQ(message({"here", "there", "--name", "a"}),
            "unexpected argument 'there': only 1 is expected");
  EXPECT_EQ(message({"here", "--name", "a"}), "");
}

TEST(Options, MayBeTypedWithUnderscores) {
  const Options options = parse({"--dry_run", "--name=a_b", "--out", "x_y"});
  EXPECT_TRUE(options.flag("dry-run"));
  EXPECT_EQ(options.text("name"), "a_b");
  EXPECT_EQ(options.path("out"), "x_y");
  // What is not known is told as it was typed.
  EXPECT_EQ(refusal({"--dry_rum"}).substr(0, 26), "unknown option '--dry_rum'");
  EXPECT_EQ(parse({"--", "--dry_run"}).path("COHORT"), "--dry_run");
}

TEST(Options, HaveOtherNames) {
  Schema schema;
  schema.positional_path("SLIDES", "Slides").repeated().alias("source").alias("wsi-dir");
  schema.path("output", "Folder").alias("save-dir");
  const auto read = [&](const Words& words) { return parse_options(schema, words); };
  EXPECT_EQ(read({"--save_dir", "out"}).path("output"), "out");
  EXPECT_EQ(read({"--save-dir=out"}).path("output"), "out");
  EXPECT_EQ(read({"--source", "here"}).all("SLIDES"), Words{"here"});
  EXPECT_EQ(read({"there", "--wsi_dir=here"}).all("SLIDES"), (Words{"here", "there"}));
  EXPECT_THROW(read({"--output", "a", "--save_dir", "b"}), Error);
  EXPECT_THROW(read({"--source", "--output", "a"}), Error);
  EXPECT_THROW(schema.flag("source", "Taken"), std::logic_error);
  EXPECT_THROW(schema.alias("output"), std::logic_error);
}

TEST(Options, TellACommandOfItsOwnMistakes) {
  const Options options = parse({});
  EXPECT_THROW(options.flag("sead"), std::logic_error);      // not declared
  EXPECT_THROW(options.text("folds"), std::logic_error);     // declared as another type
  EXPECT_THROW(options.integer("limit"), std::logic_error);  // no value
}

TEST(Schemas, RefuseDeclarationsThatContradictThemselves) {
  Schema schema;
  schema.flag("dry", "Dry");
  EXPECT_THROW(schema.flag("dry", "Again"), std::logic_error);
  EXPECT_THROW(schema.flag("silent", ""), std::logic_error);
  EXPECT_THROW(schema.integer("n", "N", 11, 0, 10), std::logic_error);
  EXPECT_THROW(schema.real("x", "X", -0.5, 0.0, 1.0), std::logic_error);
  EXPECT_THROW(schema.choice("c", "C", {"a", "b"}, "d"), std::logic_error);
  schema.positional("CASES", "Cases").repeated();
  EXPECT_THROW(schema.positional("LATER", "Later"), std::logic_error);
}

TEST(Commands, AreFoundByTheirNames) {
  for (const Command* command : commands()) {
    Words words = {std::string(command->name.substr(0, command->name.find(' ')))};
    if (command->name != words[0]) {
      words.emplace_back(command->name.substr(words[0].size() + 1));
    }
    const std::size_t expected = words.size();
    words.emplace_back("--json");
    const FoundCommand found = find_command(words);
    EXPECT_EQ(found.command, command) << command->name;
    EXPECT_EQ(found.words, expected) << command->name;
  }
  EXPECT_THROW(find_command(Words{}), Error);
  EXPECT_THROW(find_command(Words{"nothing"}), Error);
}

TEST(Commands, DeclareThemselvesInFull) {
  std::set<std::string_view> names;
  for (const Command* command : commands()) {
    SCOPED_TRACE(std::string(command->name));
    EXPECT_TRUE(names.insert(command->name).second) << "twice in the list";
    EXPECT_LE(std::count(command->name.begin(), command->name.end(), ' '), 1);
    EXPECT_FALSE(command->summary.empty());
    EXPECT_FALSE(command->summary.ends_with('.'));
    EXPECT_FALSE(command->examples.empty());
    ASSERT_NE(command->run, nullptr);
    const Schema schema = schema_of(*command);
    const std::string help = help_page(*command);
    const std::string page = markdown_page(*command);
    for (const auto& option : schema.options()) {
      EXPECT_NE(help.find(option.name), std::string::npos) << option.name;
      EXPECT_NE(page.find(option.name), std::string::npos) << option.name;
      EXPECT_FALSE(option.help.ends_with('.')) << option.name;
    }
    for (const auto& example : command->examples) {
      EXPECT_NE(example.command_line.find("med3d " + std::string(command->name)),
                std::string_view::npos);
      EXPECT_NE(help.find(example.command_line), std::string::npos);
    }
  }
}

// An example that the program itself would refuse teaches a mistake.
TEST(Commands, GiveExamplesThatParse) {
  for (const Command* command : commands()) {
    for (const auto& example : command->examples) {
      std::string line(example.command_line);
      line = line.substr(line.find("med3d ") + 6);
      line = line.substr(0, line.find_first_of("|>)"));
      Words words;
      std::string word;
      for (const char c : line + " ") {
        if (c != ' ') {
          word += c;
        } else if (!word.empty()) {
          words.push_back(std::exchange(word, ""));
        }
      }
      const FoundCommand found = find_command(words);
      ASSERT_EQ(found.command, command) << line;
      const Words rest(words.begin() + static_cast<std::ptrdiff_t>(found.words), words.end());
      EXPECT_NO_THROW(parse_options(schema_of(*command), rest)) << example.command_line;
    }
  }
}

// A list of its own, with nouns, verbs and every kind of value.
const Command kCohortCheck = {
    .name = "cohort check",
    .summary = "Check a cohort",
    .reference = "",
    .examples = {},
    .declare =
        [](Schema& schema) {
          schema.positional_path("COHORT", "File").path("out", "Folder: [of] results");
          schema.choice("fusion", "How", {"concat", "gated"}).real("rate", "Rate", 0.5);
        },
    .run = [](const Options&) { return 0; },
};
const Command kCohortSplit = {
    .name = "cohort split",
    .summary = "Split a cohort",
    .reference = "",
    .examples = {},
    .declare =
        [](Schema& schema) {
          schema.list("arms", "Arms", "", {"ct", "wsi"});
        },
    .run = [](const Options&) { return 0; },
};
const Command kRun = {
    .name = "run",
    .summary = "Run",
    .reference = "",
    .examples = {},
    .declare = [](Schema&) {},
    .run = [](const Options&) { return 0; },
};
const std::vector<const Command*> kList = {&kRun, &kCohortCheck, &kCohortSplit};

std::string unknown(const Words& words) {
  try {
    find_command(words, kList);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    return error.what();
  }
  return "";
}

TEST(Commands, OfTwoWordsAreFoundAndTheirMistakesNamed) {
  const FoundCommand found = find_command(Words{"cohort", "split", "x"}, kList);
  EXPECT_EQ(found.command, &kCohortSplit);
  EXPECT_EQ(found.words, 2U);
  EXPECT_EQ(find_command(Words{"run", "cohort"}, kList).words, 1U);
  EXPECT_EQ(unknown({"cohort"}), "'cohort' needs one of: check, split");
  EXPECT_EQ(unknown({"cohort", "--json"}), "'cohort' needs one of: check, split");
  EXPECT_EQ(
      unknown({"cohort", "chekc"}),
      "unknown command 'cohort chekc' (did you mean 'check'?), expected one of: check, split");
  EXPECT_EQ(unknown({"cohrt", "split"}),
            "unknown command 'cohrt split' (did you mean 'cohort split'?)");
  EXPECT_EQ(unknown({"rum", "elsewhere"}), "unknown command 'rum' (did you mean 'run'?)");
}

TEST(Completion, KnowsVerbsChoicesAndPathsInBash) {
  const std::string script = testing::TempDir() + "/med3d_completion_" + std::to_string(getpid());
  write_file_atomic(script, bash_completion(kList));
  // The last word is the one being typed; the answer is what bash would offer.
  const auto offers = [&](const std::string& words) {
    const std::string line = "bash --norc -c 'source " + script + "; COMP_WORDS=(" + words +
                             "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _med3d; "
                             "printf \"%s|\" \"${COMPREPLY[@]}\"'";
    FILE* pipe = popen(line.c_str(), "r");
    std::string out;
    for (int c = 0; (c = std::fgetc(pipe)) != EOF;) out += static_cast<char>(c);
    EXPECT_EQ(pclose(pipe), 0);
    return out;
  };
  EXPECT_EQ(offers("med3d co"), "cohort|");
  EXPECT_EQ(offers("med3d cohort \"\""), "check|split|");
  EXPECT_EQ(offers("med3d cohort ch"), "check|");
  EXPECT_EQ(offers("med3d cohort check --fu"), "--fusion|");
  EXPECT_EQ(offers("med3d cohort check --fusion g"), "gated|");
  EXPECT_EQ(offers("med3d cohort check --out " + script), script + "|");
  EXPECT_EQ(offers("med3d cohort check " + script), script + "|");
  EXPECT_EQ(offers("med3d cohort check --rate \"\""), "|");
  EXPECT_EQ(offers("med3d cohort split --arms w"), "wsi|");
  std::filesystem::remove(script);
}

TEST(Completion, EscapesForZshWhatItsSpecsReserve) {
  const std::string script = zsh_completion(kList);
  EXPECT_NE(script.find("'--out=[Folder\\: \\[of\\] results]:out:_files'"), std::string::npos);
  EXPECT_NE(script.find("'--fusion=[How]:fusion:(concat gated)'"), std::string::npos);
  EXPECT_NE(script.find("'cohort:work with a cohort'"), std::string::npos);
}

struct Output {
  int code;
  std::string out;
  std::string err;
};

Output run(const Words& words) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int code = run_program(words);
  return {code, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
}

TEST(Program, ShowsHelpForEveryCommandInEveryWay) {
  for (const Command* command : commands()) {
    Words words = {std::string(command->name.substr(0, command->name.find(' ')))};
    if (command->name != words[0]) words.emplace_back(command->name.substr(words[0].size() + 1));
    Words asked = {"help"};
    asked.insert(asked.end(), words.begin(), words.end());
    Words early = {"--help"};
    early.insert(early.end(), words.begin(), words.end());
    words.emplace_back("--help");
    const Output output = run(words);
    EXPECT_EQ(output.code, kExitDone);
    EXPECT_EQ(output.out, help_page(*command));
    EXPECT_EQ(output.err, "");
    EXPECT_EQ(run(asked).out, output.out);
    EXPECT_EQ(run(early).out, output.out);
  }
  EXPECT_EQ(run({"--help"}).out, help_overview());
}

TEST(Program, ReturnsTwoForWrongUsageAndSaysSoAsJson) {
  const Output output = run({"doctor", "--jason", "--json"});
  EXPECT_EQ(output.code, kExitUsage);
  const Json document = Json::parse(output.out);
  EXPECT_EQ(document["error"]["kind"], "usage");
  EXPECT_EQ(document["error"]["exit_code"], 2);
  EXPECT_EQ(document["error"]["message"], "unknown option '--jason' (did you mean '--json'?)");
  EXPECT_EQ(document["error"]["hint"], "'med3d help doctor' tells its options");
  EXPECT_NE(output.err.find("med3d: error: unknown option '--jason'"), std::string::npos);
}

TEST(Program, TakesCommonOptionsBeforeTheCommand) {
  EXPECT_EQ(run({"--json", "limits"}).out, run({"limits", "--json"}).out);
  EXPECT_EQ(run({"--wrong", "limits"}).code, kExitUsage);
  EXPECT_EQ(run({"--versoin"}).code, kExitUsage);
  EXPECT_EQ(run({}).code, kExitUsage);
}

// The reference BLAS gives about 6 GFLOP/s and OpenBLAS more than 50; 15 is the first that is fine.
TEST(Doctor, WarnsOfASlowMatrixProduct) {
  EXPECT_EQ(matrix_product_check(50.0).state, CheckState::kOk);
  EXPECT_EQ(matrix_product_check(50.0).found, "50 GFLOP/s on one thread");
  EXPECT_EQ(matrix_product_check(50.0).advice, "");
  EXPECT_EQ(matrix_product_check(15.0).state, CheckState::kOk);
  for (const double slow : {14.99, 6.0, 0.0, std::nan("")}) {
    const Check check = matrix_product_check(slow);
    EXPECT_EQ(check.state, CheckState::kWarning) << slow;
    EXPECT_NE(check.advice.find("libopenblas0-openmp"), std::string::npos) << slow;
  }
}

}  // namespace
}  // namespace med3d
