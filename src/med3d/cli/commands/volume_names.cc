#include "med3d/cli/commands/volume_names.h"

#include "med3d/core/file.h"
#include "med3d/core/text.h"

namespace med3d {

void declare_names(Schema& schema) {
  schema.flag("keep-ids", "Patients under their PatientID as it stands; else under pseudonyms");
  schema.path("secret-file", "File with a secret that is mixed into pseudonyms");
}

std::string read_secret(const Options& options) {
  if (!options.has("secret-file")) return "";
  const std::string text = read_file(options.path("secret-file"), 4096);
  const std::string secret(trim(text.substr(0, text.find('\n'))));
  if (secret.size() < 16) {
    throw CommandError(ErrorKind::kUsage,
                       "--secret-file: expected 16 characters or more in its first line",
                       "head -c 24 /dev/urandom | base64 makes one");
  }
  return secret;
}

}  // namespace med3d
