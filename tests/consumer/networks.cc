#include <iostream>

#include "med3d/nn/device.h"

int main() { std::cout << med3d::nn::torch_version() << '\n'; }
