#include <algorithm>
#include <cmath>

#include "med3d/core/place_noise.h"
#include "med3d/core/random.h"
#include "med3d/radiology/synth_abdomen_internal.h"

namespace med3d {
namespace {

constexpr double kLong = 1e6;  // radius along z of what runs through all slices

enum Tissue {
  kAir,
  kFat,
  kMuscle,
  kBowel,
  kLiver,
  kSpleen,
  kBone,
  kMarrow,
  kNerve,
  kAorta,
  kCava,
  kCortex,
  kMedulla,
  kTumour,
  kNecrosis,
  kTissues
};

// Textbook values, rounded: HU of native, arterial, venous CT; signal of fat-suppressed T2, of T1
// before and after contrast; ADC in 10^-6 mm^2/s.
constexpr std::array<std::array<double, 7>, kTissues> kValues{{
    {-1000, -1000, -1000, 0, 0, 0, 0},       // air
    {-100, -100, -100, 130, 110, 120, 100},  // fat
    {55, 60, 65, 190, 300, 370, 1200},       // muscle
    {25, 35, 50, 330, 270, 340, 1600},       // bowel
    {58, 70, 112, 250, 380, 540, 1100},      // liver
    {48, 110, 125, 420, 290, 590, 800},      // spleen
    {450, 450, 450, 70, 70, 70, 300},        // cortical bone
    {170, 175, 180, 260, 240, 280, 500},     // marrow
    {25, 25, 25, 700, 200, 210, 2600},       // nerve and the water around it
    {40, 290, 160, 60, 250, 820, 1500},      // aorta
    {40, 90, 150, 80, 250, 760, 1500},       // inferior vena cava
    {32, 170, 180, 480, 380, 800, 2000},     // cortex of the kidney
    {30, 75, 165, 600, 300, 740, 2100},      // its medulla
    {38, 148, 113, 640, 300, 700, 1700},     // the tumour where it enhances
    {18, 20, 22, 820, 220, 240, 2300},       // where it is dead
}};

double tissue_value(Tissue tissue, SynthLook look) {
  return kValues[tissue][static_cast<std::size_t>(look)];
}

}  // namespace

double SynthAbdomen::Ellipsoid::distance(const Vector3& p) const {
  double sum = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    const double d = (p[i] - centre[i]) / radii[i];
    sum += d * d;
  }
  return sum;
}

SynthAbdomen::SynthAbdomen(const SynthStudyOptions& options)
    : options_(options), texture_(derive_seed(options.seed, "texture")) {
  NumpyRandom random(static_cast<std::uint32_t>(derive_seed(options.seed, "anatomy")));
  // Bodies differ by a few per cent only: the tumour is to be a large difference between scans, as
  // encoders with random weights see first what is large.
  const auto about = [&](double size) {
    return size * (1.0 + 0.02 * std::clamp(random.normal(), -2.0, 2.0));
  };
  const auto near = [&](double place) {
    return place + 3.0 * std::clamp(random.normal(), -2.0, 2.0);
  };
  const double rx = about(160), ry = about(112);
  body_ = {{0, 0, 0}, {rx, ry, kLong}};
  const double fat = near(16), muscle = 12;  // thickness
  wall_ = {{0, 0, 0}, {rx - fat, ry - fat, kLong}};
  inside_ = {{0, 0, 0}, {rx - fat - muscle, ry - fat - muscle, kLong}};
  liver_ = {{near(-70), near(-22), near(55)}, {about(62), about(62), about(66)}};
  spleen_ = {{near(90), near(28), near(52)}, {about(32), about(42), about(44)}};
  spine_ = {{0, near(62), 0}, {about(22), about(19), kLong}};
  canal_ = {{0, spine_.centre[1] + 26, 0}, {8, 7, kLong}};
  aorta_ = {{near(12), near(30), 0}, {10, 10, kLong}};
  cava_ = {{near(-16), near(29), 0}, {12, 9, kLong}};
  for (std::size_t side = 0; side < 2; ++side) {
    const double sign = side == 0 ? -1.0 : 1.0;  // the right one is at the patient's right: -x
    const Vector3 centre = {near(sign * 62), near(40), near(side == 0 ? -4 : 4)};
    const Vector3 radii = {about(27), about(25), about(52)};
    kidneys_[side] = {centre, radii};
    medullas_[side] = {centre, {0.70 * radii[0], 0.70 * radii[1], 0.82 * radii[2]}};
    sinuses_[side] = {{centre[0] - sign * 0.45 * radii[0], centre[1], centre[2]},
                      {0.50 * radii[0], 0.35 * radii[1], 0.45 * radii[2]}};
  }
  // Some are scanned a little earlier, or with less contrast for their weight.
  uptake_ = 1.0 + 0.03 * std::clamp(random.normal(), -2.0, 2.0);
  // It grows forwards out of the kidney, into fat.
  const std::size_t side = random.uniform() < 0.5 ? 0 : 1;
  const Ellipsoid& kidney = kidneys_[side];
  const double out = 0.6 * kidney.radii[1] + 0.55 * options.tumour_radius_mm;
  tumour_ = {kidney.centre[0] + (side == 0 ? -0.25 : 0.25) * out,
             kidney.centre[1] - 0.97 * out,
             near(-14)};
}

