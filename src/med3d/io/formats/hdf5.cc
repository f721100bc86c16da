#include "med3d/io/formats/hdf5.h"

#include <fmt/format.h>
#include <hdf5.h>

#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <mutex>
#include <utility>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"
#include "med3d/io/array.h"
#include "med3d/io/confined_internal.h"
#include "med3d/io/features.h"

namespace med3d {
namespace fs = std::filesystem;
namespace {

constexpr hsize_t kFeatureChunkRows = 32;  // as CLAM

constexpr std::uint64_t kMaxAttributes = 256;
constexpr std::uint64_t kMaxAttributeBytes = 64ULL << 10U;
constexpr std::chrono::seconds kOwnTime{5};
constexpr std::uint64_t kBytesPerSecond = 50ULL << 20U;  // a slow processor inflating gzip
constexpr std::uint64_t kOwnMemory = 512ULL << 20U;      // of the library, besides the arrays
// A dataset below this may be larger than what is stored for it by any factor.
constexpr std::uint64_t kFreeInflation = 1ULL << 20U;

// Held for every use of the library in this process and while a child is made: one made while
// another thread is inside the library would inherit its lock and wait for it for ever.
std::mutex& hdf5_mutex() {
  static std::mutex mutex;
  return mutex;
}

class Handle {
 public:
  using Closer = herr_t (*)(hid_t);
  Handle(hid_t id, Closer closer) : id_(id), closer_(closer) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), closer_(other.closer_) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  Handle& operator=(Handle&&) = delete;
  ~Handle() {
    if (id_ >= 0) closer_(id_);
  }
  hid_t get() const { return id_; }
  bool valid() const { return id_ >= 0; }
  // Closes now and says whether that worked: data may be written as late as here.
  bool close() { return closer_(std::exchange(id_, -1)) >= 0; }

 private:
  hid_t id_;
  Closer closer_;
};

// Keeps the library from printing its errors; they are fetched by library_reason instead.
class QuietErrors {
 public:
  QuietErrors() {
    H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~QuietErrors() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }
  QuietErrors(const QuietErrors&) = delete;
  QuietErrors& operator=(const QuietErrors&) = delete;

