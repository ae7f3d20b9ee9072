// The bytes that CUDA's caching allocator counts, which tch does not bind. The allocator registers
// itself when libtorch_cuda.so is loaded; one that does not count, or none, answers -1.
#include <c10/core/CachingDeviceAllocator.h>

namespace {
c10::DeviceAllocator* counting() {
  return dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(c10::DeviceType::CUDA));
}

constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
}  // namespace

extern "C" int64_t darwinlm_cuda_bytes(int8_t device, bool peak) {
  try {
    auto* allocator = counting();
    if (allocator == nullptr || !allocator->initialized()) {
      return -1;
    }
    const auto bytes = allocator->getDeviceStats(device).allocated_bytes[kAll];
    return peak ? bytes.peak : bytes.current;
  } catch (...) {
    return -1;
  }
}

extern "C" void darwinlm_cuda_forget_peak(int8_t device) {
  try {
    auto* allocator = counting();
    if (allocator != nullptr && allocator->initialized()) {
      allocator->resetPeakStats(device);
    }
  } catch (...) {
  }
}
