#include "med3d/radiology/series_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/dicom.h"
#include "med3d/radiology/nifti.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxText = 256;
constexpr std::int64_t kMaxFrames = 1 << 16;
constexpr std::uint64_t kMaxSidecar = 4 << 20;
constexpr double kMaxMillimetres = 1e6;
constexpr double kMaxDelay = 3600.0;

constexpr std::string_view kDirectoryClass = "1.2.840.10008.1.3.10";

// Length of the UTF-8 sequence at `at`, 0 if there is none. Overlong forms and surrogates are none.
std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
  };
  const auto follows = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!follows(1) || !follows(2)) return 0;
    if ((first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F)) return 0;
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!follows(1) || !follows(2) || !follows(3)) return 0;
    if ((first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F)) return 0;
    return 4;
  }
  return 0;
}

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_length(text, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

std::string code_of(const std::string& text) {
  const bool fine = text.size() <= 16 && std::ranges::all_of(text, [](char c) {
                      return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
                    });
  return fine ? text : "";
}

std::string standard_uid(const std::string& uid) {
  const bool standard = uid.starts_with("1.2.840.10008.") && uid.size() <= 64 &&
                        uid.find_first_not_of("0123456789.") == uid.npos;
  return standard ? uid : "";
}

std::string date_of(const std::string& text) {
  std::string digits;
  for (const char c : text.substr(0, std::min<std::size_t>(text.size(), 10))) {
    if (c >= '0' && c <= '9') digits += c;
  }
  return digits.size() == 8 ? digits : "";
}

// Seconds of a day from HHMMSS.FFFFFF; parts may be missing from the right.
std::optional<double> seconds_of(std::string text) {
  std::erase(text, ':');
  if (text.size() < 4) return std::nullopt;
  const auto two = [&](std::size_t at) -> double {
    if (text.size() < at + 2) return 0.0;
    const char a = text[at];
    const char b = text[at + 1];
    if (a < '0' || a > '9' || b < '0' || b > '9') return std::nan("");
    return 10.0 * (a - '0') + (b - '0');
  };
  double seconds = 3600.0 * two(0) + 60.0 * two(2) + two(4);
  if (text.size() > 7 && text[6] == '.') seconds += parse_double("0" + text.substr(6)).value_or(0);
  return std::isfinite(seconds) ? std::optional(seconds) : std::nullopt;
}

template <std::size_t kCount>
std::optional<std::array<double, kCount>> numbers(const DicomDataset* from, DicomTag tag) {
  if (from == nullptr) return std::nullopt;
  std::array<double, kCount> out{};
  for (std::size_t i = 0; i < kCount; ++i) {
    const auto value = from->number(tag, i);
    if (!value || std::abs(*value) > kMaxMillimetres) return std::nullopt;
    out[i] = *value;
  }
  return out;
}

std::optional<Vector3> normal_of(const std::array<double, 6>& directions) {
  const Vector3 row{directions[0], directions[1], directions[2]};
  const Vector3 column{directions[3], directions[4], directions[5]};
  const Vector3 normal = cross(row, column);
  const double length = norm(normal);
  // Directions that are no unit vectors at right angles say nothing.
  if (std::abs(length - 1.0) > 0.05) return std::nullopt;
  return Vector3{normal[0] / length, normal[1] / length, normal[2] / length};
}

Plane plane_of_directions(const std::array<double, 6>& directions) {
  return plane_of(Vector3{directions[0], directions[1], directions[2]},
                  Vector3{directions[3], directions[4], directions[5]});
}

std::int64_t distinct_places(std::vector<double> along) {
  std::ranges::sort(along);
  const auto last =
      std::unique(along.begin(), along.end(), [](double a, double b) { return b - a < 0.01; });
  return last - along.begin();
}

std::optional<double> positive(std::optional<double> value) {
  return value && *value > 0.0 && *value <= kMaxMillimetres ? value : std::nullopt;
}

class DicomHeaderReader {
 public:
  explicit DicomHeaderReader(const DicomFile& file)
      : data_(file.dataset()), set_(data_.text(0x00080005)) {}

  SeriesHeader read() {
    SeriesHeader out;
    out.patient_id = readable_text(data_.text(0x00100020), set_);
    out.study_uid = data_.text(0x0020000D);
    out.series_uid = data_.text(0x0020000E);
    out.instance_uid = data_.text(0x00080018);
    // A directory has a sequence of records (0004,1220) and no class of its own in its data set.
    out.directory = data_.has(0x00041220) || data_.text(0x00080016) == kDirectoryClass;
    read_words(out.facts);
    if (const auto number = data_.number(0x00200011)) {
      if (*number == std::floor(*number) && std::abs(*number) < 1e9) {
        out.series_number = static_cast<std::int64_t>(*number);
      }
    }
    out.study_date = date_of(data_.text(0x00080020));
    out.series_date = date_of(data_.text(0x00080021));
    read_contrast(out.facts);
    read_image(out);
    read_sequence(out.facts);
    return out;
  }

 private:
  std::string text(DicomTag tag) const { return readable_text(data_.text(tag), set_); }

  // A value of the first frame's group, of the shared groups, or of the data set itself.
  const DicomDataset* holding(DicomTag group, DicomTag tag, std::size_t frame = 0) const {
    for (const DicomDataset* groups : {data_.item(0x52009230, frame), data_.item(0x52009229)}) {
      const DicomDataset* item = groups != nullptr ? groups->item(group) : nullptr;
      if (item != nullptr && item->has(tag)) return item;
    }
    return data_.has(tag) ? &data_ : nullptr;
  }
  std::optional<double> number(DicomTag group, DicomTag tag) const {
    const DicomDataset* from = holding(group, tag);
    return from != nullptr ? from->number(tag) : std::nullopt;
  }

  void read_words(SeriesFacts& facts) const {
    facts.modality = code_of(data_.text(0x00080060));
    facts.sop_class = standard_uid(data_.text(0x00080016));
    facts.description = text(0x0008103E);
    facts.study_description = text(0x00081030);
    facts.protocol = text(0x00181030);
    facts.body_part = text(0x00180015);
    facts.image_type = text(0x00080008);
    facts.sequence_name = text(0x00180024);
    if (facts.sequence_name.empty()) facts.sequence_name = text(0x00189005);
    facts.scanning_sequence = text(0x00180020);
  }

  void read_contrast(SeriesFacts& facts) const {
    facts.contrast_agent = text(0x00180010);
    facts.contrast_route = text(0x00181040);
    if (facts.contrast_agent.empty()) {
      if (const DicomDataset* agent = data_.item(0x00180012)) {  // ContrastBolusAgentSequence
        facts.contrast_agent = readable_text(agent->text(0x00080104), set_);
      }
    }
    const auto start = seconds_of(data_.text(0x00181042));
    std::string acquired = data_.text(0x00080032);
    if (acquired.empty() && data_.text(0x0008002A).size() > 8) {
      acquired = data_.text(0x0008002A).substr(8);
    }
    const auto time = seconds_of(acquired);
    if (!start || !time) return;
    double delay = *time - *start;
    if (delay < -43200.0) delay += 86400.0;  // over midnight
    if (std::abs(delay) <= kMaxDelay) facts.contrast_delay_s = delay;
  }

  void read_image(SeriesHeader& out) const {
    const auto columns = data_.number(0x00280011);
    const auto rows = data_.number(0x00280010);
    if (!columns || !rows || *columns < 1 || *rows < 1) return;
    out.columns = static_cast<std::int64_t>(*columns);
    out.rows = static_cast<std::int64_t>(*rows);
    if (const auto spacing = numbers<2>(holding(0x00289110, 0x00280030), 0x00280030)) {
      out.spacing_y_mm = positive((*spacing)[0]);
      out.spacing_x_mm = positive((*spacing)[1]);
    }
    out.thickness_mm = positive(number(0x00289110, 0x00180050));
    const double frames = data_.number(0x00280008).value_or(1.0);
    if (!(frames >= 1.0) || frames > static_cast<double>(kMaxFrames)) {
      out.images = 1;
      out.problems.push_back("a number of frames that cannot be");
    } else {
      out.images = static_cast<std::int64_t>(frames);
    }
    bool several = false;
    bool unplaced = false;
    for (std::int64_t i = 0; i < out.images; ++i) {
      const auto frame = static_cast<std::size_t>(i);
      const auto directions = numbers<6>(holding(0x00209116, 0x00200037, frame), 0x00200037);
      const auto position = numbers<3>(holding(0x00209113, 0x00200032, frame), 0x00200032);
      const auto normal = directions ? normal_of(*directions) : std::nullopt;
      if (!position || !normal) {
        unplaced = true;
        continue;
      }
      if (!out.orientation) {
        out.orientation = directions;
        out.facts.plane = plane_of_directions(*directions);
      } else if (const auto first = normal_of(*out.orientation);
                 !first || std::abs(dot(*first, *normal)) < 0.999) {
        several = true;
      }
      out.along_mm.push_back(dot(*position, *normal));
    }
    if (unplaced) out.problems.push_back("images without position or orientation");
    if (several) out.facts.plane.reset();
    out.facts.several_orientations = several;
    if (!out.along_mm.empty()) out.facts.slices = distinct_places(out.along_mm);
  }

  void read_sequence(SeriesFacts& facts) const {
    facts.echo_time_ms = positive(number(0x00189114, 0x00189082));
    if (!facts.echo_time_ms) facts.echo_time_ms = positive(data_.number(0x00180081));
    facts.repetition_time_ms = positive(number(0x00189112, 0x00180080));
    facts.inversion_time_ms = positive(data_.number(0x00180082));
    facts.flip_angle_degrees = positive(number(0x00189112, 0x00181314));
    facts.b_value = number(0x00189117, 0x00189087);
    if (facts.b_value && !(*facts.b_value >= 0.0 && *facts.b_value < 1e5)) facts.b_value.reset();
  }

  const DicomDataset& data_;
  std::string set_;
};

// Nothing in a message of ours comes from the file's values; the path may name a patient.
[[noreturn]] void without_path(const Error& error, const fs::path& path) {
  std::string what = error.what();
  for (const std::string& name : {path.string(), path.filename().string()}) {
    for (std::size_t at = what.find(name); at != what.npos; at = what.find(name, at + 1)) {
      what.replace(at, name.size(), "the file");
    }
  }
  throw Error(error.kind(), what);
}

// --- Sidecars ----------------------------------------------------------------------------------

std::string word_of(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end()) return "";
  if (found->is_string()) return readable_text(found->get<std::string>());
  if (found->is_number_integer()) return std::to_string(found->get<std::int64_t>());
  if (!found->is_array()) return "";
  std::vector<std::string> words;
  for (const auto& item : *found) {
    if (item.is_string()) words.push_back(item.get<std::string>());
  }
  return readable_text(join(words, "\\"));
}

