#include "med3d/io/formats/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <optional>
#include <unordered_map>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"

namespace med3d {

namespace {

using Kind = PickleValue::Kind;

constexpr std::string_view kOrderedDict = "collections.OrderedDict";

constexpr std::array kGlobals = {
    PickleGlobal{"collections", "OrderedDict", true},
    PickleGlobal{"torch._utils", "_rebuild_tensor", true},
    PickleGlobal{"torch._utils", "_rebuild_tensor_v2", true},
    PickleGlobal{"torch._utils", "_rebuild_parameter", true},
    PickleGlobal{"torch", "Size", true},
    PickleGlobal{"torch", "device", true},
    PickleGlobal{"torch", "FloatStorage", false},
    PickleGlobal{"torch", "DoubleStorage", false},
    PickleGlobal{"torch", "HalfStorage", false},
    PickleGlobal{"torch", "BFloat16Storage", false},
    PickleGlobal{"torch", "LongStorage", false},
    PickleGlobal{"torch", "IntStorage", false},
    PickleGlobal{"torch", "ShortStorage", false},
    PickleGlobal{"torch", "CharStorage", false},
    PickleGlobal{"torch", "ByteStorage", false},
    PickleGlobal{"torch", "BoolStorage", false},
    PickleGlobal{"torch.storage", "UntypedStorage", false},
    PickleGlobal{"torch.storage", "_UntypedStorage", false},
    PickleGlobal{"torch.storage", "TypedStorage", false},
    PickleGlobal{"torch.storage", "_TypedStorage", false},
    PickleGlobal{"torch", "float32", false},
    PickleGlobal{"torch", "float64", false},
    PickleGlobal{"torch", "float16", false},
    PickleGlobal{"torch", "bfloat16", false},
    PickleGlobal{"torch", "int64", false},
    PickleGlobal{"torch", "int32", false},
    PickleGlobal{"torch", "int16", false},
    PickleGlobal{"torch", "int8", false},
    PickleGlobal{"torch", "uint8", false},
    PickleGlobal{"torch", "bool", false},
    // Scalars that training scripts leave beside the weights (the best score, the epoch).
    PickleGlobal{"numpy", "dtype", true},
    PickleGlobal{"numpy.core.multiarray", "scalar", true},
    PickleGlobal{"numpy._core.multiarray", "scalar", true},
    PickleGlobal{"_codecs", "encode", true},  // how protocol 2 spells bytes
};

struct OpcodeName {
  std::uint8_t code;
  std::string_view name;
};

// Python's instructions that we refuse, for the message.
constexpr std::array kRefusedOpcodes = {
    OpcodeName{'0', "POP"},
    OpcodeName{'1', "POP_MARK"},
    OpcodeName{'2', "DUP"},
    OpcodeName{'P', "PERSID"},
    OpcodeName{'S', "STRING"},
    OpcodeName{'V', "UNICODE"},
    OpcodeName{'i', "INST"},
    OpcodeName{'o', "OBJ"},
    OpcodeName{0x82, "EXT1"},
    OpcodeName{0x83, "EXT2"},
    OpcodeName{0x84, "EXT4"},
    OpcodeName{0x92, "NEWOBJ_EX"},
    OpcodeName{0x97, "NEXT_BUFFER"},
    OpcodeName{0x98, "READONLY_BUFFER"},
};

class Machine {
 public:
  Machine(std::string_view bytes, std::string_view source) : bytes_(bytes), source_(source) {}

  PickleDocument run() {
    std::uint64_t steps = 0;
    while (true) {
      opcode_at_ = position_;
      if (++steps > limits().pickle_opcodes) {
        fail(fmt::format("more than {} instructions", limits().pickle_opcodes));
      }
      const auto code = static_cast<std::uint8_t>(take(1)[0]);
      if (code == '.') break;
      step(code);
    }
    if (stack_.size() != 1 || !marks_.empty()) {
      fail(fmt::format("the stream stops with {} values, expected 1", stack_.size()));
    }
    document_.root = stack_.back();
    document_.bytes_read = position_;
    check_structure();
    return std::move(document_);
  }

 private:
  [[noreturn]] void fail(const std::string& what, ErrorKind kind = ErrorKind::kFormat) const {
    throw Error(kind, fmt::format("{}: byte {} of the pickle: {}", source_, opcode_at_, what));
  }

  // ---- bytes

