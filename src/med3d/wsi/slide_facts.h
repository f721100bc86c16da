// What slides say of themselves, read the same way by every reader: scale, objective, properties.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "med3d/wsi/slide.h"

namespace med3d {

// A number as scanners write it: "0.4990", "0,4990" (a decimal comma), spaces around it allowed.
// Nothing for what is no finite number; zero and negative ones are given as they are.
std::optional<double> parse_fact(std::string_view text);

// Whether a property of this name ("aperio.User", "tiff.DateTime", "hamamatsu.Created") may hold a
// name, date, number or free text that leads to a patient or to who scanned the slide. Judged by
// the words in the name; when in doubt, true.
bool may_identify(std::string_view property);

// info.properties[name] = value, unless the value is empty or may_identify(name).
void add_property(SlideInfo& info, const std::string& name, std::string_view value);

// An Aperio ImageDescription: header lines, then "|key = value" fields.
//
// Fields become "aperio.<key>"; those not known to be harmless (Filename, Title, User, Date, Time,
// ImageID, Barcode ...) are left out. Sets mpp_x, mpp_y (aperio.MPP) and objective_power (AppMag)
// if they are numbers, and "tiff.ImageDescription" to the lines before the first field.
void add_aperio_facts(std::string_view description, SlideInfo& info);

// The OME-XML of an OME-TIFF: PhysicalSizeX and PhysicalSizeY of the first Pixels element with
// their units (um if not given; nm, mm, cm, m, inch and Angstrom are converted) and
// NominalMagnification of the first Objective. Names of people and instruments in it are not kept.
void add_ome_facts(std::string_view xml, SlideInfo& info);

// TIFF XResolution and YResolution (pixels per unit): "tiff.XResolution", "tiff.YResolution" and
// "tiff.ResolutionUnit" as properties and, if nothing has set mpp_x yet, 10,000 / x for
// centimetres and 25,400 / x for inches. Unit: 1 = none, 2 = inch, 3 = centimetre.
void add_tiff_resolution(std::optional<double> x,
                         std::optional<double> y,
                         int unit,
                         SlideInfo& info);

// The value of an attribute in the first `element` of an XML text, entities resolved; nothing if it
// is not there. Linear in the text.
std::optional<std::string> xml_attribute(std::string_view xml,
                                         std::string_view element,
                                         std::string_view attribute);

}  // namespace med3d