std::optional<double> number_of(const Json& json, const char* name, double factor = 1.0) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_number()) return std::nullopt;
  const double value = found->get<double>() * factor;
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

void read_sidecar(const Json& json, SeriesHeader& out) {
  SeriesFacts& facts = out.facts;
  facts.modality = code_of(word_of(json, "Modality"));
  facts.description = word_of(json, "SeriesDescription");
  facts.study_description = word_of(json, "StudyDescription");
  facts.protocol = word_of(json, "ProtocolName");
  facts.body_part = word_of(json, "BodyPartExamined");
  facts.image_type = word_of(json, "ImageType");
  facts.contrast_agent = word_of(json, "ContrastBolusAgent");
  facts.sequence_name = word_of(json, "SequenceName");
  if (facts.sequence_name.empty()) facts.sequence_name = word_of(json, "PulseSequenceName");
  facts.scanning_sequence = word_of(json, "ScanningSequence");
  // BIDS counts in seconds.
  facts.echo_time_ms = positive(number_of(json, "EchoTime", 1000.0));
  facts.repetition_time_ms = positive(number_of(json, "RepetitionTime", 1000.0));
  facts.inversion_time_ms = positive(number_of(json, "InversionTime", 1000.0));
  facts.flip_angle_degrees = positive(number_of(json, "FlipAngle"));
  out.thickness_mm = positive(number_of(json, "SliceThickness"));
  out.patient_id = word_of(json, "PatientID");
  out.study_uid = word_of(json, "StudyInstanceUID");
  out.series_uid = word_of(json, "SeriesInstanceUID");
  out.study_date = date_of(word_of(json, "StudyDate"));
  if (out.study_date.empty()) out.study_date = date_of(word_of(json, "AcquisitionDate"));
  out.series_date = date_of(word_of(json, "SeriesDate"));
  if (const auto number = number_of(json, "SeriesNumber");
      number && *number == std::floor(*number) && std::abs(*number) < 1e9) {
    out.series_number = static_cast<std::int64_t>(*number);
  }
}

