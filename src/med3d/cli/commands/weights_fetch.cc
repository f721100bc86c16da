#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/weights_folder.h"
#include "med3d/cli/output.h"
#include "med3d/core/hash.h"
#include "med3d/core/progress.h"
#include "med3d/core/text.h"
#include "med3d/encoders/weights.h"
#include "med3d/encoders/weights_check.h"
#include "med3d/io/download.h"

namespace med3d {
namespace fs = std::filesystem;
namespace {

// What is to be fetched, from where, and how it is recognised.
struct Order {
  const WeightsEntry* entry = nullptr;  // nullptr: an address of the caller's
  std::string url;
  fs::path path;
  DownloadOptions download;

  bool hash_known() const { return !download.sha256.empty() || !download.sha256_prefix.empty(); }
  std::string hash_outcome() const {
    if (!download.sha256.empty()) return "as expected";
    if (!download.sha256_prefix.empty()) {
      return fmt::format("begins with {} as expected", download.sha256_prefix);
    }
    return "not compared: no hash known";
  }
};

// The last part of an address as a file name; a stranger's name becomes no path.
std::string file_name_of(const std::string& url) {
  const std::string shown = shown_address(url);
  const std::string name = shown.substr(shown.rfind('/') + 1);
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
  if (name.empty() || name[0] == '.' || !plain || name.size() > 200) {
    throw CommandError(
        ErrorKind::kUsage, shown + ": ends in no usable file name", "--output names the file");
  }
  return name;
}

Order order_of(const Options& options) {
  Order order;
  const std::string what = options.text("NAME");
  if (what.find("://") != std::string::npos) {
    check_download_address(what);
    order.url = what;
  } else {
    order.entry = &find_weights(what);
    order.url = order.entry->url;
    order.download.bytes = order.entry->bytes;
    order.download.sha256 = order.entry->sha256;
    order.download.sha256_prefix = order.entry->sha256_prefix;
  }
  if (options.given("sha256")) {
    // The caller's word counts for more than ours; another file may have another size.
    const std::string given = to_lower(options.text("sha256"));
    if (given != order.download.sha256) order.download.bytes = 0;
    order.download.sha256 = given;
    order.download.sha256_prefix.clear();
  }
  order.download.validate();
  if (options.given("output")) {
    order.path = options.path("output");
  } else {
    const std::string name =
        order.entry != nullptr ? std::string(order.entry->file) : file_name_of(order.url);
    order.path = weights_folder(options) / name;
  }
  return order;
}

void read_token_file(const Options& options, Order& order, Progress& progress) {
  if (!options.given("token-file")) {
    if (order.entry != nullptr && order.entry->gated) {
      throw CommandError(ErrorKind::kUsage,
                         fmt::format("{}: given out to registered users only", order.entry->name),
                         fmt::format("accept the terms at {}, make a token there and give "
                                     "--token-file",
                                     order.entry->page));
    }
    return;
  }
  const auto path = options.path("token-file");
  order.download.bearer = read_token(path);
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && (info.st_mode & (S_IRGRP | S_IROTH)) != 0) {
    progress.warn(fmt::format("{}: others can read this token (chmod 600)", path.string()));
  }
}

int answer(const Options& options,
           const Order& order,
           std::string_view state,
           const std::string& sha256,
           std::uint64_t bytes,
           std::uint64_t resumed_from,
           const std::string& from) {
  const std::string expected = order.download.sha256 + order.download.sha256_prefix;
  if (options.json()) {
    Json document;
    document["file"] = order.path.string();
    document["state"] = state;
    document["from"] = from;
    document["bytes"] = bytes == 0 ? Json(nullptr) : Json(bytes);
    document["sha256"] = sha256.empty() ? Json(nullptr) : Json(sha256);
    document["sha256_expected"] = expected.empty() ? Json(nullptr) : Json(expected);
    document["hash"] = sha256.empty() ? Json(nullptr) : Json(order.hash_outcome());
    document["resumed_from"] = resumed_from;
    print_json(document);
    return kExitDone;
  }
  print(fmt::format("{}: {}\n", order.path.string(), state));
  const auto line = [](std::string_view word, const std::string& what) {
    print(fmt::format("  {:<8} {}\n", word, what));
  };
  line("from", from);
  if (bytes != 0) line("bytes", std::to_string(bytes));
  if (!sha256.empty()) {
    line("SHA-256", sha256);
    line("hash", order.hash_outcome());
  } else {
    line("SHA-256",
         expected.empty()
             ? "no hash known: give --sha256"
             : fmt::format("expected {}{}", expected, expected.size() < 64 ? "..." : ""));
  }
  if (resumed_from != 0) line("resumed", fmt::format("from byte {}", resumed_from));
  return kExitDone;
}

// A file that is there already: the answer if it is the one, else an error.
int keep(const Options& options, const Order& order) {
  std::error_code error;
  if (!fs::is_regular_file(order.path, error)) {
    throw CommandError(ErrorKind::kUsage,
                       order.path.string() + ": is there and no file",
                       "--output names another file");
  }
  const std::string sha256 = sha256_file(order.path);
  const bool right = order.download.sha256.empty()
                         ? sha256.starts_with(order.download.sha256_prefix)
                         : sha256 == order.download.sha256;
  if (!right) {
    throw CommandError(ErrorKind::kData,
                       fmt::format("{}: is there, with SHA-256 {}, expected {}{}",
                                   order.path.string(),
                                   sha256,
                                   order.download.sha256,
                                   order.download.sha256_prefix),
                       "--overwrite replaces it");
  }
  return answer(options,
                order,
                "there already, not fetched",
                sha256,
                fs::file_size(order.path),
                0,
                shown_address(order.url));
}

int run(const Options& options) {
  const auto progress = make_console_progress(options.quiet());
  Order order = order_of(options);
  if (fs::exists(fs::symlink_status(order.path)) && !options.flag("overwrite")) {
    return keep(options, order);
  }
  read_token_file(options, order, *progress);
  if (options.flag("dry-run")) {
    return answer(options,
                  order,
                  "would be fetched",
                  "",
                  order.download.bytes,
                  partial_download_bytes(order.path),
                  shown_address(order.url));
  }
  if (!order.hash_known()) {
    progress->warn("no hash known: give --sha256 to be sure of the file");
  }
  order.download.tries = static_cast<int>(options.integer("tries"));
  order.download.first_wait_s = options.real("wait");
  order.download.most_wait_s = std::max(60.0 * order.download.first_wait_s, 0.0);
  order.download.seed = static_cast<std::uint64_t>(::getpid());
  order.download.check_head = [&](std::string_view head) {
    check_weights_head(head, shown_address(order.url));
  };
  if (order.download.sha256.empty()) {
    // Nothing else tells a file that was cut off from a whole one.
    order.download.check = [](const fs::path& file) {
      try {
        read_weights(file);
      } catch (const std::exception&) {
        rethrow_with_context("what arrived is no whole weights file");
      }
    };
  }
  Download result;
  try {
    result = download(order.url, order.path, order.download, *progress);
  } catch (const Error& error) {
    const bool gated = order.entry != nullptr && order.entry->gated;
    if (!gated || error.kind() != ErrorKind::kIo) throw;
    throw CommandError(error.kind(),
                       error.what(),
                       fmt::format("the terms at {} must be accepted by the owner of the token",
                                   order.entry->page));
  }
  return answer(
      options, order, "fetched", result.sha256, result.bytes, result.resumed_from, result.address);
}

}  // namespace

