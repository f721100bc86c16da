#include "med3d/pipeline/run_status.h"

#include <fmt/format.h>

#include <algorithm>

#include "med3d/core/error.h"
#include "med3d/pipeline/run_store.h"
#include "med3d/pipeline/stages.h"

namespace med3d::pipeline {
namespace fs = std::filesystem;

Json run_status(const fs::path& folder) {
  if (!RunStore::exists(folder)) {
    throw Error(
        ErrorKind::kNotFound,
        fmt::format("{}: no run here, expected the folder of a `med3d run`", folder.string()));
  }
  StoreOptions options;
  options.use = StoreUse::kRead;
  RunStore store(folder, options);
  const StoreSummary summary = store.summary();
  Json out = {{"folder", folder.string()}, {"state", "pending"}};
  out["holders"] = Json::array();
  bool working = false;
  for (const auto& holder : summary.holders) {
    working |= holder.alive;
    out["holders"].push_back({{"pid", holder.pid},
                              {"host", holder.host},
                              {"shard", holder.shard},
                              {"alive", holder.alive}});
  }
  out["stages"] = Json::array();
  bool all_ended = true;
  bool any = false;
  for (const auto& stage : stages()) {
    Json entry = {{"stage", stage.name}, {"job", stage.job}, {"state", "pending"}};
    const auto found =
        std::find_if(summary.stages.begin(), summary.stages.end(), [&](const StageSummary& one) {
          return one.stage == stage.name;
        });
    if (found == summary.stages.end()) {
      // A cohort of vectors has no stages of files.
      if (stage.of_files) continue;
      all_ended = false;
    } else {
      any = true;
      StageState state = StageState::kEnded;
      double wall = 0.0;
      Json shards = Json::array();
      for (const auto& record : found->records) {
        if (record.state != StageState::kEnded) state = record.state;
        wall += record.wall_seconds;
        if (!record.shard.empty()) {
          shards.push_back({{"shard", record.shard}, {"state", to_string(record.state)}});
        }
        if (!record.reason.empty()) entry["reason"] = record.reason;
      }
      if (found->records.empty()) state = StageState::kPending;
      // A process that was killed cannot say that its stage was interrupted.
      if (state == StageState::kRunning && !working) state = StageState::kInterrupted;
      all_ended = all_ended && state == StageState::kEnded;
      entry["state"] = to_string(state);
      entry["done"] = found->done;
      entry["skipped"] = found->skipped;
      entry["failed"] = found->failed;
      entry["reasons"] = Json::array();
      for (const auto& [reason, n] : found->reasons) {
        entry["reasons"].push_back({{"reason", reason}, {"n", n}});
      }
      entry["wall_seconds"] = wall;
      if (!shards.empty()) entry["shards"] = shards;
    }
    out["stages"].push_back(entry);
  }
  if (any) out["state"] = working ? "working" : all_ended ? "ended" : "stopped";
  const fs::path report = folder / "report.html";
  out["report"] = fs::exists(report) ? Json(report.string()) : Json(nullptr);
  return out;
}

std::string run_status_text(const Json& status) {
  std::string text = fmt::format(
      "{}: {}\n", status.at("folder").get<std::string>(), status.at("state").get<std::string>());
  for (const auto& holder : status.at("holders")) {
    const auto shard = holder.at("shard").get<std::string>();
    text += fmt::format("held by process {} on {}{}{}\n",
                        holder.at("pid").get<std::int64_t>(),
                        holder.at("host").get<std::string>(),
                        shard.empty() ? "" : ", shard " + shard,
                        holder.at("alive").get<bool>() ? "" : " (gone)");
  }
  text += fmt::format("\n{:<10} {:<12} {:>6} {:>8} {:>7} {:>9}\n",
                      "stage",
                      "state",
                      "done",
                      "skipped",
                      "failed",
                      "seconds");
  for (const auto& stage : status.at("stages")) {
    text += fmt::format("{:<10} {:<12} {:>6} {:>8} {:>7} {:>9.1f}\n",
                        stage.at("stage").get<std::string>(),
                        stage.at("state").get<std::string>(),
                        stage.value("done", 0),
                        stage.value("skipped", 0),
                        stage.value("failed", 0),
                        stage.value("wall_seconds", 0.0));
    if (stage.contains("reason")) text += "    " + stage.at("reason").get<std::string>() + "\n";
    if (!stage.contains("reasons")) continue;
    for (const auto& reason : stage.at("reasons")) {
      text += fmt::format("    {} x {}\n",
                          reason.at("n").get<std::uint64_t>(),
                          reason.at("reason").get<std::string>());
    }
  }
  if (!status.at("report").is_null()) {
    text += "\nreport: " + status.at("report").get<std::string>() + "\n";
  }
  return text;
}

}  // namespace med3d::pipeline
