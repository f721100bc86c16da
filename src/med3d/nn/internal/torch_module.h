// The parts of libmed3d_torch.so to each other; torch_interface.h says what each function does.
#pragma once

#include "med3d/nn/internal/torch_interface.h"

namespace med3d::nn {

// torch_device.cc
const char* module_torch_version();
bool module_cuda_available();
bool module_cuda_built();
void module_use_one_thread();
std::int32_t module_threads();
std::int32_t module_openblas_threads();
bool module_sgemm_gflops(double* gflops, TorchFailure* failure);

// torch_network.cc
bool net_create(const TorchNetSpec* spec, TorchNet** net, TorchFailure* failure);
void net_destroy(TorchNet* net);
bool net_forward(TorchNet* net,
                 const float* rows,
                 std::uint64_t n,
                 const float* masks,
                 float* out,
                 TorchFailure* failure);
bool net_backward(TorchNet* net, const float* gradient, TorchFailure* failure);
bool net_step(TorchNet* net,
              double learning_rate,
              double weight_decay,
              bool with_operators,
              TorchFailure* failure);
bool net_evaluate(
    const TorchNet* net, const float* rows, std::uint64_t n, float* out, TorchFailure* failure);
bool net_hidden(const TorchNet* net,
                const float* rows,
                std::uint64_t n,
                std::uint64_t layer,
                float* out,
                TorchFailure* failure);
bool net_gradients(const TorchNet* net, float* out, TorchFailure* failure);
bool net_state(const TorchNet* net, float* out, TorchFailure* failure);
bool net_set_state(TorchNet* net, const float* state, TorchFailure* failure);

// torch_volume.cc
bool volume_create(const TorchVolumeSpec* spec, TorchVolumeNet** net, TorchFailure* failure);
void volume_destroy(TorchVolumeNet* net);
bool volume_forward(TorchVolumeNet* net,
                    const float* voxels,
                    std::uint64_t n,
                    const std::int64_t* extent,
                    const float* mask,
                    std::int32_t threads,
                    float* logits,
                    TorchFailure* failure);
bool volume_backward(TorchVolumeNet* net,
                     const float* gradient,
                     std::int32_t threads,
                     TorchFailure* failure);
bool volume_step(TorchVolumeNet* net,
                 double learning_rate,
                 double encoder_factor,
                 double weight_decay,
                 bool decoupled,
                 TorchFailure* failure);
bool volume_evaluate(const TorchVolumeNet* net,
                     const float* voxels,
                     std::uint64_t n,
                     const std::int64_t* extent,
                     std::int32_t threads,
                     float* logits,
                     float* embeddings,
                     TorchFailure* failure);
bool volume_gradients(const TorchVolumeNet* net, float* out, TorchFailure* failure);
bool volume_state(const TorchVolumeNet* net, float* out, TorchFailure* failure);
bool volume_set_state(TorchVolumeNet* net, const float* state, TorchFailure* failure);
bool volume_moments(const TorchVolumeNet* net,
                    float* out,
                    std::int64_t* steps,
                    TorchFailure* failure);
bool volume_set_moments(TorchVolumeNet* net,
                        const float* moments,
                        std::int64_t steps,
                        TorchFailure* failure);

// torch_script.cc
bool script_load(const char* path, bool cuda, TorchScript** script, TorchFailure* failure);
void script_destroy(TorchScript* script);
bool script_forward(const TorchScript* script,
                    const float* nchw,
                    const std::uint64_t* shape,
                    std::int32_t threads,
                    TorchScriptOutput* output,
                    TorchFailure* failure);
void script_free_output(TorchScriptOutput* output);

// torch_graph.cc
bool graph_create(const TorchGraphSpec* spec, TorchGraph** graph, TorchFailure* failure);
void graph_destroy(TorchGraph* graph);
bool graph_submit(TorchGraph* graph,
                  const void* input,
                  const std::uint64_t* shape,
                  std::uint64_t axes,
                  bool with_averaged,
                  TorchFailure* failure);
bool graph_collect(TorchGraph* graph, TorchGraphOutput* output, TorchFailure* failure);
void graph_free_output(TorchGraphOutput* output);

}  // namespace med3d::nn
