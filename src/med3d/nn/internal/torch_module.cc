#include "med3d/nn/internal/torch_module.h"

namespace {

constexpr med3d::nn::TorchInterface kInterface = {
    .version = med3d::nn::kTorchInterfaceVersion,
    .size = sizeof(med3d::nn::TorchInterface),
    .torch_version = med3d::nn::module_torch_version,
    .cuda_available = med3d::nn::module_cuda_available,
    .use_one_thread = med3d::nn::module_use_one_thread,
    .threads = med3d::nn::module_threads,
    .openblas_threads = med3d::nn::module_openblas_threads,
    .sgemm_gflops = med3d::nn::module_sgemm_gflops,
    .net_create = med3d::nn::net_create,
    .net_destroy = med3d::nn::net_destroy,
    .net_forward = med3d::nn::net_forward,
    .net_backward = med3d::nn::net_backward,
    .net_step = med3d::nn::net_step,
    .net_evaluate = med3d::nn::net_evaluate,
    .net_hidden = med3d::nn::net_hidden,
    .net_gradients = med3d::nn::net_gradients,
    .net_state = med3d::nn::net_state,
    .net_set_state = med3d::nn::net_set_state,
    .volume_create = med3d::nn::volume_create,
    .volume_destroy = med3d::nn::volume_destroy,
    .volume_forward = med3d::nn::volume_forward,
    .volume_backward = med3d::nn::volume_backward,
    .volume_step = med3d::nn::volume_step,
    .volume_evaluate = med3d::nn::volume_evaluate,
    .volume_gradients = med3d::nn::volume_gradients,
    .volume_state = med3d::nn::volume_state,
    .volume_set_state = med3d::nn::volume_set_state,
    .volume_moments = med3d::nn::volume_moments,
    .volume_set_moments = med3d::nn::volume_set_moments,
    .script_load = med3d::nn::script_load,
    .script_destroy = med3d::nn::script_destroy,
    .script_forward = med3d::nn::script_forward,
    .script_free_output = med3d::nn::script_free_output,
    .cuda_built = med3d::nn::module_cuda_built,
    .graph_create = med3d::nn::graph_create,
    .graph_destroy = med3d::nn::graph_destroy,
    .graph_submit = med3d::nn::graph_submit,
    .graph_collect = med3d::nn::graph_collect,
    .graph_free_output = med3d::nn::graph_free_output,
};

}  // namespace

// The name is kTorchInterfaceSymbol.
extern "C" __attribute__((visibility("default"))) const med3d::nn::TorchInterface*
med3d_torch_interface(std::uint32_t version) {
  return version == med3d::nn::kTorchInterfaceVersion ? &kInterface : nullptr;
}
