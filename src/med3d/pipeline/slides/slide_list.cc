#include "med3d/pipeline/slides/slide_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <system_error>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/wsi/slide.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr int kDeepestFolder = 16;

std::vector<std::string> wanted_extensions(const SlideSearch& search) {
  std::vector<std::string> out;
  for (const auto& extension : search.extensions) {
    const std::string lower = to_lower(extension);
    out.push_back(lower.starts_with(".") ? lower : "." + lower);
  }
  if (!out.empty()) return out;
  for (const SlideFormat* format : slide_formats()) {
    for (const auto extension : format->extensions) out.emplace_back(extension);
  }
  return out;
}

// "slide.ome.tif" ends in ".ome.tif" and in ".tif": the longest extension is the one taken off.
std::string id_of(const fs::path& path, const std::vector<std::string>& extensions) {
  const std::string name = path.filename().string();
  std::size_t longest = 0;
  for (const auto& extension : extensions) {
    if (to_lower(name).ends_with(extension) && extension.size() < name.size()) {
      longest = std::max(longest, extension.size());
    }
  }
  return name.substr(0, name.size() - longest);
}

bool has_extension(const fs::path& path, const std::vector<std::string>& extensions) {
  return id_of(path, extensions).size() < path.filename().string().size();
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with("."); }

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (!is_hidden(entry.path())) out.push_back(entry.path());
  }
  if (error) {
    throw Error(ErrorKind::kIo, fmt::format("{}: {}", folder.string(), error.message()));
  }
  std::sort(out.begin(), out.end());
  return out;
}

// Nothing but files called .dcm: the files of one slide, unless the folder is one that was named.
bool is_dicom_folder(const std::vector<fs::path>& entries) {
  return !entries.empty() && std::all_of(entries.begin(), entries.end(), [](const fs::path& entry) {
    std::error_code error;
    return to_lower(entry.extension().string()) == ".dcm" && fs::is_regular_file(entry, error);
  });
}

void search_folder(const fs::path& folder,
                   const std::vector<std::string>& extensions,
                   int depth,
                   std::vector<SlideItem>& out) {
  const auto entries = entries_of(folder);
  for (const auto& entry : entries) {
    std::error_code error;
    const bool is_folder = fs::is_directory(entry, error);
    // MIRAX keeps a slide's data in a folder beside "<slide>.mrxs"; it holds no slides.
    if (is_folder && !has_extension(entry, extensions)) {
      if (depth >= kDeepestFolder) continue;
      const auto inner = entries_of(entry);
      if (is_dicom_folder(inner) && has_extension(inner.front(), extensions)) {
        out.push_back({entry.filename().string(), entry, {}, ""});
      } else {
        search_folder(entry, extensions, depth + 1, out);
      }
    } else if (has_extension(entry, extensions)) {
      out.push_back({id_of(entry, extensions), entry, {}, ""});
    }
  }
}

struct Listed {
  std::string name;
  std::optional<double> mpp;
  std::size_t line;
};

std::vector<Listed> read_list(const fs::path& path) {
  const Table table = read_table(path);
  std::optional<std::size_t> name;
  for (const auto* column : {"wsi", "slide_id", "filename", "slide"}) {
    if (!name) name = table.find(column);
  }
  if (!name) {
    throw Error(ErrorKind::kNotFound,
                fmt::format("{}: no column wsi, slide_id, filename or slide; there are {}",
                            path.string(),
                            join(table.columns, ", ")));
  }
  const auto mpp = table.find("mpp");
  std::vector<Listed> out;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    Listed listed{std::string(trim(table.rows[i][*name])), {}, table.line_of_row[i]};
    if (listed.name.empty()) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: line {} names no slide", path.string(), listed.line));
    }
    if (mpp) {
      const std::string cell(trim(table.rows[i][*mpp]));
      if (!cell.empty()) {
        listed.mpp = parse_double(cell);
        if (!listed.mpp || !(*listed.mpp > 0)) {
          throw Error(ErrorKind::kData,
                      fmt::format("{}: line {}: mpp is '{}', expected micrometres above 0",
                                  path.string(),
                                  listed.line,
                                  cell));
        }
      }
    }
    out.push_back(std::move(listed));
  }
  return out;
}

std::vector<SlideItem> choose(const std::vector<SlideItem>& found,
                              const fs::path& list,
                              const std::vector<std::string>& extensions) {
  std::map<std::string, const SlideItem*> by_name;
  for (const auto& item : found) {
    by_name.try_emplace(item.slide_id, &item);
    by_name.try_emplace(item.path.filename().string(), &item);
  }
  std::vector<SlideItem> out;
  std::set<std::string> taken;
  for (const auto& listed : read_list(list)) {
    const auto match = by_name.find(listed.name);
    SlideItem item;
    std::error_code error;
    if (match != by_name.end()) {
      item = *match->second;
    } else if (fs::exists(listed.name, error)) {
      item.path = listed.name;
      item.slide_id = id_of(item.path, extensions);
    } else {
      throw Error(ErrorKind::kNotFound,
                  fmt::format("{}: line {}: slide '{}' is in none of the folders",
                              list.string(),
                              listed.line,
                              listed.name));
    }
    if (!taken.insert(item.slide_id).second) {
      throw Error(
          ErrorKind::kData,
          fmt::format(
              "{}: line {}: slide '{}' is listed twice", list.string(), listed.line, listed.name));
    }
    item.mpp = listed.mpp;
    out.push_back(std::move(item));
  }
  return out;
}

}  // namespace

std::vector<SlideItem> find_slides(const SlideSearch& search) {
  if (search.places.empty() && search.list.empty()) {
    throw Error(ErrorKind::kUsage, "no slide, folder or list of slides was named");
  }
  const auto extensions = wanted_extensions(search);
  std::vector<SlideItem> found;
  for (const auto& place : search.places) {
    std::error_code error;
    const auto status = fs::status(place, error);
    if (!fs::exists(status)) {
      throw Error(ErrorKind::kNotFound, place.string() + ": no such file or folder");
    }
    if (!fs::is_directory(status)) {
      found.push_back({id_of(place, extensions), place, {}, ""});
      continue;
    }
    const std::size_t before = found.size();
    search_folder(place, extensions, 0, found);
    if (found.size() == before && search.list.empty()) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: no slide in it; looked for names that end in {}",
                              place.string(),
                              join(extensions, " ")));
    }
  }
  auto out = search.list.empty() ? std::move(found) : choose(found, search.list, extensions);
  std::stable_sort(out.begin(), out.end(), [](const SlideItem& a, const SlideItem& b) {
    return std::pair(a.slide_id, a.path) < std::pair(b.slide_id, b.path);
  });
  // Two files of one id would write over each other: the first is used, the others say so.
  for (std::size_t i = 1; i < out.size(); ++i) {
    if (out[i].slide_id == out[i - 1].slide_id) {
      out[i].problem = fmt::format("another file is called '{}' too", out[i].slide_id);
    }
  }
  return out;
}

std::uint64_t bytes_of(const SlideItem& item) {
  const auto size_of = [](const fs::path& path) -> std::uint64_t {
    std::error_code error;
    if (!fs::is_regular_file(path, error)) return 0;
    const auto size = fs::file_size(path, error);
    return error ? 0 : size;
  };
  std::error_code error;
  if (!fs::is_directory(item.path, error)) return size_of(item.path);
  std::uint64_t sum = 0;
  for (const auto& entry : fs::directory_iterator(item.path, error)) sum += size_of(entry.path());
  return sum;
}

}  // namespace med3d::pipeline
