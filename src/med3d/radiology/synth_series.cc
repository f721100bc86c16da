#include "med3d/radiology/synth_series.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <span>
#include <string_view>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/place_noise.h"
#include "med3d/core/random.h"
#include "med3d/core/small_files.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/dicom_writer.h"
#include "med3d/radiology/synth_abdomen_internal.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kCtClass = "1.2.840.10008.5.1.4.1.1.2";
constexpr std::string_view kMrClass = "1.2.840.10008.5.1.4.1.1.4";
constexpr std::string_view kCaptureClass = "1.2.840.10008.5.1.4.1.1.7";
constexpr double kCtNoise = 11.0;  // standard deviation, HU
constexpr double kMrNoise = 14.0;
constexpr int kInjection = 10 * 3600 + 5 * 60;  // seconds of the day

// Where the middle of the body lies in the files' coordinates, as if on a table.
constexpr Vector3 kBody = {-3.0, -178.0, -1040.0};

enum class Content { kSlices, kProjections, kThreePlanes, kReport };

// A series as it is planned.
struct Plan {
  Content content = Content::kSlices;
  SynthLook look = SynthLook::kCtNative;
  std::array<std::string_view, 2> english, german;  // descriptions
  std::string image_type = "ORIGINAL\\PRIMARY\\AXIAL";
  bool kept = false;
  bool coronal = false;
  int columns = 72, rows = 72;
  double pixel_mm = 5.0, row_mm = 5.0;
  int images = 16;
  double step_mm = 6.0;
  int seconds = -240;     // of the acquisition, from the injection
  bool contrast = false;  // given before
};

Plan axial(SynthLook look, int size, double pixel_mm, int images, double step_mm) {
  Plan plan;
  plan.look = look;
  plan.columns = plan.rows = size;
  plan.pixel_mm = plan.row_mm = pixel_mm;
  plan.images = images;
  plan.step_mm = step_mm;
  return plan;
}

std::vector<Plan> ct_plans(bool derived_coronal) {
  std::vector<Plan> plans(6);
  plans[0].content = Content::kProjections;
  plans[0].images = 2;
  plans[0].columns = plans[0].rows = 64;
  plans[0].pixel_mm = plans[0].row_mm = 5.6;
  plans[0].image_type = "ORIGINAL\\PRIMARY\\LOCALIZER";
  plans[0].english = {"Scout", "Topogram"};
  plans[0].german = {"Topogramm",
                     "\xC3\x9C"
                     "bersicht"};
  plans[0].seconds = -600;

  plans[1] = axial(SynthLook::kCtNative, 48, 7.5, 16, 6.0);
  plans[1].english = {"ABD W/O CONTRAST 6.0", "NON CON AX 6mm"};
  plans[1].german = {"Abdomen nativ 6.0", "Leeraufnahme 6.0"};

  plans[2] = axial(SynthLook::kCtArterial, 72, 5.0, 16, 6.0);
  plans[2].english = {"ABDOMEN ARTERIAL 6.0", "AX CORTICOMEDULLARY 6mm"};
  plans[2].german = {"Abdomen arteriell 6.0", "Niere kortikomedull\xC3\xA4r"};
  plans[2].seconds = 35;

  plans[3] = axial(SynthLook::kCtVenous, 72, 5.0, 16, 6.0);
  plans[3].english = {"ABDOMEN PORTAL VENOUS 6.0", "AX VENOUS 75 SEC"};
  plans[3].german = {"Abdomen portalven\xC3\xB6s 6.0", "Abdomen ven\xC3\xB6s KM"};
  plans[3].seconds = 75;

  plans[4] = plans[3];
  plans[4].english = {"COR PORTAL VENOUS", "VENOUS COR 3.0"};
  plans[4].german = {"ven\xC3\xB6s koronar", "Abdomen ven kor"};
  plans[4].image_type =
      derived_coronal ? "DERIVED\\SECONDARY\\REFORMATTED\\AVERAGE" : "ORIGINAL\\PRIMARY\\AXIAL";
  plans[4].coronal = true;
  plans[4].rows = 32;
  plans[4].row_mm = 3.0;
  plans[4].images = 12;
  plans[4].step_mm = 8.0;

  plans[5].content = Content::kReport;
  plans[5].images = 1;
  plans[5].columns = 96;
  plans[5].rows = 64;
  plans[5].image_type = "DERIVED\\SECONDARY\\OTHER";
  plans[5].english = {"Dose Report", "Patient Protocol"};
  plans[5].german = {"Dosisbericht", "Patientenprotokoll"};
  plans[5].seconds = 600;
  for (const std::size_t after : {2U, 3U, 4U}) plans[after].contrast = true;
  plans[2].kept = plans[3].kept = true;
  return plans;
}

