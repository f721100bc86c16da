// NIfTI-1 and NIfTI-2 files: one volume to and from .nii and .nii.gz.
//
// Read: one file (magic n+1 or n+2) of either byte order, bare or gzipped; 8 to 64-bit integers, 32
// and 64-bit floats, 1 byte booleans; scl_slope and scl_inter (a slope of 0 or one that is not
// finite means none); one volume (axes of length 1 behind the third are dropped). Values become
// float.
//
// Position: the sform if its code is above 0, else the qform if its code is above 0, else the voxel
// sizes alone with the origin at voxel 0 (as nibabel and dcm2niix do; the old "method 1"). Lengths
// are in mm by xyzt_units; metres and micrometres are converted. NIfTI's RAS becomes LPS.
//
// Refused: pairs of .hdr and .img, RGB and complex values, more than one volume, a header whose
// sizes, offsets or matrices make no sense, data that are too short, more than
// limits().array_bytes.
//
// Source: NIfTI-1 and NIfTI-2 headers (nifti1.h, nifti2.h, nifti.nimh.nih.gov).
// Checked against: files of nibabel and dicom2nifti, and numpy (tests/reference/nifti.py).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "med3d/radiology/volume.h"

namespace med3d {

// bytes   a whole file, gzipped or not
// source  its path, for messages
// Throws Error(kFormat) for a damaged file, kUnsupported for what is refused by name above.
// A volume with voxels that are not finite is an Error(kData).
Volume parse_nifti(std::string_view bytes, std::string_view source);
Volume read_nifti(const std::filesystem::path& path);

// Everything but the voxels, from the first bytes of the file.
Volume read_nifti_header(const std::filesystem::path& path);

enum class NiftiType {
  kFloat32,
  kInt16,  // exact for whole numbers in [-32768, 32767]; with slope and intercept otherwise
};

struct NiftiWrite {
  NiftiType type = NiftiType::kFloat32;
  bool gzip = true;
};

// A whole file, NIfTI-1 (NIfTI-2 where a side is above 32,767): sform code 1 (scanner), and a qform
// of the same code where the axes are at right angles. No description, no time: the same volume
// gives the same bytes. Units mm. Voxel (x, y, z) stays (x, y, z).
//
// kInt16 stores value = slope * stored + inter: slope 1, inter 0 if all values are whole and in
// range, else (max - min) / 65535 with a rounding error of half of it.
//
// Throws Error(kData) as Volume::validate, and for voxels that are not finite.
std::string nifti_bytes(const Volume& volume, const NiftiWrite& options = {});
// Gzipped if the name ends in .gz, whatever options say.
void write_nifti(const std::filesystem::path& path, const Volume& volume, NiftiWrite options = {});

}  // namespace med3d
