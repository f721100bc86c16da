// A three-dimensional scan in memory, and where its voxels lie in the patient.
//
// Patient coordinates are DICOM's: LPS (x towards the patient's left, y posterior, z superior), in
// millimetres. NIfTI's are RAS; its reader and writer convert.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace med3d {

using Vector3 = std::array<double, 3>;

// An affine map of points: rows of a 4 x 4 matrix whose last row is 0 0 0 1.
struct Affine {
  std::array<std::array<double, 4>, 4> m{{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}};

  Vector3 operator()(const Vector3& point) const;  // patient_from_voxel(voxel) = patient
  Vector3 column(int axis) const;  // the step of one voxel along x, y or z (0, 1, 2)
  friend bool operator==(const Affine&, const Affine&) = default;
};

Affine operator*(const Affine& a, const Affine& b);  // first b, then a
// Throws Error(kData) for a map that is flat (determinant 0 or not finite).
Affine inverse(const Affine& affine);

enum class VoxelUnits {
  kArbitrary,  // MR, and what says nothing
  kHu,         // Hounsfield units
};
std::string_view to_string(VoxelUnits units);  // "arbitrary", "HU"

struct Volume {
  std::array<std::int64_t, 3> size{};  // voxels along x, y, z; each at least 1
  Vector3 spacing_mm{1, 1, 1};         // lengths of the columns of patient_from_voxel
  Affine patient_from_voxel;           // voxel (x, y, z) of voxel centres to LPS mm
  VoxelUnits units = VoxelUnits::kArbitrary;
  std::vector<float> voxels;  // x fastest: voxel (x, y, z) at x + size[0] * (y + size[1] * z);
                              // seen as a tensor this is (D, H, W) = (z, y, x)

  float& at(std::int64_t x, std::int64_t y, std::int64_t z) {
    return voxels[static_cast<std::size_t>(x + size[0] * (y + size[1] * z))];
  }
  float at(std::int64_t x, std::int64_t y, std::int64_t z) const {
    return voxels[static_cast<std::size_t>(x + size[0] * (y + size[1] * z))];
  }

  // Throws Error(kData) if sizes, voxels and spacing do not fit each other or the map is flat.
  void validate() const;
};

// How many voxels a size has, checked before memory is taken.
// Throws Error(kFormat) for a side below 1 or voxels of more than limits().array_bytes as float.
std::size_t checked_voxels(const std::array<std::int64_t, 3>& size, std::string_view what);

// Fills spacing_mm from the map's columns.
Vector3 spacing_of(const Affine& patient_from_voxel);

// Which patient axis each voxel axis follows best, as three letters of where it points: "LPS" for
// an axial series as DICOM stores it (x to the left, y to the back, z to the head). No axis is used
// twice: the best fitting pair is matched first.
std::string orientation_code(const Affine& patient_from_voxel);

enum class Plane { kAxial, kCoronal, kSagittal, kOblique };
std::string_view to_string(Plane plane);  // "axial", "coronal", "sagittal", "oblique"

// The plane of slices with this row and column direction (ImageOrientationPatient): by the patient
// axis nearest to their normal, oblique if that is more than `tolerance_degrees` away.
Plane plane_of(const Vector3& row, const Vector3& column, double tolerance_degrees = 40.0);
// The same of a volume's slices (constant z).
Plane plane_of(const Affine& patient_from_voxel, double tolerance_degrees = 40.0);

// The same voxels in another order of axes, so that orientation_code gives `code`: axes are swapped
// and reversed, nothing is resampled; every voxel stays where it is in the patient.
// code  three letters, one each of L/R, P/A, S/I
// Throws Error(kUsage) for what is no such code.
Volume reorient(const Volume& volume, std::string_view code = "LPS");

Vector3 cross(const Vector3& a, const Vector3& b);
double dot(const Vector3& a, const Vector3& b);
double norm(const Vector3& a);

}  // namespace med3d
