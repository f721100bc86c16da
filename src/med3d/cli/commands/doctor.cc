#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <link.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "med3d/cli/build_info.h"
#include "med3d/cli/command.h"
#include "med3d/cli/commands/doctor_checks.h"
#include "med3d/cli/output.h"
#include "med3d/core/error.h"
#include "med3d/core/parallel.h"
#include "med3d/core/text.h"
#include "med3d/io/worker.h"
#include "med3d/nn/device.h"

namespace med3d {
namespace {

std::string_view word_of(CheckState state) {
  switch (state) {
    case CheckState::kOk:
      return "ok";
    case CheckState::kWarning:
      return "warning";
    case CheckState::kFailed:
      return "failed";
  }
  return "failed";
}

// The first "<key> : value" line of /proc/cpuinfo; empty on systems without it.
std::string cpuinfo(std::string_view key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(':');
    if (colon != std::string::npos && trim(std::string_view(line).substr(0, colon)) == key) {
      return std::string(trim(std::string_view(line).substr(colon + 1)));
    }
  }
  return "";
}

// The instruction sets that the numeric libraries choose their code by.
std::vector<std::string> processor_features() {
  std::vector<std::string> features;
  const auto flags = split(cpuinfo("flags"), ' ');
  for (const std::string_view feature :
       {"sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile"}) {
    for (const auto& flag : flags) {
      if (flag == feature) features.emplace_back(feature);
    }
  }
  return features;
}

// The file from which the loader took a library whose name starts with `prefix`, links resolved.
std::string loaded_library(std::string_view prefix) {
  struct Search {
    std::string_view prefix;
    std::string found;
  } search{prefix, ""};
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) {
        auto* wanted = static_cast<Search*>(data);
        const std::filesystem::path path(info->dlpi_name);
        if (!path.filename().string().starts_with(wanted->prefix)) return 0;
        std::error_code error;
        const auto real = std::filesystem::canonical(path, error);
        wanted->found = error ? path.string() : real.string();
        return 1;
      },
      &search);
  return search.found;
}

Check blas_check() {
  Check check{"blas", CheckState::kOk, loaded_library("libblas.so"), ""};
  if (check.found.empty()) check.found = loaded_library("libopenblas");
  if (check.found.empty()) {
    check.found = "none loaded by this program";
  } else if (check.found.find("openblas") == std::string::npos) {
    check.state = CheckState::kWarning;
    check.advice = "this BLAS is tens of times slower: install libopenblas0-openmp";
  } else if (check.found.find("openmp") == std::string::npos) {
    check.state = CheckState::kWarning;
    check.advice =
        "the openmp flavour is faster under LibTorch: install libopenblas0-openmp and choose it "
        "with update-alternatives --config libblas.so.3-x86_64-linux-gnu";
  }
  return check;
}

// LibTorch's version, its file, and the module of ours that brought it.
Check torch_check() {
  const std::string version = nn::torch_version();  // loads it
  return {"torch",
          CheckState::kOk,
          fmt::format("LibTorch {} {}, through {}",
                      version,
                      loaded_library("libtorch_cpu"),
                      loaded_library("libmed3d_torch")),
          ""};
}

// No device is no fault: the networks here are small, and the processor is their default.
Check cuda_check() {
  return {"cuda",
          CheckState::kOk,
          nn::cuda_available() ? "a device that networks can use (--device cuda)"
                               : "no device: networks run on the processor",
          ""};
}

// What the numeric libraries are and do on this machine. Anything a module can measure of itself is
// one more entry here, as long as the command stays quick (the matrix product takes about 0.1 s).
std::vector<Check> compute_checks() {
  try {
    const Check torch = torch_check();  // first: it loads the BLAS that the next looks for
    return {blas_check(), torch, cuda_check(), matrix_product_check(nn::sgemm_gflops())};
  } catch (const Error& error) {
    return {{"torch",
             CheckState::kFailed,
             describe(error),
             "without it no network can be trained or used; all else works"}};
  }
}