std::vector<Plan> mr_plans() {
  std::vector<Plan> plans(6);
  plans[0].content = Content::kThreePlanes;
  plans[0].look = SynthLook::kT2;
  plans[0].images = 3;
  plans[0].columns = plans[0].rows = 64;
  plans[0].pixel_mm = plans[0].row_mm = 5.6;
  plans[0].image_type = "ORIGINAL\\PRIMARY\\M\\NORM";
  plans[0].english = {"3-plane localizer", "Survey"};
  plans[0].german = {"Lokalisator",
                     "\xC3\x9C"
                     "bersicht drei Ebenen"};
  plans[0].seconds = -900;

  plans[1] = axial(SynthLook::kT2, 64, 5.6, 14, 7.0);
  plans[1].english = {"T2 HASTE AX", "AX T2 FSE"};
  plans[1].german = {"t2 haste tra", "T2 TSE transversal"};
  plans[1].seconds = -600;

  plans[2] = axial(SynthLook::kT1, 48, 7.5, 14, 7.0);
  plans[2].english = {"T1 VIBE PRE AX", "AX T1 LAVA PRE CONTRAST"};
  plans[2].german = {"t1 vibe nativ tra", "T1 vor KM"};

  plans[3] = axial(SynthLook::kT1Contrast, 64, 5.6, 14, 7.0);
  plans[3].english = {"T1 VIBE POST GD VENOUS AX", "AX T1 LAVA POST 70 SEC"};
  plans[3].german = {"t1 vibe KM ven\xC3\xB6s tra", "T1 nach KM portalven\xC3\xB6s"};
  plans[3].seconds = 70;
  plans[3].contrast = true;

  plans[4] = plans[1];
  plans[4].english = {"T2 HASTE COR", "COR T2 FSE"};
  plans[4].german = {"t2 haste koronar", "T2 TSE koronar"};
  plans[4].coronal = true;
  plans[4].rows = 28;
  plans[4].row_mm = 3.5;
  plans[4].images = 12;
  plans[4].step_mm = 8.0;

  plans[5] = axial(SynthLook::kAdc, 32, 11.2, 14, 7.0);
  plans[5].english = {"ADC", "ADC map 10^-6 mm2/s"};
  plans[5].german = {"ADC", "ADC Karte"};
  plans[5].image_type = "DERIVED\\PRIMARY\\DIFFUSION\\ADC";
  for (const std::size_t original : {1U, 2U, 3U, 4U}) {
    plans[original].image_type = "ORIGINAL\\PRIMARY\\M\\NORM";
  }
  plans[1].kept = plans[3].kept = true;
  return plans;
}

std::vector<Plan> plans_of(const SynthStudyOptions& options) {
  if (options.modality == SynthModality::kMr) return mr_plans();
  return ct_plans(derive_seed(options.seed, "coronal") % 2 == 0);
}

std::string_view description_of(const Plan& plan, const SynthStudyOptions& options) {
  const std::size_t variant = derive_seed(options.seed, "words") / 2 % 2;
  return options.german ? plan.german[variant] : plan.english[variant];
}

// A plane of pixels: where its first one lies, and the steps to the next column and row, mm from
// the middle of the body.
struct Grid {
  Vector3 first{};
  Vector3 row{1, 0, 0};     // direction along which columns follow each other
  Vector3 column{0, 1, 0};  // direction along which rows follow each other
  double between_columns = 1.0, between_rows = 1.0;
  int columns = 0, rows = 0;

  Vector3 at(double x, double y) const {
    Vector3 p = first;
    for (std::size_t i = 0; i < 3; ++i) {
      p[i] += row[i] * between_columns * x + column[i] * between_rows * y;
    }
    return p;
  }
};

