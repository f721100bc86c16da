// Hostile files: each stream below is read on its own and inside both containers. None may run
// anything (the canary file never appears), none may crash, each ends in an Error.
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <regex>
#include <string>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/io/formats/pickle.h"
#include "med3d/io/formats/torch_file.h"
#include "med3d/io/formats/zip.h"
#include "med3d/io/test_support.inc"

namespace med3d {
namespace {

using namespace std::string_literals;

std::string number(std::uint64_t value, std::size_t width) {
  std::string bytes;
  for (std::size_t i = 0; i < width; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
  return bytes;
}
std::string text(std::string_view s) { return "X" + number(s.size(), 4) + std::string(s); }
std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
std::string integer(std::int64_t value) {
  return "\x8a\x08" + number(static_cast<std::uint64_t>(value), 8);
}
std::string tuple(std::initializer_list<std::int64_t> values) {
  std::string bytes = "(";
  for (const std::int64_t value : values) bytes += integer(value);
  return bytes + "t";
}
const std::string kProto2 = "\x80\x02";
const std::string kProto4 = "\x80\x04";
const std::string kHooks = global("collections", "OrderedDict") + ")R";

// A persistent id; `extra` is the legacy container's view of it.
std::string storage(const std::string& type,
                    const std::string& key,
                    std::int64_t count,
                    const std::string& extra = "") {
  return "(" + text("storage") + global("torch", type) + text(key) + text("cuda:0") +
         integer(count) + extra + "tQ";
}
std::string tensor(const std::string& storage_id,
                   std::int64_t offset,
                   const std::string& size,
                   const std::string& stride) {
  return global("torch._utils", "_rebuild_tensor_v2") + "(" + storage_id + integer(offset) + size +
         stride + "\x89" + kHooks + "tR";
}
std::string tensor_file(const std::string& storage_id,
                        std::int64_t offset,
                        const std::string& size,
                        const std::string& stride) {
  return kProto2 + tensor(storage_id, offset, size, stride) + ".";
}

const std::string kStorage6 = storage("FloatStorage", "0", 6);
const std::string kGood = tensor_file(kStorage6, 0, tuple({2, 3}), tuple({3, 1}));
const std::string kData6 = std::string(24, '\x01');

std::string zip_of(const std::string& object, const std::string& data = kData6) {
  ZipWriter zip(64);
  zip.add("archive/data.pkl", object);
  zip.add("archive/data/0", data);
  zip.add("archive/version", "3\n");
  return zip.finish();
}

std::string legacy_of(const std::string& object, const std::string& keys_and_data) {
  return kProto2 + "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + kProto2 + "M\xe9\x03." +
         kProto2 + "}" + text("little_endian") + "\x88s." + object + keys_and_data;
}
std::string legacy_tail(std::uint64_t count = 6, const std::string& data = kData6) {
  return kProto2 + "]" + text("0") + "a." + number(count, 8) + data;
}

struct Attack {
  const char* name;
  std::string stream;
  const char* message;  // a regular expression
};

// Streams that no container makes good.
// Those that could run something would make the file `canary`.
std::vector<Attack> pickle_attacks(const std::filesystem::path& canary) {
  const std::string command = "touch " + canary.string();
  const std::string python = "open('" + canary.string() + "','w')";
  const std::string run = "(" + text(command) + "tR.";
  const std::string eval = "(" + text(python) + "tR.";
  const auto stack_global = [](const std::string& module, const std::string& name) {
    return text(module) + text(name) + "\x93";
  };
  std::string big_call =
      kProto2 + global("torch", "Size") + "q\x01(" + std::string(5000, 'N') + "tq\x02";
  for (int i = 0; i < 1000; ++i) big_call += "h\x01h\x02R";
  return {
      // Names.
      {"os.system", kProto2 + global("os", "system") + run, "names 'os\\.system'.*refused without"},
      {"posix.system", kProto2 + global("posix", "system") + run, "'posix\\.system'"},
      {"nt.system", kProto2 + global("nt", "system") + run, "'nt\\.system'"},
      {"subprocess.Popen", kProto2 + global("subprocess", "Popen") + run, "'subprocess\\.Popen'"},
      {"builtins.eval", kProto2 + global("builtins", "eval") + eval, "'builtins\\.eval'"},
      {"builtins.exec", kProto2 + global("builtins", "exec") + eval, "'builtins\\.exec'"},
      {"__builtin__.eval", kProto2 + global("__builtin__", "eval") + eval, "'__builtin__\\.eval'"},
      {"builtins.getattr", kProto2 + global("builtins", "getattr") + ")R.", "'builtins\\.getattr'"},
      {"builtins.__import__", kProto2 + global("builtins", "__import__") + run, "__import__"},
      {"runpy", kProto2 + global("runpy", "_run_code") + eval, "'runpy\\._run_code'"},
      {"torch.load inside",
       kProto2 + global("torch.storage", "_load_from_bytes") + ")R.",
       "_load_from_bytes"},
      {"torch.hub.load", kProto2 + global("torch.hub", "load") + ")R.", "'torch\\.hub\\.load'"},
      {"a module class",
       kProto2 + global("torch.nn.modules.linear", "Linear") + ")\x81}" + text("__setstate__") +
           text("x") + "sb.",
       "'torch\\.nn\\.modules\\.linear\\.Linear'"},
      {"numpy load", kProto2 + global("numpy", "load") + ")R.", "'numpy\\.load'"},
      {"a codec with code", kProto2 + global("codecs", "encode") + ")R.", "'codecs\\.encode'"},
      {"protocol 0", "cos\nsystem\n" + run, "'os\\.system'|not a PyTorch file"},
      {"stack global", kProto4 + stack_global("posix", "system") + run, "'posix\\.system'"},
      {"stack global through the memo",
       kProto4 + text("system") + "\x94" + text("os") + "\x94" + "h\x01h\x00"s + "\x93" + run,
       "'os\\.system'"},
      {"memo entry overwritten",
       kProto4 + text("torch") + "q\x00"s + text("os") + "q\x00"s + "h\x00"s + text("system") +
           "\x93" + run,
       "'os\\.system'"},
      {"name of a name",
       kProto4 + stack_global("torch", "_utils._rebuild_tensor_v2") + ")R.",
       "'torch\\._utils\\._rebuild_tensor_v2'"},
      {"dotted attribute of an allowed name",
       kProto4 + stack_global("collections", "OrderedDict.__init__.__globals__") + ".",
       "OrderedDict\\.__init__"},
      {"allowed name with a space",
       kProto2 + global("collections ", "OrderedDict") + ")R.",
       "'collections \\.OrderedDict'"},
      {"terminal escapes in a name",
       kProto2 + global("os\x1b[2J", "system") + run,
       "'os\\\\x1b\\[2J\\.system'"},
      {"stack global of numbers", kProto4 + "K\x01K\x02\x93.", "two strings"},
      // Instructions.
      {"INST", "\x80\x02(" + text(command) + "ios\nsystem\n.", "instruction INST"},
      {"OBJ", kProto2 + "(" + global("torch", "Size") + text(command) + "o.", "instruction OBJ"},
      {"EXT1", kProto2 + "\x82\x01)R.", "instruction EXT1"},
      {"EXT2", kProto2 + "\x83\x01\x01)R.", "instruction EXT2"},
      {"EXT4", kProto2 + "\x84\x01\x01\x01\x01)R.", "instruction EXT4"},
      {"PERSID as text", kProto2 + "Pos.system\n.", "instruction PERSID"},
      {"NEWOBJ_EX", kProto4 + global("torch", "Size") + ")}\x92.", "instruction NEWOBJ_EX"},
      {"DUP", kProto2 + "]2a.", "instruction DUP"},
      {"POP_MARK", kProto2 + "](1.", "instruction POP_MARK"},
      {"STRING", kProto2 + "S'os'\n.", "instruction STRING"},
      {"UNICODE", kProto2 + "Vos\n.", "instruction UNICODE"},
      {"out-of-band buffer", "\x80\x05\x97.", "instruction NEXT_BUFFER"},
      {"unknown instruction", kProto2 + "\xfe.", "0xfe is no instruction"},
      {"protocol 255", "\x80\xff].", "protocol 255"},
      {"second PROTO", kProto2 + kProto2 + "].", "PROTO in the middle"},
      // Calls.
      {"a storage called",
       kProto2 + global("torch", "FloatStorage") + run,
       "'torch\\.FloatStorage'.*not on the list of calls"},
      {"a dtype built",
       kProto2 + global("torch", "float32") + ")\x81.",
       "not on the list of calls"},
      {"a string called", kProto2 + text("os.system") + run, "calls a string"},
      {"nested REDUCE", kProto2 + global("torch", "Size") + ")R)R.", "calls the result of"},
      {"arguments that are no tuple",
       kProto2 + global("torch", "Size") + "]R.",
       "expected a tuple"},
      {"__setstate__ on a name",
       kProto2 + global("torch", "Size") + "}" + text("__setstate__") + text(command) + "sb.",
       "BUILD sets the state of the name 'torch\\.Size'"},
      {"__reduce__ on a list", kProto2 + "]}b.", "BUILD sets the state of a list"},
      {"BUILD on a plain dict", kProto2 + "}}b.", "BUILD sets the state of a dict"},
      {"codec that is not latin1",
       kProto2 + global("_codecs", "encode") + text("x") + text("rot13") + "\x86R.",
       "latin1"},
      {"a call's arguments a thousand times", big_call + ".", "repeat their arguments"},
      // Structure.
      {"list in itself", kProto2 + "]q\x01h\x01"s + "a.", "a list that contains itself"},
      {"dict in itself", kProto2 + "}q\x01" + text("a") + "h\x01s.", "a dict that contains itself"},
      {"cycle of two",
       kProto2 + "]q\x01]q\x02h\x01" + "ah\x02" + "a.",
       "a list that contains itself|stops with"},
      {"state that holds its owner",
       kProto2 + kHooks + "q\x01}" + text("x") + "h\x01sb.",
       "contains itself"},
      {"key twice",
       kProto2 + "}(" + text("a") + "K\x01" + text("a") + "K\x02u.",
       "the key 'a' stands twice"},
      {"True and 1 as keys", kProto2 + "}(\x88K\x01K\x01K\x02u.", "the key 1 stands twice"},
      {"list as a key", kProto2 + "}]K\x01s.", "key is a list"},
      {"items without a dict", kProto2 + "]K\x01K\x02s.", "items set in a list"},
      {"append to a tuple", kProto2 + ")K\x01" + "a.", "items appended to a tuple"},
      {"odd number of items", kProto2 + "}(K\x01u.", "key without a value"},
      {"empty stack", kProto2 + ".", "stops with 0 values"},
      {"two values", kProto2 + "]].", "stops with 2 values"},
      {"pop below the mark", kProto2 + "](\x85.", "missing on the stack"},
      {"mark without one", kProto2 + "]t.", "a MARK is missing"},
      {"memo never set", kProto2 + "h\x07.", "never remembered"},
      {"negative memo index", kProto2 + "]p-1\n.", "negative memo index"},
      {"deep nesting",
       kProto2 + std::string(100000, ']') + std::string(99999, 'a') + ".",
       "nested deeper"},
      // Lengths.
      {"string of 4 GiB", kProto2 + "X\xff\xff\xff\xff" + "abc.", "4294967295 bytes expected"},
      {"string of 2^63", kProto4 + "\x8d" + number(1ULL << 63, 8) + "abc.", "bytes expected"},
      {"bytes of 2^64 - 1", kProto4 + "\x8e" + number(~0ULL, 8) + "abc.", "bytes expected"},
      {"bytearray of 2^62", "\x80\x05\x96" + number(1ULL << 62, 8) + "abc.", "bytes expected"},
      {"frame of 2^63", kProto4 + "\x95" + number(1ULL << 63, 8) + "].", "a FRAME of"},
      {"negative LONG4", kProto2 + "\x8b\xff\xff\xff\xff" + "abc.", "bytes expected"},
      {"decimal of 30 digits", kProto2 + "I" + std::string(30, '9') + "\n.", "64 bits"},
      {"line without an end", kProto2 + "cos", "does not end"},
      {"text that is not UTF-8", kProto2 + text("\xff\xfe") + ".", "not UTF-8"},
      {"empty stream", "", "1 bytes expected|not a PyTorch file|storage|inside"},
  };
}

// Well-formed streams that ask for impossible tensors.
std::vector<Attack> tensor_attacks() {
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  const auto float6 = [](std::int64_t offset, const std::string& size, const std::string& stride) {
    return tensor_file(kStorage6, offset, size, stride);
  };
  std::string laughs = kProto4 + "]\x94";
  for (int i = 0; i < 60; ++i) {  // 2^60 paths
    laughs += "]\x94(h"s + static_cast<char>(i) + "h"s + static_cast<char>(i) + "e";
  }
  // A tensor of 4 MiB behind a storage of six elements, 40 times: each passes, their sum must not.
  std::string crowd = kProto2 + "](";
  for (int i = 0; i < 40; ++i) crowd += tensor(kStorage6, 0, tuple({1 << 20}), tuple({0}));
  const std::string metadata = global("torch._utils", "_rebuild_tensor_v2") + "(" + kStorage6 +
                               integer(0) + tuple({6}) + tuple({1}) + "\x89" + kHooks + "}" +
                               text("neg") + "\x88stR.";
  return {
      {"huge numel", float6(0, tuple({kHuge, kHuge}), tuple({1, 1})), "64 bits|bytes"},
      {"huge size, stride 0", float6(0, tuple({kHuge}), tuple({0})), "64 bits|bytes"},
      {"size of 2^63 - 1", float6(0, tuple({INT64_MAX}), tuple({1})), "64 bits|bytes"},
      {"1 GiB from six elements", float6(0, tuple({1 << 28}), tuple({0})), "too many for a file"},
      {"160 MiB in forty tensors", crowd + "e.", "too many for a file"},
      {"negative size", float6(0, tuple({-1}), tuple({1})), "its size is -1, negative"},
      {"negative stride", float6(5, tuple({6}), tuple({-1})), "its stride is -1, negative"},
      {"negative offset", float6(-1, tuple({2}), tuple({1})), "its offset is -1, negative"},
      {"offset beyond", float6(1, tuple({6}), tuple({1})), "reaches element 7 of a storage of 6"},
      {"stride beyond", float6(0, tuple({2, 3}), tuple({4, 1})), "reaches element 7"},
      {"stride that wraps", float6(0, tuple({5}), tuple({kHuge})), "64 bits"},
      {"offset of an empty tensor", float6(7, tuple({0}), tuple({1})), "reaches element 7"},
      {"one stride for two sizes", float6(0, tuple({2, 3}), tuple({1})), "2 sizes and 1 strides"},
      {"seventeen axes",
       float6(0, tuple({1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}), tuple({1})),
       "17 axes"},
      {"size is text", float6(0, text("6"), tuple({1})), "its size is a string"},
      {"size of floats", float6(0, "G\x40\x18\0\0\0\0\0\0\x85"s, tuple({1})), "is a float"},
      {"too few arguments",
       kProto2 + global("torch._utils", "_rebuild_tensor_v2") + "(" + kStorage6 + "tR.",
       "1 arguments"},
      {"negated flag", kProto2 + metadata, "extra flags"},
      {"storage by name",
       tensor_file(text("/etc/passwd"), 0, tuple({6}), tuple({1})),
       "its storage is a string"},
      {"module as persistent id",
       tensor_file("(" + text("module") + global("torch", "Size") + text("a.py") + text("x") +
                       integer(6) + "tQ",
                   0,
                   tuple({6}),
                   tuple({1})),
       "not \\('storage'"},
      {"path in a storage key",
       tensor_file(storage("FloatStorage", "../../0", 6), 0, tuple({6}), tuple({1})),
       "storage key '\\.\\./\\.\\./0'"},
      {"empty storage key",
       tensor_file(storage("FloatStorage", "", 6), 0, tuple({6}), tuple({1})),
       "storage key ''"},
      {"dtype as a storage",
       tensor_file(storage("float32", "0", 6), 0, tuple({6}), tuple({1})),
       "no element type"},
      {"storage of 2^62 elements",
       tensor_file(storage("DoubleStorage", "0", kHuge), 0, tuple({6}), tuple({1})),
       "64 bits|elements"},
      {"storage longer than its bytes",
       tensor_file(storage("FloatStorage", "0", 7), 0, tuple({7}), tuple({1})),
       "has 24 bytes, expected 28|has 6 elements, expected 7"},
      {"storage that is not there",
       tensor_file(storage("FloatStorage", "1", 6), 0, tuple({6}), tuple({1})),
       "storage '1' has no bytes|no tensor names: '0'"},
      {"one storage of two types",
       kProto2 + "](" + tensor(kStorage6, 0, tuple({6}), tuple({1})) +
           tensor(storage("IntStorage", "0", 6), 0, tuple({6}), tuple({1})) + "e.",
       "is 6 elements of i32 here and 6 of f32 before"},
      {"one storage of two lengths",
       kProto2 + "](" + tensor(kStorage6, 0, tuple({6}), tuple({1})) +
           tensor(storage("FloatStorage", "0", 1 << 30), 0, tuple({6}), tuple({1})) + "e.",
       "elements of f32 here and 6"},
      {"view beyond its storage",
       tensor_file(storage("FloatStorage", "0", 6, "(" + text("v") + integer(4) + integer(3) + "t"),
                   0,
                   tuple({3}),
                   tuple({1})),
       "leaves a storage of 6"},
      {"tensor beyond its view",
       tensor_file(storage("FloatStorage", "0", 6, "(" + text("v") + integer(2) + integer(3) + "t"),
                   0,
                   tuple({4}),
                   tuple({1})),
       "reaches element 4 of a storage of 3"},
      {"one name twice",
       kProto2 + "}(" + text("a.b") + tensor(kStorage6, 0, tuple({6}), tuple({1})) + text("a") +
           "}" + text("b") + tensor(kStorage6, 0, tuple({6}), tuple({1})) + "su.",
       "'a\\.b': two tensors have this name"},
      {"name of two kilobytes",
       kProto2 + "}" + text(std::string(2000, 'n')) + tensor(kStorage6, 0, tuple({6}), tuple({1})) +
           "s.",
       "a name longer than 1024 bytes"},
      {"no tensor", kProto2 + "}.", "holds no tensor"},
      {"2^60 paths to one list", kProto4 + "(" + laughs.substr(2) + "t.", "the same ones again"},
  };
}

std::string message_of(const std::string& bytes) {
  try {
    parse_torch(bytes, "x.pt");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(TorchAttack, ReadsTheGoodFilesThatTheAttacksAreMadeFrom) {
  EXPECT_EQ(parse_torch(zip_of(kGood), "x.pt").tensors.size(), 1U);
  EXPECT_EQ(parse_torch(legacy_of(kGood, legacy_tail()), "x.pt").tensors.size(), 1U);
}

TEST(TorchAttack, RefusesEveryHostileStreamWithoutRunningIt) {
  const testing_io::TemporaryFolder folder;
  const std::filesystem::path canary = folder / "canary";
  std::size_t count = 0;
  for (const Attack& attack : pickle_attacks(canary)) {
    SCOPED_TRACE(attack.name);
    const std::regex expected(attack.message);
    std::string alone = "no error";
    try {
      parse_pickle(attack.stream, "x.pt");
    } catch (const Error& error) {
      alone = error.what();
    }
    EXPECT_TRUE(std::regex_search(alone, expected)) << alone;
    const std::string zipped = message_of(zip_of(attack.stream));
    EXPECT_TRUE(std::regex_search(zipped, expected)) << zipped;
    EXPECT_NE(message_of(legacy_of(attack.stream, legacy_tail())), "no error");
    EXPECT_NE(message_of(attack.stream), "no error");
    ++count;
  }
  EXPECT_GE(count, 60U);
  EXPECT_FALSE(std::filesystem::exists(canary)) << "a pickle was run";
}

TEST(TorchAttack, RefusesEveryImpossibleTensorInBothContainers) {
  for (const Attack& attack : tensor_attacks()) {
    SCOPED_TRACE(attack.name);
    const std::regex expected(attack.message);
    const std::string zipped = message_of(zip_of(attack.stream));
    EXPECT_TRUE(std::regex_search(zipped, expected)) << zipped;
    const std::string legacy = message_of(legacy_of(attack.stream, legacy_tail()));
    EXPECT_TRUE(std::regex_search(legacy, expected)) << legacy;
  }
}

// The name occurs in the local header and in the directory.
std::string renamed(std::string archive, const std::string& from, const std::string& to) {
  for (auto at = archive.find(from); at != std::string::npos; at = archive.find(from, at + 1)) {
    archive.replace(at, from.size(), to);
  }
  return archive;
}

std::string zip_with(std::initializer_list<std::pair<const char*, std::string>> members) {
  ZipWriter zip(64);
  for (const auto& [name, data] : members) zip.add(name, data);
  return zip.finish();
}

TEST(TorchAttack, RefusesHostileZipContainers) {
  const std::vector<Attack> attacks = {
      {"two data.pkl",
       zip_with({{"a/data.pkl", kGood}, {"b/data.pkl", kGood}, {"a/data/0", kData6}}),
       "two members data\\.pkl"},
      {"data.pkl above and below",
       zip_with({{"data.pkl", kGood}, {"a/data.pkl", kGood}, {"a/data/0", kData6}}),
       "two members data\\.pkl"},
      {"no data.pkl", zip_with({{"a/other.pkl", kGood}}), "without a data\\.pkl"},
      {"climbing entry",
       renamed(zip_with({{"a/data.pkl", kGood}, {"a/data/0", kData6}, {"xx/evil", "x"}}),
               "xx/evil",
               "../evil"),
       "x\\.pt"},
      {"absolute entry",
       renamed(zip_with({{"a/data.pkl", kGood}, {"a/data/0", kData6}, {"x/evil", "x"}}),
               "x/evil",
               "//evil"),
       "x\\.pt"},
      {"entry twice",
       renamed(zip_with({{"a/data.pkl", kGood}, {"a/data/0", kData6}, {"a/data/1", kData6}}),
               "a/data/1",
               "a/data/0"),
       "x\\.pt"},
      {"TorchScript by its constants",
       zip_with({{"a/data.pkl", kGood}, {"a/constants.pkl", "\x80\x02)."}}),
       "a TorchScript program"},
      {"TorchScript by its code",
       zip_with({{"a/data.pkl", kGood}, {"a/code/__torch__.py", "import os"}}),
       "a TorchScript program"},
      {"big-endian",
       zip_with({{"a/data.pkl", kGood}, {"a/byteorder", "big"}, {"a/data/0", kData6}}),
       "byte order 'big'"},
      {"missing storage", zip_with({{"a/data.pkl", kGood}}), "has no bytes, expected 24"},
      {"short storage", zip_of(kGood, std::string(23, 'x')), "has 23 bytes, expected 24"},
      {"long storage", zip_of(kGood, std::string(25, 'x')), "has 25 bytes, expected 24"},
      {"bytes behind the pickle", zip_of(kGood + "cos\nsystem\n)R."), "bytes behind the end"},
  };
  for (const Attack& attack : attacks) {
    SCOPED_TRACE(attack.name);
    const std::string message = message_of(attack.stream);
    EXPECT_NE(message, "no error");
    EXPECT_TRUE(std::regex_search(message, std::regex(attack.message))) << message;
  }
}

TEST(TorchAttack, RefusesHostileLegacyContainers) {
  const std::string head = legacy_of("", "");
  const std::vector<Attack> attacks = {
      {"another pickle", kProto2 + "}.", "magic number is missing"},
      {"magic number as text", kProto2 + text("\x6c") + ".", "magic number is missing"},
      {"another protocol",
       renamed(head, "M\xe9\x03", "M\xea\x03") + kGood + legacy_tail(),
       "protocol is not 1001"},
      {"big-endian", renamed(head, "\x88s.", "\x89s.") + kGood + legacy_tail(), "big-endian"},
      {"2^63 elements", legacy_of(kGood, legacy_tail(1ULL << 63)), "has 9223372036854775808"},
      {"2^64 - 1 elements", legacy_of(kGood, legacy_tail(~0ULL)), "has 18446744073709551615"},
      {"another count", legacy_of(kGood, legacy_tail(5)), "has 5 elements, expected 6"},
      {"short data", legacy_of(kGood, legacy_tail(6, "short")), "has 24 bytes, 5 are left"},
      {"bytes behind", legacy_of(kGood, legacy_tail() + "more"), "4 bytes behind the last"},
      {"key twice",
       legacy_of(kGood,
                 kProto2 + "](" + text("0") + text("0") + "e." + number(6, 8) + kData6 +
                     number(6, 8) + kData6),
       "storage '0' stands twice"},
      {"no key", legacy_of(kGood, kProto2 + "]."), "storage '0' is missing"},
      {"keys that are no list", legacy_of(kGood, kProto2 + "}."), "keys are no list"},
      {"a number for a key", legacy_of(kGood, kProto2 + "]K\x01" + "a."), "a whole number"},
      {"code in the keys",
       legacy_of(kGood, kProto2 + global("os", "system") + ")R."),
       "'os\\.system'"},
      {"code in the system description",
       renamed(head, "}" + text("little_endian") + "\x88s", global("os", "system") + ")R") + kGood,
       "'os\\.system'"},
      {"gzip", "\x1f\x8b\x08" + std::string(50, 'x'), "a gzip file"},
      {"tar", std::string(257, '\0') + "ustar" + std::string(300, '\0'), "a tar archive"},
      {"text", "weights", "not a PyTorch file"},
      {"nothing", "", "not a PyTorch file"},
  };
  for (const Attack& attack : attacks) {
    SCOPED_TRACE(attack.name);
    const std::string message = message_of(attack.stream);
    EXPECT_NE(message, "no error");
    EXPECT_TRUE(std::regex_search(message, std::regex(attack.message))) << message;
  }
}

TEST(TorchAttack, RefusesEveryTruncation) {
  for (const std::string& good : {zip_of(kGood), legacy_of(kGood, legacy_tail())}) {
    for (std::size_t size = 0; size < good.size(); ++size) {
      EXPECT_NE(message_of(good.substr(0, size)), "no error") << size << " of " << good.size();
    }
  }
}

// A flipped bit of the elements is a valid file in the legacy container (no checksum); elsewhere it
// may be refused or harmless. Nothing may crash, and no tensor may grow.
TEST(TorchAttack, SurvivesEveryFlippedBit) {
  for (const std::string& good : {zip_of(kGood), legacy_of(kGood, legacy_tail())}) {
    for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
      std::string bytes = good;
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
      try {
        for (const NamedArray& one : parse_torch(std::move(bytes), "x.pt").tensors) {
          EXPECT_LE(one.array.bytes.size(), 64U) << bit;
        }
      } catch (const Error&) {
      }
    }
  }
}

}  // namespace
}  // namespace med3d
