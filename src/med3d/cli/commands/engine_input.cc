#include "med3d/cli/commands/engine_input.h"

namespace med3d {

void declare_engine(Schema& schema) {
  schema.choice(
      "engine",
      "what computes the encoder: native is med3d's own, on the processor; torch is "
      "LibTorch, the one for a GPU and slower on the processor; auto takes torch on a GPU",
      {"auto", "native", "torch"},
      "auto");
  add_common_device(schema);
}

pipeline::ChosenEngine read_engine(const Options& options) {
  return pipeline::choose_engine(pipeline::parse_engine(options.choice("engine")),
                                 nn::parse_device(options.choice("device")));
}

}  // namespace med3d