Grid grid_of(const Plan& plan, int image) {
  Grid grid;
  grid.columns = plan.columns;
  grid.rows = plan.rows;
  grid.between_columns = plan.pixel_mm;
  grid.between_rows = plan.row_mm;
  const double half_x = 0.5 * plan.pixel_mm * (plan.columns - 1);
  const double half_y = 0.5 * plan.row_mm * (plan.rows - 1);
  const double along = plan.step_mm * (image - 0.5 * (plan.images - 1));
  int plane = plan.coronal ? 1 : 0;  // axial, coronal, sagittal
  if (plan.content == Content::kProjections) plane = 1 + image;
  if (plan.content == Content::kThreePlanes) plane = image;
  const double place = plan.content == Content::kSlices ? along : 0.0;
  if (plane == 0) {
    grid.first = {-half_x, -half_y, place};
  } else if (plane == 1) {
    grid.column = {0, 0, -1};
    grid.first = {-half_x, 20.0 + place, half_y};
  } else {
    grid.row = {0, 1, 0};
    grid.column = {0, 0, -1};
    grid.first = {place, -half_x, half_y};
  }
  return grid;
}

// Four 16-bit parts of one word: their sum is nearly normal, and needs no mathematics library whose
// last bits differ between machines.
double normal_of(std::uint64_t bits) {
  double sum = 0;
  for (int i = 0; i < 4; ++i) sum += static_cast<double>(bits >> (16 * i) & 0xFFFF) / 65536.0;
  return (sum - 2.0) * std::numbers::sqrt3;
}

// Mean of 2 x 2 places in each pixel, so that edges are soft; of a projection, of 24 along it.
double pixel_value(const SynthAbdomen& body, const Plan& plan, const Grid& grid, int x, int y) {
  if (plan.content == Content::kProjections) {
    const Vector3 normal = cross(grid.row, grid.column);
    double sum = 0;
    for (int i = 0; i < 24; ++i) {
      Vector3 p = grid.at(x, y);
      for (std::size_t k = 0; k < 3; ++k) p[k] += normal[k] * 14.0 * (i - 11.5);
      sum += body.value(SynthLook::kCtNative, p);
    }
    return sum / 24;
  }
  double sum = 0;
  for (const double dy : {-0.25, 0.25}) {
    for (const double dx : {-0.25, 0.25}) sum += body.value(plan.look, grid.at(x + dx, y + dy));
  }
  return sum / 4;
}

std::vector<std::uint16_t> paint(
    const SynthAbdomen& body, const Plan& plan, const Grid& grid, bool ct, std::uint64_t noise) {
  std::vector<std::uint16_t> out;
  out.reserve(static_cast<std::size_t>(grid.columns) * static_cast<std::size_t>(grid.rows));
  for (int y = 0; y < grid.rows; ++y) {
    for (int x = 0; x < grid.columns; ++x) {
      const double value = pixel_value(body, plan, grid, x, y);
      double stored = 0;
      if (ct) {
        stored = value + kCtNoise * normal_of(bits_at(noise, x, y)) + 1024;
      } else if (value > 0) {  // outside the body a scanner's software writes 0
        stored = std::max(1.0, value + kMrNoise * normal_of(bits_at(noise, x, y)));
      }
      out.push_back(static_cast<std::uint16_t>(std::clamp(std::lround(stored), 0L, 4095L)));
    }
  }
  return out;
}

// Rows of blocks where a dose report has its table.
std::vector<std::uint8_t> paint_report(int columns, int rows) {
  std::vector<std::uint8_t> out;
  for (int y = 0; y < rows; ++y) {
    for (int x = 0; x < columns; ++x) {
      const bool line = y % 8 >= 2 && y % 8 < 6 && x >= 6 && x < columns - 6;
      const bool letter = line && x % 4 != 3 && bits_at(7, x / 4, y / 8) % 4 != 0;
      out.push_back(letter ? 230 : 0);
    }
  }
  return out;
}

