// Work split over threads so that the result does not depend on how many there are.
#pragma once

#include <cstddef>
#include <functional>

namespace med3d {

// Cores this process may use (affinity mask respected), at least 1.
int available_threads();

// Calls work(i) once for each i in [0, count) on up to `threads` threads. Each call must write only
// what belongs to i, and draw random numbers only from a seed derived for i: then the result is the
// same for every thread count. The first exception (lowest i) is rethrown after all threads stopped;
// no new call starts once one has failed.
void parallel_for(std::size_t count, int threads, const std::function<void(std::size_t)>& work);

}  // namespace med3d
