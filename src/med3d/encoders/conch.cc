// CONCH (v1): the image side of a vision-language net, ViT-B/16 with attentional pooling.
//
// The embedding is encode_image(proj_contrast=False, normalize=False), as CLAM's conch_v1 takes it:
// all tokens after the trunk's last layer norm, pooled by one learnt query, then a layer norm. The
// projection into the space shared with texts is left out, and so are the pooler for captions and
// the text tower.
//
// The weights hold positions of 448 px (28 x 28 + 1). CLAM feeds 224 px all the same, and timm then
// resamples the positions to 14 x 14 (bicubic, antialiased): so do we.
//
// Against PyTorch with seeded weights: f32 within 5.5e-7 of an embedding's length; bf16 5.4e-3,
// cosine 0.99998 (tests/reference/vit_reference.py conch).
#include "med3d/encoders/vit.h"
#include "med3d/encoders/weights.h"

namespace med3d {

extern const EncoderSpec conch_encoder;

namespace {

VitOptions options(const EncoderSpec& spec) {
  VitOptions result;
  result.input_px = spec.input_px;
  result.position_px = 448;
  result.width = 768;
  result.depth = 12;
  result.heads = 12;
  result.mlp_width = 3072;
  result.layer_scale = false;
  result.pool_width = 512;
  result.pool_heads = 8;
  result.trunk = "visual.trunk.";
  result.pool = "visual.";
  result.ignored = {"text.",
                    "text_decoder.",
                    "logit_scale",
                    "visual.proj_contrast",
                    "visual.attn_pool_caption.",
                    "visual.ln_caption."};
  result.mean = spec.mean;
  result.stddev = spec.stddev;
  return result;
}

std::unique_ptr<Encoder> load_conch(const std::filesystem::path& weights,
                                    const EncoderOptions& run) {
  return make_vit(
      options(conch_encoder), WeightsTaker(open_weights(weights), conch_encoder.name), run);
}

std::vector<TensorShape> tensors() { return vit_tensors(options(conch_encoder)); }

NetGraph graph(const std::filesystem::path& weights, const EncoderOptions& /*run*/) {
  return vit_graph(options(conch_encoder), read_weights(weights), conch_encoder.name);
}

}  // namespace

const EncoderSpec conch_encoder = {
    .name = "conch",
    .modality = "wsi",
    .reference =
        "Lu et al., Nature Medicine 30:863-874, 2024, doi:10.1038/s41591-024-02856-4; "
        "weights CC BY-NC-ND 4.0, MahmoodLab/CONCH on Hugging Face after registration",
    .embedding_dim = 512,
    .input_px = 224,
    .mpp = 0.5,
    .mean = {0.48145466F, 0.4578275F, 0.40821073F},
    .stddev = {0.26862954F, 0.26130258F, 0.27577711F},
    .trained = true,
    .load = load_conch,
    .tensors = tensors,
    .graph = graph};

}  // namespace med3d