 private:
  H5E_auto2_t function_ = nullptr;
  void* data_ = nullptr;
};

// The innermost description on the library's error stack, safe to show.
std::string library_reason() {
  std::string out;
  const auto first = [](unsigned n, const H5E_error2_t* error, void* data) -> herr_t {
    if (n == 0 && error->desc != nullptr) *static_cast<std::string*>(data) = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, first, &out);
  if (out.size() > 200) out.resize(200);
  for (char& c : out) {
    if (c < 0x20 || c > 0x7E) c = '?';
  }
  return out.empty() ? "no reason given" : out;
}

[[noreturn]] void fail(const std::string& what) { throw Error(ErrorKind::kFormat, what); }
[[noreturn]] void fail_library(const std::string& what) {
  fail(fmt::format("{}: {}", what, library_reason()));
}

// ---- in the child -------------------------------------------------------------------------------

struct Dataset {
  Handle id;
  std::vector<std::uint64_t> shape;
  H5T_class_t type_class;
};

// Opens a dataset of the file's root if it is there. A soft link is refused like an external one:
// no feature writer makes them, and both can point out of what was looked at.
std::optional<Dataset> open_dataset(hid_t file, const char* name) {
  const htri_t there = H5Lexists(file, name, H5P_DEFAULT);
  if (there < 0) fail_library(fmt::format("'{}' cannot be looked up", name));
  if (there == 0) return std::nullopt;
  H5L_info_t link{};
  if (H5Lget_info(file, name, &link, H5P_DEFAULT) < 0) {
    fail_library(fmt::format("'{}' cannot be looked up", name));
  }
  if (link.type != H5L_TYPE_HARD) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("'{}' is a link to somewhere else, which is not followed", name));
  }
  Dataset out{{H5Dopen2(file, name, H5P_DEFAULT), H5Dclose}, {}, H5T_NO_CLASS};
  if (!out.id.valid()) fail_library(fmt::format("'{}' is no readable dataset", name));

  const Handle type(H5Dget_type(out.id.get()), H5Tclose);
  out.type_class = type.valid() ? H5Tget_class(type.get()) : H5T_NO_CLASS;
  if ((out.type_class != H5T_FLOAT && out.type_class != H5T_INTEGER) ||
      H5Tget_size(type.get()) > 8) {
    fail(fmt::format("'{}' does not hold numbers of at most 64 bits", name));
  }
  const Handle space(H5Dget_space(out.id.get()), H5Sclose);
  if (!space.valid() || H5Sis_simple(space.get()) <= 0) {
    fail(fmt::format("'{}' is no plain array", name));
  }
  const int rank = H5Sget_simple_extent_ndims(space.get());
  if (rank < 0 || static_cast<std::uint64_t>(rank) > limits().tensor_dimensions) {
    fail(fmt::format("'{}' has {} axes", name, rank));
  }
  std::vector<hsize_t> dims(static_cast<std::size_t>(rank));
  if (rank > 0 && H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr) < 0) {
    fail_library(fmt::format("'{}' has no readable shape", name));
  }
  out.shape.assign(dims.begin(), dims.end());

  // What is declared must be there: otherwise a few bytes could ask for gigabytes of fill values,
  // and a file whose writer was killed would read as zeros.
  const auto bytes = checked_array_bytes(
      out.shape, H5Tget_size(type.get()) == 8 ? DType::kF64 : DType::kF32, name);
  const Handle plan(H5Dget_create_plist(out.id.get()), H5Pclose);
  if (!plan.valid()) fail_library(fmt::format("'{}' has no readable layout", name));
  const H5D_layout_t layout = H5Pget_layout(plan.get());
  if (layout == H5D_VIRTUAL || H5Pget_external_count(plan.get()) != 0) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("'{}' keeps its data in another file, which is not followed", name));
  }
  if (bytes == 0) return out;
  const std::uint64_t stored = H5Dget_storage_size(out.id.get());
  if (stored == 0) fail(fmt::format("'{}' was declared but never written", name));
  if (bytes > kFreeInflation && bytes / limits().zip_ratio > stored) {
    fail(fmt::format("'{}' would grow from {} to {} bytes, more than {} times",
                     name,
                     stored,
                     bytes,
                     limits().zip_ratio));
  }
  if (layout == H5D_CHUNKED) {
    std::vector<hsize_t> chunk(dims.size());
    if (H5Pget_chunk(plan.get(), rank, chunk.data()) != rank) {
      fail_library(fmt::format("'{}' has no readable chunks", name));
    }
    std::uint64_t expected = 1;
    for (std::size_t axis = 0; axis < dims.size(); ++axis) {
      if (chunk[axis] == 0) fail(fmt::format("'{}' has chunks of no size", name));
      expected = checked_multiply(
          expected, dims[axis] / chunk[axis] + (dims[axis] % chunk[axis] != 0 ? 1 : 0), name);
    }
    hsize_t written = 0;
    if (H5Dget_num_chunks(out.id.get(), space.get(), &written) < 0) {
      fail_library(fmt::format("'{}' has no readable chunks", name));
    }
    if (written < expected) {
      fail(fmt::format(
          "'{}' holds {} of {} chunks, the rest was never written", name, written, expected));
    }
  }
  return out;
}

void read_values(const Dataset& dataset, hid_t type, void* to, std::string_view name) {
  if (H5Dread(dataset.id.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, to) < 0) {
    fail_library(fmt::format("the data of '{}' cannot be read", name));
  }
}

