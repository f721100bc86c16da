// What commands say about a list of things they work on one by one: slides, scans.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "med3d/cli/command.h"
#include "med3d/cli/output.h"
#include "med3d/core/json.h"
#include "med3d/core/progress.h"

namespace med3d {

// Under --dry-run: what would be worked on and where the results would go.
//
// key   "slides": of the list in the JSON document, and in the sentence
// text  one line for each thing, indented
int tell_plan(const Options& options,
              std::string_view command,
              std::string_view key,
              Json list,
              const std::string& text);

// Prints the facts of each item, which are {"status": "done" or "failed", ...}.
//
// facts  Item -> Json; does not throw for what is wrong with an item
// text   facts -> text for a terminal
template <typename Item, typename Facts, typename Text>
int tell_facts(const Options& options,
               Progress& progress,
               std::string_view key,
               const std::vector<Item>& items,
               const Facts& facts,
               const Text& text_of) {
  Json list = Json::array();
  std::string text;
  std::size_t failed = 0;
  progress.start("looking at " + std::string(key), items.size());
  for (const Item& item : items) {
    list.push_back(facts(item));
    if (list.back().at("status") == "failed") ++failed;
    if (!text.empty()) text += "\n";
    text += text_of(list.back());
    progress.advance();
  }
  progress.finish();
  if (options.json()) {
    print_json({{"schema", 1}, {std::string(key), std::move(list)}});
  } else {
    print(text);
  }
  if (failed == 0) return kExitDone;
  return failed == items.size() ? kExitFailed : kExitSomeFailed;
}

// The last lines of a job: a notice that every output must carry, and the files it wrote.
void tell_files(const Options& options,
                const std::string& notice,
                const std::filesystem::path& folder,
                std::span<const std::string> files);

}  // namespace med3d
