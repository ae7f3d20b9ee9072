// What tch does not bind of libtorch's device side.
#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <cstdint>

// CUDA kernels whose result depends on the order of threads are replaced by ones that do not, or
// refused. Without warn_only, because attention's backward is deterministic only then.
extern "C" void darwinlm_compute_deterministically() {
  at::globalContext().setDeterministicAlgorithms(/*enabled=*/true, /*warn_only=*/false);
}

extern "C" bool darwinlm_computes_deterministically() {
  const auto& context = at::globalContext();
  return context.deterministicAlgorithms() && !context.deterministicAlgorithmsWarnOnly();
}

// The CUDA half registers its hooks while it is loaded.
extern "C" bool darwinlm_has_cuda() { return at::CUDAHooksRegistry()->Has("CUDAHooks"); }

// What the first CUDA device's allocator tells: bytes free, held by tensors, kept for reuse.
extern "C" bool darwinlm_cuda_memory(uint64_t* free, uint64_t* held, uint64_t* kept) {
  try {
    auto* allocator = c10::getDeviceAllocator(c10::kCUDA);
    const auto stats = allocator->getDeviceStats(0);
    *free = allocator->getMemoryInfo(0).first;
    *held = stats.allocated_bytes[0].current;
    *kept = stats.reserved_bytes[0].current - stats.allocated_bytes[0].current;
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

extern "C" void darwinlm_cuda_give_back() {
  try {
    c10::getDeviceAllocator(c10::kCUDA)->emptyCache();
  } catch (const std::exception&) {
    // What is kept stays kept.
  }
}
