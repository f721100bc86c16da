#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/volumes/series_store_internal.h"

namespace med3d::pipeline {
namespace {

// Texts of free form stand beside what was understood, so that `sqlite3` alone can answer.
constexpr const char* kTables = R"(
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE headers (
  id INTEGER PRIMARY KEY,
  patient TEXT NOT NULL, study TEXT NOT NULL, series_uid TEXT NOT NULL, header TEXT NOT NULL,
  UNIQUE (patient, study, series_uid, header));
CREATE TABLE files (
  path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
  kind TEXT NOT NULL, problem TEXT NOT NULL,
  header INTEGER REFERENCES headers (id),
  instance TEXT NOT NULL, images INTEGER NOT NULL, places INTEGER NOT NULL,
  along_first REAL, along_last REAL,
  series TEXT, duplicate INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE INDEX files_of_series ON files (series) WHERE series IS NOT NULL;
CREATE TABLE series (
  series TEXT PRIMARY KEY, patient TEXT NOT NULL, study TEXT NOT NULL, collection TEXT NOT NULL,
  series_uid TEXT NOT NULL, modality TEXT NOT NULL, sop_class TEXT NOT NULL,
  description TEXT NOT NULL, study_description TEXT NOT NULL, protocol TEXT NOT NULL,
  body_part TEXT NOT NULL, image_type TEXT NOT NULL,
  contrast_agent TEXT NOT NULL, contrast_route TEXT NOT NULL, contrast_delay_s REAL,
  sequence_name TEXT NOT NULL, scanning_sequence TEXT NOT NULL,
  echo_time_ms REAL, repetition_time_ms REAL, inversion_time_ms REAL, flip_angle_degrees REAL,
  b_value REAL,
  plane TEXT, several_orientations INTEGER NOT NULL, slices INTEGER,
  series_number INTEGER, study_date TEXT NOT NULL, series_date TEXT NOT NULL,
  columns INTEGER NOT NULL, rows INTEGER NOT NULL, spacing_x_mm REAL, spacing_y_mm REAL,
  thickness_mm REAL, step_mm REAL, images INTEGER NOT NULL, duplicates INTEGER NOT NULL,
  problems TEXT NOT NULL) WITHOUT ROWID;
)";

constexpr double kSamePlace = 0.01;  // mm

std::optional<Plane> plane_named(std::string_view name) {
  for (const Plane plane : {Plane::kAxial, Plane::kCoronal, Plane::kSagittal, Plane::kOblique}) {
    if (to_string(plane) == name) return plane;
  }
  return std::nullopt;
}

// The parts of a series while they are collected.
struct Parts {
  std::string patient;
  std::string study;
  std::string series_uid;
  std::map<std::int64_t, std::int64_t> headers;  // id, files that have it
  std::vector<double> along;
  std::int64_t other_places = 0;    // of files of several images
  std::vector<double> other_steps;  // mean step of each of them
  std::int64_t images = 0;
  std::int64_t duplicates = 0;
  std::set<std::string> instances;
};

struct Assembled {
  SeriesRecord record;
  void problem(const std::string& what) {
    auto& all = record.problems;
    if (std::ranges::find(all, what) == all.end()) all.push_back(what);
  }
};

// Neighbouring places of the slices, and what is wrong with them.
void measure_places(std::vector<double> along, std::int64_t other_places, Assembled& out) {
  std::ranges::sort(along);
  std::int64_t together = 0;
  std::vector<double> places;
  for (const double place : along) {
    if (!places.empty() && place - places.back() < kSamePlace) {
      ++together;
    } else {
      places.push_back(place);
    }
  }
  const auto slices = static_cast<std::int64_t>(places.size()) + other_places;
  if (slices > 0) out.record.facts.slices = slices;
  if (together > 0) out.problem("several images at one place");
  if (places.size() < 2 || other_places > 0) return;
  std::vector<double> steps;
  for (std::size_t i = 1; i < places.size(); ++i) steps.push_back(places[i] - places[i - 1]);
  std::ranges::sort(steps);
  const double median = steps[steps.size() / 2];
  out.record.step_mm = std::round(median * 1000.0) / 1000.0;
  if (steps.back() > 1.1 * median + kSamePlace || steps.front() < 0.9 * median - kSamePlace) {
    out.problem("slices missing or unevenly spaced");
  }
}

}  // namespace

SeriesStore::SeriesStore(const std::filesystem::path& path, DatabaseUse use)
    : database_(path, use) {
  const auto version = database_.user_version();
  const auto tables = [&] {
    Statement count = database_.prepare("SELECT count(*) FROM sqlite_schema");
    count.step();
    return count.integer(0);
  };
  if (version == 0 && use != DatabaseUse::kRead && tables() == 0) {
    database_.transaction([&] {
      database_.execute(kTables);
      database_.set_user_version(kSeriesIndexVersion);
    });
  } else if (version != kSeriesIndexVersion) {
    throw Error(
        ErrorKind::kFormat,
        path.string() + ": no index of series of this version; make it by med3d volume index");
  }
}

std::string SeriesStore::setting(const std::string& name) {
  Statement find = database_.prepare("SELECT value FROM settings WHERE name = ?");
  return find.bind(name).step() ? find.text(0) : "";
}

void SeriesStore::set(const std::string& name, const std::string& value) {
  database_.prepare("INSERT OR REPLACE INTO settings VALUES (?, ?)").bind(name, value).run();
}

std::vector<SeriesStore::Known> SeriesStore::known() {
  std::vector<Known> out;
  Statement rows = database_.prepare("SELECT path, size, mtime_ns, kind FROM files ORDER BY path");
  while (rows.step()) {
    out.push_back({rows.text(0), rows.integer(1), rows.integer(2), rows.text(3) == "problem"});
  }
  return out;
}

void SeriesStore::put(const IndexedFile& file) {
  if (!put_file_) {
    find_header_ = database_.prepare(
        "SELECT id FROM headers WHERE patient = ? AND study = ? AND series_uid = ? AND header = ?");
    add_header_ = database_.prepare(
        "INSERT INTO headers (patient, study, series_uid, header) VALUES (?, ?, ?, ?) RETURNING "
        "id");
    put_file_ = database_.prepare(
        "INSERT OR REPLACE INTO files (path, size, mtime_ns, kind, problem, header, instance, "
        "images, places, along_first, along_last) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  }
  std::optional<std::int64_t> header;
  if (!file.header.empty()) {
    find_header_->bind(file.patient, file.study, file.series_uid, file.header);
    if (find_header_->step()) {
      header = find_header_->integer(0);
      while (find_header_->step()) {
      }
    } else {
      add_header_->bind(file.patient, file.study, file.series_uid, file.header).step();
      header = add_header_->integer(0);
      add_header_->run();
    }
  }
  put_file_
      ->bind(file.path,
             file.size,
             file.mtime_ns,
             file.kind,
             file.problem,
             header,
             file.instance,
             file.images,
             file.places,
             file.along_first,
             file.along_last)
      .run();
}

void SeriesStore::remove(const std::string& path) {
  if (!remove_file_) remove_file_ = database_.prepare("DELETE FROM files WHERE path = ?");
  remove_file_->bind(path).run();
}

void SeriesStore::assemble(const PatientNames& names) {
  database_.execute(
      "DELETE FROM headers WHERE id NOT IN (SELECT header FROM files WHERE header IS NOT NULL);"
      "DELETE FROM series; UPDATE files SET series = NULL, duplicate = 0");

  struct Head {
    std::string patient, study, series_uid, json;
  };
  std::map<std::int64_t, Head> heads;
  Statement rows = database_.prepare("SELECT id, patient, study, series_uid, header FROM headers");
  while (rows.step()) {
    heads[rows.integer(0)] = {rows.text(1), rows.text(2), rows.text(3), rows.text(4)};
  }

  std::map<std::string, Parts> all;  // by key
  struct Place {
    std::string path, series;
    bool duplicate;
  };
  std::vector<Place> belongs;
  Statement files = database_.prepare(
      "SELECT path, kind, header, instance, images, places, along_first, along_last FROM files "
      "WHERE header IS NOT NULL ORDER BY path");
  while (files.step()) {
    const std::string path = files.text(0);
    const std::int64_t id = files.integer(2);
    const Head& head = heads.at(id);
    std::string uid = head.series_uid;
    if (uid.empty()) {
      // A hash is made of it, so the path goes no further.
      uid = files.text(1) == "nifti" ? "file " + path
                                     : "folder " + path.substr(0, path.rfind('/') + 1);
    }
    const std::string key = names.series_of(head.patient, uid);
    Parts& parts = all[key];
    if (parts.headers.empty()) {
      parts.patient = head.patient;
      parts.study = head.study;
      parts.series_uid = head.series_uid;
    }
    const std::string instance = files.text(3);
    const bool duplicate = !instance.empty() && !parts.instances.insert(instance).second;
    belongs.push_back({path, key, duplicate});
    ++parts.headers[id];
    if (duplicate) {
      ++parts.duplicates;
      continue;
    }
    const std::int64_t images = files.integer(4);
    parts.images += images;
    const auto first = files.real_or_none(6);
    if (images == 1 && first) {
      parts.along.push_back(*first);
    } else {
      const std::int64_t places = files.integer(5);
      const auto last = files.real_or_none(7);
      parts.other_places += places;
      if (first && last && places > 1) {
        parts.other_steps.push_back((*last - *first) / static_cast<double>(places - 1));
      }
    }
  }

  Statement place = database_.prepare("UPDATE files SET series = ?, duplicate = ? WHERE path = ?");
  for (const Place& one : belongs) place.bind(one.series, one.duplicate ? 1 : 0, one.path).run();

  Statement insert = database_.prepare(
      "INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
      "?, "
      "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  for (auto& [key, parts] : all) {
    // The header that most files have speaks for the series; of equals the one that is first as
    // text, since ids depend on the order in which files were met.
    std::vector<std::int64_t> ids;
    for (const auto& [id, files_with] : parts.headers) ids.push_back(id);
    const auto main = std::ranges::min(ids, [&](std::int64_t a, std::int64_t b) {
      const auto of_a = parts.headers[a];
      const auto of_b = parts.headers[b];
      return of_a != of_b ? of_a > of_b : heads.at(a).json < heads.at(b).json;
    });
    const auto read = [&](std::int64_t id) {
      return series_header_from_json(parse_json(heads.at(id).json, "index"));
    };
    SeriesHeader header = read(main);
    Assembled out;
    SeriesRecord& record = out.record;
    record.facts = header.facts;
    SeriesFacts& facts = record.facts;
    for (const std::string& problem : header.problems) out.problem(problem);
    if (parts.series_uid.empty() && facts.sop_class != "") out.problem("no SeriesInstanceUID");
    std::ranges::sort(ids, {}, [&](std::int64_t id) { return heads.at(id).json; });
    for (const std::int64_t id : ids) {
      if (id == main) continue;
      const SeriesHeader other = read(id);
      for (const std::string& problem : other.problems) out.problem(problem);
      if (other.columns != header.columns || other.rows != header.rows) {
        out.problem("several sizes of image");
      }
      if (other.spacing_x_mm != header.spacing_x_mm || other.spacing_y_mm != header.spacing_y_mm) {
        out.problem("several pixel spacings");
      }
      if (other.facts.modality != facts.modality) out.problem("several modalities");
      if (other.facts.b_value) {
        facts.b_value = std::max(facts.b_value.value_or(0.0), *other.facts.b_value);
      }
      if (other.facts.contrast_delay_s && facts.contrast_delay_s) {
        facts.contrast_delay_s = std::min(*facts.contrast_delay_s, *other.facts.contrast_delay_s);
      }
      const auto& a = header.orientation;
      const auto& b = other.orientation;
      if (other.facts.several_orientations) facts.several_orientations = true;
      if (a && b) {
        // Components of unit vectors: 0.02 is about a degree.
        for (std::size_t i = 0; i < 6; ++i) {
          if (std::abs((*a)[i] - (*b)[i]) > 0.02) facts.several_orientations = true;
        }
      }
    }
    if (facts.several_orientations) {
      facts.plane.reset();
      out.problem("several orientations");
      parts.other_places += static_cast<std::int64_t>(parts.along.size());
      parts.along.clear();  // distances along different normals mean nothing
    }
    measure_places(parts.along, parts.other_places, out);
    if (parts.along.empty() && parts.other_steps.size() == 1 && !facts.several_orientations) {
      record.step_mm = std::round(parts.other_steps.front() * 1000.0) / 1000.0;
    }
    if (parts.duplicates > 0) out.problem("instances that are there more than once");
    const auto problems = join(record.problems, "; ");
    insert
        .bind(key,
              parts.patient,
              parts.study,
              // Of a public id; what the user calls a patient says nothing of a collection.
              public_id(parts.patient).starts_with("TCGA") ? "TCGA"
              : public_id(parts.patient).empty()           ? "other"
                                                           : "CPTAC",
              parts.series_uid,
              facts.modality,
              facts.sop_class,
              facts.description,
              facts.study_description,
              facts.protocol,
              facts.body_part,
              facts.image_type,
              facts.contrast_agent,
              facts.contrast_route,
              facts.contrast_delay_s,
              facts.sequence_name,
              facts.scanning_sequence,
              facts.echo_time_ms,
              facts.repetition_time_ms,
              facts.inversion_time_ms,
              facts.flip_angle_degrees,
              facts.b_value,
              facts.plane ? std::optional<std::string>(to_string(*facts.plane)) : std::nullopt,
              facts.several_orientations ? 1 : 0,
              facts.slices,
              header.series_number,
              header.study_date,
              header.series_date,
              header.columns,
              header.rows,
              header.spacing_x_mm,
              header.spacing_y_mm,
              header.thickness_mm,
              record.step_mm,
              parts.images,
              parts.duplicates,
              problems)
        .run();
  }
}

void SeriesStore::summarise(VolumeIndexResult& result) {
  const auto count = [&](const char* statement) {
    Statement row = database_.prepare(statement);
    row.step();
    return row.integer(0);
  };
  result.series = count("SELECT count(*) FROM series");
  result.patients = count("SELECT count(DISTINCT patient) FROM series");
  result.other = count("SELECT count(*) FROM files WHERE kind IN ('other', 'directory')");
  Statement problems =
      database_.prepare("SELECT path, problem FROM files WHERE kind = 'problem' ORDER BY path");
  while (problems.step()) result.problem_files.push_back({problems.text(0), problems.text(1)});
  Statement series = database_.prepare("SELECT problems FROM series WHERE problems != ''");
  while (series.step()) {
    for (const std::string& one : split(series.text(0), ';')) {
      ++result.series_problems[std::string(trim(one))];
    }
  }
}

std::vector<SeriesRecord> SeriesStore::series() {
  std::vector<SeriesRecord> out;
  std::map<std::string, std::size_t> place;
  Statement rows = database_.prepare(
      "SELECT * FROM series ORDER BY patient, study, series_number IS NULL, series_number, series");
  while (rows.step()) {
    SeriesRecord record;
    SeriesFacts& facts = record.facts;
    int at = 0;
    const auto text = [&] { return rows.text(at++); };
    const auto real = [&] { return rows.real_or_none(at++); };
    const auto whole = [&] { return rows.integer(at++); };
    record.series = text();
    record.patient = text();
    // Files are named after them.
    if (!safe_name(record.series) || !safe_name(record.patient)) {
      throw Error(ErrorKind::kFormat,
                  "index: a name of a series or patient that is not of this program");
    }
    record.study = text();
    record.collection = text();
    record.series_uid = text();
    record.modality = facts.modality = text();
    facts.sop_class = text();
    facts.description = text();
    facts.study_description = text();
    facts.protocol = text();
    facts.body_part = text();
    facts.image_type = text();
    facts.contrast_agent = text();
    facts.contrast_route = text();
    facts.contrast_delay_s = real();
    facts.sequence_name = text();
    facts.scanning_sequence = text();
    facts.echo_time_ms = real();
    facts.repetition_time_ms = real();
    facts.inversion_time_ms = real();
    facts.flip_angle_degrees = real();
    facts.b_value = real();
    if (!rows.is_null(at)) facts.plane = plane_named(rows.text(at));
    ++at;
    facts.several_orientations = whole() != 0;
    facts.slices = rows.integer_or_none(at++);
    record.series_number = rows.integer_or_none(at++);
    record.study_date = text();
    record.series_date = text();
    record.columns = whole();
    record.rows = whole();
    record.spacing_x_mm = real();
    record.spacing_y_mm = real();
    record.thickness_mm = real();
    record.step_mm = real();
    record.images = whole();
    record.duplicates = whole();
    for (const std::string& one : split(text(), ';')) {
      if (!trim(one).empty()) record.problems.emplace_back(trim(one));
    }
    place[record.series] = out.size();
    out.push_back(std::move(record));
  }
  Statement files = database_.prepare(
      "SELECT series, path FROM files WHERE series IS NOT NULL AND duplicate = 0 ORDER BY path");
  while (files.step()) {
    const auto found = place.find(files.text(0));
    const std::filesystem::path path = files.text(1);
    // An index from elsewhere must not lead out of its folder.
    const bool inside = path.is_relative() && std::ranges::find(path, "..") == path.end();
    if (found == place.end() || !inside) {
      throw Error(ErrorKind::kFormat, "index: a file that belongs to no series of the folder");
    }
    out[found->second].files.push_back(path);
  }
  return out;
}

}  // namespace med3d::pipeline
