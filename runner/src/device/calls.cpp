// What tch does not bind of libtorch's device side.
#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>

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
