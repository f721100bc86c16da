#include "med3d/io/formats/torch_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/pickle.h"
#include "med3d/io/formats/zip.h"

namespace med3d {

namespace {

using Kind = PickleValue::Kind;

constexpr std::string_view kLegacyMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
constexpr std::int64_t kLegacyProtocol = 1001;
constexpr std::size_t kLongestName = 1024;          // of a tensor, in bytes
constexpr std::uint64_t kFreeGrowth = 16ULL << 20;  // tensors this small may grow from any file
constexpr std::array<std::string_view, 3> kWrappers = {"state_dict", "model", "model_state_dict"};

struct StorageType {
  std::string_view global;
  DType dtype;
};

constexpr std::array kStorageTypes = {
    StorageType{"torch.FloatStorage", DType::kF32},
    StorageType{"torch.DoubleStorage", DType::kF64},
    StorageType{"torch.HalfStorage", DType::kF16},
    StorageType{"torch.BFloat16Storage", DType::kBF16},
    StorageType{"torch.LongStorage", DType::kI64},
    StorageType{"torch.IntStorage", DType::kI32},
    StorageType{"torch.ShortStorage", DType::kI16},
    StorageType{"torch.CharStorage", DType::kI8},
    StorageType{"torch.ByteStorage", DType::kU8},
    StorageType{"torch.BoolStorage", DType::kBool},
};

// The elements that tensors are views of.
struct Storage {
  std::string key;
  DType dtype = DType::kF32;
  std::uint64_t count = 0;
  std::size_t uses = 0;
};

struct TensorView {
  std::string name;
  std::size_t storage = 0;   // index into Plan::storages
  std::uint64_t offset = 0;  // in elements, from the start of the storage
  std::vector<std::uint64_t> shape;
  std::vector<std::uint64_t> stride;  // in elements
};

// What the pickled object asks for, checked before any element is touched.
struct Plan {
  std::vector<Storage> storages;
  std::vector<TensorView> tensors;
};

const PickleValue* find_key(const PickleValue& dict, std::string_view key) {
  for (std::size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    if (dict.items[i]->kind == Kind::kString && dict.items[i]->text == key) {
      return dict.items[i + 1];
    }
  }
  return nullptr;
}

class Planner {
 public:
  Planner(const std::string& source, std::uint64_t file_bytes)
      : source_(source),
        growth_limit_(
            std::max(kFreeGrowth, checked_multiply(file_bytes, limits().zip_ratio, source))) {}

  Plan plan(const PickleValue& root) {
    walk(root, "");
    if (plan_.tensors.empty()) throw Error(ErrorKind::kData, source_ + ": holds no tensor");
    return std::move(plan_);
  }

 private:
  [[noreturn]] void fail(std::string_view name,
                         const std::string& what,
                         ErrorKind kind = ErrorKind::kFormat) const {
    throw Error(kind, fmt::format("{}: tensor {}: {}", source_, quoted_for_message(name), what));
  }