extern const Command weights_fetch_command;
const Command weights_fetch_command = {
    .name = "weights fetch",
    .summary = "Fetch trained weights by HTTPS, resumable and checked by their hash",
    .reference = "docs/weights.md",
    .examples = {{"med3d weights fetch resnet50",
                  "CLAM's default encoder, into the weights folder"},
                 {"med3d weights fetch uni --token-file token.txt",
                  "Weights for registered users; the token stays in its file"},
                 {"med3d weights fetch https://mirror.example.org/w.safetensors --sha256 HEX "
                  "--output w.safetensors",
                  "Any file, checked by the hash its authors publish"},
                 {"med3d weights fetch conch --token-file token.txt --dry-run",
                  "Say what would be fetched, from where and to where"}},
    .declare =
        [](Schema& schema) {
          schema.positional("NAME", "weights of `med3d weights list`, or an https:// address")
              .required();
          declare_weights_folder(schema);
          schema.path("output", "file to write, instead of a place in the folder of weights");
          schema.text("sha256", "what the file must have, 64 hexadecimal digits");
          schema.path("token-file",
                      "file that holds an access token; it is sent to the first host alone and "
                      "never shown");
          schema.integer("tries", "requests before giving up on a busy or broken server", 8, 1, 8);
          schema.real("wait",
                      "before the second try; doubles with each, to 60 times as much at most",
                      1.0,
                      0.0,
                      600.0,
                      "seconds");
          add_common_dry_run(schema);
          add_common_overwrite(schema);
        },
    .run = run,
};

}  // namespace med3d
