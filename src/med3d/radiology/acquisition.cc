#include "med3d/radiology/acquisition.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/text.h"
#include "med3d/io/formats/dicom.h"

namespace med3d {
namespace {

using Words = std::span<const std::string_view>;

constexpr std::array<std::string_view, 10> kModalities = {
    "CT", "MR", "PT", "NM", "US", "XA", "CR", "DX", "MG", "RF"};
// As their own words begin, in lower case, and as they are shown.
constexpr std::array<std::array<std::string_view, 2>, 10> kMakers = {{{"siemens", "Siemens"},
                                                                      {"ge ", "GE"},
                                                                      {"ge", "GE"},
                                                                      {"philips", "Philips"},
                                                                      {"toshiba", "Toshiba"},
                                                                      {"canon", "Canon"},
                                                                      {"hitachi", "Hitachi"},
                                                                      {"fujifilm", "Fujifilm"},
                                                                      {"uih", "UIH"},
                                                                      {"neusoft", "Neusoft"}}};
constexpr std::array<std::string_view, 14> kBodyParts = {"ABDOMEN",
                                                         "ABDOMENPELVIS",
                                                         "CHEST",
                                                         "CHESTABDOMEN",
                                                         "CHESTABDPELVIS",
                                                         "HEAD",
                                                         "BRAIN",
                                                         "KIDNEY",
                                                         "LIVER",
                                                         "NECK",
                                                         "PELVIS",
                                                         "SPINE",
                                                         "TSPINE",
                                                         "LSPINE"};
constexpr std::array<std::string_view, 24> kImageTypes = {
    "ORIGINAL", "DERIVED",  "PRIMARY",    "SECONDARY", "AXIAL", "LOCALIZER", "OTHER", "REFORMATTED",
    "AVERAGE",  "MIN IP",   "PROJECTION", "MPR",       "ADC",   "DIFFUSION", "M",     "ND",
    "NORM",     "SUBTRACT", "SE",         "FFE",       "MIXED", "VOLUME",    "NONE",  "T1"};
constexpr std::array<std::string_view, 2> kAcquisitions = {"2D", "3D"};
constexpr std::array<std::string_view, 5> kSequences = {"SE", "IR", "GR", "EP", "RM"};
constexpr std::array<std::string_view, 9> kVariants = {
    "SK", "MTC", "SS", "TRSS", "SP", "MP", "OSP", "NONE", "TOF"};
constexpr std::array<std::string_view, 8> kKernels = {
    "STANDARD", "SOFT", "LUNG", "BONE", "BONEPLUS", "DETAIL", "EDGE", "CHEST"};

bool is_in(Words words, const std::string& word) {
  return std::ranges::find(words, word) != words.end();
}

// The listed ones among the values of an element.
std::vector<std::string> listed(const DicomDataset& from, DicomTag tag, Words words) {
  constexpr std::size_t kMost = 16;
  std::vector<std::string> out;
  const std::size_t count = std::min(from.count(tag), kMost);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string word = from.text(tag, i);
    if (is_in(words, word)) out.push_back(word);
  }
  return out;
}

// "B30f", "Br40d", "FC08", "A": one or two letters, up to three digits, a letter.
bool is_kernel(const std::string& text) {
  if (is_in(kKernels, text)) return true;
  std::size_t at = 0;
  const auto take = [&](auto is, std::size_t most) {
    std::size_t n = 0;
    while (n < most && at < text.size() && is(static_cast<unsigned char>(text[at])) != 0) {
      ++at;
      ++n;
    }
    return n;
  };
  const std::size_t letters = take([](int c) { return std::isalpha(c); }, 2);
  const std::size_t digits = take([](int c) { return std::isdigit(c); }, 3);
  if (digits > 0) take([](int c) { return std::isalpha(c); }, 1);
  return letters > 0 && at == text.size();
}

}  // namespace

Json acquisition_parameters(const std::filesystem::path& dicom_file) {
  const DicomFile file = DicomFile::read(dicom_file, DicomPart::kHeader);
  const DicomDataset& data = file.dataset();
  Json out = Json::object();
  const auto word = [&](const char* name, DicomTag tag, Words words) {
    if (const std::string text = data.text(tag); is_in(words, text)) out[name] = text;
  };
  const auto words = [&](const char* name, DicomTag tag, Words known) {
    if (auto found = listed(data, tag, known); !found.empty()) out[name] = std::move(found);
  };
  const auto number = [&](const char* name, DicomTag tag, double divisor = 1.0) {
    if (const auto value = data.number(tag)) out[name] = *value / divisor;
  };
  constexpr double kMsInSecond = 1e3;

  word("Modality", 0x00080060, kModalities);
  const std::string maker = to_lower(data.text(0x00080070));
  for (const auto& [begin, shown] : kMakers) {
    if (maker == begin || (begin != "ge" && maker.starts_with(begin))) {
      out["Manufacturer"] = shown;
      break;
    }
  }
  word("BodyPartExamined", 0x00180015, kBodyParts);
  words("ImageType", 0x00080008, kImageTypes);
  number("KVP", 0x00180060);
  number("XRayTubeCurrent", 0x00181151);
  number("ExposureTime", 0x00181150);
  if (const std::string kernel = data.text(0x00181210, 0); is_kernel(kernel)) {
    out["ConvolutionKernel"] = kernel;
  }
  number("MagneticFieldStrength", 0x00180087);
  word("MRAcquisitionType", 0x00180023, kAcquisitions);
  words("ScanningSequence", 0x00180020, kSequences);
  words("SequenceVariant", 0x00180021, kVariants);
  number("EchoTime", 0x00180081, kMsInSecond);
  number("RepetitionTime", 0x00180080, kMsInSecond);
  number("InversionTime", 0x00180082, kMsInSecond);
  number("FlipAngle", 0x00181314);
  number("EchoTrainLength", 0x00180091);
  number("SliceThickness", 0x00180050);
  number("SpacingBetweenSlices", 0x00180088);
  number("SpiralPitchFactor", 0x00189311);
  if (data.has(0x00180010)) out["ContrastBolusAgentGiven"] = !data.text(0x00180010).empty();
  return out;
}

}  // namespace med3d
