// Python pickle streams, read as data: nothing is imported, called or run.
//
// A pickle is a program for a stack machine, and Python runs whatever it names. This reader knows
// only the instructions that build values (a closed list), and of the names a stream may mention
// only those of tensors and containers (a closed list as well, pickle_globals()). A call of such a
// name is kept as a node "this name with these arguments" for the caller to interpret; everything
// else ends in an Error that names the instruction, or the name, and the byte.
//
// Where it is stricter than Python: a name is compared as the exact pair (module, qualified name),
// so that 'torch' + '_utils._rebuild_tensor_v2' is refused; a key may stand only once in a dict;
// values that contain themselves are refused; so are text opcodes for strings, POP, DUP, EXT1-4,
// INST, OBJ, PERSID and out-of-band buffers.
//
// Source: CPython Lib/pickletools.py (opcode table); PEP 307, PEP 3154, PEP 574.
// Checked against: CPython's pickle.dumps, protocols 2 to 5.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace med3d {

struct PickleValue {
  enum class Kind {
    kNone,
    kBool,          // integer: 0 or 1
    kInt,           // integer
    kBigInt,        // text: little-endian two's complement, more than 8 bytes
    kFloat,         // real
    kString,        // text: UTF-8
    kBytes,         // text: any bytes (also a Python 2 string that is not UTF-8)
    kTuple,         // items
    kList,          // items
    kSet,           // items
    kDict,          // items: key, value, ...; text: "collections.OrderedDict" if it is one
    kGlobal,        // text: "torch.FloatStorage"; integer: its place in pickle_globals()
    kReduce,        // text: the callable's name; items: its arguments, uncalled
    kPersistentId,  // items: the one value that identifies the object
  };
  Kind kind = Kind::kNone;
  std::int64_t integer = 0;
  double real = 0.0;
  std::string text;
  std::vector<const PickleValue*> items;
};

// The values of one stream. They point at each other and live as long as the document; the same
// value may be reached on several paths, never on a path from itself, and no path is longer than
// kPickleDepth. A walk over all paths can take exponential time: count the steps.
struct PickleDocument {
  std::deque<PickleValue> values;
  const PickleValue* root = nullptr;
  std::size_t bytes_read = 0;  // the stream ends here, just behind its STOP
};

inline constexpr std::size_t kPickleDepth = 100;  // training checkpoints stay below 12

struct PickleGlobal {
  std::string_view module;
  std::string_view name;
  bool may_be_called;  // by REDUCE, NEWOBJ; the others are only ever arguments
};

// The only names a stream may mention.
std::span<const PickleGlobal> pickle_globals();

// Reads the pickle at the start of `bytes`; what follows its STOP is left alone (bytes_read).
//
// bytes   the stream; limits().pickle_opcodes instructions and limits().pickle_memo remembered
//         values at most
// source  the file's name, for messages
//
// Cost O(bytes) time and memory: no length is trusted before the bytes are seen to be there.
// Throws Error(kUnsupported) for an instruction or a name that is not on the lists, and
// Error(kFormat) for a stream that breaks the format or a limit.
PickleDocument parse_pickle(std::string_view bytes, std::string_view source);

// "a list", "the name 'torch.FloatStorage'", ... for messages.
std::string describe(const PickleValue& value);

// `text` for a message: in quotes, what is not printable ASCII as \xNN, cut after 80 characters.
std::string quoted_for_message(std::string_view text);

bool is_valid_utf8(std::string_view text);

}  // namespace med3d