  std::string_view take(std::uint64_t count) {
    if (count > bytes_.size() - position_) {
      fail(fmt::format("{} bytes expected, {} left", count, bytes_.size() - position_));
    }
    const auto piece = bytes_.substr(position_, count);
    position_ += count;
    return piece;
  }

  std::uint64_t unsigned_int(std::size_t width) {
    std::uint64_t value = 0;
    const auto piece = take(width);
    for (std::size_t i = 0; i < width; ++i) {
      value |= std::uint64_t{static_cast<std::uint8_t>(piece[i])} << (8 * i);
    }
    return value;
  }

  std::string_view line() {
    const auto end = bytes_.find('\n', position_);
    if (end == std::string_view::npos) fail("a line that does not end");
    const auto piece = bytes_.substr(position_, end - position_);
    position_ = end + 1;
    return piece;
  }

  std::int64_t decimal(std::string_view digits) const {
    std::int64_t value = 0;
    const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (code != std::errc() || end != digits.data() + digits.size()) {
      fail("expected a whole number of 64 bits, found " + quoted_for_message(digits));
    }
    return value;
  }

  // ---- stack and memo

  PickleValue* make(Kind kind) {
    document_.values.emplace_back();
    document_.values.back().kind = kind;
    return &document_.values.back();
  }
  void push(PickleValue* value) { stack_.push_back(value); }
  PickleValue* push_new(Kind kind) {
    push(make(kind));
    return stack_.back();
  }
  void push_text(Kind kind, std::string_view text) { push_new(kind)->text = text; }
  void push_int(std::int64_t value, Kind kind = Kind::kInt) { push_new(kind)->integer = value; }

  // Values below the newest mark belong to whoever set it.
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  PickleValue* top() const {
    if (stack_.size() <= floor()) fail("a value is missing on the stack");
    return stack_.back();
  }
  PickleValue* pop() {
    PickleValue* value = top();
    stack_.pop_back();
    return value;
  }
  std::vector<const PickleValue*> pop_to_mark() {
    if (marks_.empty()) fail("a MARK is missing");
    const auto from = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<const PickleValue*> items(from, stack_.end());
    stack_.erase(from, stack_.end());
    marks_.pop_back();
    return items;
  }

  void remember(std::uint64_t index) {
    memo_[index] = top();
    if (memo_.size() > limits().pickle_memo) {
      fail(fmt::format("more than {} remembered values", limits().pickle_memo));
    }
  }
  void recall(std::uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) fail(fmt::format("value {} was never remembered", index));
    push(found->second);
  }

  // A call copies its arguments, and the same arguments can be recalled for each of a million
  // calls: all copies together stay within the number of instructions.
  void charge(std::uint64_t count) {
    copied_ += count;
    if (copied_ > limits().pickle_opcodes) fail("calls that repeat their arguments too often");
  }

  // ---- values

  void push_long(std::string_view little_endian) {
    if (little_endian.size() > 8) return push_text(Kind::kBigInt, little_endian);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < little_endian.size(); ++i) {
      value |= std::uint64_t{static_cast<std::uint8_t>(little_endian[i])} << (8 * i);
    }
    if (!little_endian.empty() && little_endian.size() < 8 && (little_endian.back() & 0x80) != 0) {
      value |= ~std::uint64_t{0} << (8 * little_endian.size());
    }
    push_int(static_cast<std::int64_t>(value));
  }

  void push_unicode(std::string_view text) {
    if (!is_valid_utf8(text)) fail("a string that is not UTF-8");
    push_text(Kind::kString, text);
  }

  // Python 2 wrote attribute and storage names as byte strings.
  void push_python2_string(std::string_view text) {
    push_text(is_valid_utf8(text) ? Kind::kString : Kind::kBytes, text);
  }

  void push_global(std::string_view module, std::string_view name) {
    const auto found = std::find_if(kGlobals.begin(), kGlobals.end(), [&](const PickleGlobal& one) {
      return one.module == module && one.name == name;
    });
    if (found == kGlobals.end()) {
      throw Error(
          ErrorKind::kUnsupported,
          fmt::format("{}: the pickle names {}, which is not on the list of tensors and "
                      "containers; refused without running anything (byte {} of the pickle)",
                      source_,
                      quoted_for_message(fmt::format("{}.{}", module, name)),
                      opcode_at_));
    }
    push_text(Kind::kGlobal, fmt::format("{}.{}", module, name));
    stack_.back()->integer = found - kGlobals.begin();
  }

