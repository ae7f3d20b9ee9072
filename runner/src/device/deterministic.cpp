// The switch that tch does not bind: CUDA kernels whose result depends on the order of threads are
// replaced by ones that do not, or refused. Without warn_only, because attention's backward is
// deterministic only then.
#include <ATen/Context.h>

extern "C" void darwinlm_compute_deterministically() {
  at::globalContext().setDeterministicAlgorithms(/*enabled=*/true, /*warn_only=*/false);
}

extern "C" bool darwinlm_computes_deterministically() {
  const auto& context = at::globalContext();
  return context.deterministicAlgorithms() && !context.deterministicAlgorithmsWarnOnly();
}