  // Values are shared, not copied: a few hundred bytes can spell 2^100 paths.
  void walk(const PickleValue& value, const std::string& path) {
    if (++steps_ > limits().pickle_opcodes) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: more than {} values, most of them the same ones again",
                              source_,
                              limits().pickle_opcodes));
    }
    switch (value.kind) {
      case Kind::kDict:
        for (std::size_t i = 0; i < value.items.size(); i += 2) {
          if (!is_leaf(*value.items[i + 1])) {
            walk(*value.items[i + 1], join_name(path, key_text(*value.items[i], path)));
          }
        }
        return;
      case Kind::kList:
      case Kind::kTuple:
        for (std::size_t i = 0; i < value.items.size(); ++i) {
          if (!is_leaf(*value.items[i])) {
            walk(*value.items[i], join_name(path, std::to_string(i)));
          }
        }
        return;
      case Kind::kReduce:
        return walk_call(value, path);
      default:
        return;
    }
  }

  // Nothing below can be a tensor: its key need not make a name.
  static bool is_leaf(const PickleValue& value) {
    return value.kind != Kind::kDict && value.kind != Kind::kList && value.kind != Kind::kTuple &&
           value.kind != Kind::kReduce;
  }

  void walk_call(const PickleValue& call, const std::string& path) {
    if (call.text == "torch._utils._rebuild_tensor_v2") {
      if (call.items.size() != 6 && call.items.size() != 7) {
        fail(path, fmt::format("{} arguments, expected 6 or 7", call.items.size()));
      }
      // Flags such as "negated" or "conjugated" would change the values.
      if (call.items.size() == 7 && call.items[6]->kind != Kind::kNone &&
          (call.items[6]->kind != Kind::kDict || !call.items[6]->items.empty())) {
        fail(path, "it carries extra flags (negated, conjugated)", ErrorKind::kUnsupported);
      }
      add_tensor(call, path);
    } else if (call.text == "torch._utils._rebuild_tensor") {
      if (call.items.size() != 4) {
        fail(path, fmt::format("{} arguments, expected 4", call.items.size()));
      }
      add_tensor(call, path);
    } else if (call.text == "torch._utils._rebuild_parameter") {
      if (call.items.size() != 3 || call.items[0]->kind != Kind::kReduce) {
        fail(path, "a parameter made of something else than a tensor");
      }
      walk(*call.items[0], path);
    }
    // torch.Size, torch.device and numpy's scalars are no tensors.
  }

  std::string key_text(const PickleValue& key, const std::string& path) const {
    switch (key.kind) {
      case Kind::kString:
        return key.text;
      case Kind::kInt:
        return std::to_string(key.integer);
      default:
        fail(path,
             "the key below is " + describe(key) + ", expected text or a whole number",
             ErrorKind::kUnsupported);
    }
  }

  std::string join_name(const std::string& path, std::string_view part) const {
    if (path.size() + part.size() >= kLongestName) {
      fail(part, fmt::format("a name longer than {} bytes", kLongestName));
    }
    if (path.empty()) return std::string(part);
    return fmt::format("{}.{}", path, part);
  }

  std::uint64_t whole(const PickleValue& value,
                      std::string_view name,
                      std::string_view what) const {
    if (value.kind != Kind::kInt) {
      fail(name,
           fmt::format("its {} is {}, expected a whole number of 64 bits", what, describe(value)));
    }
    if (value.integer < 0) fail(name, fmt::format("its {} is {}, negative", what, value.integer));
    return static_cast<std::uint64_t>(value.integer);
  }

  std::vector<std::uint64_t> wholes(const PickleValue& value,
                                    std::string_view name,
                                    std::string_view what) const {
    const PickleValue* tuple = &value;
    if (tuple->kind == Kind::kReduce && tuple->text == "torch.Size" && tuple->items.size() == 1) {
      tuple = tuple->items[0];
    }
    if (tuple->kind != Kind::kTuple && tuple->kind != Kind::kList) {
      fail(name, fmt::format("its {} is {}, expected a tuple", what, describe(value)));
    }
    if (tuple->items.size() > limits().tensor_dimensions) {
      fail(name,
           fmt::format("its {} has {} axes, expected at most {}",
                       what,
                       tuple->items.size(),
                       limits().tensor_dimensions));
    }
    std::vector<std::uint64_t> numbers;
    for (const PickleValue* item : tuple->items) numbers.push_back(whole(*item, name, what));
    return numbers;
  }

  void add_tensor(const PickleValue& call, const std::string& name) {
    if (!is_valid_utf8(name)) fail(name, "a name that is not UTF-8");
    if (!names_.insert(name).second) fail(name, "two tensors have this name");
    TensorView view;
    view.name = name;
    std::uint64_t first = 0;  // the part of the storage that this tensor may touch
    std::uint64_t count = 0;
    view.storage = storage_of(*call.items[0], name, first, count);
    Storage& storage = plan_.storages[view.storage];
    const std::uint64_t offset = whole(*call.items[1], name, "offset");
    view.shape = wholes(*call.items[2], name, "size");
    view.stride = wholes(*call.items[3], name, "stride");
    if (view.shape.size() != view.stride.size()) {
      fail(name, fmt::format("{} sizes and {} strides", view.shape.size(), view.stride.size()));
    }
    const std::string what = fmt::format("{}: tensor {}", source_, quoted_for_message(name));
    const std::uint64_t bytes = checked_array_bytes(view.shape, storage.dtype, what);
    std::uint64_t end = offset;  // one past the last element
    if (bytes != 0) {
      for (std::size_t axis = 0; axis < view.shape.size(); ++axis) {
        const auto reach = checked_multiply(view.shape[axis] - 1, view.stride[axis], what);
        end = checked_add(end, reach, what);
      }
      end = checked_add(end, 1, what);
    }
    if (end > count) {
      fail(name, fmt::format("it reaches element {} of a storage of {}", end, count));
    }
    view.offset = first + offset;
    grown_ = checked_add(grown_, checked_add(bytes, name.size(), what), what);
    if (grown_ > std::min(growth_limit_, limits().weights_bytes)) {
      fail(name,
           fmt::format("the tensors up to this one fill {} bytes, too many for a file of "
                       "this size",
                       grown_));
    }
    ++storage.uses;
    plan_.tensors.push_back(std::move(view));
  }

  // ('storage', torch.FloatStorage, key, device, count[, None | (view key, offset, count)])
  std::size_t storage_of(const PickleValue& id,
                         const std::string& name,
                         std::uint64_t& first,
                         std::uint64_t& count) {
    if (id.kind != Kind::kPersistentId || id.items[0]->kind != Kind::kTuple) {
      fail(name, "its storage is " + describe(id) + ", expected a persistent id of a tuple");
    }
    const auto& parts = id.items[0]->items;
    if ((parts.size() != 5 && parts.size() != 6) || parts[0]->kind != Kind::kString ||
        parts[0]->text != "storage" || parts[1]->kind != Kind::kGlobal ||
        parts[2]->kind != Kind::kString || parts[3]->kind != Kind::kString) {
      fail(name, "a persistent id that is not ('storage', type, key, device, count)");
    }
    const auto type = std::find_if(kStorageTypes.begin(),
                                   kStorageTypes.end(),
                                   [&](const auto& one) { return one.global == parts[1]->text; });
    if (type == kStorageTypes.end()) {
      fail(name,
           "its storage is of " + describe(*parts[1]) + ", which has no element type we read",
           ErrorKind::kUnsupported);
    }
    const std::string& key = parts[2]->text;
    if (key.empty() || key.size() > 64 ||
        key.find_first_not_of("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-") !=
            std::string::npos) {
      fail(
          name,
          "the storage key " + quoted_for_message(key) + ", expected letters, digits, '_' and '-'");
    }
    count = whole(*parts[4], name, "storage's count");
    first = 0;
    const auto [place, is_new] = by_key_.try_emplace(key, plan_.storages.size());
    if (is_new) plan_.storages.push_back({key, type->dtype, count, 0});
    const Storage& storage = plan_.storages[place->second];
    if (storage.dtype != type->dtype || storage.count != count) {
      fail(name,
           fmt::format("storage '{}' is {} elements of {} here and {} of {} before",
                       key,
                       count,
                       to_string(type->dtype),
                       storage.count,
                       to_string(storage.dtype)));
    }
    if (parts.size() == 6 && parts[5]->kind != Kind::kNone) {
      const auto& part = parts[5]->items;
      if (parts[5]->kind != Kind::kTuple || part.size() != 3) {
        fail(name, "a view of a storage that is not (key, offset, count)");
      }
      first = whole(*part[1], name, "view's offset");
      const auto part_count = whole(*part[2], name, "view's count");
      if (first > count || part_count > count - first) {
        fail(name,
             fmt::format("its view of elements {} and {} on leaves a storage of {}",
                         first,
                         part_count,
                         count));
      }
      count = part_count;
    }
    return place->second;
  }

  const std::string& source_;
  std::uint64_t growth_limit_;
  std::uint64_t grown_ = 0;
  std::uint64_t steps_ = 0;
  Plan plan_;
  std::map<std::string, std::size_t> by_key_;
  std::set<std::string> names_;
};

