#include "med3d/cli/commands.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "med3d/core/text.h"

namespace med3d {

// A plain list: objects that registered themselves would be dropped by the linker without a word.
extern const Command audit_command;
extern const Command bench_encoders_command;
extern const Command bench_readers_command;
extern const Command bench_train_command;
extern const Command cohort_check_command;
extern const Command cohort_synth_command;
extern const Command synth_command;
extern const Command compare_command;
extern const Command completion_command;
extern const Command config_show_command;
extern const Command docs_command;
extern const Command doctor_command;
extern const Command help_command;
extern const Command limits_command;
extern const Command predict_command;
extern const Command report_render_command;
extern const Command resume_command;
extern const Command run_command;
extern const Command slide_aggregate_command;
extern const Command slide_evaluate_command;
extern const Command slide_extract_command;
extern const Command slide_features_command;
extern const Command slide_heatmap_command;
extern const Command slide_info_command;
extern const Command slide_segment_command;
extern const Command slide_splits_command;
extern const Command slide_synth_command;
extern const Command slide_tile_command;
extern const Command slide_train_command;
extern const Command status_command;
extern const Command volume_aggregate_command;
extern const Command volume_convert_command;
extern const Command volume_explain_command;
extern const Command volume_extract_command;
extern const Command volume_features_command;
extern const Command volume_filter_command;
extern const Command volume_finetune_command;
extern const Command volume_index_command;
extern const Command volume_info_command;
extern const Command volume_preview_command;
extern const Command volume_radiomics_command;
extern const Command weights_convert_command;
extern const Command weights_fetch_command;
extern const Command weights_list_command;
extern const Command weights_verify_command;

namespace {

constexpr std::array kCommands = {
    &run_command,
    &resume_command,
    &status_command,
    &predict_command,
    &audit_command,
    &cohort_check_command,
    &cohort_synth_command,
    &synth_command,
    &slide_features_command,
    &slide_info_command,
    &slide_segment_command,
    &slide_tile_command,
    &slide_extract_command,
    &slide_aggregate_command,
    &slide_splits_command,
    &slide_train_command,
    &slide_evaluate_command,
    &slide_heatmap_command,
    &slide_synth_command,
    &volume_features_command,
    &volume_index_command,
    &volume_filter_command,
    &volume_info_command,
    &volume_convert_command,
    &volume_preview_command,
    &volume_extract_command,
    &volume_aggregate_command,
    &volume_radiomics_command,
    &volume_finetune_command,
    &volume_explain_command,
    &config_show_command,
    &report_render_command,
    &compare_command,
    &weights_list_command,
    &weights_fetch_command,
    &weights_convert_command,
    &weights_verify_command,
    &doctor_command,
    &bench_encoders_command,
    &bench_readers_command,
    &bench_train_command,
    &limits_command,
    &help_command,
    &completion_command,
    &docs_command,
};

}  // namespace

std::span<const Command* const> commands() { return kCommands; }

FoundCommand find_command(std::span<const std::string> arguments,
                          std::span<const Command* const> list) {
  if (arguments.empty()) throw Error(ErrorKind::kUsage, "no command given");
  const std::string& noun = arguments[0];
  const bool two = arguments.size() > 1 && !arguments[1].starts_with('-');

  std::vector<std::string> verbs;
  for (const Command* command : list) {
    if (two && command->name == noun + " " + arguments[1]) return {command, 2};
    if (command->name.starts_with(noun + " ")) {
      verbs.emplace_back(command->name.substr(noun.size() + 1));
    }
  }
  for (const Command* command : list) {
    if (command->name == noun) return {command, 1};
  }
  if (!verbs.empty()) {
    if (!two) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("'{}' needs one of: {}", noun, fmt::join(verbs, ", ")));
    }
    throw Error(ErrorKind::kUsage,
                fmt::format("unknown command '{} {}'{}, expected one of: {}",
                            noun,
                            arguments[1],
                            did_you_mean(arguments[1], verbs),
                            fmt::join(verbs, ", ")));
  }

  std::vector<std::string> names;
  for (const Command* command : list) names.emplace_back(command->name);
  // A verb may have been mistyped too: the whole name is the better guess where it is near.
  if (two) {
    const std::string typed = noun + " " + arguments[1];
    if (nearest_name(typed, names)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("unknown command '{}'{}", typed, did_you_mean(typed, names)));
    }
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("unknown command '{}'{}", noun, did_you_mean(noun, names)));
}

std::string file_stem_of(const Command& command) {
  std::string stem(command.name);
  std::replace(stem.begin(), stem.end(), ' ', '_');
  return stem;
}

}  // namespace med3d
