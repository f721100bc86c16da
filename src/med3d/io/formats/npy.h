// NumPy's array files: npy (one array) and npz (a zip of npy files).
//
// Read: format versions 1 to 3, either byte order, C and Fortran order; numbers of the types of
// DType except bfloat16, which NumPy has not. Refused: objects (pickles are never read), records,
// strings, dates, complex numbers, bytes after the array.
//
// Source: NumPy's format specification, NEP 1 and numpy.lib.format.
// Checked against: files and bytes of NumPy 1.24, the MMIST-ccRCC features.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/io/array.h"

namespace med3d {

struct FeatureFormat;

// bytes   a whole npy file
// source  its path, for messages
// The array is in C order and little-endian, however it was stored.
// Throws Error(kFormat) for a damaged file, kUnsupported for a type that is not read.
Array parse_npy(std::string_view bytes, std::string_view source);
Array read_npy(const std::filesystem::path& path);

// The members of an npz in their order, without ".npy" in their names. Throws as parse_npy and
// ZipArchive do, and Error(kUnsupported) for a member that is no npy.
std::vector<NamedArray> parse_npz(std::string bytes, std::string_view source);
std::vector<NamedArray> read_npz(const std::filesystem::path& path);

// Whole files, byte for byte as NumPy 1.24 writes an npy; an npz is stored, not compressed.
// Throws Error(kUnsupported) for bfloat16, kUsage for a name that no zip may hold.
std::string npy_bytes(const Array& array);
std::string npy_bytes(const Matrix<float>& matrix);
std::string npz_bytes(std::span<const NamedArray> arrays);

extern const FeatureFormat npy_feature_format;
extern const FeatureFormat npz_feature_format;

}  // namespace med3d
