// The border between this library and libmed3d_torch.so, the only binary that links LibTorch.
//
// LibTorch brings some 290 shared libraries into a process (Debian's has GDCM among them) and takes
// half a second to start, so that nothing but a command that needs tensors should pay for it:
// torch_loader.h opens the module at first use.
//
// The border is C: pointers, numbers, and failures as values. No exception, no type of the C++
// library and no state of ours crosses it, so the module needs nothing of med3d's core and may be
// compiled with another C++ ABI (LibTorch's own downloads have the old std::string).
//
// Arrays are row-major, in host memory, and belong to the caller.
#pragma once

#include <cstddef>
#include <cstdint>

namespace med3d::nn {

// Raise it whenever something here changes its meaning.
inline constexpr std::uint32_t kTorchInterfaceVersion = 3;

// What every call that may fail fills in when it returns false.
inline constexpr std::int32_t kTorchOutOfMemory = -1;
struct TorchFailure {
  std::int32_t kind;   // an ErrorKind, or kTorchOutOfMemory, which is std::bad_alloc
  char message[4096];  // ends with 0
};

// One named tensor of a network, as it lies in the array of all parameters (or of all running
// statistics). shape[1] is 0 for a tensor of one dimension.
struct TorchSlot {
  const char* name;
  std::uint64_t shape[2];
  std::uint64_t offset;
  std::uint64_t count;
};

// NetworkSpec and the layout of its tensors. The pointers are read during net_create only.
struct TorchNetSpec {
  std::uint64_t inputs = 0;
  std::uint64_t projection = 0;
  std::uint64_t layers = 0;
  const std::int32_t* hidden = nullptr;  // (layers,)
  const double* dropout = nullptr;       // (layers,)
  bool batch_norm = false;
  bool cuda = false;
  std::uint64_t outputs = 0;
  std::uint64_t attention = 0;
  const TorchSlot* slots = nullptr;  // (slot_count,) of the parameters
  std::uint64_t slot_count = 0;
  const TorchSlot* stat_slots = nullptr;  // (stat_slot_count,) of the running statistics
  std::uint64_t stat_slot_count = 0;
};

// VolumeNetworkSpec and the layout of its tensors; names as MedicalNet has them. shape[0] of a slot
// is its count. The pointers are read during volume_create only.
struct TorchVolumeSpec {
  std::int32_t blocks[4] = {};
  bool bottleneck = false;
  bool projection = false;  // shortcut B; A otherwise
  bool dilated = false;
  std::uint64_t width = 0;
  std::uint64_t embedding = 0;       // channels of the last map
  const TorchSlot* slots = nullptr;  // (slot_count,) of the parameters
  std::uint64_t slot_count = 0;
  const TorchSlot* stat_slots = nullptr;  // (stat_slot_count,) of the running statistics
  std::uint64_t stat_slot_count = 0;
  std::uint64_t encoder_count = 0;  // parameters in front of the head's
};

struct TorchNet;        // the tensors of one Network
struct TorchVolumeNet;  // the tensors of one VolumeNetwork
struct TorchScript;     // one TorchScript program

// What a TorchScript program returned. `values` (rows, columns) lives until script_free_output.
struct TorchScriptOutput {
  const float* values;
  std::uint64_t rows;
  std::uint64_t columns;
  void* owner;
};

// NetGraph (core/net_graph.h) and how to run it. The pointers are read during graph_create only.
struct TorchGraphTensor {
  const std::int64_t* shape;
  std::uint64_t axes;
  const float* values;
};
struct TorchGraphNode {
  std::int32_t op;  // a NetOp
  double epsilon;
  const std::uint64_t* inputs;
  std::uint64_t input_count;
  const std::uint64_t* tensors;
  std::uint64_t tensor_count;
  const std::int64_t* sizes;
  std::uint64_t size_count;
};
struct TorchGraphSpec {
  const TorchGraphTensor* tensors = nullptr;
  std::uint64_t tensor_count = 0;
  const TorchGraphNode* nodes = nullptr;
  std::uint64_t node_count = 0;
  std::uint64_t output = 0;
  std::uint64_t averaged = 0;
  bool cuda = false;
  bool bf16 = false;
  bool fold_norms = false;
  std::int32_t threads = 1;
  // Of a net on 8-bit pixels: (p / 255 - mean) / stddev of each channel. Null for one on floats.
  const float* mean = nullptr;
  const float* stddev = nullptr;
};

struct TorchGraph;  // a net on its device

// What a net gave: `values` (rows, columns), and the map it averaged where that was asked for.
// Lives until graph_free_output.
struct TorchGraphOutput {
  const float* values;
  std::uint64_t rows;
  std::uint64_t columns;
  const float* averaged;  // (rows, channels, extent...) or null
  std::uint64_t averaged_shape[5];
  std::uint64_t averaged_axes;
  double operations;  // multiplications and additions, of the whole batch
  double waited_s;    // wall, that graph_collect stood still for the device
  void* owner;
};

struct TorchInterface {
  std::uint32_t version;  // kTorchInterfaceVersion
  std::uint32_t size;     // of this struct, to notice a forgotten raise of the version

