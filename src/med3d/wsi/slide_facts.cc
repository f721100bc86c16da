#include "med3d/wsi/slide_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "med3d/core/text.h"

namespace med3d {
namespace {

// What Aperio writes of the scan itself. A list of what may pass, not of what may not: new scanner
// software adds fields, and laboratories fill them with what they like.
constexpr std::array<std::string_view, 24> kAperioFields = {"AppMag",
                                                            "MPP",
                                                            "Left",
                                                            "Top",
                                                            "OriginalWidth",
                                                            "OriginalHeight",
                                                            "Originalheight",
                                                            "StripeWidth",
                                                            "ScanScope ID",
                                                            "ICC Profile",
                                                            "Parmset",
                                                            "Filtered",
                                                            "Focus Offset",
                                                            "LineAreaXOffset",
                                                            "LineAreaYOffset",
                                                            "LineCameraSkew",
                                                            "Exposure Time",
                                                            "Exposure Scale",
                                                            "DisplayColor",
                                                            "SessonMode",
                                                            "SessionMode",
                                                            "Gamma",
                                                            "Rack",
                                                            "Slide"};

constexpr std::array<std::string_view, 26> kTellingWords = {
    "date",  "time",      "created",  "updated",   "user",    "operator",    "owner",
    "title", "file",      "path",     "barcode",   "comment", "description", "artist",
    "host",  "patient",   "name",     "s/n",       "serial",  "uid",         "label",
    "case",  "copyright", "document", "accession", "note"};

// "Id" as a word of its own or at the end of one: "SLIDE_ID", "ImageID", "ScanScope ID".
bool ends_in_id(std::string_view name) {
  return name.size() >= 2 && to_lower(name.substr(name.size() - 2)) == "id";
}

std::string resolve_entities(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t end = text[i] == '&' ? text.find(';', i) : std::string_view::npos;
    if (end == std::string_view::npos || end - i > 10) {
      out.push_back(text[i++]);
      continue;
    }
    const std::string_view name = text.substr(i + 1, end - i - 1);
    if (name == "amp")
      out += '&';
    else if (name == "lt")
      out += '<';
    else if (name == "gt")
      out += '>';
    else if (name == "quot")
      out += '"';
    else if (name == "apos")
      out += '\'';
    else if (name == "#181" || name == "#xB5" || name == "#xb5" || name == "#956")
      out += "\u00B5";
    else
      out += '?';
    i = end + 1;
  }
  return out;
}

// Micrometres in one `unit`; nothing for pixels or an unknown one.
std::optional<double> micrometres_in(std::string_view unit) {
  if (unit.empty() || unit == "\u00B5m" || unit == "\u03BCm" || unit == "um") return 1.0;
  if (unit == "nm") return 1e-3;
  if (unit == "mm") return 1e3;
  if (unit == "cm") return 1e4;
  if (unit == "m") return 1e6;
  if (unit == "in") return 25400.0;
  if (unit == "\u00C5") return 1e-4;
  return std::nullopt;
}

}  // namespace

