// Shape: volume, surface, diameters and principal axes of the region, without its grey values.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "med3d/radiology/radiomics/radiomics.h"
#include "med3d/radiology/radiomics/region.h"

namespace med3d::radiomics {

inline constexpr std::array<std::string_view, 14> kShapeNames = {"Elongation",
                                                                 "Flatness",
                                                                 "LeastAxisLength",
                                                                 "MajorAxisLength",
                                                                 "Maximum2DDiameterColumn",
                                                                 "Maximum2DDiameterRow",
                                                                 "Maximum2DDiameterSlice",
                                                                 "Maximum3DDiameter",
                                                                 "MeshVolume",
                                                                 "MinorAxisLength",
                                                                 "Sphericity",
                                                                 "SurfaceArea",
                                                                 "SurfaceVolumeRatio",
                                                                 "VoxelVolume"};

struct Mesh {
  double volume_mm3 = 0.0;
  double area_mm2 = 0.0;
};

// The surface between voxel centres inside and outside by marching cubes, its points half way
// between two centres.
//
// As in pyradiomics, cubes with corner 7 inside are looked up by their complement. Where the region
// touches itself only across an edge that leaves cracks, and the volume then depends on the origin
// (one voxel before the bounding box, as there); elsewhere the mesh is closed.
//
// Source: Lorensen and Cline, SIGGRAPH 1987; table of Bourke, Polygonising a scalar field, 1994
// (public domain).
// Checked against: every case of the table against pyradiomics' own, in area and volume;
// skimage 0.19.3 measure.marching_cubes(method="lorensen") (tests/reference/radiomics.py).
Mesh mesh_of(const Region& region);

struct Diameters {
  double slice_mm = 0.0;   // in planes of constant z
  double column_mm = 0.0;  // of constant y
  double row_mm = 0.0;     // of constant x
  double any_mm = 0.0;
};

// Largest distances between points of that surface. Exact: in each plane only the corners of the
// points' convex hull can be farthest from anything.
// Cost O(n + h^2), h hull corners of all planes.
Diameters diameters_of(const Region& region);

// In the order of kShapeNames. Lengths in mm. Axes from the eigenvalues of the covariance of the
// voxels' centres (divided by their number): MajorAxisLength = 4 sqrt(largest) and so on,
// Elongation = sqrt(middle / largest), Flatness = sqrt(least / largest), both NaN for one voxel.
// Sphericity = (36 pi V^2)^(1/3) / A with the volume of the mesh; VoxelVolume counts voxels.
//
// Checked against: IBSI digital phantom; tests/reference/radiomics.py.
std::vector<double> shape_features(const Region& region);

}  // namespace med3d::radiomics