fs::path sidecar_of(const fs::path& path) {
  std::string name = path.filename().string();
  if (to_lower(name).ends_with(".gz")) name.resize(name.size() - 3);
  return path.parent_path() / fs::path(name).replace_extension(".json");
}

Json optional_json(const std::optional<double>& value) { return value ? Json(*value) : Json(); }
std::optional<double> optional_number(const Json& json) {
  return json.is_null() ? std::nullopt : std::optional(json.get<double>());
}

}  // namespace

std::string readable_text(std::string_view text, std::string_view character_set) {
  const bool unicode = is_utf8(text);
  const bool latin = character_set.empty() || character_set == "ISO_IR 100" ||
                     character_set == "ISO_IR 6" || character_set == "ISO 2022 IR 100";
  std::string out;
  for (std::size_t at = 0; at < text.size() && out.size() < kMaxText;) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const std::size_t length = unicode ? utf8_length(text, at) : 1;
    if (byte <= 0x20 || byte == 0x7F) {
      if (!out.empty() && out.back() != ' ') out += ' ';
    } else if (byte < 0x80) {
      out += text[at];
    } else if (unicode) {
      if (out.size() + length > kMaxText) break;
      // U+0080 to U+009F are control characters too.
      const bool control = byte == 0xC2 && static_cast<unsigned char>(text[at + 1]) < 0xA0;
      out += control ? std::string_view(" ") : text.substr(at, length);
    } else if (latin && byte >= 0xA0) {
      if (out.size() + 2 > kMaxText) break;
      out += static_cast<char>(0xC0 | byte >> 6);
      out += static_cast<char>(0x80 | (byte & 0x3F));
    } else {
      out += '?';
    }
    at += length;
  }
  return std::string(trim(out));
}