std::string time_text(int seconds) {
  return fmt::format("{:02}{:02}{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

class StudyWriter {
 public:
  StudyWriter(const SynthStudyOptions& options, const SynthAbdomen& body)
      : options_(options),
        body_(body),
        ct_(options.modality == SynthModality::kCt),
        word_(ct_ ? "CT" : "MR") {
    // A day of some year, the same for all of a patient's study; no time of the machine's.
    const std::uint64_t day = derive_seed(options.seed, word_ + " day");
    date_ = fmt::format("{}{:02}{:02}", 2010 + day % 8, 1 + day / 8 % 12, 1 + day / 96 % 28);
  }

  std::string image(const Plan& plan, std::uint64_t series, int image) const {
    const auto number = static_cast<std::uint64_t>(image);
    const bool report = plan.content == Content::kReport;
    DicomWriter file(report ? kCaptureClass
                     : ct_  ? kCtClass
                            : kMrClass,
                     uid("instance", {series, number}));
    write_head(file, plan);
    write_acquisition(file, plan);
    file.text(0x0020000D, "UI", uid("study", {}));
    file.text(0x0020000E, "UI", uid("series", {series}));
    file.text(0x00200010, "SH", "1");
    file.text(0x00200011, "IS", std::to_string(series));
    file.text(0x00200012, "IS", "1");
    file.text(0x00200013, "IS", std::to_string(image + 1));
    if (report) {
      file.text(0x00200020, "CS", "");
      write_pixel_header(file, plan.columns, plan.rows, 8);
      file.pixels(paint_report(plan.columns, plan.rows));
      return file.take();
    }
    const Grid grid = grid_of(plan, image);
    Vector3 first = grid.first;
    for (std::size_t i = 0; i < 3; ++i) first[i] += kBody[i];
    file.numbers(0x00200032, first);
    const std::array<double, 6> directions = {
        grid.row[0], grid.row[1], grid.row[2], grid.column[0], grid.column[1], grid.column[2]};
    file.numbers(0x00200037, directions);
    file.text(0x00200052, "UI", uid("frame of reference", {}));
    file.text(0x00201040, "LO", "");
    write_pixel_header(
        file, plan.columns, plan.rows, 12, std::array{grid.between_rows, grid.between_columns});
    file.text(0x00281050, "DS", ct_ ? "40" : "400");
    file.text(0x00281051, "DS", ct_ ? "400" : "800");
    if (ct_) {
      file.text(0x00281052, "DS", "-1024");
      file.text(0x00281053, "DS", "1");
      // A projection's values are no Hounsfield units.
      if (plan.content == Content::kSlices) file.text(0x00281054, "LO", "HU");
    }
    const std::uint64_t noise = derive_seed(options_.seed, word_ + " noise", {series, number});
    file.pixels(paint(body_, plan, grid, ct_, noise));
    return file.take();
  }

 private:
  std::string uid(std::string_view what, std::initializer_list<std::uint64_t> numbers) const {
    return dicom_uid_of(options_.uid_seed, word_ + " " + std::string(what), numbers);
  }

  void write_head(DicomWriter& file, const Plan& plan) const {
    const std::string start = time_text(kInjection - 900);
    const std::string acquired = time_text(kInjection + plan.seconds);
    file.text(0x00080005, "CS", "ISO_IR 192");
    file.text(0x00080008, "CS", plan.image_type);
    for (const DicomTag tag : {0x00080020U, 0x00080021U, 0x00080022U, 0x00080023U}) {
      file.text(tag, "DA", date_);
    }
    file.text(0x00080030, "TM", start);
    for (const DicomTag tag : {0x00080031U, 0x00080032U, 0x00080033U}) {
      file.text(tag, "TM", acquired);
    }
    file.text(0x00080050, "SH", "");
    file.text(0x00080060, "CS", word_);
    if (plan.content == Content::kReport) file.text(0x00080064, "CS", "WSD");
    file.text(0x00080070, "LO", "MED3D SYNTHETIC");
    file.text(0x00080090, "PN", "");
    file.text(0x00081030, "LO", options_.german ? word_ + " Oberbauch" : word_ + " ABDOMEN");
    file.text(0x0008103E, "LO", description_of(plan, options_));
    file.text(0x00081090, "LO", "drawn from a seed");
    file.text(0x00100010, "PN", "SYNTHETIC^PATIENT");
    file.text(0x00100020, "LO", options_.patient_id);
    file.text(0x00100030, "DA", "");
    file.text(0x00100040, "CS", "");
  }

  void write_acquisition(DicomWriter& file, const Plan& plan) const {
    if (plan.content == Content::kReport) return;
    const bool t2 = plan.look == SynthLook::kT2;
    const bool adc = plan.look == SynthLook::kAdc;
    if (plan.contrast) file.text(0x00180010, "LO", ct_ ? "IOHEXOL 350" : "GADOBUTROL");
    file.text(0x00180015, "CS", "ABDOMEN");
    if (!ct_) {
      file.text(0x00180020, "CS", adc ? "EP" : t2 ? "SE" : "GR");
      file.text(0x00180021, "CS", t2 ? "SK" : "SP");
      file.text(0x00180022, "CS", "FS");
      file.text(0x00180023, "CS", t2 || adc ? "2D" : "3D");
    }
    file.numbers(0x00180050, std::array{plan.step_mm});
    if (ct_) file.text(0x00180060, "DS", "120");
    if (!ct_) {
      file.text(0x00180080, "DS", t2 ? "1200" : adc ? "5200" : "4.3");
      file.text(0x00180081, "DS", t2 ? "92" : adc ? "60" : "1.9");
      file.text(0x00180087, "DS", "1.5");
      file.numbers(0x00180088, std::array{plan.step_mm});
      file.text(0x00180091, "IS", t2 ? "160" : "1");
    }
    if (plan.contrast) {
      file.text(0x00181040, "LO", "IV");
      file.text(0x00181041, "DS", ct_ ? "100" : "7.5");
      file.text(0x00181042, "TM", time_text(kInjection));
    }
    if (ct_) {
      file.text(0x00181151, "IS", "210");
      file.text(0x00181210, "SH", "B30f");
    } else {
      file.text(0x00181314, "DS", t2 ? "150" : adc ? "90" : "10");
    }
    file.text(0x00185100, "CS", "HFS");
  }

  static void write_pixel_header(DicomWriter& file,
                                 int columns,
                                 int rows,
                                 std::uint16_t bits,
                                 std::span<const double> spacing = {}) {
    file.whole(0x00280002, 1);
    file.text(0x00280004, "CS", "MONOCHROME2");
    file.whole(0x00280010, static_cast<std::uint16_t>(rows));
    file.whole(0x00280011, static_cast<std::uint16_t>(columns));
    if (!spacing.empty()) file.numbers(0x00280030, spacing);
    file.whole(0x00280100, bits <= 8 ? 8 : 16);
    file.whole(0x00280101, bits);
    file.whole(0x00280102, static_cast<std::uint16_t>(bits - 1));
    file.whole(0x00280103, 0);
  }

  const SynthStudyOptions& options_;
  const SynthAbdomen& body_;
  bool ct_;
  std::string word_;
  std::string date_;
};

SynthStudyInfo describe(const SynthStudyOptions& options,
                        const std::vector<Plan>& plans,
                        const SynthAbdomen& body) {
  SynthStudyInfo info;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    info.series.push_back({fmt::format("{:02}", i + 1),
                           std::string(description_of(plans[i], options)),
                           plans[i].kept,
                           plans[i].images});
  }
  for (std::size_t i = 0; i < 3; ++i) {
    info.tumour_centre_mm[i] = body.tumour_centre()[i] + kBody[i];
  }
  return info;
}

}  // namespace

