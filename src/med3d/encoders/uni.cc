// UNI: ViT-L/16 trained with DINOv2 on 100 million tiles of histology.
//
// Tensors as timm's vit_large_patch16_224 with init_values and num_classes = 0 names them: what
// CLAM's uni_v1 loads, with every tensor required. The embedding is the class token after the last
// layer norm.
//
// Against PyTorch with seeded weights: f32 within 1.1e-6 of an embedding's length; bf16 5.1e-3,
// cosine 0.99998 (tests/reference/vit_reference.py uni).
#include "med3d/encoders/vit.h"
#include "med3d/encoders/weights.h"

namespace med3d {

extern const EncoderSpec uni_encoder;
extern const EncoderSpec vit_l16_untrained_encoder;

namespace {

// The defaults of VitOptions are this net's.
VitOptions options() {
  VitOptions result;
  result.mean = uni_encoder.mean;
  result.stddev = uni_encoder.stddev;
  return result;
}

std::unique_ptr<Encoder> load_uni(const std::filesystem::path& weights, const EncoderOptions& run) {
  return make_vit(options(), WeightsTaker(open_weights(weights), uni_encoder.name), run);
}

std::vector<TensorShape> tensors() { return vit_tensors(options()); }

NetGraph graph(const std::filesystem::path& weights, const EncoderOptions& /*run*/) {
  return vit_graph(options(), read_weights(weights), uni_encoder.name);
}

NetGraph untrained_graph(const std::filesystem::path&, const EncoderOptions& run) {
  return vit_graph(
      options(), untrained_vit_weights(options(), run.seed), vit_l16_untrained_encoder.name);
}

std::unique_ptr<Encoder> load_untrained(const std::filesystem::path&, const EncoderOptions& run) {
  return make_vit(
      options(), untrained_vit_weights(options(), run.seed), vit_l16_untrained_encoder.name, run);
}

}  // namespace

const EncoderSpec uni_encoder = {
    .name = "uni",
    .modality = "wsi",
    .reference =
        "Chen et al., Nature Medicine 30:850-862, 2024, doi:10.1038/s41591-024-02857-3; "
        "weights CC BY-NC-ND 4.0, MahmoodLab/UNI on Hugging Face after registration",
    .embedding_dim = 1024,
    .input_px = 224,
    .mpp = 0.5,
    .mean = {0.485F, 0.456F, 0.406F},
    .stddev = {0.229F, 0.224F, 0.225F},
    .trained = true,
    .load = load_uni,
    .tensors = tensors,
    .graph = graph};

const EncoderSpec vit_l16_untrained_encoder = {
    .name = "vit-l16-untrained",
    .modality = "wsi",
    .reference = "seeded weights for trials of UNI's net: its embeddings mean nothing",
    .embedding_dim = 1024,
    .input_px = 224,
    .mpp = 0.0,
    .mean = {0.485F, 0.456F, 0.406F},
    .stddev = {0.229F, 0.224F, 0.225F},
    .trained = false,
    .load = load_untrained,
    .tensors = nullptr,
    .graph = untrained_graph};

}  // namespace med3d