template <std::size_t kWidth>
void gather(const char* from, const TensorView& view, std::string& out) {
  const std::size_t axes = view.shape.size();
  std::vector<std::uint64_t> index(axes, 0);
  std::uint64_t at = view.offset;
  for (std::size_t written = 0; written < out.size(); written += kWidth) {
    std::memcpy(out.data() + written, from + at * kWidth, kWidth);
    for (std::size_t axis = axes; axis-- > 0;) {
      at += view.stride[axis];
      if (++index[axis] < view.shape[axis]) break;
      at -= view.shape[axis] * view.stride[axis];
      index[axis] = 0;
    }
  }
}

bool is_row_major(const TensorView& view) {
  std::uint64_t expected = 1;
  for (std::size_t axis = view.shape.size(); axis-- > 0;) {
    if (view.shape[axis] == 1) continue;  // its stride is never taken
    if (view.stride[axis] != expected) return false;
    expected *= view.shape[axis];
  }
  return true;
}

std::string elements(std::string_view storage, const TensorView& view, std::size_t width) {
  std::uint64_t count = 1;
  for (const std::uint64_t size : view.shape) count *= size;  // checked when planned
  if (count == 0) return {};
  if (is_row_major(view)) return std::string(storage.substr(view.offset * width, count * width));
  std::string out(count * width, '\0');
  switch (width) {
    case 1:
      gather<1>(storage.data(), view, out);
      break;
    case 2:
      gather<2>(storage.data(), view, out);
      break;
    case 4:
      gather<4>(storage.data(), view, out);
      break;
    default:
      gather<8>(storage.data(), view, out);
      break;
  }
  return out;
}