std::optional<double> parse_fact(std::string_view text) {
  std::string number(trim(text));
  if (number.find('.') == std::string::npos && std::count(number.begin(), number.end(), ',') == 1) {
    std::replace(number.begin(), number.end(), ',', '.');
  }
  const std::optional<double> value = parse_double(number);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

bool may_identify(std::string_view property) {
  const std::string lower = to_lower(property);
  if (lower == "aperio.exposure time" || lower == "aperio.scanscope id") return false;
  // OpenSlide's own: its comment is the whole ImageDescription once more.
  if (lower == "openslide.comment") return true;
  return ends_in_id(lower) ||
         std::any_of(kTellingWords.begin(), kTellingWords.end(), [&](std::string_view word) {
           return lower.find(word) != std::string::npos;
         });
}

void add_property(SlideInfo& info, const std::string& name, std::string_view value) {
  if (!value.empty() && !may_identify(name)) info.properties[name] = std::string(value);
}

void add_aperio_facts(std::string_view description, SlideInfo& info) {
  const std::size_t first = description.find('|');
  const std::string_view head = trim(description.substr(0, first));
  if (!head.empty()) info.properties["tiff.ImageDescription"] = std::string(head);
  if (first == std::string_view::npos) return;
  for (const std::string& field : split(description.substr(first + 1), '|')) {
    const std::size_t equals = field.find('=');
    if (equals == std::string::npos) continue;
    const std::string_view key = trim(std::string_view(field).substr(0, equals));
    const std::string_view value = trim(std::string_view(field).substr(equals + 1));
    if (value.empty() ||
        std::find(kAperioFields.begin(), kAperioFields.end(), key) == kAperioFields.end()) {
      continue;
    }
    info.properties[fmt::format("aperio.{}", key)] = std::string(value);
    if (key == "MPP") {
      info.mpp_x = info.mpp_y = parse_fact(value);
      info.mpp_source = info.mpp_x ? "aperio.MPP" : "";
    } else if (key == "AppMag") {
      info.objective_power = parse_fact(value);
    }
  }
}

std::optional<std::string> xml_attribute(std::string_view xml,
                                         std::string_view element,
                                         std::string_view attribute) {
  const std::string open = fmt::format("<{}", element);
  std::size_t at = 0;
  while ((at = xml.find(open, at)) != std::string_view::npos) {
    at += open.size();
    if (at >= xml.size()) return std::nullopt;
    // "<Pixels" must not find "<PixelsInfo".
    if (xml[at] == ' ' || xml[at] == '\n' || xml[at] == '\t' || xml[at] == '\r') break;
  }
  if (at == std::string_view::npos) return std::nullopt;
  while (at < xml.size() && xml[at] != '>' && xml[at] != '/') {
    const std::size_t equals = xml.find('=', at);
    if (equals == std::string_view::npos || equals + 1 >= xml.size()) return std::nullopt;
    const std::string_view name = trim(xml.substr(at, equals - at));
    std::size_t quote = equals + 1;
    while (quote < xml.size() && (xml[quote] == ' ' || xml[quote] == '\n')) ++quote;
    if (quote >= xml.size() || (xml[quote] != '"' && xml[quote] != '\'')) return std::nullopt;
    const std::size_t end = xml.find(xml[quote], quote + 1);
    if (end == std::string_view::npos) return std::nullopt;
    if (name == attribute) return resolve_entities(xml.substr(quote + 1, end - quote - 1));
    at = end + 1;
    while (at < xml.size() && (xml[at] == ' ' || xml[at] == '\n' || xml[at] == '\r')) ++at;
  }
  return std::nullopt;
}

void add_ome_facts(std::string_view xml, SlideInfo& info) {
  const auto size = [&](const char* axis) -> std::optional<double> {
    const std::string name = fmt::format("PhysicalSize{}", axis);
    const auto text = xml_attribute(xml, "Pixels", name);
    if (!text) return std::nullopt;
    const std::string unit = xml_attribute(xml, "Pixels", name + "Unit").value_or("");
    info.properties["ome." + name] = *text;
    if (!unit.empty()) info.properties["ome." + name + "Unit"] = unit;
    const auto value = parse_fact(*text);
    const auto factor = micrometres_in(unit);
    return value && factor ? std::optional(*value * *factor) : std::nullopt;
  };
  const auto x = size("X");
  const auto y = size("Y");
  if (x || y) {
    info.mpp_x = x ? x : y;
    info.mpp_y = y ? y : x;
    info.mpp_source = "ome.PhysicalSizeX";
  }
  if (const auto power = xml_attribute(xml, "Objective", "NominalMagnification")) {
    info.objective_power = parse_fact(*power);
    info.properties["ome.NominalMagnification"] = *power;
  }
}

void add_tiff_resolution(std::optional<double> x,
                         std::optional<double> y,
                         int unit,
                         SlideInfo& info) {
  if (x) info.properties["tiff.XResolution"] = format_double(*x);
  if (y) info.properties["tiff.YResolution"] = format_double(*y);
  const char* name = unit == 2 ? "inch" : unit == 3 ? "centimeter" : "none";
  if (x || y) info.properties["tiff.ResolutionUnit"] = name;
  if (info.mpp_x || !x || (unit != 2 && unit != 3)) return;
  const double per_unit = unit == 2 ? 25400.0 : 10000.0;
  if (!std::isfinite(*x) || *x <= 0.0) return;
  info.mpp_x = per_unit / *x;
  info.mpp_y = y && std::isfinite(*y) && *y > 0.0 ? per_unit / *y : *info.mpp_x;
  info.mpp_source = "tiff.XResolution";
}

}  // namespace med3d
