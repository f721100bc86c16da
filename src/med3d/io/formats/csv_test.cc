#include "med3d/io/formats/csv.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>

#include "med3d/core/limits.h"
#include "med3d/core/text.h"
#include "med3d/io/test_support.inc"

namespace med3d {
namespace {

using namespace testing_io;
using Row = std::vector<std::string>;

void expect_refused(const std::string& text, std::string_view message) {
  expect_error(ErrorKind::kFormat, message, [&] { parse_table(text, "t.csv"); });
}

TEST(Csv, ReadsQuotesNewlinesAndEmptyCells) {
  const Table table = parse_table("a,b,c\n1,\"x, \"\"y\"\"\nz\",\n,,\n", "t.csv");
  EXPECT_EQ(table.columns, (Row{"a", "b", "c"}));
  ASSERT_EQ(table.rows.size(), 2U);
  EXPECT_EQ(table.rows[0], (Row{"1", "x, \"y\"\nz", ""}));
  EXPECT_EQ(table.rows[1], (Row{"", "", ""}));
  EXPECT_EQ(table.line_of_row, (std::vector<std::size_t>{2, 4}));  // the quoted newline counts
}

TEST(Csv, ReadsMarksLineEndsCommentsAndMissingLastNewline) {
  const Row expected = {"1", "2"};
  for (const std::string text : {"a,b\r\n1,2\r\n",
                                 "a,b\n1,2",
                                 "\xEF\xBB\xBF"
                                 "a,b\n1,2\n",
                                 "#note, with \"quote\n# more\na,b\n1,2\n\n\r\n"}) {
    const Table table = parse_table(text, "t.csv");
    EXPECT_EQ(table.columns, (Row{"a", "b"})) << text;
    ASSERT_EQ(table.rows.size(), 1U) << text;
    EXPECT_EQ(table.rows[0], expected) << text;
  }
  EXPECT_EQ(parse_table("#a,b\n1,2\n", "t.csv", {.comments = false}).columns, (Row{"#a", "b"}));
  EXPECT_EQ(parse_table("# c\n# c\na\n1\n", "t.csv").line_of_row[0], 4U);
  EXPECT_TRUE(parse_table("a,b", "t.csv").rows.empty());
}

TEST(Csv, FindsTheSeparatorFromTheHeader) {
  EXPECT_EQ(parse_table("a;b,c;d\n1;2;3\n", "t.csv").columns, (Row{"a", "b,c", "d"}));
  EXPECT_EQ(parse_table("a\tb\n1\t2\n", "t.csv").columns, (Row{"a", "b"}));
  EXPECT_EQ(parse_table("a, x, y\tb\n1\t2\n", "t.TSV").columns, (Row{"a, x, y", "b"}));
  EXPECT_EQ(parse_table("\"a;;;\",b\n1,2\n", "t.csv").columns, (Row{"a;;;", "b"}));
  EXPECT_EQ(parse_table("a\n1\n\n2\n", "t.csv").rows, (std::vector<Row>{{"1"}, {""}, {"2"}}));
  EXPECT_EQ(parse_table("a,b;c\n1,2;3\n", "t.csv", {.separator = ';'}).columns, (Row{"a,b", "c"}));
}

TEST(Csv, RefusesRaggedRowsAndNeverPadsThem) {
  expect_refused("a,b,c\n1,2,3\n1,2\n", "t.csv: line 3: 2 cells, expected 3");
  expect_refused("a,b,c\n1,2,3,4,5\n", "line 2: 5 cells, expected 3");
  expect_refused("a,b\n1,2\n\n3,4\n", "line 3: 1 cell, expected 2");
  expect_refused("a,b\n\"1\n\n\",2\n3\n", "line 5: 1 cell, expected 2");
}

TEST(Csv, RefusesBadColumnNames) {
  expect_refused("a,b,a\n", "columns 1 and 3 are both named 'a'");
  expect_refused("a, b ,b\n", "columns 2 and 3 are both named 'b'");
  expect_refused("a,,c\n", "column 2 has no name");
  expect_refused("a,b,\n", "column 3 has no name");
  EXPECT_EQ(parse_table(",b\n0,1\n", "t.csv").columns, (Row{"index", "b"}));
  expect_refused(",index\n", "both named 'index'");
}

TEST(Csv, RefusesDamagedText) {
  expect_refused("", "no header line");
  expect_refused("\n\n", "no header line");
  expect_refused("# only a comment\n", "no header line");
  expect_refused("a,b\n1,\"2\n3,4\n", "line 2: a quote that is never closed");
  expect_refused("a,b\n1,\"2\"x\n", "line 2: text after a closing quote");
  expect_refused("a,b\n1,2\r3,4\n", "line 2: a carriage return that no line feed follows");
  expect_refused(std::string("a,b\n1,2\n\0,3\n", 12), "line 3: a zero byte");
  expect_refused("a,b\nM\xFCller,2\n", "line 2: text that is not UTF-8");
  for (const char* bad : {"\xC0\x80",
                          "\xE0\x80\x80",
                          "\xED\xA0\x80",
                          "\xF4\x90\x80\x80",
                          "\xC3",
                          "\x80",
                          "\xF0\x9F\x98"}) {
    expect_refused(std::string("a\n") + bad + "\n", "line 2: text that is not UTF-8");
  }
  EXPECT_NO_THROW(parse_table("a\n\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\n", "t.csv"));
  for (const std::string mark : {"\xFF\xFE", "\xFE\xFF"}) {
    expect_error(ErrorKind::kUnsupported, "UTF-16", [&] { parse_table(mark + "a", "t.csv"); });
  }
  expect_error(ErrorKind::kUnsupported, "UTF-32", [] {
    parse_table(std::string("\xFF\xFE\0\0a\0\0\0", 8), "t.csv");
  });
}

TEST(Csv, HoldsItsLimits) {
  const Limits before = limits();
  Limits small = before;
  small.table_columns = 3;
  small.table_cell_bytes = 4;
  small.table_rows = 2;
  set_limits(small);
  expect_refused("a,b,c,d\n", "more columns than the limit of 3");
  expect_refused("a\n12345\n", "a cell of 5 bytes, more than the limit of 4");
  expect_refused("a\n1\n2\n3\n", "more rows than the limit of 2");
  small.table_bytes = 3;
  set_limits(small);
  expect_refused("a\n1\n", "4 bytes, more than the limit of 3");
  set_limits(before);
}

TEST(Csv, FindsColumnsByNameAndSuggestsTheNearest) {
  const Table table = parse_table("Age,age,Grade\n", "t.csv");
  EXPECT_EQ(table.find("Age"), 0U);
  EXPECT_EQ(table.find("age"), 1U);
  EXPECT_EQ(table.find("GRADE"), 2U);
  EXPECT_FALSE(table.find("AGE").has_value());  // two would fit
  expect_error(ErrorKind::kNotFound, "no column 'Graed' (did you mean 'Grade'?)", [&] {
    table.column("Graed");
  });
}

TEST(Csv, EveryCutAndBitFlipIsContained) {
  const std::string good = "#c\na,\"b\"\n1,\"x \"\"y\"\"\nz\"\n\xC3\xA9,2\r\n";
  const auto parse = [](const std::string& text) { parse_table(text, "t.csv"); };
  for (std::size_t n = 0; n <= good.size(); ++n) {
    try {
      parse(good.substr(0, n));  // a cut at a line end is a shorter table
    } catch (const Error&) {
    }
  }
  expect_bit_flips_contained(good, 100'000, parse);
}

TEST(Csv, AMillionCellsAreReadInWellUnderASecond) {
  std::string text = "c0";
  for (int i = 1; i < 1000; ++i) text += ",c" + std::to_string(i);
  text += '\n';
  std::string row = "0.123456";
  for (int i = 1; i < 1000; ++i) row += ",0.123456";
  for (int i = 0; i < 1000; ++i) text += row + '\n';
  const auto begin = std::chrono::steady_clock::now();
  const Table table = parse_table(text, "t.csv");
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(table.rows.size(), 1000U);
  EXPECT_EQ(table.rows[999][999], "0.123456");
  EXPECT_LT(took.count(), 5.0);  // 0.1 s alone; room for a loaded machine
}

TEST(CsvWriter, WritesWhatTheReaderReads) {
  CsvWriter writer({"case_id", "note", "x"});
  writer.text("C-1").text("a, \"b\"\nc").number(0.1).end_row();
  writer.text(" padded ").missing().number(-3).end_row();
  writer.text("#3").text("").number(std::size_t{7}).end_row();
  EXPECT_EQ(writer.str(),
            "case_id,note,x\nC-1,\"a, \"\"b\"\"\nc\",0.1\n\" padded \",,-3\n\"#3\",,7\n");
  const Table table = parse_table(writer.str(), "t.csv");
  EXPECT_EQ(table.rows[0], (Row{"C-1", "a, \"b\"\nc", "0.1"}));
  EXPECT_EQ(table.rows[1], (Row{" padded ", "", "-3"}));
  CsvWriter single({"a"});
  single.missing().end_row();
  single.text("b").end_row();
  EXPECT_EQ(parse_table(single.str(), "t.csv").rows, (std::vector<Row>{{""}, {"b"}}));
}

TEST(CsvWriter, DefusesFormulasButNoNumbers) {
  CsvWriter writer({"=cmd()", "b"});
  writer.text("=1+1").text("@SUM(A1)").end_row();
  writer.text("+cmd|' /C calc'!A0").text("-2+3").end_row();
  writer.text("\t=1").text("\r=1").end_row();
  writer.text("-1.5").text("+3").end_row();
  writer.number(-1.5).number(-2).end_row();
  EXPECT_EQ(writer.str(),
            "'=cmd(),b\n'=1+1,'@SUM(A1)\n'+cmd|' /C calc'!A0,'-2+3\n\"'\t=1\",\"'\r=1\"\n-1.5,+3\n"
            "-1.5,-2\n");
}

TEST(CsvWriter, FloatsComeBackBitForBitAndShort) {
  CsvWriter writer({"x"});
  writer.number(0.1F).end_row();
  EXPECT_EQ(writer.str(), "x\n0.1\n");
  NumpyRandom random(3);
  for (int i = 0; i < 20'000; ++i) {
    float value = 0;
    const std::uint32_t bits = random.next_u32();
    std::memcpy(&value, &bits, 4);
    if (!std::isfinite(value)) continue;
    CsvWriter one({"x"});
    one.number(value).end_row();
    const auto text = one.str().substr(2, one.str().size() - 3);
    ASSERT_EQ(static_cast<float>(*parse_double(text)), value) << text;
  }
}

TEST(CsvWriter, RefusesUnevenRows) {
  CsvWriter writer({"a", "b"});
  writer.text("x");
  expect_error(ErrorKind::kUsage, "a CSV row of 1 cells, expected 2", [&] { writer.end_row(); });
  expect_error(ErrorKind::kUsage, "was not ended", [&] { writer.str(); });
}

// Numbers of rows and columns counted with an independent reader (Python's csv module).
TEST(CsvRealFiles, ReadsThePublicTables) {
  const auto data = test_data_folder();
  MED3D_REQUIRE_DATA(data / "clinical");
  const Table porpoise = read_table(data / "clinical" / "porpoise_tcga_kirc.csv");
  EXPECT_EQ(porpoise.columns.size(), 2513U);
  EXPECT_EQ(porpoise.columns[0], "index");
  EXPECT_EQ(porpoise.rows.size(), 185U);
  const Table cbio = read_table(data / "clinical" / "cbioportal_kirc_tcga_clinical_data.tsv");
  EXPECT_EQ(cbio.columns.size(), 89U);
  EXPECT_EQ(cbio.rows.size(), 338U);
  const Table mmist = read_table(data / "mmist-ccrcc" / "clinical+genomic_split.csv");
  EXPECT_EQ(mmist.columns.size(), 20U);
  EXPECT_EQ(mmist.rows.size(), 497U);
  for (const auto& folder : {data / "clinical", data / "mmist-ccrcc"}) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const auto extension = entry.path().extension();
      if (extension == ".csv" || extension == ".tsv") {
        EXPECT_NO_THROW(read_table(entry.path())) << entry.path();
      }
    }
  }
}

}  // namespace
}  // namespace med3d
