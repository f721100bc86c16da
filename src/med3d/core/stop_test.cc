#include "med3d/core/stop.h"

#include <gtest/gtest.h>

#include <csignal>

namespace med3d {
namespace {

TEST(Stop, IsThrownOnceAskedForAndNamesTheSignal) {
  clear_stop();
  EXPECT_NO_THROW(throw_if_stopped());
  request_stop(SIGTERM);
  EXPECT_TRUE(stop_requested());
  try {
    throw_if_stopped();
    FAIL() << "nothing was thrown";
  } catch (const Stopped& stopped) {
    EXPECT_EQ(stopped.signal(), SIGTERM);
  }
  clear_stop();
  EXPECT_FALSE(stop_requested());
}

}  // namespace
}  // namespace med3d
