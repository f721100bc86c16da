// What a patient, a study and a series are called outside of the headers.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace med3d::pipeline {

class PatientNames {
 public:
  // case_ids  a table patient_id,case_id, or empty
  // Throws as read_table; Error(kData) for a patient with two names, kUsage for a case_id that is
  // no safe file name.
  PatientNames(bool keep_ids, std::string secret, const std::filesystem::path& case_ids = {});

  // The user's own name, the public id, the id itself where ids are kept, else a pseudonym. Safe as
  // a file name: letters, digits, '-', '_' and '.', not first, 64 at most.
  std::string name_of(std::string_view patient_id) const;
  // Also where ids are kept: for what is no id.
  std::string pseudonym_of(std::string_view text) const;
  std::string study_of(std::string_view patient, std::string_view study_uid) const;
  std::string series_of(std::string_view patient, std::string_view series_uid) const;

  // YYYYMMDD moved by the patient's own number of days; "" for what is no date.
  std::string shifted(std::string_view date, std::string_view patient) const;

  // Changes with whatever changes a name; tells nothing of the secret but whether it is the same.
  std::string fingerprint() const;

 private:
  std::string digits(std::string_view what, std::string_view text, std::size_t count) const;

  bool keep_ids_;
  std::string secret_;
  std::map<std::string, std::string> case_ids_;
};

// "" if no public id begins the text.
std::string public_id(std::string_view text);
bool safe_name(std::string_view name);

}  // namespace med3d::pipeline
