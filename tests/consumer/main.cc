#include <iostream>

#include "med3d/core/hash.h"

int main() { std::cout << med3d::sha256_hex("abc") << '\n'; }
