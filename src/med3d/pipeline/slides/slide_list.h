// Which slides there are: folders, lists and single files to items with an id each.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace med3d::pipeline {

struct SlideItem {
  // The file's name without its extension, as CLAM and TRIDENT name all that belongs to a slide;
  // the folder's name for the DICOM files of one slide.
  std::string slide_id;
  std::filesystem::path path;
  std::optional<double> mpp;  // of level 0, from the list; overrides what the slide says
  std::string problem;        // why it cannot be used: its id is that of another file; else empty
};

struct SlideSearch {
  std::vector<std::filesystem::path> places;  // slides and folders of them, at least one or a list
  // Extensions to take, with or without the dot, in any case; none = those of every format.
  std::vector<std::string> extensions;
  // A table of slides: column wsi, slide_id, filename or slide (a name in one of the places, with
  // or without its extension, or a path), and mpp if there is one. None = all that is found.
  std::filesystem::path list;
};

// The slides of the places, folders in them included (the layouts of GDC, IDC and plain folders),
// in ascending order of id. Names that begin with a dot are left out.
//
// A folder or pipe that is called like a slide is an item too: opening it will tell what is wrong.
// A folder that holds .dcm files only is one item if they are one series, else each file is.
//
// Throws Error(kNotFound) for a place that is not there or a listed slide that is in none, kUsage
// if nothing is asked for, kData for a place without a slide, kFormat as read_table.
std::vector<SlideItem> find_slides(const SlideSearch& search);

// Bytes of the slide's file, of all files for a folder of them; 0 for what is neither. It stands
// for the slide's content in records: hashing gigabytes would cost more than reading the tiles.
std::uint64_t bytes_of(const SlideItem& item);

}  // namespace med3d::pipeline
