// Independent pieces of a computation on the threads of the kernels.
#pragma once

#include <cstddef>
#include <functional>

namespace med3d {

// Calls work(i) once for each i in [0, count) on up to kernel_threads() threads (ThreadScope),
// which are OpenMP's: kernels and these loops share one pool, which stays awake between two calls.
// A kernel called inside work runs on that one thread. The pieces are handed out in order; each
// must write only what belongs to i, then the result is the same at any number of threads.
//
// The first exception (lowest i) is rethrown when all threads have stopped; no new piece starts
// once one has failed. Do not nest.
void run_tasks(std::size_t count, const std::function<void(std::size_t)>& work);

}  // namespace med3d