SeriesHeader read_dicom_series_header(const fs::path& path) {
  try {
    const DicomFile file = DicomFile::read(path, DicomPart::kHeader);
    return DicomHeaderReader(file).read();
  } catch (const Error& error) {
    without_path(error, path);
  }
}

SeriesHeader read_nifti_series_header(const fs::path& path) {
  SeriesHeader out;
  const fs::path sidecar = sidecar_of(path);
  std::error_code none;
  if (fs::is_regular_file(fs::symlink_status(sidecar, none))) {
    try {
      const Json json = parse_json(read_file(sidecar, kMaxSidecar), "sidecar");
      if (!json.is_object()) throw Error(ErrorKind::kFormat, "sidecar: no object");
      read_sidecar(json, out);
    } catch (const Error&) {
      out = {};
      out.problems.push_back("a sidecar that is no JSON object");
    }
  }
  try {
    const Volume volume = read_nifti_header(path);
    out.columns = volume.size[0];
    out.rows = volume.size[1];
    out.spacing_x_mm = volume.spacing_mm[0];
    out.spacing_y_mm = volume.spacing_mm[1];
    if (!out.thickness_mm) out.thickness_mm = volume.spacing_mm[2];
    out.images = volume.size[2];
    out.facts.slices = volume.size[2];
    const Affine& map = volume.patient_from_voxel;
    out.facts.plane = plane_of(map);
    std::array<double, 6> directions{};
    for (std::size_t i = 0; i < 3; ++i) {
      directions[i] = map.column(0)[i] / volume.spacing_mm[0];
      directions[i + 3] = map.column(1)[i] / volume.spacing_mm[1];
    }
    out.orientation = directions;
    const Vector3 origin = map({0, 0, 0});
    if (const auto normal = normal_of(directions); normal && out.images <= kMaxFrames) {
      for (std::int64_t i = 0; i < out.images; ++i) {
        out.along_mm.push_back(dot(origin, *normal) +
                               static_cast<double>(i) * dot(map.column(2), *normal));
      }
    }
    return out;
  } catch (const Error& error) {
    without_path(error, path);
  }
}