  void append_pairs(PickleValue* dict, const std::vector<const PickleValue*>& items) const {
    if (dict->kind != Kind::kDict) fail("items set in " + describe(*dict) + ", expected a dict");
    if (items.size() % 2 != 0) fail("a dict's key without a value");
    dict->items.insert(dict->items.end(), items.begin(), items.end());
  }

  void append_items(PickleValue* list, const std::vector<const PickleValue*>& items) const {
    if (list->kind != Kind::kList) fail("items appended to " + describe(*list));
    list->items.insert(list->items.end(), items.begin(), items.end());
  }

  void call(std::string_view opcode) {
    const PickleValue* arguments = pop();
    const PickleValue* callee = pop();
    if (callee->kind != Kind::kGlobal) {
      fail(fmt::format("{} calls {}, expected a name", opcode, describe(*callee)),
           ErrorKind::kUnsupported);
    }
    if (!kGlobals[static_cast<std::size_t>(callee->integer)].may_be_called) {
      fail(fmt::format("{} calls {}, which is not on the list of calls; refused without running "
                       "anything",
                       opcode,
                       quoted_for_message(callee->text)),
           ErrorKind::kUnsupported);
    }
    if (arguments->kind != Kind::kTuple) {
      fail(fmt::format("{} with {} for arguments, expected a tuple", opcode, describe(*arguments)));
    }
    charge(arguments->items.size());
    if (callee->text == kOrderedDict) return push_ordered_dict(*arguments);
    if (callee->text == "_codecs.encode") return push_encoded(*arguments);
    PickleValue* result = push_new(Kind::kReduce);
    result->text = callee->text;
    result->items = arguments->items;
  }

  // Python 3 makes it empty and sets the items afterwards, Python 2 hands over a list of pairs.
  void push_ordered_dict(const PickleValue& arguments) {
    PickleValue* dict = push_new(Kind::kDict);
    dict->text = kOrderedDict;
    if (arguments.items.empty()) return;
    const PickleValue& pairs = *arguments.items.front();
    if (arguments.items.size() != 1 || pairs.kind != Kind::kList) {
      fail("an OrderedDict made of something else than one list of pairs");
    }
    charge(pairs.items.size());
    for (const PickleValue* pair : pairs.items) {
      if ((pair->kind != Kind::kList && pair->kind != Kind::kTuple) || pair->items.size() != 2) {
        fail("an OrderedDict made of something else than pairs");
      }
      dict->items.insert(dict->items.end(), pair->items.begin(), pair->items.end());
    }
  }