// `part` goes to the value inside the pickled object that is asked for.
using PartOf = const PickleValue& (*)(const PickleValue& root, const std::string& source);

const PickleValue& whole_object(const PickleValue& root, const std::string&) { return root; }

const PickleValue& weights_part(const PickleValue& root, const std::string& source) {
  const PickleValue* part = &root;
  while (part->kind == Kind::kDict) {
    const PickleValue* inner = nullptr;
    std::string_view inner_name;
    for (const std::string_view wrapper : kWrappers) {
      const PickleValue* candidate = find_key(*part, wrapper);
      if (candidate == nullptr || candidate->kind != Kind::kDict) continue;
      if (inner != nullptr) {
        throw Error(ErrorKind::kUnsupported,
                    fmt::format("{}: holds both '{}' and '{}', expected one set of weights",
                                source,
                                inner_name,
                                wrapper));
      }
      inner = candidate;
      inner_name = wrapper;
    }
    if (inner == nullptr) break;
    part = inner;
  }
  return *part;
}

// ---- zip

std::string read_member(const ZipArchive& archive, const std::string& name) {
  const ZipEntry* entry = archive.find(name);
  if (entry == nullptr) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: no member {}", archive.source_name(), quoted_for_message(name)));
  }
  return archive.read(*entry);
}

// One storage of a zip file, for the tensors that are views of it. Its checksum is proven once;
// where it is packed, it is inflated once for all of them.
class ZipStorage {
 public:
  ZipStorage(std::shared_ptr<const ZipArchive> archive, const ZipEntry& entry, std::size_t uses)
      : archive_(std::move(archive)), entry_(entry), uses_(uses), left_(uses) {}

  std::string take(const TensorView& view, std::size_t width, std::uint64_t wanted) {
    const bool last = --left_ == 0;
    if (last) left_ = uses_;  // it may be read anew
    if (entry_.method == 0) {
      const std::string_view whole = proven();
      std::string out = elements(whole, view, width);
      if (last) {
        archive_->file().forget(whole);
      } else if (is_row_major(view)) {
        archive_->file().forget(whole.substr(view.offset * width, wanted));
      }
      return out;
    }
    if (inflated_.empty() && entry_.bytes != 0) inflated_ = archive_->read(entry_);
    std::string out;
    if (last && wanted == inflated_.size() && is_row_major(view)) {
      out = std::move(inflated_);  // the usual case: nothing is copied
    } else {
      out = elements(inflated_, view, width);
    }
    if (last) std::string().swap(inflated_);
    return out;
  }

  std::string_view place(const TensorView& view, std::size_t width, std::uint64_t wanted) {
    if (entry_.method != 0 || wanted == 0 || !is_row_major(view)) return {};
    return proven().substr(view.offset * width, wanted);
  }

 private:
  std::string_view proven() {
    if (!proven_) stored_ = archive_->stored(entry_);
    proven_ = true;
    return stored_;
  }

  std::shared_ptr<const ZipArchive> archive_;
  const ZipEntry& entry_;  // of the archive
  std::size_t uses_, left_;
  bool proven_ = false;
  std::string_view stored_;
  std::string inflated_;
};