// Text and numbers as text; nothing for other types and for what is too long.
std::optional<std::string> attribute_text(hid_t attribute) {
  const Handle type(H5Aget_type(attribute), H5Tclose);
  const Handle space(H5Aget_space(attribute), H5Sclose);
  if (!type.valid() || !space.valid()) return std::nullopt;
  const hssize_t points = H5Sget_simple_extent_npoints(space.get());
  const bool scalar = H5Sget_simple_extent_type(space.get()) == H5S_SCALAR;
  if (points < 1 || points > 64) return std::nullopt;
  const auto count = static_cast<std::size_t>(points);
  const H5T_class_t type_class = H5Tget_class(type.get());
  std::vector<std::string> parts;
  if (type_class == H5T_STRING) {
    if (count != 1) return std::nullopt;
    if (H5Tis_variable_str(type.get()) > 0) {
      char* value = nullptr;
      const Handle memory(H5Tcopy(H5T_C_S1), H5Tclose);
      H5Tset_size(memory.get(), H5T_VARIABLE);
      H5Tset_cset(memory.get(), H5Tget_cset(type.get()));
      if (H5Aread(attribute, memory.get(), &value) < 0 || value == nullptr) return std::nullopt;
      const std::size_t length = ::strnlen(value, kMaxAttributeBytes + 1);
      if (length > kMaxAttributeBytes) return std::nullopt;
      return std::string(value, length);  // the child ends soon: nothing frees `value`
    }
    const std::size_t size = H5Tget_size(type.get());
    if (size == 0 || size > kMaxAttributeBytes) return std::nullopt;
    std::string value(size, '\0');
    if (H5Aread(attribute, type.get(), value.data()) < 0) return std::nullopt;
    value.resize(::strnlen(value.data(), size));
    return value;
  }
  if (type_class == H5T_INTEGER) {
    std::vector<std::int64_t> values(count);
    if (H5Aread(attribute, H5T_NATIVE_INT64, values.data()) < 0) return std::nullopt;
    for (const auto value : values) parts.push_back(std::to_string(value));
  } else if (type_class == H5T_FLOAT) {
    std::vector<double> values(count);
    if (H5Aread(attribute, H5T_NATIVE_DOUBLE, values.data()) < 0) return std::nullopt;
    for (const auto value : values) parts.push_back(format_double(value));
  } else {
    return std::nullopt;
  }
  return scalar ? parts[0] : fmt::format("[{}]", join(parts, ", "));
}

// Returns whether the object has any attribute.
bool read_attributes(hid_t object, const std::string& prefix, FeatureFile& out) {
  H5O_info_t info{};
  if (H5Oget_info2(object, &info, H5O_INFO_NUM_ATTRS) < 0) {
    fail_library("the attributes cannot be read");
  }
  for (hsize_t i = 0; i < info.num_attrs && out.attributes.size() < kMaxAttributes; ++i) {
    const Handle attribute(
        H5Aopen_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC, i, H5P_DEFAULT, H5P_DEFAULT),
        H5Aclose);
    if (!attribute.valid()) fail_library("an attribute cannot be read");
    const ssize_t length = H5Aget_name(attribute.get(), 0, nullptr);
    if (length < 0 || length > 1000) continue;
    std::string name(static_cast<std::size_t>(length) + 1, '\0');
    H5Aget_name(attribute.get(), name.size(), name.data());
    name.resize(static_cast<std::size_t>(length));
    if (auto text = attribute_text(attribute.get()))
      out.attributes[prefix + name] = std::move(*text);
  }
  return info.num_attrs > 0;
}

