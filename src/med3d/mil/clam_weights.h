// CLAM's checkpoints: read whoever wrote them, written so that CLAM loads them.
//
// Read: both of torch's containers; names with ".module" infixes (DataParallel); a state dict
// inside a dict; `instance_loss_fn.*` is dropped; the attention behind layer 3 or, as older
// versions have it, 2 of attention_net. Names and shapes tell the kind of net:
//
//   fc.*                                mil
//   classifiers.0.weight                clam_mb        classifiers.weight   clam_sb
//   no instance_classifiers             abmil          no attention         mean or max
//   attention_a                         gated          attention_net.3.0    not gated
//   rows of attention_a: 256, 384       small, big     columns of attention_net.0: embed_dim
//
// Source: mahmoodlab/CLAM models/model_clam.py, model_mil.py.
// Checked against: CLAM's own shipped checkpoint, state dicts of its classes, torch loading ours.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "med3d/io/array.h"
#include "med3d/mil/clam.h"

namespace med3d::mil {

// base   what the file does not say (k_sample, subtyping, drop_out, precision, threads, ...); its
//        model_type only decides between mean and max
// Throws as read_state_dict; Error(kFormat) for a name or shape that fits no net, Error(kData) for
// values that are not finite.
Clam read_clam(const std::filesystem::path& path, const ClamOptions& base = {});
Clam clam_of(std::span<const NamedArray> state, const ClamOptions& base, const std::string& source);

// The state dict, in the order of CLAM's; torch_bytes of it is a checkpoint.
std::vector<NamedArray> clam_state(const Clam& net);
std::string clam_checkpoint_bytes(const Clam& net);

}  // namespace med3d::mil
