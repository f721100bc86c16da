#include "med3d/pipeline/slides/slide_list.h"

#include <gtest/gtest.h>

#include "med3d/pipeline/test_support.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::TempFolder;

class SlideListTest : public ::testing::Test {
 protected:
  void touch(const std::string& name) {
    fs::create_directories((folder_.path() / name).parent_path());
    write_file_atomic(folder_.path() / name, "x");
  }
  std::vector<std::string> ids(const SlideSearch& search) {
    std::vector<std::string> out;
    for (const auto& item : find_slides(search)) out.push_back(item.slide_id);
    return out;
  }
  std::string refusal(const SlideSearch& search) {
    try {
      find_slides(search);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  SlideSearch here() { return {{folder_.path()}, {}, {}}; }

  TempFolder folder_;
};

TEST_F(SlideListTest, FindsSlidesInFoldersAndNamesThemByTheirLongestExtension) {
  touch("b.SVS");
  touch("deep/er/a.ome.tif");
  touch(".hidden.svs");
  touch("notes.txt");
  EXPECT_EQ(ids(here()), (std::vector<std::string>{"a", "b"}));
}

TEST_F(SlideListTest, TakesOnlyTheExtensionsAskedFor) {
  touch("a.svs");
  touch("b.tif");
  SlideSearch search = here();
  search.extensions = {"TIF"};
  EXPECT_EQ(ids(search), std::vector<std::string>{"b"});
}

TEST_F(SlideListTest, TakesAFolderOfDicomFilesForOneSlide) {
  touch("slides/one/1.dcm");
  touch("slides/one/2.dcm");
  SlideSearch search;
  search.places = {folder_.path() / "slides"};
  const auto found = find_slides(search);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].slide_id, "one");
  EXPECT_EQ(bytes_of(found[0]), 2U);
}

TEST_F(SlideListTest, TellsAFileWhoseIdIsTaken) {
  touch("a.svs");
  touch("a.tif");
  const auto found = find_slides(here());
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].problem, "");
  EXPECT_EQ(found[1].problem, "another file is called 'a' too");
}

TEST_F(SlideListTest, ObeysAListWithScales) {
  touch("a.svs");
  touch("b.svs");
  touch("c.svs");
  write_file_atomic(folder_.path() / "list.csv", "wsi,mpp\nc.svs,0.25\na,\n");
  SlideSearch search = here();
  search.list = folder_.path() / "list.csv";
  const auto found = find_slides(search);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].slide_id, "a");
  EXPECT_FALSE(found[0].mpp.has_value());
  EXPECT_EQ(found[1].mpp, 0.25);
}

TEST_F(SlideListTest, RefusesEachMistakeWithItsOwnMessage) {
  EXPECT_NE(refusal({}).find("no slide, folder or list"), std::string::npos);
  EXPECT_NE(refusal({{folder_.path() / "none"}, {}, {}}).find("no such file or folder"),
            std::string::npos);
  EXPECT_NE(refusal(here()).find("no slide in it"), std::string::npos);
  touch("a.svs");
  const auto list = [&](const std::string& text) {
    write_file_atomic(folder_.path() / "list.csv", text);
    SlideSearch search = here();
    search.list = folder_.path() / "list.csv";
    return refusal(search);
  };
  EXPECT_NE(list("name\na\n").find("no column wsi"), std::string::npos);
  EXPECT_NE(list("wsi\nb\n").find("line 2: slide 'b' is in none"), std::string::npos);
  EXPECT_NE(list("wsi\na\na.svs\n").find("line 3: slide 'a.svs' is listed twice"),
            std::string::npos);
  EXPECT_NE(list("wsi,mpp\na,none\n").find("line 2: mpp is 'none'"), std::string::npos);
  EXPECT_NE(list("wsi,mpp\na,-1\n").find("line 2: mpp is '-1'"), std::string::npos);
}

}  // namespace
}  // namespace med3d::pipeline
