#include "med3d/mil/losses.h"

#include <gtest/gtest.h>

TEST(X, Y) {}