  const char* (*torch_version)();
  bool (*cuda_available)();
  void (*use_one_thread)();
  std::int32_t (*threads)();  // of LibTorch, for work that the calling thread starts
  // The number of threads of the OpenBLAS that LibTorch calls, 0 if it calls another BLAS.
  std::int32_t (*openblas_threads)();
  bool (*sgemm_gflops)(double* gflops, TorchFailure* failure);

  // Network's methods of the same names. `masks` holds, for each hidden layer with dropout in
  // order, (n, hidden) factors; `rows` must live until net_backward, which reads them again; state
  // is all parameters followed by all running statistics.
  bool (*net_create)(const TorchNetSpec* spec, TorchNet** net, TorchFailure* failure);
  void (*net_destroy)(TorchNet* net);
  bool (*net_forward)(TorchNet* net,
                      const float* rows,
                      std::uint64_t n,
                      const float* masks,
                      float* out,
                      TorchFailure* failure);
  bool (*net_backward)(TorchNet* net, const float* gradient, TorchFailure* failure);
  bool (*net_step)(TorchNet* net,
                   double learning_rate,
                   double weight_decay,
                   bool with_operators,
                   TorchFailure* failure);
  bool (*net_evaluate)(
      const TorchNet* net, const float* rows, std::uint64_t n, float* out, TorchFailure* failure);
  bool (*net_hidden)(const TorchNet* net,
                     const float* rows,
                     std::uint64_t n,
                     std::uint64_t layer,
                     float* out,
                     TorchFailure* failure);
  bool (*net_gradients)(const TorchNet* net, float* out, TorchFailure* failure);
  bool (*net_state)(const TorchNet* net, float* out, TorchFailure* failure);
  bool (*net_set_state)(TorchNet* net, const float* state, TorchFailure* failure);

  // VolumeNetwork's methods. `voxels` (n, extent) must live until volume_backward; `mask`
  // (n, embedding) holds the head's dropout factors or is null; `embeddings` may be null; moments
  // are both of Adam's, (2, parameters).
  bool (*volume_create)(const TorchVolumeSpec* spec, TorchVolumeNet** net, TorchFailure* failure);
  void (*volume_destroy)(TorchVolumeNet* net);
  bool (*volume_forward)(TorchVolumeNet* net,
                         const float* voxels,
                         std::uint64_t n,
                         const std::int64_t* extent,
                         const float* mask,
                         std::int32_t threads,
                         float* logits,
                         TorchFailure* failure);
  bool (*volume_backward)(TorchVolumeNet* net,
                          const float* gradient,
                          std::int32_t threads,
                          TorchFailure* failure);
  bool (*volume_step)(TorchVolumeNet* net,
                      double learning_rate,
                      double encoder_factor,
                      double weight_decay,
                      bool decoupled,
                      TorchFailure* failure);
  bool (*volume_evaluate)(const TorchVolumeNet* net,
                          const float* voxels,
                          std::uint64_t n,
                          const std::int64_t* extent,
                          std::int32_t threads,
                          float* logits,
                          float* embeddings,
                          TorchFailure* failure);
  bool (*volume_gradients)(const TorchVolumeNet* net, float* out, TorchFailure* failure);
  bool (*volume_state)(const TorchVolumeNet* net, float* out, TorchFailure* failure);
  bool (*volume_set_state)(TorchVolumeNet* net, const float* state, TorchFailure* failure);
  bool (*volume_moments)(const TorchVolumeNet* net,
                         float* out,
                         std::int64_t* steps,
                         TorchFailure* failure);
  bool (*volume_set_moments)(TorchVolumeNet* net,
                             const float* moments,
                             std::int64_t steps,
                             TorchFailure* failure);

  // TorchScriptModule's methods; shape is n, channels, height, width.
  bool (*script_load)(const char* path, bool cuda, TorchScript** script, TorchFailure* failure);
  void (*script_destroy)(TorchScript* script);
  bool (*script_forward)(const TorchScript* script,
                         const float* nchw,
                         const std::uint64_t* shape,
                         std::int32_t threads,
                         TorchScriptOutput* output,
                         TorchFailure* failure);
  void (*script_free_output)(TorchScriptOutput* output);

  // True if LibTorch was built with CUDA, whether or not there is a device.
  bool (*cuda_built)();

  // GraphModule's methods. `input` is of bytes or floats as the spec says; it may change after
  // graph_submit has returned. graph_collect gives the oldest batch that was submitted.
  bool (*graph_create)(const TorchGraphSpec* spec, TorchGraph** graph, TorchFailure* failure);
  void (*graph_destroy)(TorchGraph* graph);
  bool (*graph_submit)(TorchGraph* graph,
                       const void* input,
                       const std::uint64_t* shape,
                       std::uint64_t axes,
                       bool with_averaged,
                       TorchFailure* failure);
  bool (*graph_collect)(TorchGraph* graph, TorchGraphOutput* output, TorchFailure* failure);
  void (*graph_free_output)(TorchGraphOutput* output);
};

// The module's only exported symbol: its table if it speaks this version, else null.
using TorchInterfaceFunction = const TorchInterface* (*)(std::uint32_t version);
inline constexpr char kTorchInterfaceSymbol[] = "med3d_torch_interface";

}  // namespace med3d::nn
