// The module as a program meets it that is not linked to LibTorch.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/nn/device.h"
#include "med3d/nn/internal/network.h"
#include "med3d/nn/internal/torch_loader.h"

namespace med3d::nn {
namespace {

TEST(TorchModule, IsOpenedByTheFirstThingThatNeedsIt) {
  ASSERT_EQ(dlopen("libtorch_cpu.so", RTLD_NOLOAD | RTLD_NOW), nullptr)
      << "this test must not be linked to LibTorch";
  EXPECT_EQ(resolve_device(DeviceKind::kCpu).name, "cpu");  // needs no module
  EXPECT_EQ(dlopen("libmed3d_torch.so", RTLD_NOLOAD | RTLD_NOW), nullptr);
  EXPECT_FALSE(torch_version().empty());
  EXPECT_NE(dlopen("libtorch_cpu.so", RTLD_NOLOAD | RTLD_NOW), nullptr);
  // Local: what it brought along is not in the scope that other libraries look names up in.
  EXPECT_EQ(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"), nullptr);
  EXPECT_EQ(dlsym(RTLD_DEFAULT, "charls_jpegls_encoder_create"), nullptr);
}

TEST(TorchModule, KeepsOpenBlasToOneThread) {
  use_one_thread();
  if (torch().openblas_threads() == 0) GTEST_SKIP() << "LibTorch's BLAS here is not OpenBLAS";
  EXPECT_EQ(torch().openblas_threads(), 1);
}

TEST(TorchModule, OpensOnceForManyThreads) {
  std::vector<const TorchInterface*> seen(8);
  std::vector<std::thread> threads;
  for (auto& table : seen) threads.emplace_back([&table] { table = &torch(); });
  for (auto& thread : threads) thread.join();
  for (const TorchInterface* table : seen) EXPECT_EQ(table, &torch());
}

// Five values cannot be a tensor (3, 2): LibTorch throws, on its side of the border.
TEST(TorchModule, TurnsAFailureOfLibTorchIntoAnErrorWithoutItsStack) {
  const TorchSlot slot = {"out.weight", {3, 2}, 0, 5};
  TorchNetSpec spec;
  spec.inputs = 2;
  spec.outputs = 3;
  spec.slots = &slot;
  spec.slot_count = 1;
  TorchNet* net = nullptr;
  try {
    torch_call(torch().net_create, &spec, &net);
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kIo);
    const std::string message = error.what();
    EXPECT_TRUE(message.starts_with("LibTorch: ")) << message;
    EXPECT_NE(message.find("invalid for input of size 5"), std::string::npos) << message;
    EXPECT_EQ(message.find("frame #"), std::string::npos) << message;
  }
}

TEST(TorchModule, RefusesANetworkThatLacksATensor) {
  const TorchNetSpec spec;
  TorchNet* net = nullptr;
  try {
    torch_call(torch().net_create, &spec, &net);
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    EXPECT_STREQ(error.what(), "a network without a tensor out.weight");
  }
}

// x = (1, -2), fc1 = [[1, 0], [0, -1]] without bias, ReLU, out = [[2, -1]], bias 0.25:
// 2 * 1 - 1 * 2 + 0.25 = 0.25.
TEST(TorchModule, ComputesWithoutAProgramLinkedToLibTorch) {
  NetworkSpec spec;
  spec.inputs = 2;
  spec.hidden = {2};
  spec.dropout = {0.0};
  spec.batch_norm = false;
  spec.outputs = 1;
  Network network(spec, DeviceKind::kCpu, 1);
  network.load({{"fc1.weight", {2, 2}, {1, 0, 0, -1}},
                {"fc1.bias", {2}, {0, 0}},
                {"out.weight", {1, 2}, {2, -1}},
                {"out.bias", {1}, {0.25F}}});
  const std::vector<float> x = {1, -2};
  EXPECT_FLOAT_EQ(network.evaluate(x.data(), 1)[0], 0.25F);
}

}  // namespace
}  // namespace med3d::nn