std::vector<NamedStoredArray> open_zip(const FileBytes& file,
                                       const std::string& source,
                                       PartOf part) {
  const std::uint64_t file_bytes = file.view().size();
  const auto shared = std::make_shared<const ZipArchive>(file, source);
  const ZipArchive& archive = *shared;
  constexpr std::string_view kObject = "data.pkl";
  std::optional<std::string> folder;  // "archive/"
  for (const ZipEntry& entry : archive.entries()) {
    const std::string_view name = entry.name;
    if (name != kObject && !name.ends_with("/data.pkl")) continue;
    if (folder) {
      throw Error(ErrorKind::kFormat, source + ": two members data.pkl, expected one");
    }
    folder = std::string(name.substr(0, name.size() - kObject.size()));
  }
  if (!folder) {
    throw Error(ErrorKind::kFormat,
                source + ": a zip archive without a data.pkl is not a PyTorch file");
  }
  for (const ZipEntry& entry : archive.entries()) {
    if (entry.name == *folder + "constants.pkl" || entry.name.starts_with(*folder + "code/")) {
      throw Error(ErrorKind::kUnsupported,
                  source +
                      ": a TorchScript program, which is code; expected a file of tensors: "
                      "torch.save(model.state_dict(), ...)");
    }
  }
  if (archive.find(*folder + "byteorder") != nullptr) {
    const std::string order = read_member(archive, *folder + "byteorder");
    if (order != "little") {
      throw Error(
          ErrorKind::kUnsupported,
          fmt::format("{}: byte order {}, expected 'little'", source, quoted_for_message(order)));
    }
  }

  Plan plan;
  {
    const std::string object = read_member(archive, *folder + std::string(kObject));
    const PickleDocument document = parse_pickle(object, source);
    if (document.bytes_read != object.size()) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: {} bytes behind the end of the pickle",
                              source,
                              object.size() - document.bytes_read));
    }
    plan = Planner(source, file_bytes).plan(part(*document.root, source));
  }

  // All sizes first: a file whose last storage is short is refused before any is inflated.
  std::vector<const ZipEntry*> entries;
  for (const Storage& storage : plan.storages) {
    const ZipEntry* entry = archive.find(fmt::format("{}data/{}", *folder, storage.key));
    const auto expected = checked_multiply(storage.count, dtype_bytes(storage.dtype), source);
    if (entry == nullptr || entry->bytes != expected) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: storage '{}' has {} bytes, expected {}",
                              source,
                              storage.key,
                              entry == nullptr ? "no" : std::to_string(entry->bytes),
                              expected));
    }
    entries.push_back(entry);
  }

  std::vector<std::shared_ptr<ZipStorage>> storages;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    storages.push_back(std::make_shared<ZipStorage>(shared, *entries[i], plan.storages[i].uses));
  }
  std::vector<NamedStoredArray> tensors;
  for (TensorView& view : plan.tensors) {
    const DType dtype = plan.storages[view.storage].dtype;
    const std::size_t width = dtype_bytes(dtype);
    const auto wanted = checked_array_bytes(view.shape, dtype, source);
    NamedStoredArray named{std::move(view.name), {view.shape, dtype, nullptr, nullptr}};
    const auto storage = storages[view.storage];
    named.array.read = [=] { return storage->take(view, width, wanted); };
    named.array.in_place = [=] { return storage->place(view, width, wanted); };
    tensors.push_back(std::move(named));
  }
  return tensors;
}

// ---- legacy

class LegacyReader {
 public:
  LegacyReader(FileBytes file, const std::string& source)
      : file_(std::move(file)), bytes_(file_.view()), source_(source) {}

  std::vector<NamedStoredArray> open(PartOf part) {
    if (const auto magic = next_pickle();
        magic.root->kind != Kind::kBigInt || magic.root->text != kLegacyMagic) {
      fail("a pickle, but not a PyTorch file: its magic number is missing");
    }
    if (const auto protocol = next_pickle();
        protocol.root->kind != Kind::kInt || protocol.root->integer != kLegacyProtocol) {
      fail(fmt::format("the container's protocol is not {}", kLegacyProtocol),
           ErrorKind::kUnsupported);
    }
    const auto system = next_pickle();
    if (system.root->kind != Kind::kDict) fail("the description of the system is no dict");
    const PickleValue* little_endian = find_key(*system.root, "little_endian");
    if (little_endian != nullptr && little_endian->integer != 1) {
      fail("saved on a big-endian machine", ErrorKind::kUnsupported);
    }
    const auto object = next_pickle();
    // Storages of all tensors must be known to step over those that are not asked for.
    Plan all = Planner(source_, bytes_.size()).plan(*object.root);
    Plan plan = part == whole_object
                    ? std::move(all)
                    : Planner(source_, bytes_.size()).plan(part(*object.root, source_));
    const auto keys = next_pickle();
    return take_tensors(plan, part == whole_object ? plan.storages : all.storages, keys);
  }