// Rows of x, y; `rows` is what a file of features has of them.
Matrix<std::int64_t> read_coords(const Dataset& coords,
                                 std::optional<std::uint64_t> rows,
                                 std::string_view features) {
  const auto& shape = coords.shape;
  if (shape.size() != 2 || shape[1] != 2) {
    fail(fmt::format("'coords' has shape {}, expected ({}, 2){}",
                     shape_text(shape),
                     rows ? std::to_string(*rows) : "tiles",
                     rows ? fmt::format(" for the {} rows of '{}'", *rows, features) : ""));
  }
  if (rows && shape[0] != *rows) {
    fail(fmt::format("'coords' has shape {}, expected ({}, 2) for the {} rows of '{}'",
                     shape_text(shape),
                     *rows,
                     *rows,
                     features));
  }
  checked_array_bytes(shape, DType::kI64, "coords");
  Matrix<std::int64_t> values(shape[0], 2);
  if (!values.empty() && coords.type_class == H5T_INTEGER) {
    read_values(coords, H5T_NATIVE_INT64, values.data(), "coords");
  } else if (!values.empty()) {
    std::vector<double> fractions(values.size());
    read_values(coords, H5T_NATIVE_DOUBLE, fractions.data(), "coords");
    for (std::size_t i = 0; i < fractions.size(); ++i) {
      if (!(std::abs(fractions[i]) < 0x1p53)) {
        fail(fmt::format("'coords' row {} is no position", i / 2));
      }
      values.data()[i] = std::llround(fractions[i]);
    }
  }
  return values;
}

enum class Wanted { kFeatures, kCoordinates, kAttention };

FeatureFile read_in_child(const fs::path& path, Wanted wanted) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);  // a file may not name a plugin to load
  const Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!file.valid()) fail_library("not an HDF5 file, or a damaged one");

  FeatureFile out;
  if (wanted == Wanted::kCoordinates) {
    const auto coords = open_dataset(file.get(), "coords");
    if (!coords) fail("no dataset 'coords'");
    out.coords = read_coords(*coords, std::nullopt, "");
    read_attributes(file.get(), "", out);
    read_attributes(coords->id.get(), "coords.", out);
    return out;
  }
  if (wanted == Wanted::kAttention) {
    const auto scores = open_dataset(file.get(), "attention_scores");
    const auto coords = open_dataset(file.get(), "coords");
    if (!scores || !coords) {
      fail(fmt::format("no dataset '{}': no attention of a slide's tiles",
                       scores ? "coords" : "attention_scores"));
    }
    std::vector<std::uint64_t> axes = scores->shape;
    if (axes.size() > 1) std::erase(axes, 1U);
    if (axes.empty()) axes = {1};
    if (axes.size() != 1 || scores->shape.empty()) {
      fail(fmt::format("'attention_scores' has shape {}, expected one score a tile",
                       shape_text(scores->shape)));
    }
    out.features = Matrix<float>(axes[0], 1);
    if (!out.features.empty()) {
      read_values(*scores, H5T_NATIVE_FLOAT, out.features.data(), "attention_scores");
    }
    out.coords = read_coords(*coords, axes[0], "attention_scores");
    read_attributes(file.get(), "", out);
    read_attributes(coords->id.get(), "coords.", out);
    return out;
  }
  const bool stamp = H5Lexists(file.get(), "features", H5P_DEFAULT) == 0;
  const std::string name = stamp ? "feats" : "features";
  const auto features = open_dataset(file.get(), name.c_str());
  const auto coords = open_dataset(file.get(), "coords");
  if (!features) {
    fail(coords ? "no dataset 'features' or 'feats', only 'coords': tile positions without features"
                : "no dataset 'features' or 'feats'");
  }
  std::vector<std::uint64_t> axes = features->shape;
  if (axes.size() > 2) std::erase(axes, 1U);
  if (axes.size() == 1) axes.insert(axes.begin(), 1);
  if (axes.size() != 2) {
    fail(fmt::format(
        "'{}' has shape {}, expected (rows, features)", name, shape_text(features->shape)));
  }
  checked_array_bytes(axes, DType::kF32, name);
  out.features = Matrix<float>(axes[0], axes[1]);
  if (!out.features.empty()) {
    read_values(*features, H5T_NATIVE_FLOAT, out.features.data(), name);
  }
  if (coords) out.coords = read_coords(*coords, out.features.rows(), name);
  read_attributes(file.get(), "", out);
  bool trident = read_attributes(features->id.get(), name + ".", out);
  if (coords) trident = read_attributes(coords->id.get(), "coords.", out) || trident;
  out.convention = stamp ? "stamp" : trident ? "trident" : "clam";
  return out;
}