double SynthAbdomen::tumour_value(SynthLook look, const Vector3& p, double depth) const {
  const double coarse = smooth_noise(texture_ + 1, p[0] / 9, p[1] / 9, p[2] / 9);
  if (depth < options_.necrosis + 0.15 * options_.necrosis * coarse) {
    return tissue_value(kNecrosis, look);
  }
  const double uneven =
      1.0 + options_.heterogeneity * smooth_noise(texture_ + 2, p[0] / 7, p[1] / 7, p[2] / 7);
  const double before = tissue_value(kTumour, look);
  switch (look) {
    case SynthLook::kCtArterial:
    case SynthLook::kCtVenous: {
      const double native = tissue_value(kTumour, SynthLook::kCtNative);
      return native + (before - native) * options_.enhancement * uneven;
    }
    case SynthLook::kT1Contrast: {
      const double native = tissue_value(kTumour, SynthLook::kT1);
      return native + (before - native) * options_.enhancement * uneven;
    }
    case SynthLook::kT2:
      // What takes up much contrast has many vessels and is brighter here too.
      return before * (0.85 + 0.15 * options_.enhancement) * (0.5 + 0.5 * uneven);
    default:
      return before;
  }
}

double SynthAbdomen::value(SynthLook look, const Vector3& p) const {
  const auto value_of = [&](Tissue tissue) {
    const double value = tissue_value(tissue, look);
    SynthLook before = look;
    if (look == SynthLook::kCtArterial || look == SynthLook::kCtVenous) {
      before = SynthLook::kCtNative;
    } else if (look == SynthLook::kT1Contrast) {
      before = SynthLook::kT1;
    }
    const double native = tissue_value(tissue, before);
    return native + (value - native) * uptake_;
  };
  if (body_.distance(p) > 1) return value_of(kAir);
  if (wall_.distance(p) > 1) return value_of(kFat);

  Vector3 from_tumour;
  for (std::size_t i = 0; i < 3; ++i) from_tumour[i] = p[i] - tumour_[i];
  const double depth = norm(from_tumour) / options_.tumour_radius_mm;
  if (depth < 1.2 && inside_.distance(p) < 1) {
    const double edge = 1.0 + 0.15 * smooth_noise(texture_, p[0] / 16, p[1] / 16, p[2] / 16);
    if (depth < edge) return tumour_value(look, p, depth);
  }
  for (std::size_t side = 0; side < 2; ++side) {
    if (kidneys_[side].distance(p) > 1) continue;
    if (sinuses_[side].distance(p) < 1) return value_of(kFat);
    return value_of(medullas_[side].distance(p) < 1 ? kMedulla : kCortex);
  }
  if (canal_.distance(p) < 1) return value_of(kNerve);
  const double spine = spine_.distance(p);
  if (spine < 1) return value_of(spine > 0.75 ? kBone : kMarrow);
  if (inside_.distance(p) > 1) return value_of(kMuscle);
  if (aorta_.distance(p) < 1) return value_of(kAorta);
  if (cava_.distance(p) < 1) return value_of(kCava);
  if (liver_.distance(p) < 1) return value_of(kLiver);
  if (spleen_.distance(p) < 1) return value_of(kSpleen);
  // Muscles beside the spine, loops of bowel in front, fat between.
  if (p[1] > 48 && std::abs(p[0]) < 50) return value_of(kMuscle);
  const bool loop = p[1] < 5 && smooth_noise(texture_ + 3, p[0] / 14, p[1] / 14, p[2] / 22) > 0.12;
  return value_of(loop ? kBowel : kFat);
}

}  // namespace med3d