 private:
  [[noreturn]] void fail(const std::string& what, ErrorKind kind = ErrorKind::kFormat) const {
    throw Error(kind, fmt::format("{}: {}", source_, what));
  }

  PickleDocument next_pickle() {
    PickleDocument document = parse_pickle(bytes_.substr(position_), source_);
    position_ += document.bytes_read;
    return document;
  }

  std::vector<NamedStoredArray> take_tensors(const Plan& plan,
                                             const std::vector<Storage>& storages,
                                             const PickleDocument& keys) {
    if (keys.root->kind != Kind::kList) fail("the storage keys are no list");
    std::map<std::string_view, const Storage*> known;
    for (const Storage& storage : storages) known[storage.key] = &storage;
    std::map<std::string_view, std::string_view> data;
    for (const PickleValue* key : keys.root->items) {
      const auto found = key->kind == Kind::kString ? known.find(key->text) : known.end();
      if (found == known.end()) {
        fail("a storage that no tensor names: " +
             (key->kind == Kind::kString ? quoted_for_message(key->text) : describe(*key)));
      }
      const Storage& storage = *found->second;
      if (bytes_.size() - position_ < 8) fail("the file ends inside its storages");
      std::uint64_t count = 0;
      for (std::size_t i = 0; i < 8; ++i) {
        count |= std::uint64_t{static_cast<std::uint8_t>(bytes_[position_ + i])} << (8 * i);
      }
      position_ += 8;
      if (count != storage.count) {
        fail(fmt::format(
            "storage '{}' has {} elements, expected {}", storage.key, count, storage.count));
      }
      const auto length = checked_multiply(count, dtype_bytes(storage.dtype), source_);
      if (length > bytes_.size() - position_) {
        fail(fmt::format("storage '{}' has {} bytes, {} are left",
                         storage.key,
                         length,
                         bytes_.size() - position_));
      }
      if (!data.emplace(storage.key, bytes_.substr(position_, length)).second) {
        fail(fmt::format("storage '{}' stands twice", storage.key));
      }
      position_ += length;
    }
    if (position_ != bytes_.size()) {
      fail(fmt::format("{} bytes behind the last storage", bytes_.size() - position_));
    }
    std::vector<NamedStoredArray> tensors;
    for (const TensorView& view : plan.tensors) {
      const Storage& storage = plan.storages[view.storage];
      const auto found = data.find(storage.key);
      if (found == data.end()) fail(fmt::format("storage '{}' is missing", storage.key));
      const std::string_view whole = found->second;
      const std::size_t width = dtype_bytes(storage.dtype);
      const std::size_t begin = view.offset * width;
      const auto wanted = checked_array_bytes(view.shape, storage.dtype, source_);
      const bool plain = wanted != 0 && is_row_major(view);
      NamedStoredArray named{view.name, {view.shape, storage.dtype, nullptr, nullptr}};
      named.array.read = [=, file = file_] {
        std::string out = elements(whole, view, width);
        file.forget(plain ? whole.substr(begin, wanted) : whole);
        return out;
      };
      named.array.in_place = [=, file = file_] {
        return plain ? whole.substr(begin, wanted) : std::string_view();
      };
      tensors.push_back(std::move(named));
    }
    return tensors;
  }

  FileBytes file_;
  std::string_view bytes_;  // of it
  const std::string& source_;
  std::size_t position_ = 0;
};

// ---- both

struct OpenedTorch {
  std::vector<NamedStoredArray> tensors;
  std::string container;
};

OpenedTorch open_part(const FileBytes& file, const std::string& source, PartOf part) {
  const std::string_view bytes = file.view();
  if (bytes.size() > limits().weights_bytes) {
    throw Error(
        ErrorKind::kFormat,
        fmt::format(
            "{}: {} bytes, expected at most {}", source, bytes.size(), limits().weights_bytes));
  }
  if (ZipArchive::detect(bytes.substr(0, 4))) return {open_zip(file, source, part), "zip"};
  if (bytes.starts_with('\x80')) return {LegacyReader(file, source).open(part), "legacy"};
  if (bytes.starts_with("\x1f\x8b")) {
    throw Error(ErrorKind::kUnsupported, source + ": a gzip file, expected it unpacked");
  }
  if (bytes.size() > 262 && bytes.compare(257, 5, "ustar") == 0) {
    throw Error(ErrorKind::kUnsupported,
                source +
                    ": a tar archive (PyTorch before 0.1.10), expected a zip or the pickle "
                    "container");
  }
  throw Error(ErrorKind::kFormat,
              source + ": not a PyTorch file: neither a zip archive nor a pickle");
}