Json series_header_to_json(const SeriesHeader& header) {
  const SeriesFacts& facts = header.facts;
  Json out;
  // A list without names: a million headers are kept, and read again on every run.
  out = Json::array({facts.modality,
                     facts.sop_class,
                     facts.description,
                     facts.study_description,
                     facts.protocol,
                     facts.body_part,
                     facts.image_type,
                     facts.contrast_agent,
                     facts.contrast_route,
                     facts.contrast_delay_s ? Json(std::round(*facts.contrast_delay_s)) : Json(),
                     facts.sequence_name,
                     facts.scanning_sequence,
                     optional_json(facts.echo_time_ms),
                     optional_json(facts.repetition_time_ms),
                     optional_json(facts.inversion_time_ms),
                     optional_json(facts.flip_angle_degrees),
                     optional_json(facts.b_value),
                     facts.plane ? Json(static_cast<int>(*facts.plane)) : Json(),
                     facts.several_orientations,
                     header.series_number ? Json(*header.series_number) : Json(),
                     header.study_date,
                     header.series_date,
                     header.columns,
                     header.rows,
                     optional_json(header.spacing_x_mm),
                     optional_json(header.spacing_y_mm),
                     optional_json(header.thickness_mm),
                     header.orientation ? Json(*header.orientation) : Json(),
                     header.directory,
                     header.problems});
  return out;
}

SeriesHeader series_header_from_json(const Json& json) {
  SeriesHeader out;
  try {
    if (!json.is_array() || json.size() != 30) throw Error(ErrorKind::kFormat, "not 30 values");
    std::size_t at = 0;
    const auto next = [&]() -> const Json& { return json.at(at++); };
    const auto text = [&] { return next().get<std::string>(); };
    SeriesFacts& facts = out.facts;
    facts.modality = text();
    facts.sop_class = text();
    facts.description = text();
    facts.study_description = text();
    facts.protocol = text();
    facts.body_part = text();
    facts.image_type = text();
    facts.contrast_agent = text();
    facts.contrast_route = text();
    facts.contrast_delay_s = optional_number(next());
    facts.sequence_name = text();
    facts.scanning_sequence = text();
    facts.echo_time_ms = optional_number(next());
    facts.repetition_time_ms = optional_number(next());
    facts.inversion_time_ms = optional_number(next());
    facts.flip_angle_degrees = optional_number(next());
    facts.b_value = optional_number(next());
    if (const Json& plane = next(); !plane.is_null()) {
      const int value = plane.get<int>();
      if (value < 0 || value > 3) throw Error(ErrorKind::kFormat, "no such plane");
      facts.plane = static_cast<Plane>(value);
    }
    facts.several_orientations = next().get<bool>();
    if (const Json& number = next(); !number.is_null()) {
      out.series_number = number.get<std::int64_t>();
    }
    out.study_date = text();
    out.series_date = text();
    out.columns = next().get<std::int64_t>();
    out.rows = next().get<std::int64_t>();
    out.spacing_x_mm = optional_number(next());
    out.spacing_y_mm = optional_number(next());
    out.thickness_mm = optional_number(next());
    if (const Json& six = next(); !six.is_null()) {
      out.orientation = six.get<std::array<double, 6>>();
    }
    out.directory = next().get<bool>();
    out.problems = next().get<std::vector<std::string>>();
  } catch (const std::exception&) {
    throw Error(ErrorKind::kFormat, "a stored header that is not of this program");
  }
  return out;
}

}  // namespace med3d