void send_file(const fs::path& path, Wanted wanted, const ConfinedSender& out) {
  // Shared folders of clusters often refuse the lock that HDF5 takes even for reading.
  ::setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1);
  const FeatureFile file = read_in_child(path, wanted);
  out.result();
  out.text(file.convention);
  out.number(file.attributes.size());
  for (const auto& [name, value] : file.attributes) {
    out.text(name);
    out.text(value);
  }
  out.number(file.features.rows());
  out.number(file.features.cols());
  out.bytes(file.features.data(), file.features.size() * sizeof(float));
  out.number(file.coords ? 1 : 0);
  if (file.coords) {
    out.number(file.coords->rows());
    out.bytes(file.coords->data(), file.coords->size() * sizeof(std::int64_t));
  }
}

// ---- in this process
// -----------------------------------------------------------------------------

FeatureFile read_confined(const fs::path& path, Wanted wanted) {
  const std::string source = path.string();
  // read_file names what is missing, a folder or a pipe; the library would block on the last.
  if (!fs::is_regular_file(path)) read_file(path, 0);
  const std::uint64_t file_bytes = fs::file_size(path);

  // What the file may hold at most, as its size and the limits allow. The library needs that twice
  // while it converts, and damaged files can send it round in circles: a small one gets 5 seconds.
  const std::uint64_t array_bytes = limits().array_bytes;
  const bool bounded = file_bytes < array_bytes / limits().zip_ratio;
  const std::uint64_t content = bounded ? file_bytes * limits().zip_ratio : array_bytes;
  ConfinedOptions options;
  options.library = "the HDF5 library";
  options.memory_bytes = kOwnMemory + 2 * content;
  options.processor_time = kOwnTime + std::chrono::seconds(content / kBytesPerSecond);
  std::optional<ConfinedChild> started;
  {
    const std::lock_guard lock(hdf5_mutex());  // see there
    started.emplace(
        source, options, [&](const ConfinedSender& to) { send_file(path, wanted, to); });
  }
  ConfinedChild& child = *started;
  child.wait_for_result();

  FeatureFile out;
  out.convention = child.text(16);
  const std::uint64_t attributes = child.number();
  if (attributes > kMaxAttributes) child.nonsense();
  for (std::uint64_t i = 0; i < attributes; ++i) {
    std::string name = child.text(2000);
    out.attributes[std::move(name)] = child.text(kMaxAttributeBytes);
  }
  const std::uint64_t rows = child.number();
  const std::uint64_t cols = child.number();
  const std::array<std::uint64_t, 2> shape = {rows, cols};
  checked_array_bytes(shape, DType::kF32, source);
  out.features = Matrix<float>(rows, cols);
  child.bytes(out.features.data(), out.features.size() * sizeof(float));
  if (child.number() != 0) {
    const std::uint64_t tiles = child.number();
    checked_array_bytes(std::array<std::uint64_t, 2>{tiles, 2}, DType::kI64, source);
    out.coords = Matrix<std::int64_t>(tiles, 2);
    child.bytes(out.coords->data(), out.coords->size() * sizeof(std::int64_t));
  }
  return out;
}

bool detect_hdf5(std::string_view head) {
  // A user block of 512 bytes, or a power of two above, may stand before the signature.
  for (std::size_t at = 0; at < head.size(); at = at == 0 ? 512 : 2 * at) {
    if (head.substr(at).starts_with("\x89HDF\r\n\x1A\n")) return true;
  }
  return false;
}

Matrix<float> open_hdf5(const fs::path& path) {
  return read_confined(path, Wanted::kFeatures).features;
}