void SynthStudyOptions::validate() const {
  const auto need = [](bool holds, std::string_view field, double found, std::string_view range) {
    if (holds) return;
    throw Error(ErrorKind::kUsage,
                fmt::format("synth study {}: {}, expected {}", field, format_double(found), range));
  };
  need(tumour_radius_mm >= 6 && tumour_radius_mm <= 60,
       "tumour_radius_mm",
       tumour_radius_mm,
       "6 to 60");
  need(enhancement >= 0 && enhancement <= 2, "enhancement", enhancement, "0 to 2");
  need(necrosis >= 0 && necrosis <= 0.8, "necrosis", necrosis, "0 to 0.8");
  need(heterogeneity >= 0 && heterogeneity <= 1, "heterogeneity", heterogeneity, "0 to 1");
  if (patient_id.empty() || patient_id.size() > 64) {
    throw Error(ErrorKind::kUsage, "synth study patient_id: expected 1 to 64 characters");
  }
}

SynthStudyInfo describe_synth_study(const SynthStudyOptions& options) {
  options.validate();
  return describe(options, plans_of(options), SynthAbdomen(options));
}

SynthStudyInfo write_synth_study(const fs::path& folder, const SynthStudyOptions& options) {
  options.validate();
  const SynthAbdomen body(options);
  const std::vector<Plan> plans = plans_of(options);
  SynthStudyInfo info = describe(options, plans, body);
  const StudyWriter writer(options, body);
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const fs::path place = folder / info.series[i].folder;
    make_folder(place);
    for (int image = 0; image < plans[i].images; ++image) {
      const std::string bytes = writer.image(plans[i], i + 1, image);
      write_small_file(place / fmt::format("IM{:04}", image + 1), bytes);
      info.bytes += bytes.size();
    }
  }
  return info;
}

}  // namespace med3d
