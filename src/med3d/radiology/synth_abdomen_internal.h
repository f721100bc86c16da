// The body that synthetic CT and MR studies show: what lies where, and how each scan sees it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "med3d/radiology/synth_series.h"

namespace med3d {

enum class SynthLook { kCtNative, kCtArterial, kCtVenous, kT2, kT1, kT1Contrast, kAdc };

class SynthAbdomen {
 public:
  explicit SynthAbdomen(const SynthStudyOptions& options);

  // Without noise; HU for CT, arbitrary units of 0 to about 1000 for MR, 0 or -1000 in air.
  // p  LPS in mm from the middle of the body at the height of the kidneys
  double value(SynthLook look, const Vector3& p) const;

  // In the same coordinates.
  const Vector3& tumour_centre() const { return tumour_; }

 private:
  struct Ellipsoid {
    Vector3 centre{};
    Vector3 radii{1, 1, 1};
    double distance(const Vector3& p) const;  // 1 on the surface, squared
  };
  double tumour_value(SynthLook look, const Vector3& p, double depth) const;

  SynthStudyOptions options_;
  std::uint64_t texture_ = 0;
  double uptake_ = 1.0;  // of contrast, by all but the tumour
  Ellipsoid body_, wall_, inside_, liver_, spleen_, spine_, canal_;
  Ellipsoid aorta_, cava_;
  std::array<Ellipsoid, 2> kidneys_, medullas_, sinuses_;
  Vector3 tumour_{};
};

}  // namespace med3d