void check_written(const fs::path& path, bool good) {
  if (good) return;
  throw Error(ErrorKind::kIo,
              fmt::format("{}: cannot be written: {}", path.string(), library_reason()));
}

// A dataset (rows, cols) that can get more rows, in chunks of whole rows; without a time, so that
// the same values are the same bytes. `path` is for messages.
Handle growing_dataset(const fs::path& path,
                       const Handle& file,
                       const char* name,
                       hid_t stored,
                       const std::array<hsize_t, 2>& dims,
                       hsize_t chunk_rows) {
  const hsize_t most[2] = {H5S_UNLIMITED, dims[1]};
  const hsize_t chunk[2] = {chunk_rows, dims[1]};
  const Handle space(H5Screate_simple(2, dims.data(), most), H5Sclose);
  const Handle plan(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  check_written(path,
                space.valid() && plan.valid() && H5Pset_chunk(plan.get(), 2, chunk) >= 0 &&
                    H5Pset_obj_track_times(plan.get(), false) >= 0);
  Handle dataset(
      H5Dcreate2(file.get(), name, stored, space.get(), H5P_DEFAULT, plan.get(), H5P_DEFAULT),
      H5Dclose);
  check_written(path, dataset.valid());
  return dataset;
}

}  // namespace

const FeatureFormat hdf5_feature_format = {"hdf5", {".h5", ".hdf5"}, detect_hdf5, open_hdf5};

FeatureFile read_feature_file(const fs::path& path) {
  return read_confined(path, Wanted::kFeatures);
}

namespace {

// Those of `coords` under their own names, before those of the file.
std::map<std::string, std::string> attributes_of_coords(const FeatureFile& file) {
  std::map<std::string, std::string> out;
  constexpr std::string_view kPrefix = "coords.";
  for (const auto& [name, value] : file.attributes) {
    if (name.starts_with(kPrefix)) {
      out[name.substr(kPrefix.size())] = value;
    } else {
      out.try_emplace(name, value);
    }
  }
  return out;
}

}  // namespace

CoordinateFile read_coordinate_file(const fs::path& path) {
  FeatureFile file = read_confined(path, Wanted::kCoordinates);
  CoordinateFile out;
  out.attributes = attributes_of_coords(file);
  if (file.coords) out.coords = std::move(*file.coords);
  return out;
}

AttentionFile read_attention_file(const fs::path& path) {
  FeatureFile file = read_confined(path, Wanted::kAttention);
  AttentionFile out;
  out.attributes = attributes_of_coords(file);
  out.scores.assign(file.features.data(), file.features.data() + file.features.size());
  if (file.coords) out.coords = std::move(*file.coords);
  if (out.coords.rows() != out.scores.size()) {
    throw Error(ErrorKind::kFormat, path.string() + ": not as many tiles as scores");
  }
  return out;
}