  // codecs.encode(text, 'latin1'): each character of the text is one byte.
  void push_encoded(const PickleValue& arguments) {
    if (arguments.items.size() != 2 || arguments.items[0]->kind != Kind::kString ||
        arguments.items[1]->kind != Kind::kString || arguments.items[1]->text != "latin1") {
      fail("_codecs.encode of something else than text to latin1", ErrorKind::kUnsupported);
    }
    const std::string& text = arguments.items[0]->text;
    charge(text.size());
    std::string bytes;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto byte = static_cast<std::uint8_t>(text[i]);
      if (byte < 0x80) {
        bytes += text[i];
      } else if (byte == 0xC2 || byte == 0xC3) {  // U+0080 to U+00FF: two bytes, seen to be valid
        const auto low = static_cast<std::uint8_t>(text[++i]);
        bytes += static_cast<char>(((byte & 0x03) << 6) | (low & 0x3F));
      } else {
        fail("a character beyond latin1");
      }
    }
    push_new(Kind::kBytes)->text = std::move(bytes);
  }

  // The state is attributes (a state dict's _metadata, a dtype's byte order): none is of use here,
  // and none is set. It must still belong to a value that may have some.
  void build() {
    const PickleValue* state = pop();
    const PickleValue* target = top();
    const bool is_container =
        target->text == kOrderedDict && target->kind == Kind::kDict && state->kind == Kind::kDict;
    const bool is_dtype = target->kind == Kind::kReduce && target->text == "numpy.dtype" &&
                          state->kind == Kind::kTuple;
    if (!is_container && !is_dtype) {
      fail(fmt::format("BUILD sets the state of {}; refused without running anything",
                       describe(*target)),
           ErrorKind::kUnsupported);
    }
    // A state that holds its owner is as cyclic as a list that holds itself.
    states_.emplace_back(target, state);
  }

  void step(std::uint8_t code) {
    switch (code) {
      case 0x80: {  // PROTO
        const auto version = unsigned_int(1);
        if (opcode_at_ != 0) fail("PROTO in the middle of the stream");
        if (version < 2 || version > 5) {
          fail(fmt::format("pickle protocol {}, expected 2 to 5", version),
               ErrorKind::kUnsupported);
        }
        return;
      }
      case 0x95: {  // FRAME
        const auto length = unsigned_int(8);
        if (length > bytes_.size() - position_) {
          fail(fmt::format("a FRAME of {} bytes, {} left", length, bytes_.size() - position_));
        }
        return;
      }
      case '(':  // MARK
        return marks_.push_back(stack_.size());

      case 'N':  // NONE
        push_new(Kind::kNone);
        return;
      case 0x88:  // NEWTRUE
      case 0x89:  // NEWFALSE
        return push_int(code == 0x88 ? 1 : 0, Kind::kBool);
      case 'I': {  // INT, which also spells protocol 1's booleans
        const auto digits = line();
        if (digits == "00" || digits == "01") return push_int(digits == "01" ? 1 : 0, Kind::kBool);
        return push_int(decimal(digits));
      }
      case 'L': {  // LONG
        auto digits = line();
        if (digits.ends_with('L')) digits.remove_suffix(1);
        return push_int(decimal(digits));
      }
      case 'J':  // BININT
        return push_int(static_cast<std::int32_t>(unsigned_int(4)));
      case 'K':  // BININT1
        return push_int(static_cast<std::int64_t>(unsigned_int(1)));
      case 'M':  // BININT2
        return push_int(static_cast<std::int64_t>(unsigned_int(2)));
      case 0x8a:  // LONG1
        return push_long(take(unsigned_int(1)));
      case 0x8b:  // LONG4: a negative length reads as a huge one and is refused by take()
        return push_long(take(unsigned_int(4)));
      case 'F': {  // FLOAT
        const auto digits = line();
        const auto value = parse_double(digits);
        if (!value) fail("expected a number, found " + quoted_for_message(digits));
        push_new(Kind::kFloat)->real = *value;
        return;
      }
      case 'G': {  // BINFLOAT, big-endian
        std::uint64_t bits = 0;
        for (const char byte : take(8)) bits = bits << 8 | static_cast<std::uint8_t>(byte);
        push_new(Kind::kFloat)->real = std::bit_cast<double>(bits);
        return;
      }

      case 'T':  // BINSTRING
        return push_python2_string(take(unsigned_int(4)));
      case 'U':  // SHORT_BINSTRING
        return push_python2_string(take(unsigned_int(1)));
      case 'X':  // BINUNICODE
        return push_unicode(take(unsigned_int(4)));
      case 0x8c:  // SHORT_BINUNICODE
        return push_unicode(take(unsigned_int(1)));
      case 0x8d:  // BINUNICODE8
        return push_unicode(take(unsigned_int(8)));
      case 'B':  // BINBYTES
        return push_text(Kind::kBytes, take(unsigned_int(4)));
      case 'C':  // SHORT_BINBYTES
        return push_text(Kind::kBytes, take(unsigned_int(1)));
      case 0x8e:  // BINBYTES8
      case 0x96:  // BYTEARRAY8
        return push_text(Kind::kBytes, take(unsigned_int(8)));

      case ')':  // EMPTY_TUPLE
        push_new(Kind::kTuple);
        return;
      case 't': {  // TUPLE
        auto items = pop_to_mark();
        push_new(Kind::kTuple)->items = std::move(items);
        return;
      }
      case 0x85:    // TUPLE1
      case 0x86:    // TUPLE2
      case 0x87: {  // TUPLE3
        std::vector<const PickleValue*> items(code - 0x84U);
        for (std::size_t i = items.size(); i-- > 0;) items[i] = pop();
        push_new(Kind::kTuple)->items = std::move(items);
        return;
      }
      case ']':  // EMPTY_LIST
        push_new(Kind::kList);
        return;
      case 'l': {  // LIST
        auto items = pop_to_mark();
        push_new(Kind::kList)->items = std::move(items);
        return;
      }
      case 'a': {  // APPEND
        const PickleValue* item = pop();
        return append_items(top(), {item});
      }
      case 'e': {  // APPENDS
        const auto items = pop_to_mark();
        return append_items(top(), items);
      }
      case '}':  // EMPTY_DICT
        push_new(Kind::kDict);
        return;
      case 'd': {  // DICT
        const auto items = pop_to_mark();
        return append_pairs(push_new(Kind::kDict), items);
      }
      case 's': {  // SETITEM
        const PickleValue* value = pop();
        const PickleValue* key = pop();
        return append_pairs(top(), {key, value});
      }
      case 'u': {  // SETITEMS
        const auto items = pop_to_mark();
        return append_pairs(top(), items);
      }
      case 0x8f:  // EMPTY_SET
        push_new(Kind::kSet);
        return;
      case 0x90: {  // ADDITEMS
        const auto items = pop_to_mark();
        PickleValue* set = top();
        if (set->kind != Kind::kSet) fail("items added to " + describe(*set) + ", expected a set");
        set->items.insert(set->items.end(), items.begin(), items.end());
        return;
      }
      case 0x91: {  // FROZENSET
        auto items = pop_to_mark();
        push_new(Kind::kSet)->items = std::move(items);
        return;
      }

      case 'p':    // PUT
      case 'g': {  // GET
        const auto index = decimal(line());
        if (index < 0) fail("a negative memo index");
        return code == 'p' ? remember(static_cast<std::uint64_t>(index))
                           : recall(static_cast<std::uint64_t>(index));
      }
      case 'q':  // BINPUT
        return remember(unsigned_int(1));
      case 'r':  // LONG_BINPUT
        return remember(unsigned_int(4));
      case 0x94:  // MEMOIZE
        return remember(memo_.size());
      case 'h':  // BINGET
        return recall(unsigned_int(1));
      case 'j':  // LONG_BINGET
        return recall(unsigned_int(4));

      case 'Q': {  // BINPERSID
        const PickleValue* id = pop();
        push_new(Kind::kPersistentId)->items = {id};
        return;
      }
      case 'c': {  // GLOBAL
        const auto module = line();
        const auto name = line();
        return push_global(module, name);
      }
      case 0x93: {  // STACK_GLOBAL
        const PickleValue* name = pop();
        const PickleValue* module = pop();
        if (name->kind != Kind::kString || module->kind != Kind::kString) {
          fail("STACK_GLOBAL of something else than two strings");
        }
        return push_global(module->text, name->text);
      }
      case 'R':  // REDUCE
        return call("REDUCE");
      case 0x81:  // NEWOBJ
        return call("NEWOBJ");
      case 'b':  // BUILD
        return build();
      default:
        break;
    }
    const auto known = std::find_if(kRefusedOpcodes.begin(),
                                    kRefusedOpcodes.end(),
                                    [&](const OpcodeName& one) { return one.code == code; });
    if (known == kRefusedOpcodes.end()) fail(fmt::format("0x{:02x} is no instruction", code));
    fail(fmt::format("the instruction {} (0x{:02x}) is not on the list of those that only hold "
                     "data; refused without running anything",
                     known->name,
                     code),
         ErrorKind::kUnsupported);
  }

  // ---- the finished values

  // Depth first without recursion: a value that is entered twice before it is left contains itself.
  void check_structure() {
    enum class Mark : std::uint8_t { kOpen, kDone };
    struct Frame {
      const PickleValue* value;
      std::size_t next;
    };
    std::unordered_map<const PickleValue*, Mark> marks;
    std::unordered_map<const PickleValue*, std::size_t> height;  // longest path below
    std::unordered_map<const PickleValue*, std::vector<const PickleValue*>> states;
    for (const auto& [target, state] : states_) states[target].push_back(state);
    static const std::vector<const PickleValue*> kNoStates;

    std::vector<Frame> path;
    const auto enter = [&](const PickleValue* value) {
      if (path.size() >= kPickleDepth) {
        fail(fmt::format("values nested deeper than {}", kPickleDepth));
      }
      marks[value] = Mark::kOpen;
      if (value->kind == Kind::kDict) check_keys(*value);
      path.push_back({value, 0});
    };
    enter(document_.root);
    while (!path.empty()) {
      Frame& frame = path.back();
      const PickleValue* value = frame.value;
      const auto with_state = states.find(value);
      const auto& extra = with_state == states.end() ? kNoStates : with_state->second;
      if (frame.next == value->items.size() + extra.size()) {
        marks[value] = Mark::kDone;
        path.pop_back();
        if (!path.empty()) {
          std::size_t& above = height[path.back().value];
          above = std::max(above, height[value] + 1);
        }
        continue;
      }
      const std::size_t index = frame.next++;
      const PickleValue* child =
          index < value->items.size() ? value->items[index] : extra[index - value->items.size()];
      const auto seen = marks.find(child);
      if (seen == marks.end()) {
        enter(child);
      } else if (seen->second == Mark::kOpen) {
        fail(describe(*child) + " that contains itself");
      } else {
        std::size_t& above = height[value];
        above = std::max(above, height[child] + 1);
        if (path.size() + above > kPickleDepth) {
          fail(fmt::format("values nested deeper than {}", kPickleDepth));
        }
      }
    }
  }

  void check_keys(const PickleValue& dict) const {
    std::vector<std::pair<Kind, std::string_view>> texts;
    std::vector<std::int64_t> integers;
    for (std::size_t i = 0; i < dict.items.size(); i += 2) {
      const PickleValue& key = *dict.items[i];
      switch (key.kind) {
        case Kind::kString:
        case Kind::kBytes:
          texts.emplace_back(key.kind, key.text);
          break;
        case Kind::kInt:
        case Kind::kBool:  // True == 1 in Python
          integers.push_back(key.integer);
          break;
        default:
          fail("a dict's key is " + describe(key) + ", expected text or a whole number",
               ErrorKind::kUnsupported);
      }
    }
    std::sort(texts.begin(), texts.end());
    const auto text = std::adjacent_find(texts.begin(), texts.end());
    if (text != texts.end()) {
      fail(fmt::format("the key {} stands twice in one dict", quoted_for_message(text->second)));
    }
    std::sort(integers.begin(), integers.end());
    const auto integer = std::adjacent_find(integers.begin(), integers.end());
    if (integer != integers.end()) {
      fail(fmt::format("the key {} stands twice in one dict", *integer));
    }
  }

  std::string_view bytes_;
  std::string_view source_;
  std::size_t position_ = 0;
  std::size_t opcode_at_ = 0;
  std::uint64_t copied_ = 0;
  PickleDocument document_;
  std::vector<PickleValue*> stack_;
  std::vector<std::size_t> marks_;  // heights of the stack
  std::unordered_map<std::uint64_t, PickleValue*> memo_;
  std::vector<std::pair<const PickleValue*, const PickleValue*>> states_;
};

}  // namespace