std::vector<NamedArray> read_all(std::vector<NamedStoredArray> stored) {
  std::vector<NamedArray> tensors;
  for (NamedStoredArray& one : stored) {
    tensors.push_back({std::move(one.name), one.array.array()});
    one.array = {};
  }
  return tensors;
}

// ---- writing

void put_bytes(std::string& out, std::uint64_t value, std::size_t width) {
  for (std::size_t i = 0; i < width; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
}

void put_int(std::string& out, std::uint64_t value) {
  if (value < 0x100) {
    out += 'K';
    put_bytes(out, value, 1);
  } else if (value < 0x10000) {
    out += 'M';
    put_bytes(out, value, 2);
  } else if (value < 0x80000000) {
    out += 'J';
    put_bytes(out, value, 4);
  } else {
    out += "\x8a\x08";  // LONG1 of 8 bytes; array_bytes keeps it below 2^63
    put_bytes(out, value, 8);
  }
}

void put_text(std::string& out, std::string_view text) {
  out += 'X';
  put_bytes(out, text.size(), 4);
  out += text;
}

void put_tuple(std::string& out, std::span<const std::uint64_t> values) {
  if (values.empty()) {
    out += ')';
    return;
  }
  out += '(';
  for (const std::uint64_t value : values) put_int(out, value);
  out += 't';
}

// The tensor's storage has the number `key`. Returns the bytes it takes.
std::uint64_t put_tensor(std::string& out,
                         std::span<const std::uint64_t> shape,
                         DType dtype,
                         std::string_view name,
                         std::size_t key) {
  const auto type = std::find_if(kStorageTypes.begin(), kStorageTypes.end(), [&](const auto& one) {
    return one.dtype == dtype;
  });
  const std::string what = fmt::format("tensor {}", quoted_for_message(name));
  if (type == kStorageTypes.end()) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("{}: PyTorch has no tensors of {}", what, to_string(dtype)));
  }
  const auto bytes = checked_array_bytes(shape, dtype, what);
  std::vector<std::uint64_t> stride(shape.size(), 1);
  for (std::size_t axis = stride.size(); axis-- > 1;) {
    stride[axis - 1] =
        checked_multiply(stride[axis], std::max<std::uint64_t>(shape[axis], 1), what);
  }
  out += "ctorch._utils\n_rebuild_tensor_v2\n((";
  put_text(out, "storage");
  out += fmt::format("ctorch\n{}\n", type->global.substr(std::string_view("torch.").size()));
  put_text(out, std::to_string(key));
  put_text(out, "cpu");
  put_int(out, bytes / dtype_bytes(dtype));
  out += "tQ";
  put_int(out, 0);
  put_tuple(out, shape);
  put_tuple(out, stride);
  out +=
      "\x89"  // requires_grad: False
      "ccollections\nOrderedDict\n)RtR";
  return bytes;
}

void put_array(std::string& out, const Array& array, std::string_view name, std::size_t key) {
  const auto bytes = put_tensor(out, array.shape, array.dtype, name, key);
  if (bytes != array.bytes.size()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("tensor {}: {} bytes for shape {}, expected {}",
                            quoted_for_message(name),
                            array.bytes.size(),
                            shape_text(array.shape),
                            bytes));
  }
}

constexpr std::size_t kAlignment = 64;

std::string archive_bytes(std::string_view object, std::span<const Array* const> storages) {
  ZipWriter zip(kAlignment);
  zip.add("archive/data.pkl", object);
  zip.add("archive/byteorder", "little");
  for (std::size_t key = 0; key < storages.size(); ++key) {
    zip.add(fmt::format("archive/data/{}", key), storages[key]->bytes);
  }
  zip.add("archive/version", "3\n");
  return zip.finish();
}

bool detect_torch(std::string_view head) {
  return ZipArchive::detect(head.substr(0, 4)) || head.starts_with('\x80');
}

Matrix<float> open_torch(const std::filesystem::path& path) {
  return features_among(read_torch(path).tensors, path.string());
}