void write_clam_features(const fs::path& path,
                         const RowStream& features,
                         const std::optional<Matrix<std::int64_t>>& coords) {
  if (features.rows == 0 || features.cols == 0 ||
      (coords && (coords->rows() != features.rows || coords->cols() != 2))) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("{}: {} x {} features{}, expected at least one row, with as many x, y "
                    "coordinates if any",
                    path.string(),
                    features.rows,
                    features.cols,
                    coords
                        ? fmt::format(" with {} x {} coordinates", coords->rows(), coords->cols())
                        : ""));
  }
  std::vector<std::int32_t> positions;
  for (std::size_t i = 0; coords && i < coords->size(); ++i) {
    const std::int64_t value = coords->data()[i];
    if (value < std::numeric_limits<std::int32_t>::min() ||
        value > std::numeric_limits<std::int32_t>::max()) {
      throw Error(
          ErrorKind::kUsage,
          fmt::format(
              "{}: coordinate {} of row {} does not fit in 32 bits", path.string(), value, i / 2));
    }
    positions.push_back(static_cast<std::int32_t>(value));
  }

  const std::lock_guard lock(hdf5_mutex());
  const QuietErrors quiet;
  const auto check = [&](bool good) { check_written(path, good); };
  write_file_atomic(path, [&](const fs::path& temporary) {
    Handle file(H5Fcreate(temporary.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
    check(file.valid());
    const auto make = [&](const char* name, hid_t stored, hsize_t cols) {
      return growing_dataset(path, file, name, stored, {features.rows, cols}, kFeatureChunkRows);
    };
    {
      Handle dataset = make("features", H5T_IEEE_F32LE, features.cols);
      // Whole chunks at a time: a chunk that is written twice would be stored twice.
      std::vector<float> waiting;
      hsize_t row = 0;
      const auto flush = [&](bool all) {
        const hsize_t have = waiting.size() / features.cols;
        const hsize_t count = all ? have : have / kFeatureChunkRows * kFeatureChunkRows;
        if (count == 0) return;
        const hsize_t start[2] = {row, 0};
        const hsize_t extent[2] = {count, features.cols};
        const Handle target(H5Dget_space(dataset.get()), H5Sclose);
        const Handle source(H5Screate_simple(2, extent, nullptr), H5Sclose);
        check(target.valid() && source.valid() &&
              H5Sselect_hyperslab(target.get(), H5S_SELECT_SET, start, nullptr, extent, nullptr) >=
                  0 &&
              H5Dwrite(dataset.get(),
                       H5T_NATIVE_FLOAT,
                       source.get(),
                       target.get(),
                       H5P_DEFAULT,
                       waiting.data()) >= 0);
        row += count;
        waiting.erase(waiting.begin(),
                      waiting.begin() + static_cast<std::ptrdiff_t>(count * features.cols));
      };
      features.each_block([&](std::span<const float> block) {
        waiting.insert(waiting.end(), block.begin(), block.end());
        flush(false);
      });
      flush(true);
      check(dataset.close());
    }
    if (coords) {
      Handle dataset = make("coords", H5T_STD_I32LE, 2);
      check(H5Dwrite(
                dataset.get(), H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, positions.data()) >=
            0);
      check(dataset.close());
    }
    check(file.close());
  });
}

void write_clam_features(const fs::path& path,
                         const Matrix<float>& features,
                         const std::optional<Matrix<std::int64_t>>& coords) {
  write_clam_features(path, rows_of(features), coords);
}

namespace {

// False where the library refuses.
bool write_attribute(hid_t object, const Hdf5Attribute& attribute) {
  const auto store = [&](hid_t stored, hid_t memory, std::optional<hsize_t> count, const void* at) {
    const Handle space(count ? H5Screate_simple(1, &*count, nullptr) : H5Screate(H5S_SCALAR),
                       H5Sclose);
    if (!space.valid()) return false;
    Handle made(
        H5Acreate2(object, attribute.name.c_str(), stored, space.get(), H5P_DEFAULT, H5P_DEFAULT),
        H5Aclose);
    return made.valid() && H5Awrite(made.get(), memory, at) >= 0 && made.close();
  };
  const Hdf5Value& value = attribute.value;
  if (const auto* text = std::get_if<std::string>(&value)) {
    const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    if (!type.valid() || H5Tset_size(type.get(), H5T_VARIABLE) < 0 ||
        H5Tset_cset(type.get(), H5T_CSET_UTF8) < 0) {
      return false;
    }
    const char* pointer = text->c_str();
    return store(type.get(), type.get(), std::nullopt, static_cast<const void*>(&pointer));
  }
  if (const auto* whole = std::get_if<std::int64_t>(&value)) {
    return store(H5T_STD_I64LE, H5T_NATIVE_INT64, std::nullopt, whole);
  }
  if (const auto* real = std::get_if<double>(&value)) {
    return store(H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, std::nullopt, real);
  }
  if (const auto* list = std::get_if<std::vector<std::int64_t>>(&value)) {
    return store(H5T_STD_I64LE, H5T_NATIVE_INT64, list->size(), list->data());
  }
  const auto& list = std::get<std::vector<double>>(value);
  return store(H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, list.size(), list.data());
}

void check_attributes(const fs::path& path, std::span<const Hdf5Attribute> attributes) {
  for (std::size_t i = 0; i < attributes.size(); ++i) {
    const Hdf5Attribute& at = attributes[i];
    const auto* text = std::get_if<std::string>(&at.value);
    const auto* whole = std::get_if<std::vector<std::int64_t>>(&at.value);
    const auto* real = std::get_if<std::vector<double>>(&at.value);
    const char* wrong = at.name.empty() || at.name.find('\0') != std::string::npos ? "is no name"
                        : text != nullptr && text->find('\0') != std::string::npos
                            ? "has text with a zero byte"
                        : (whole != nullptr && whole->empty()) || (real != nullptr && real->empty())
                            ? "is an empty list"
                            : nullptr;
    for (std::size_t j = 0; j < i && wrong == nullptr; ++j) {
      if (attributes[j].name == at.name) wrong = "is given twice";
    }
    if (wrong != nullptr) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{}: attribute '{}' {}", path.string(), at.name, wrong));
    }
  }
}

// `coords` with its attributes and, unless there are none, `attention_scores`.
void write_coordinates(const fs::path& path,
                       std::span<const float> scores,
                       const Matrix<std::int64_t>& coords,
                       std::span<const Hdf5Attribute> attributes,
                       std::uint64_t chunk_rows) {
  check_attributes(path, attributes);
  const std::lock_guard lock(hdf5_mutex());
  const QuietErrors quiet;
  const auto check = [&](bool good) { check_written(path, good); };
  write_file_atomic(path, [&](const fs::path& temporary) {
    Handle file(H5Fcreate(temporary.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
    check(file.valid());
    const auto make = [&](const char* name, hid_t stored, hsize_t cols) {
      return growing_dataset(path, file, name, stored, {coords.rows(), cols}, chunk_rows);
    };
    const auto fill = [&](Handle& dataset, hid_t memory, const void* values) {
      check(H5Dwrite(dataset.get(), memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    };
    if (!scores.empty()) {
      Handle dataset = make("attention_scores", H5T_IEEE_F32LE, 1);
      fill(dataset, H5T_NATIVE_FLOAT, scores.data());
      check(dataset.close());
    }
    Handle dataset = make("coords", H5T_STD_I64LE, 2);
    if (!coords.empty()) fill(dataset, H5T_NATIVE_INT64, coords.data());
    for (const Hdf5Attribute& attribute : attributes) {
      check(write_attribute(dataset.get(), attribute));
    }
    check(dataset.close());
    check(file.close());
  });
}

}  // namespace

void write_tile_coordinates(const fs::path& path,
                            const Matrix<std::int64_t>& coords,
                            std::span<const Hdf5Attribute> attributes,
                            std::uint64_t chunk_rows) {
  if ((coords.cols() != 2 && coords.rows() != 0) || chunk_rows < 1 || chunk_rows > (1U << 20U)) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("{}: {} x {} coordinates in chunks of {}, expected N x 2 in chunks of 1 "
                    "to 2^20 rows",
                    path.string(),
                    coords.rows(),
                    coords.cols(),
                    chunk_rows));
  }
  write_coordinates(path, {}, coords, attributes, chunk_rows);
}

void write_attention_file(const fs::path& path,
                          std::span<const float> scores,
                          const Matrix<std::int64_t>& coords,
                          std::span<const Hdf5Attribute> attributes) {
  if (scores.empty() || coords.rows() != scores.size() || coords.cols() != 2) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{}: {} scores with {} x {} coordinates, expected as many x, y as "
                            "scores, at least one",
                            path.string(),
                            scores.size(),
                            coords.rows(),
                            coords.cols()));
  }
  write_coordinates(path, scores, coords, attributes, 1024);
}

}  // namespace med3d