std::vector<Check> machine_checks() {
  const auto features = processor_features();
  const std::string model = cpuinfo("model name");
  Check processor{"processor",
                  CheckState::kOk,
                  fmt::format("{} ({})",
                              model.empty() ? "unknown" : model,
                              features.empty() ? "no known vector unit"
                                               : fmt::format("{}", fmt::join(features, " "))),
                  ""};
  Check threads{
      "threads",
      CheckState::kOk,
      fmt::format("{} usable of {}", available_threads(), std::thread::hardware_concurrency()),
      ""};
  const double gib = static_cast<double>(sysconf(_SC_PHYS_PAGES)) *
                     static_cast<double>(sysconf(_SC_PAGESIZE)) / (1024.0 * 1024.0 * 1024.0);
  Check memory{"memory", CheckState::kOk, fmt::format("{:.1f} GiB", gib), ""};
  if (gib < 3.5) {
    memory.state = CheckState::kWarning;
    memory.advice = "networks on scans need about 4 GiB";
  }
  return {processor, threads, memory};
}

// Whether files from outside are decoded where they can do no harm.
Check decoders_check() {
  const IsolationState state = isolation();
  Check check{"decoders", CheckState::kOk, "in processes of their own, system calls filtered", ""};
  if (!state.active) {
    check.state = CheckState::kWarning;
    check.found = "in this process: " + state.reason;
    check.advice = "a slide or scan that crashes its decoder ends the whole command";
  } else if (!state.filtered) {
    check.state = CheckState::kWarning;
    check.found = "in processes of their own, without a filter: " + state.reason;
    check.advice = "a decoder that a file takes over could open connections and write files";
  }
  return check;
}

int run(const Options& options) {
  std::vector<Check> checks = machine_checks();
  checks.push_back(decoders_check());
  for (auto& check : compute_checks()) checks.push_back(std::move(check));

  bool failed = false;
  for (const auto& check : checks) failed = failed || check.state == CheckState::kFailed;

  if (options.json()) {
    Json document;
    document["version"] = kVersion;
    document["build_type"] = kBuildType;
    document["compiler"] = kCompiler;
    for (const auto& library : kBuiltWith) document["built_with"][library.name] = library.version;
    document["checks"] = Json::array();
    for (const auto& check : checks) {
      Json entry;
      entry["name"] = check.name;
      entry["state"] = word_of(check.state);
      entry["found"] = check.found;
      entry["advice"] = check.advice.empty() ? Json(nullptr) : Json(check.advice);
      document["checks"].push_back(std::move(entry));
    }
    print_json(document);
    return failed ? kExitFailed : kExitDone;
  }

  if (!options.quiet()) {
    print(fmt::format("med3d {} ({}, {})\n\nbuilt with\n", kVersion, kBuildType, kCompiler));
    for (const auto& library : kBuiltWith) {
      print(fmt::format("  {:<14} {}\n", library.name, library.version));
    }
    print("\nthis machine\n");
  }
  for (const auto& check : checks) {
    if (options.quiet() && check.state == CheckState::kOk) continue;
    print(fmt::format("  {:<14} {:<8} {}\n", check.name, word_of(check.state), check.found));
    if (!check.advice.empty()) print(fmt::format("  {:<14} {:<8} {}\n", "", "", check.advice));
  }
  return failed ? kExitFailed : kExitDone;
}

}  // namespace

extern const Command doctor_command;
const Command doctor_command = {
    .name = "doctor",
    .summary = "Check the libraries, processor and memory that med3d finds",
    .reference = "",
    .examples = {{"med3d doctor", "Show versions and everything that would make a run slow"},
                 {"med3d doctor --quiet", "Show only what needs attention"}},
    .declare = [](Schema&) {},
    .run = run,
};

}  // namespace med3d
