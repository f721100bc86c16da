#include "med3d/kernels/cpu.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

namespace med3d {
namespace {

TEST(ThreadScope, RestoresTheNumberItFound) {
  const int before = kernel_threads();
  {
    const ThreadScope outer(before + 1);
    EXPECT_EQ(kernel_threads(), before + 1);
    {
      const ThreadScope inner(0);
      EXPECT_EQ(kernel_threads(), 1);
    }
    EXPECT_EQ(kernel_threads(), before + 1);
  }
  EXPECT_EQ(kernel_threads(), before);
}

// What oneDNN says must be what the kernel lists: bf16 and int8 are never promised where the
// processor lacks them.
TEST(Cpu, PromisesOnlyWhatTheProcessorLists) {
  std::ifstream file("/proc/cpuinfo");
  if (!file) GTEST_SKIP() << "/proc/cpuinfo cannot be read here";
  std::string flags;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("flags", 0) == 0) flags = line + " ";
  }
  const auto lists = [&](const std::string& flag) {
    return flags.find(" " + flag + " ") != std::string::npos;
  };
  EXPECT_TRUE(!native_bf16() || lists("avx512_bf16") || lists("amx_bf16"));
  EXPECT_TRUE(!native_int8() || lists("avx512_vnni") || lists("avx_vnni"));
}

}  // namespace
}  // namespace med3d
