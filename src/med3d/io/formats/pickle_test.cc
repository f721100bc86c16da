#include "med3d/io/formats/pickle.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"

namespace med3d {
namespace {

using namespace std::string_literals;
using Kind = PickleValue::Kind;

std::string from_hex(std::string_view hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(digit(hex[i]) * 16 + digit(hex[i + 1]));
  }
  return bytes;
}

std::string message_of(std::string_view bytes) {
  try {
    parse_pickle(bytes, "x.pt");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// pickle.dumps(value, 2) of CPython 3.10 for
//   {'ints': [0, 255, 256, -1, 70000, 2**31-1, -2**31, 2**40, -2**40, 2**63-1],
//    'mix': (None, True, False, 2.5, 'é', b'\x00\xff'), 'od': OrderedDict([('x', 1)]),
//    'one': (1,), 'two': (1, 2), 'none': (), 'big': 2**70, 3: 'key'}
constexpr std::string_view kProtocol2 =
    "80027d7100285804000000696e747371015d7102284b004bff4d00014affffffff4a701101004affffff7f4a000000"
    "808a060000000000018a060000000000ff8a08ffffffffffffff7f6558030000006d69787103284e88894740040000"
    "000000005802000000c3a97104635f636f646563730a656e636f64650a7105580300000000c3bf7106580600000"
    "06c6174696e31710786710852710974710a58020000006f64710b63636f6c6c656374696f6e730a4f7264657265644"
    "4"
    "6963740a710c2952710d580100000078710e4b017358030000006f6e65710f4b01857110580300000074776f71114b"
    "014b0286711258040000006e6f6e65711329580300000062696771148a090000000000000000404b0358030000006b"
    "65797115752e";

// The same with protocol 4, and 'set': {7} at the end.
constexpr std::string_view kProtocol4 =
    "800495d4000000000000007d94288c04696e7473945d94284b004bff4d00014affffffff4a701101004affffff7f4a"
    "000000808a060000000000018a060000000000ff8a08ffffffffffffff7f658c036d697894284e88894740040000"
    "000000008c02c3a994430200ff9474948c026f64948c0b636f6c6c656374696f6e73948c0b4f726465726564446963"
    "749493942952948c0178944b01738c036f6e65944b0185948c0374776f944b014b0286948c046e6f6e6594298c0362"
    "6967948a090000000000000000404b038c036b6579948c03736574948f94284b0790752e";

TEST(Pickle, ReadsWhatPythonWritesInProtocols2And4And5) {
  std::string protocol5 = from_hex(kProtocol4);
  protocol5[1] = '\x05';  // Python writes the same instructions
  for (const std::string& bytes : {from_hex(kProtocol2), from_hex(kProtocol4), protocol5}) {
    const PickleDocument document = parse_pickle(bytes + "trailing", "x.pt");
    EXPECT_EQ(document.bytes_read, bytes.size());
    const PickleValue& root = *document.root;
    ASSERT_EQ(root.kind, Kind::kDict);
    ASSERT_GE(root.items.size(), 16U);
    EXPECT_EQ(root.items[0]->text, "ints");
    const std::vector<std::int64_t> ints = {0,
                                            255,
                                            256,
                                            -1,
                                            70000,
                                            2147483647,
                                            -2147483648LL,
                                            1LL << 40,
                                            -(1LL << 40),
                                            std::numeric_limits<std::int64_t>::max()};
    ASSERT_EQ(root.items[1]->items.size(), ints.size());
    for (std::size_t i = 0; i < ints.size(); ++i) {
      EXPECT_EQ(root.items[1]->items[i]->kind, Kind::kInt);
      EXPECT_EQ(root.items[1]->items[i]->integer, ints[i]);
    }
    const auto& mix = root.items[3]->items;
    ASSERT_EQ(mix.size(), 6U);
    EXPECT_EQ(mix[0]->kind, Kind::kNone);
    EXPECT_EQ(mix[1]->kind, Kind::kBool);
    EXPECT_EQ(mix[1]->integer, 1);
    EXPECT_EQ(mix[2]->integer, 0);
    EXPECT_EQ(mix[3]->real, 2.5);
    EXPECT_EQ(mix[4]->text, "\xc3\xa9");
    EXPECT_EQ(mix[5]->kind, Kind::kBytes);
    EXPECT_EQ(mix[5]->text, "\x00\xff"s);
    ASSERT_EQ(root.items[5]->kind, Kind::kDict);
    EXPECT_EQ(root.items[5]->text, "collections.OrderedDict");
    EXPECT_EQ(root.items[5]->items[0]->text, "x");
    EXPECT_EQ(root.items[7]->items.size(), 1U);
    EXPECT_EQ(root.items[9]->items.size(), 2U);
    EXPECT_EQ(root.items[11]->items.size(), 0U);
    EXPECT_EQ(root.items[13]->kind, Kind::kBigInt);  // 2**70: bit 6 of byte 8
    EXPECT_EQ(root.items[13]->text, "\0\0\0\0\0\0\0\0\x40"s);
    EXPECT_EQ(root.items[14]->integer, 3);
    EXPECT_EQ(root.items[15]->text, "key");
  }
}

TEST(Pickle, ReadsTheTextNumbersOfPython2) {
  const auto document = parse_pickle("(I70000\nI01\nI00\nL-5L\nF2.5\nlp0\n.", "x.pt");
  const auto& items = document.root->items;
  ASSERT_EQ(items.size(), 5U);
  EXPECT_EQ(items[0]->integer, 70000);
  EXPECT_EQ(items[1]->kind, Kind::kBool);
  EXPECT_EQ(items[1]->integer, 1);
  EXPECT_EQ(items[2]->integer, 0);
  EXPECT_EQ(items[3]->integer, -5);
  EXPECT_EQ(items[4]->real, 2.5);
}

TEST(Pickle, ReadsAnOrderedDictOfPython2FromItsPairs) {
  // OrderedDict([['a', 1], ['b', 2]]): a call with one list of two-item lists.
  const auto document = parse_pickle(
      "\x80\x02"
      "ccollections\nOrderedDict\n](](U\x01"
      "aK\x01"
      "e](U\x01"
      "bK\x02"
      "ee\x85R.",
      "x.pt");
  const auto& items = document.root->items;
  ASSERT_EQ(document.root->kind, Kind::kDict);
  ASSERT_EQ(items.size(), 4U);
  EXPECT_EQ(items[2]->text, "b");
  EXPECT_EQ(items[3]->integer, 2);
}

TEST(Pickle, KeepsANumpyScalarAsAnUncalledCall) {
  // pickle.dumps({'best': numpy.float64(0.75)}, 2) of numpy 1.24.
  const auto document = parse_pickle(
      from_hex("80027d71005804000000626573747101636e756d70792e636f72652e6d756c746961727261790a7363"
               "616c61720a7102636e756d70790a64747970650a71035802000000663871048988877105527106284b"
               "0358010000003c71074e4e4e4affffffff4affffffff4b0074710862635f636f646563730a656e636f"
               "64650a71095809000000000000000000c3a83f710a58060000006c6174696e31710b86710c52710d86"
               "710e52710f732e"),
      "x.pt");
  const PickleValue& scalar = *document.root->items[1];
  EXPECT_EQ(scalar.kind, Kind::kReduce);
  EXPECT_EQ(scalar.text, "numpy.core.multiarray.scalar");
  EXPECT_EQ(scalar.items[1]->text, "\0\0\0\0\0\0\xe8\x3f"s);  // 0.75, little-endian
}

TEST(Pickle, RefusesEveryTruncation) {
  const std::string bytes = from_hex(kProtocol4);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(parse_pickle(std::string_view(bytes).substr(0, size), "x.pt"), Error) << size;
  }
}

TEST(Pickle, SurvivesEveryFlippedBit) {
  int refused = 0;
  for (const std::string& good : {from_hex(kProtocol2), from_hex(kProtocol4)}) {
    for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
      std::string bytes = good;
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
      try {
        parse_pickle(bytes, "x.pt");
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST(Pickle, BoundsInstructionsMemoAndDepth) {
  const Limits before = limits();
  Limits small = before;
  small.pickle_opcodes = 100;
  small.pickle_memo = 5;
  set_limits(small);
  const std::string many = message_of("\x80\x02(" + std::string(200, 'N') + "t.");
  const std::string remembered = message_of("\x80\x04]\x94\x94\x94\x94\x94\x94\x94.");
  set_limits(before);
  EXPECT_NE(many.find("more than 100 instructions"), std::string::npos) << many;
  EXPECT_NE(remembered.find("more than 5 remembered values"), std::string::npos) << remembered;

  const auto nested = [](std::size_t depth) {  // the innermost is one value as well
    return "\x80\x02" + std::string(depth, ']') + std::string(depth - 1, 'a') + ".";
  };
  EXPECT_NO_THROW(parse_pickle(nested(kPickleDepth), "x.pt"));
  EXPECT_NE(message_of(nested(kPickleDepth + 1)).find("nested deeper than 100"), std::string::npos);
}

// Depth through values that are shared: each list holds the one before, built from the inside.
TEST(Pickle, CountsDepthAlongSharedValues) {
  std::string chain = "\x80\x04]\x94";  // memo 0
  for (int i = 1; i <= 150; ++i) {
    chain += "]\x94h"s + static_cast<char>(i - 1) + "a";
  }
  // The stack holds all 151 lists; a tuple visits the shallow ones first.
  const std::string message = message_of("\x80\x04("s + chain.substr(2) + "t.");
  EXPECT_NE(message.find("nested deeper than 100"), std::string::npos) << message;
}

TEST(Pickle, NamesInstructionAndByteOfWhatItRefuses) {
  EXPECT_EQ(message_of("\x80\x02]0."),
            "x.pt: byte 3 of the pickle: the instruction POP (0x30) is not on the list of those "
            "that only hold data; refused without running anything");
  EXPECT_EQ(message_of("cos\nsystem\n."),
            "x.pt: the pickle names 'os.system', which is not on the list of tensors and "
            "containers; refused without running anything (byte 0 of the pickle)");
  EXPECT_EQ(message_of("\x80\x02]\xff."), "x.pt: byte 3 of the pickle: 0xff is no instruction");
  EXPECT_EQ(message_of("\x80\x06]."),
            "x.pt: byte 0 of the pickle: pickle protocol 6, expected 2 to 5");
}

TEST(Pickle, QuotesHostileTextForMessages) {
  EXPECT_EQ(quoted_for_message("a\n\x1b[2J\xff"), "'a\\x0a\\x1b[2J\\xff'");
  EXPECT_EQ(quoted_for_message(std::string(81, 'x')), "'" + std::string(80, 'x') + "...'");
}

TEST(Pickle, TellsUtf8FromOtherBytes) {
  for (const char* good : {"", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"}) {
    EXPECT_TRUE(is_valid_utf8(good)) << good;
  }
  for (const char* bad : {"\x80",
                          "\xc0\x80",
                          "\xc3",
                          "\xe2\x82",
                          "\xed\xa0\x80",
                          "\xf5\x80\x80\x80",
                          "\xe0\x80\x80",
                          "\xf4\x90\x80\x80",
                          "\xff"}) {
    EXPECT_FALSE(is_valid_utf8(bad)) << quoted_for_message(bad);
  }
}

}  // namespace
}  // namespace med3d