std::span<const PickleGlobal> pickle_globals() { return kGlobals; }

PickleDocument parse_pickle(std::string_view bytes, std::string_view source) {
  return Machine(bytes, source).run();
}

std::string describe(const PickleValue& value) {
  switch (value.kind) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return "a bool";
    case Kind::kInt:
    case Kind::kBigInt:
      return "a whole number";
    case Kind::kFloat:
      return "a float";
    case Kind::kString:
      return "a string";
    case Kind::kBytes:
      return "a byte string";
    case Kind::kTuple:
      return "a tuple";
    case Kind::kList:
      return "a list";
    case Kind::kSet:
      return "a set";
    case Kind::kDict:
      return "a dict";
    case Kind::kGlobal:
      return "the name " + quoted_for_message(value.text);
    case Kind::kReduce:
      return "the result of " + quoted_for_message(value.text);
    case Kind::kPersistentId:
      return "a persistent id";
  }
  return "a value";
}

std::string quoted_for_message(std::string_view text) {
  constexpr std::size_t kLongest = 80;
  std::string out = "'";
  for (const char c : text.substr(0, kLongest)) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (byte < 0x20 || byte > 0x7E) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  out += text.size() > kLongest ? "...'" : "'";
  return out;
}

bool is_valid_utf8(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto first = static_cast<std::uint8_t>(text[i]);
    if (first < 0x80) {
      ++i;
      continue;
    }
    const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || length > text.size() - i) return false;
    std::uint32_t point = first & (0x7FU >> length);
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<std::uint8_t>(text[i + k]);
      if ((next & 0xC0) != 0x80) return false;
      point = point << 6 | (next & 0x3FU);
    }
    // Over-long spellings, surrogates, beyond Unicode.
    if ((length == 3 && point < 0x800) || (length == 4 && point < 0x10000) ||
        (point >= 0xD800 && point <= 0xDFFF) || point > 0x10FFFF) {
      return false;
    }
    i += length;
  }
  return true;
}

}  // namespace med3d