std::vector<NamedStoredArray> stored_torch(const FileBytes& file, const std::string& source) {
  return open_part(file, source, whole_object).tensors;
}

}  // namespace

const FeatureFormat torch_feature_format = {
    "torch", {".pt", ".pth", ".th"}, detect_torch, open_torch, stored_torch};

TorchFile parse_torch(std::string bytes, const std::string& source) {
  OpenedTorch opened = open_part(FileBytes::hold(std::move(bytes)), source, whole_object);
  return {read_all(std::move(opened.tensors)), std::move(opened.container)};
}

TorchFile read_torch(const std::filesystem::path& path) {
  return parse_torch(read_file(path, limits().weights_bytes), path.string());
}

std::vector<NamedArray> read_state_dict(const std::filesystem::path& path) {
  return parse_state_dict(read_file(path, limits().weights_bytes), path.string());
}

std::vector<NamedArray> parse_state_dict(std::string bytes, const std::string& source) {
  return read_all(stored_state_dict(FileBytes::hold(std::move(bytes)), source));
}

std::vector<NamedStoredArray> stored_state_dict(const FileBytes& file, const std::string& source) {
  std::vector<NamedStoredArray> tensors = open_part(file, source, weights_part).tensors;
  std::set<std::string_view> names;
  for (NamedStoredArray& tensor : tensors) {
    if (tensor.name.empty()) {
      throw Error(ErrorKind::kData, source + ": a bare tensor, expected a dict of weights");
    }
    tensor.name = without_module(tensor.name);
    if (!names.insert(tensor.name).second) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: two tensors are called {} once 'module' is taken out",
                              source,
                              quoted_for_message(tensor.name)));
    }
  }
  return tensors;
}

std::string without_module(std::string_view name) {
  std::vector<std::string> parts = split(name, '.');
  // The last part is the tensor's own name, whatever it is.
  parts.erase(std::remove(parts.begin(), parts.end() - 1, "module"), parts.end() - 1);
  return join(parts, ".");
}

std::string torch_bytes(std::span<const NamedArray> tensors) {
  if (tensors.empty()) throw Error(ErrorKind::kUsage, "a PyTorch file of no tensor");
  std::set<std::string_view> names;
  std::vector<const Array*> storages;
  std::string object =
      "\x80\x02"
      "ccollections\nOrderedDict\n)R(";
  for (const NamedArray& tensor : tensors) {
    if (tensor.name.empty() || tensor.name.size() >= kLongestName || !is_valid_utf8(tensor.name)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("tensor {}: a name of 1 to {} bytes of UTF-8 is expected",
                              quoted_for_message(tensor.name),
                              kLongestName - 1));
    }
    if (!names.insert(tensor.name).second) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("two tensors are called {}", quoted_for_message(tensor.name)));
    }
    put_text(object, tensor.name);
    put_array(object, tensor.array, tensor.name, storages.size());
    storages.push_back(&tensor.array);
  }
  object += "u.";
  return archive_bytes(object, storages);
}

std::string torch_tensor_bytes(const Array& array) {
  std::string object = "\x80\x02";
  put_array(object, array, "", 0);
  object += '.';
  const Array* storage = &array;
  return archive_bytes(object, {&storage, 1});
}

void write_torch_rows(const std::filesystem::path& path, const RowStream& rows) {
  std::string object = "\x80\x02";
  const std::array<std::uint64_t, 2> shape = {rows.rows, rows.cols};
  const auto bytes = put_tensor(object, shape, DType::kF32, "", 0);
  object += '.';
  std::uint32_t crc = 0;
  rows.each_block([&](std::span<const float> block) {
    crc = zlib_crc32(
        crc, std::string_view(reinterpret_cast<const char*>(block.data()), block.size_bytes()));
  });
  ZipWriter zip(kAlignment);
  zip.add("archive/data.pkl", object);
  zip.add("archive/byteorder", "little");
  zip.add_later("archive/data/0", bytes, crc);
  zip.add("archive/version", "3\n");
  const auto pieces = zip.finish_pieces();
  write_file_pieces(path, [&](const std::function<void(std::string_view)>& write) {
    write(pieces[0]);
    rows.each_block([&](std::span<const float> block) {
      write(std::string_view(reinterpret_cast<const char*>(block.data()), block.size_bytes()));
    });
    write(pieces[1]);
  });
}

}  // namespace med3d
