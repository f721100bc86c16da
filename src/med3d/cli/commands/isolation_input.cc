#include "med3d/cli/commands/isolation_input.h"

#include "med3d/io/worker.h"

namespace med3d {

void declare_isolation(Schema& schema) {
  schema.choice(
      "isolate",
      "decode files in processes of their own, so that one that crashes its decoder costs "
      "only itself; auto: where they can be started (med3d doctor)",
      {"auto", "on", "off"},
      "auto");
}

void apply_isolation(const Schema& schema, const Options& options) {
  Isolation isolation = Isolation::kAuto;
  if (schema.find("isolate") != nullptr && !options.flag("help")) {
    const std::string word = options.choice("isolate");
    if (word == "on") isolation = Isolation::kOn;
    if (word == "off") isolation = Isolation::kOff;
  }
  set_isolation(isolation);
}

}  // namespace med3d
