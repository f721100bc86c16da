#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/limits.h"
#include "med3d/pipeline/run_records_internal.h"

namespace med3d::pipeline {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kNameDigits = 32;  // of a SHA-256: 128 bits are enough to tell items apart

constexpr std::array<ItemState, 3> kStates = {
    ItemState::kDone, ItemState::kSkipped, ItemState::kFailed};

bool is_sha256(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

[[noreturn]] void odd(std::string_view what) {
  throw Error(ErrorKind::kFormat, fmt::format("item record: {}", what));
}

// nlohmann's own errors would quote the value.
std::string text_of(const Json& json, const char* name) {
  if (!json.is_object() || !json.contains(name) || !json.at(name).is_string()) {
    odd(fmt::format("'{}' is missing or no text", name));
  }
  return json.at(name).get<std::string>();
}

fs::path records_folder(const fs::path& folder) { return folder / ".records"; }

}  // namespace

bool is_inside(const fs::path& path) {
  if (path.empty() || path.is_absolute() || path.has_root_path() || !path.has_filename()) {
    return false;
  }
  return std::none_of(
             path.begin(), path.end(), [](const fs::path& part) { return part == ".."; }) &&
         path.native().find('\0') == std::string::npos;
}

RecordText encode_record(const ItemRecord& record) {
  Json json = {{"stage", record.stage},
               {"item", record.item},
               {"key", record.key},
               {"state", to_string(record.state)},
               {"reason", record.reason},
               {"files", Json::array()},
               {"facts", record.facts}};
  for (const StoredFile& file : record.files) {
    json["files"].push_back(
        {{"path", file.path.generic_string()}, {"size", file.size}, {"sha256", file.sha256}});
  }
  RecordText out;
  // Names of files are bytes, not always UTF-8: what is not is replaced rather than thrown over.
  out.text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  out.sha256 = sha256_hex(out.text);
  return out;
}

ItemRecord decode_record(const RecordText& encoded) {
  if (sha256_hex(encoded.text) != encoded.sha256) odd("its hash does not agree");
  const Json json = parse_json(encoded.text, "item record");
  ItemRecord record;
  record.stage = text_of(json, "stage");
  record.item = text_of(json, "item");
  record.key = text_of(json, "key");
  record.reason = text_of(json, "reason");
  const std::string state = text_of(json, "state");
  const auto* const known = std::find_if(kStates.begin(), kStates.end(), [&](ItemState candidate) {
    return to_string(candidate) == state;
  });
  if (known == kStates.end()) odd("an unknown state");
  record.state = *known;
  if (!json.contains("files") || !json.at("files").is_array()) odd("'files' is no list");
  for (const Json& entry : json.at("files")) {
    StoredFile file;
    file.path = text_of(entry, "path");
    file.sha256 = text_of(entry, "sha256");
    if (!is_inside(file.path)) odd("a file outside the run folder");
    if (!is_sha256(file.sha256)) odd("a file without a SHA-256");
    if (!entry.contains("size") || !entry.at("size").is_number_unsigned()) {
      odd("a file without a size");
    }
    file.size = entry.at("size").get<std::uint64_t>();
    record.files.push_back(std::move(file));
  }
  if (!json.contains("facts")) odd("'facts' is missing");
  record.facts = json.at("facts");
  return record;
}

fs::path record_path(const fs::path& folder, const std::string& stage, const std::string& item) {
  return records_folder(folder) / sha256_hex(stage).substr(0, kNameDigits) /
         (sha256_hex(item).substr(0, kNameDigits) + ".json");
}

// The hash stands in front, on a line of its own.
void write_record(const fs::path& folder, const ItemRecord& record) {
  const RecordText encoded = encode_record(record);
  write_file_atomic(record_path(folder, record.stage, record.item),
                    encoded.sha256 + "\n" + encoded.text + "\n");
}

void remove_record(const fs::path& folder, const std::string& stage, const std::string& item) {
  std::error_code error;
  fs::remove(record_path(folder, stage, item), error);
  if (error) {
    throw Error(ErrorKind::kIo,
                fmt::format("{}: a record cannot be removed: {}",
                            records_folder(folder).string(),
                            error.message()));
  }
}

bool has_records(const fs::path& folder) {
  std::error_code error;
  return fs::is_directory(records_folder(folder), error);
}

std::size_t for_each_record(const fs::path& folder,
                            const std::function<void(const ItemRecord&)>& take) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::recursive_directory_iterator at(records_folder(folder), error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (!name.starts_with('.') && name.ends_with(".json")) paths.push_back(at->path());
  }
  std::sort(paths.begin(), paths.end());
  std::size_t unusable = 0;
  for (const fs::path& path : paths) {
    ItemRecord record;
    try {
      const std::string bytes = read_file(path, limits().table_cell_bytes << 4);
      const auto line = bytes.find('\n');
      if (line == std::string::npos || bytes.back() != '\n') odd("is cut short");
      record =
          decode_record({bytes.substr(line + 1, bytes.size() - line - 2), bytes.substr(0, line)});
      if (record_path(folder, record.stage, record.item) != path) odd("of another item");
    } catch (const Error& failure) {
      if (failure.kind() != ErrorKind::kFormat) throw;
      ++unusable;
      continue;
    }
    take(record);
  }
  return unusable;
}

}  // namespace med3d::pipeline
