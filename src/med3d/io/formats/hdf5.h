// Files of whole-slide pipelines in HDF5: the features of CLAM, TRIDENT and STAMP, the tile
// coordinates of the first two, and CLAM's attention scores.
//
// The HDF5 library (1.10) crashes on some damaged files, so a file is never opened in this process:
// a forked child without core dumps, without the right to write files and with bounded memory and
// processor time reads it and sends the arrays through a pipe. A crash is an Error like any other.
//
// Source: mahmoodlab/CLAM, mahmoodlab/TRIDENT and KatherLab/STAMP write these layouts (see
// FeatureFile::convention); HDF5 1.10 reference manual.
// Checked against: files of CLAM's own extract_features_fp.py; TRIDENT's and STAMP's layouts
// written by h5py 3.7; drawn cuts and damaged bytes (of 3,000 damaged files three crashed the
// library and five sent it round in circles: all became errors).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/io/row_stream.h"

namespace med3d {

struct FeatureFormat;

struct FeatureFile {
  Matrix<float> features;  // (rows, features); (0, D) for a slide without tissue
  // (rows, 2) x, y of each tile's corner: level-0 pixels, but micrometres rounded to whole ones in
  // STAMP files
  std::optional<Matrix<std::int64_t>> coords;
  // Attributes of the file under their names, those of a dataset as "features.encoder" or
  // "coords.patch_size"; lists as "[1, 2]". Others than text and numbers are left out.
  std::map<std::string, std::string> attributes;
  // "clam" (dataset `features`, no attributes), "trident" (`features` with attributes) or "stamp"
  // (`feats` of half precision, attributes on the file)
  std::string convention;
};

// Reads `features` or `feats`, of any floating or integer type, with `coords` if they are there.
//
// Cost: one fork, and twice the bytes of the arrays in memory.
// Throws Error(kNotFound) for a missing file; kFormat for what is no HDF5 file, is damaged, crashes
// the library or declares what it does not hold (dimensions beyond the stored data, chunks never
// written); kUnsupported for links and data in other files, which are never followed.
FeatureFile read_feature_file(const std::filesystem::path& path);

// Writes CLAM's layout: `features` f32 (N, D) and, if given, `coords` i32 (N, 2), both in chunks of
// 32 rows that can grow. The same values are the same bytes; the file is replaced as a whole.
// Throws Error(kUsage) if the rows differ, a coordinate does not fit in 32 bits, or there is no
// row (CLAM writes no file then); kIo if it cannot be written.
void write_clam_features(const std::filesystem::path& path,
                         const Matrix<float>& features,
                         const std::optional<Matrix<std::int64_t>>& coords = std::nullopt);
// The same bytes, of a slide whose features are too many to be held.
void write_clam_features(const std::filesystem::path& path,
                         const RowStream& features,
                         const std::optional<Matrix<std::int64_t>>& coords = std::nullopt);

// Where the tiles of a slide are, without features.
struct CoordinateFile {
  Matrix<std::int64_t> coords;  // (rows, 2), as FeatureFile::coords
  // Attributes of `coords` under their names ("patch_size"), else those of the file; values as in
  // FeatureFile::attributes.
  std::map<std::string, std::string> attributes;
};

// Reads the dataset `coords` of a file of coordinates or of features; other datasets are not read.
// Cost and errors as read_feature_file.
CoordinateFile read_coordinate_file(const std::filesystem::path& path);

using Hdf5Value =
    std::variant<std::int64_t, double, std::string, std::vector<std::int64_t>, std::vector<double>>;

struct Hdf5Attribute {
  std::string name;
  Hdf5Value value;  // 64-bit numbers, lists of one axis, text in UTF-8 as h5py writes str
};

// Writes one dataset `coords` i64 (N, 2) that can grow, with its attributes: CLAM's and TRIDENT's
// layout of patches/<slide>.h5. The same values are the same bytes; the file is replaced as a
// whole.
//
// coords      (N, 2) level-0 pixels; N may be 0
// attributes  of `coords`; names not repeated, no list empty
// chunk_rows  rows stored together, at least 1; CLAM's own files have 1, which any reader of HDF5
//             takes, and so it does of more: they are smaller and faster
//
// Throws Error(kUsage) for another shape, a name twice or empty, an empty list or text with a zero
// byte; kIo if it cannot be written.
void write_tile_coordinates(const std::filesystem::path& path,
                            const Matrix<std::int64_t>& coords,
                            std::span<const Hdf5Attribute> attributes,
                            std::uint64_t chunk_rows = 1024);

// CLAM's blockmap: what a model's attention gave each tile of a slide, and where the tile lies.
struct AttentionFile {
  std::vector<float> scores;                      // (tiles,)
  Matrix<std::int64_t> coords;                    // (tiles, 2), as FeatureFile::coords
  std::map<std::string, std::string> attributes;  // as CoordinateFile::attributes
};

// Reads `attention_scores`, (N,), (N, 1) or (1, N), and `coords`, of which there must be as many.
// Cost and errors as read_feature_file.
AttentionFile read_attention_file(const std::filesystem::path& path);

// Writes CLAM's layout: `attention_scores` f32 (N, 1) and `coords` i64 (N, 2) that can grow, with
// attributes of `coords`. The same values are the same bytes; the file is replaced as a whole.
// Throws Error(kUsage) unless there are as many scores as coordinates, at least one; and as
// write_tile_coordinates.
void write_attention_file(const std::filesystem::path& path,
                          std::span<const float> scores,
                          const Matrix<std::int64_t>& coords,
                          std::span<const Hdf5Attribute> attributes);

extern const FeatureFormat hdf5_feature_format;

}  // namespace med3d
