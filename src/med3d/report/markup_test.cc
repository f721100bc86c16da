#include "med3d/report/markup.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "med3d/core/error.h"

namespace med3d::report {
namespace {

std::string encoded(std::string_view text) {
  return base64({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

TEST(Escape, ReplacesEveryCharacterThatMarkupReads) {
  EXPECT_EQ(escape("a<b>&\"'c"), "a&lt;b&gt;&amp;&quot;&#39;c");
  EXPECT_EQ(escape("5 \u00B5m"), "5 \u00B5m");
}

TEST(Escape, ReplacesControlCharactersAndInvalidUtf8) {
  EXPECT_EQ(escape(std::string_view("a\0b\x1B", 4)), "a\uFFFDb\uFFFD");
  EXPECT_EQ(escape("a\tb\nc"), "a\tb\nc");
  EXPECT_EQ(escape("\xFF"), "\uFFFD");
  EXPECT_EQ(escape("\xC0\xBC"), "\uFFFD\uFFFD");            // an overlong "<"
  EXPECT_EQ(escape("\xE0\x80\xBC"), "\uFFFD\uFFFD\uFFFD");  // another
  EXPECT_EQ(escape("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(escape("\xE2\x82"), "\uFFFD\uFFFD");            // cut off
  EXPECT_EQ(escape("\xEF\xBF\xBF"), "\uFFFD");              // not allowed in XML
}

// RFC 4648, section 10.
TEST(Base64, MatchesTheVectorsOfTheStandard) {
  EXPECT_EQ(encoded(""), "");
  EXPECT_EQ(encoded("f"), "Zg==");
  EXPECT_EQ(encoded("fo"), "Zm8=");
  EXPECT_EQ(encoded("foo"), "Zm9v");
  EXPECT_EQ(encoded("foob"), "Zm9vYg==");
  EXPECT_EQ(encoded("fooba"), "Zm9vYmE=");
  EXPECT_EQ(encoded("foobar"), "Zm9vYmFy");
}

// SHA-256 of the empty text, e3b0c442...b855, as browsers name it.
TEST(CspHash, MatchesThatOfTheEmptyScript) {
  EXPECT_EQ(csp_hash(""), "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='");
}

TEST(CsvCell, QuotesAndDisarmsFormulas) {
  EXPECT_EQ(csv_cell("plain"), "plain");
  EXPECT_EQ(csv_cell("a,b"), "\"a,b\"");
  EXPECT_EQ(csv_cell("say \"x\""), "\"say \"\"x\"\"\"");
  EXPECT_EQ(csv_cell("=1+1"), "'=1+1");
  EXPECT_EQ(csv_cell("-0.5"), "-0.5");
  EXPECT_EQ(csv_cell("-x"), "'-x");
}

TEST(Slug, IsSafeAsAFileName) {
  EXPECT_EQ(slug("Early fusion (cat)"), "early-fusion-cat");
  EXPECT_EQ(slug("../../etc/passwd"), "etc-passwd");
  EXPECT_EQ(slug("\u00E9"), "x");
  EXPECT_EQ(slug(""), "x");
  EXPECT_LE(slug(std::string(500, 'a')).size(), 60U);
}

TEST(Shorten, CountsCharactersNotBytes) {
  EXPECT_EQ(shorten("\u00E9\u00E9\u00E9", 3), "\u00E9\u00E9\u00E9");
  EXPECT_EQ(shorten("\u00E9\u00E9\u00E9\u00E9", 3), "\u00E9\u00E9\u2026");
}

TEST(Numbers, AreWrittenAsPeopleReadThem) {
  EXPECT_EQ(fixed(0.7149, 2), "0.71");
  EXPECT_EQ(fixed(-0.25, 2), "\u22120.25");
  EXPECT_EQ(fixed(-0.0001, 2), "0.00");
  EXPECT_EQ(fixed(std::nullopt, 2), "\u2013");
  EXPECT_EQ(interval(0.71, 0.85, 2), "0.71\u20130.85");
  EXPECT_EQ(interval(-0.03, 0.07, 2), "\u22120.03 to 0.07");
  EXPECT_EQ(interval(std::nullopt, 0.07, 2), "");
  EXPECT_EQ(count(1234567), "1,234,567");
  EXPECT_EQ(count(123), "123");
  EXPECT_EQ(p_value(0.0004), "<0.001");
  EXPECT_EQ(p_value(0.0412), "0.041");
  EXPECT_EQ(percent(0.1234), "12.3\u00A0%");
}

TEST(FillTemplate, FillsKeepsAndDrops) {
  EXPECT_EQ(fill_template("a{{x}}b{{none}}c", {{"x", "1"}}), "a1bc");
  EXPECT_EQ(fill_template("{{#x}}in {{x}}{{/x}}{{#y}}out{{/y}}", {{"x", "1"}, {"y", ""}}), "in 1");
  EXPECT_EQ(fill_template("{{#x}}{{#y}}deep{{/y}}{{/x}}", {{"x", "1"}, {"y", "1"}}), "deep");
}

TEST(FillTemplate, NeverLooksAtWhatItInserted) {
  EXPECT_EQ(fill_template("{{x}}", {{"x", "{{y}}{{#z}}"}, {"y", "no"}}), "{{y}}{{#z}}");
}

TEST(FillTemplate, RefusesABrokenTemplate) {
  EXPECT_THROW(fill_template("{{x", {}), Error);
  EXPECT_THROW(fill_template("{{#x}}never closed", {}), Error);
}

}  // namespace
}  // namespace med3d::report
