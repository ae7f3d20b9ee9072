// A stand-in CUDA device for CPU-only libtorch, for tests on machines without a GPU.
//
// A "device" tensor is an ordinary TensorImpl on the CUDA dispatch key whose storage holds host
// memory behind a *tagged* pointer: dereferencing it on the host faults, as it would with a real
// device pointer. Every op that reaches the CUDA key is answered by one boxed fallback, which lends
// the same memory to the CPU kernel as CPU tensors and hands the results back as device tensors.
// Nothing is copied, so values, views and in-place writes behave as on one memory.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/op_registration/adaption.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/native/transformers/attention.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>

namespace {

using at::Tensor;
using c10::DataPtr;
using c10::Device;
using c10::DeviceIndex;
using c10::IValue;
using c10::Storage;
using c10::Stream;
using torch::jit::Stack;

const Device kDevice(c10::kCUDA, 0);

void check_ordinal(Device d) {
  TORCH_CHECK(d.index() <= 0, "CUDA error: invalid device ordinal");
}

// ---------------------------------------------------------------- memory ----

struct Ledger {
  std::mutex lock;
  size_t current = 0, peak = 0, limit = 0;  // limit 0: none
  uint64_t allocations = 0, refused = 0;    // refused: the count at which an allocation fails, 0: none
} ledger;

// What a device without a cap says it has.
constexpr size_t kCapacity = size_t(80) << 30;

// The real caching allocator hands out multiples of 512 bytes; counting the same way keeps the
// figures comparable for many small tensors.
size_t rounded(size_t n) { return (n + 511) / 512 * 512; }

void charge(size_t n) {
  n = rounded(n);
  std::lock_guard<std::mutex> hold(ledger.lock);
  const bool fits = ledger.limit == 0 || ledger.current + n <= ledger.limit;
  TORCH_CHECK_WITH(OutOfMemoryError, fits && ++ledger.allocations != ledger.refused,
      "CUDA out of memory. Tried to allocate ", c10::CachingAllocator::format_size(n),
      ". GPU 0 has a total capacity of ", c10::CachingAllocator::format_size(ledger.limit), " of which ",
      c10::CachingAllocator::format_size(ledger.limit > ledger.current ? ledger.limit - ledger.current : 0),
      " is free. (stand-in device)");
  ledger.current += n;
  ledger.peak = std::max(ledger.peak, ledger.current);
}

void refund(size_t n) {
  std::lock_guard<std::mutex> hold(ledger.lock);
  ledger.current -= rounded(n);
}

// Bit 54 lies above every user-space address in use, and below the top byte that 64-bit ARM
// ignores, so a tagged pointer faults on both; pointer arithmetic and alignment survive.
constexpr uintptr_t kTag = uintptr_t(1) << 54;
void* to_device(void* p) { return p ? reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(p) | kTag) : p; }
void* to_host(void* p) { return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(p) & ~kTag); }

struct Block {
  DataPtr host;
  size_t bytes;
  ~Block() { refund(bytes); }
};

// Takes over memory that has already been charged.
DataPtr seal(DataPtr host, size_t bytes) {
  void* p = to_device(host.get());
  return DataPtr(p, new Block{std::move(host), bytes},
                 [](void* b) { delete static_cast<Block*>(b); }, kDevice);
}

// What libtorch's own allocators tell of themselves, as far as anyone asks.
struct DeviceMemory final : c10::DeviceAllocator {
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const DataPtr&, Stream) override {}
  void resetAccumulatedStats(DeviceIndex) override {}
  void resetPeakStats(DeviceIndex) override {
    std::lock_guard<std::mutex> hold(ledger.lock);
    ledger.peak = ledger.current;
  }
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(DeviceIndex) override {
    std::lock_guard<std::mutex> hold(ledger.lock);
    c10::CachingDeviceAllocator::DeviceStats stats;
    for (auto* bytes : {&stats.allocated_bytes, &stats.reserved_bytes, &stats.active_bytes}) {
      (*bytes)[0].current = ledger.current;
      (*bytes)[0].peak = ledger.peak;
    }
    return stats;
  }
  std::pair<size_t, size_t> getMemoryInfo(DeviceIndex) override {
    std::lock_guard<std::mutex> hold(ledger.lock);
    const size_t total = ledger.limit ? ledger.limit : kCapacity;
    return {total > ledger.current ? total - ledger.current : 0, total};
  }
  DataPtr allocate(size_t n) override {
    charge(n);
    try {
      DataPtr host = c10::GetAllocator(c10::kCPU)->allocate(n);
      // Fresh host pages are zero, recycled device memory is not: NaN shows who reads it unwritten.
      if (n) std::memset(host.get(), 0xFF, n);
      return seal(std::move(host), n);
    } catch (...) {
      refund(n);
      throw;
    }
  }
  void copy_data(void* dst, const void* src, size_t n) const override {
    std::memcpy(to_host(dst), to_host(const_cast<void*>(src)), n);
  }
} device_memory;

struct PinnedMemory final : c10::Allocator {  // page-locking means nothing here
  DataPtr allocate(size_t n) override { return c10::GetAllocator(c10::kCPU)->allocate(n); }
  void copy_data(void* dst, const void* src, size_t n) const override { default_copy_data(dst, src, n); }
} pinned_memory;

// -------------------------------------------------------------- counters ----

std::atomic<uint64_t> host_reads{0}, uploads{0}, syncs{0};
std::mutex last_read_lock;
std::string last_read;

void count_read(const std::string& op) {
  host_reads++;
  std::lock_guard<std::mutex> hold(last_read_lock);
  last_read = op;
}

// ------------------------------------------------- guard, hooks, generator ----

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::kCUDA; }
  Device exchangeDevice(Device d) const override { return check_ordinal(d), kDevice; }
  Device getDevice() const override { return kDevice; }
  void setDevice(Device d) const override { check_ordinal(d); }
  void uncheckedSetDevice(Device) const noexcept override {}
  DeviceIndex deviceCount() const noexcept override { return 1; }
  // Kernels run to completion in call order: one stream, and events that have always happened.
  Stream getStream(Device) const override { return Stream(Stream::DEFAULT, kDevice); }
  Stream getDefaultStream(Device d) const override { return getStream(d); }
  Stream getStreamFromGlobalPool(Device d, bool) const override { return getStream(d); }
  Stream getNewStream(Device d, int) const override { return getStream(d); }
  Stream exchangeStream(Stream s) const override { return s; }
  void record(void**, const Stream&, DeviceIndex, c10::EventFlag) const override {}
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const Stream&) const override { return true; }
  void synchronizeStream(const Stream&) const override { syncs++; }
  void synchronizeEvent(void*) const override { syncs++; }
  void synchronizeDevice(DeviceIndex) const override { syncs++; }
};

// A stream of random numbers apart from the CPU's, as on a real device: device draws must not move
// the CPU generator. It is a CPU generator, because CPU kernels do the drawing.
at::Generator& generator() {
  static at::Generator g = at::detail::createCPUGenerator();
  return g;
}

struct Hooks final : at::CUDAHooksInterface {
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  int getNumGPUs() const override { return 1; }
  DeviceIndex current_device() const override { return 0; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(DeviceIndex i) const override { check_ordinal(Device(c10::kCUDA, i)); }
  DeviceIndex exchangeDevice(DeviceIndex i) const override { return setCurrentDevice(i), 0; }
  DeviceIndex maybeExchangeDevice(DeviceIndex) const override { return 0; }
  at::Allocator* getPinnedMemoryAllocator() const override { return &pinned_memory; }
  at::Allocator* getCUDADeviceAllocator() const override { return &device_memory; }
  Device getDeviceFromPtr(void*) const override { return kDevice; }
  const at::Generator& getDefaultGenerator(DeviceIndex) const override { return generator(); }
  at::Generator getNewGenerator(DeviceIndex) const override { return at::detail::createCPUGenerator(); }
  std::string showConfig() const override { return "stand-in CUDA device"; }
  void deviceSynchronize(DeviceIndex) const override { syncs++; }
};

// ------------------------------------------------------------- lending ----

void copy_geometry(const Tensor& from, const Tensor& to) {
  auto* impl = to.unsafeGetTensorImpl();
  impl->set_sizes_and_strides(from.sizes(), from.strides(), from.storage_offset());
}

// The CPU's view of the device memory one op call touches. Tensors that share a storage go on
// sharing one, and results that alias an argument find their way back to the argument's storage.
class Loan {
  struct Pair { Storage device, host; };
  std::vector<Pair> pairs;

 public:
  Storage lend(const Storage& device) {
    for (auto& p : pairs)
      if (p.device.unsafeGetStorageImpl() == device.unsafeGetStorageImpl()) return p.host;
    Storage host(Storage::use_byte_size_t(), device.nbytes(),
                 DataPtr(to_host(device.data_ptr().get()), c10::kCPU), c10::GetAllocator(c10::kCPU), true);
    pairs.push_back({device, host});
    return host;
  }

  Storage reclaim(const Storage& host) {
    auto* h = host.unsafeGetStorageImpl();
    for (auto& p : pairs) {
      if (p.host.unsafeGetStorageImpl() != h) continue;
      // The kernel grew its argument (resize_, out=): the device storage takes the new memory.
      if (h->data_ptr().get() != to_host(p.device.data_ptr().get())) {
        auto* d = p.device.unsafeGetStorageImpl();
        charge(h->nbytes());
        d->set_data_ptr_noswap(seal(h->set_data_ptr(DataPtr(to_host(h->mutable_data()), c10::kCPU)), h->nbytes()));
        d->set_nbytes(h->nbytes());
      }
      return p.device;
    }
    charge(h->nbytes());
    Storage device(Storage::use_byte_size_t(), h->nbytes(),
                   seal(h->set_data_ptr(DataPtr(h->mutable_data(), c10::kCPU)), h->nbytes()), &device_memory, true);
    pairs.push_back({device, host});
    return device;
  }

  Tensor lend(const Tensor& t) {
    if (!t.defined() || !t.is_cuda()) return t;
    auto host = at::detail::make_tensor<c10::TensorImpl>(
        lend(t.storage()), c10::DispatchKeySet(c10::DispatchKey::CPU), t.dtype());
    copy_geometry(t, host);
    if (t.is_conj()) host._set_conj(true);
    if (t.is_neg()) host._set_neg(true);
    return host;
  }

  Tensor reclaim(const Tensor& host) {
    if (!host.defined()) return host;
    auto t = at::detail::make_tensor<c10::TensorImpl>(
        reclaim(host.storage()), c10::DispatchKeySet(c10::DispatchKey::CUDA), host.dtype());
    copy_geometry(host, t);
    if (host.is_conj()) t._set_conj(true);
    if (host.is_neg()) t._set_neg(true);
    return t;
  }

  // After the call: an argument the op may write can have new sizes, or (set_) another storage.
  void settle(const Tensor& t, const Tensor& host) {
    if (!t.defined() || !t.is_cuda()) return;
    Storage s = reclaim(host.storage());
    if (s.unsafeGetStorageImpl() != t.storage().unsafeGetStorageImpl())
      t.unsafeGetTensorImpl()->set_storage_keep_dtype(s);
    if (t.sizes() != host.sizes() || t.strides() != host.strides() || t.storage_offset() != host.storage_offset())
      copy_geometry(host, t);
  }

  IValue lend(const IValue& v) {
    if (v.isTensor()) return lend(v.toTensor());
    if (v.isStorage()) return v.toStorage().device_type() == c10::kCUDA ? lend(v.toStorage()) : v.toStorage();
    if (v.isDevice() && v.toDevice().is_cuda()) return Device(c10::kCPU);
    if (v.isTensorList()) {
      c10::List<Tensor> out;
      for (const Tensor& t : v.toTensorVector()) out.push_back(lend(t));
      return out;
    }
    if (v.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> out;
      for (const auto& t : v.toOptionalTensorVector()) out.push_back(t ? std::make_optional(lend(*t)) : std::nullopt);
      return out;
    }
    return v;
  }

  IValue reclaim(const IValue& v) {
    if (v.isTensor()) return reclaim(v.toTensor());
    if (v.isTensorList()) {
      c10::List<Tensor> out;
      for (const Tensor& t : v.toTensorVector()) out.push_back(reclaim(t));
      return out;
    }
    return v;
  }
};

template <class F>
void each_tensor(const IValue& v, F f) {
  if (v.isTensor()) f(v.toTensor());
  else if (v.isTensorList()) for (const Tensor& t : v.toTensorVector()) f(t);
  else if (v.isOptionalTensorList()) for (const auto& t : v.toOptionalTensorVector()) if (t) f(*t);
}

// ------------------------------------------------------------ the fallback ----

enum Trait {
  kCrossDevice = 1,  // takes tensors of both devices
  kReads = 2,        // the size or the value of the result has to reach the host
  kReadsUnsized = 4,
  kIndexPut = 8,
  kSoftmax = 16,
  kSoftmaxBackward = 32,
  kFloatOnly = 64,  // a GPU refuses integers
  kCpuOnly = 128,   // has no CUDA kernel
};

// Ops that need more than "same device, run it on the CPU". Names without overloads.
int traits(const std::string& name) {
  static const std::unordered_map<std::string, int> table = [] {
    std::unordered_map<std::string, int> t;
    auto add = [&](int trait, std::initializer_list<const char*> names) {
      for (const char* n : names) t["aten::" + std::string(n)] |= trait;
    };
    add(kCrossDevice, {"copy_", "set_", "index", "_index_put_impl_"});
    add(kReads, {"_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique", "_unique2", "unique_dim",
                 "unique_consecutive", "unique_dim_consecutive", "bincount"});
    add(kReadsUnsized, {"repeat_interleave"});
    add(kIndexPut, {"_index_put_impl_"});
    add(kSoftmax, {"_softmax", "_log_softmax"});
    add(kSoftmaxBackward, {"_softmax_backward_data", "_log_softmax_backward_data"});
    add(kFloatOnly, {"mm", "addmm", "addmm_", "bmm", "baddbmm", "baddbmm_", "addmv", "addmv_", "dot", "vdot"});
    add(kCpuOnly, {"histogram", "_histogramdd_bin_edges", "_histogramdd_from_bin_cts", "_histogramdd_from_bin_tensors"});
    return t;
  }();
  auto it = table.find(name);
  return it == table.end() ? 0 : it->second;
}

// CUDA kernels take CPU tensors only as scalars.
void check_devices(const c10::FunctionSchema& schema, at::ArrayRef<IValue> args) {
  for (size_t i = 0; i < args.size(); i++)
    each_tensor(args[i], [&](const Tensor& t) {
      if (t.defined() && !t.is_cuda() && (t.dim() > 0 || !t.device().is_cpu()))
        c10::impl::common_device_check_failure(kDevice, t, schema.name().c_str(), schema.arguments()[i].name().c_str());
    });
}

void count_transfers(int trait, const std::string& name, at::ArrayRef<IValue> args) {
  if (trait & kReads) count_read(name);
  if (name == "aten::copy_") {
    bool to = args[0].toTensor().is_cuda(), from = args[1].toTensor().is_cuda();
    if (from && !to) count_read(name);
    if (to && !from) uploads++;
  }
  if ((trait & kReadsUnsized) && args.size() >= 2 && args[1].isNone()) count_read(name);
  if (trait & kIndexPut) {  // a mask becomes indices (nonzero), except in a plain fill by a host scalar
    const Tensor& values = args[2].toTensor();
    bool fill = values.numel() == 1 && !values.is_cuda() && !args[3].toBool(), mask = false;
    each_tensor(args[1], [&](const Tensor& t) { mask |= t.scalar_type() == at::kBool || t.scalar_type() == at::kByte; });
    if (mask && !fill) count_read(name);
  }
}

void fallback(const c10::OperatorHandle& op, Stack* stack) {
  const auto& schema = op.schema();
  const auto& params = schema.arguments();
  const size_t base = stack->size() - params.size();
  const std::vector<IValue> args(stack->begin() + base, stack->end());
  const int trait = traits(schema.name());
  if (!(trait & kCrossDevice)) check_devices(schema, args);
  TORCH_CHECK_NOT_IMPLEMENTED(!(trait & kCpuOnly), "Could not run '", schema.name(),
      "' with arguments from the 'CUDA' backend: it has no CUDA kernel.");
  TORCH_CHECK_NOT_IMPLEMENTED(!(trait & kFloatOnly) || !c10::isIntegralType(args[0].toTensor().scalar_type(), true),
      "\"", schema.name(), "_cuda\" not implemented for '", args[0].toTensor().scalar_type(), "'");
  count_transfers(trait, schema.name(), args);

  Loan loan;
  for (size_t i = 0; i < args.size(); i++) {
    (*stack)[base + i] = loan.lend(args[i]);
    if (args[i].isNone() && params[i].name() == "generator") (*stack)[base + i] = generator();
  }
  const std::vector<IValue> lent(stack->begin() + base, stack->end());

  // Softmax of half with a float result is one kernel on CUDA only: widen before it, narrow after it.
  Tensor wide;
  if ((trait & kSoftmax) && args[2].toBool()) {
    (*stack)[base] = lent[0].toTensor().to(at::kFloat);
    (*stack)[base + 2] = false;
  }
  if ((trait & kSoftmaxBackward) && args.size() == 5 && args[0].toTensor().scalar_type() != args[3].toScalarType()) {
    wide = at::empty({0}, lent[0].toTensor().options());
    (*stack)[base + 3] = wide.scalar_type();
    (*stack)[base + 4] = wide;
  }
  {
    // The call below is the device's kernel: autograd and autocast have had their say.
    at::AutoDispatchBelowADInplaceOrView no_autograd;
    c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    op.callBoxed(stack);
    if (wide.defined()) lent[4].toTensor().copy_(wide);
  }

  for (size_t i = 0; i < args.size(); i++) {
    if (!params[i].alias_info() || !params[i].alias_info()->isWrite()) continue;
    std::vector<Tensor> ours, theirs;
    each_tensor(args[i], [&](const Tensor& t) { ours.push_back(t); });
    each_tensor(lent[i], [&](const Tensor& t) { theirs.push_back(t); });
    for (size_t k = 0; k < ours.size(); k++) loan.settle(ours[k], theirs[k]);
  }
  const auto& returns = schema.returns();
  const size_t out = stack->size() - returns.size();
  for (size_t r = 0; r < returns.size(); r++) {
    const auto* alias = returns[r].alias_info();
    IValue result;
    if (alias && alias->isWrite()) {  // in-place and out=: give back the very argument
      for (size_t i = 0; i < args.size(); i++)
        if (params[i].alias_info() && params[i].alias_info()->beforeSets() == alias->beforeSets()) result = args[i];
    } else {
      result = loan.reclaim((*stack)[out + r]);
    }
    (*stack)[out + r] = std::move(result);
  }
}

// ------------------------------------------------------- explicit kernels ----

// Unlike the fallback, these ask the ledger before taking memory.
Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
             std::optional<Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  check_ordinal(device.value_or(kDevice));
  return at::detail::empty_generic(size, &device_memory, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                   c10::dtype_or_default(dtype), format);
}

Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                     std::optional<at::Layout>, std::optional<Device> device, std::optional<bool>) {
  check_ordinal(device.value_or(kDevice));
  return at::detail::empty_strided_generic(size, stride, &device_memory, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                           c10::dtype_or_default(dtype));
}

// Attention: where the CPU has a fused kernel for the case, use it, so that no T x T matrix shows up
// in the ledger that a GPU would not hold either. "overrideable" is libtorch's slot for such a kernel.
int64_t attention_choice(const Tensor& q, const Tensor& k, const Tensor& v, const std::optional<Tensor>& mask,
                         double dropout, bool causal, std::optional<double> scale, bool gqa) {
  Loan loan;
  std::optional<Tensor> host_mask;
  if (mask) host_mask = loan.lend(*mask);
  auto choice = at::_fused_sdp_choice(loan.lend(q), loan.lend(k), loan.lend(v), host_mask, dropout, causal, scale, gqa);
  bool fused = choice == static_cast<int64_t>(at::SDPBackend::flash_attention) && !(mask && mask->requires_grad());
  return static_cast<int64_t>(fused ? at::SDPBackend::overrideable : at::SDPBackend::math);
}

std::tuple<Tensor, Tensor, Tensor, Tensor, c10::SymInt, c10::SymInt, Tensor, Tensor, Tensor> attention(
    const Tensor& q, const Tensor& k, const Tensor& v, const std::optional<Tensor>& mask, double dropout, bool causal,
    bool, std::optional<double> scale) {
  auto [out, lse] = at::_scaled_dot_product_flash_attention_for_cpu(q, k, v, dropout, causal, mask, scale);
  Tensor none = at::empty({0}, q.options().dtype(at::kLong));
  return {out, lse, none, none, q.size(2), k.size(2), none, none, none};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> attention_backward(
    const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, std::array<bool, 4>,
    const Tensor& out, const Tensor& lse, const Tensor&, const Tensor&, c10::SymInt, c10::SymInt, double dropout,
    bool causal, const Tensor&, const Tensor&, std::optional<double> scale) {
  std::optional<Tensor> bias;
  if (mask.defined()) bias = mask;
  auto [gq, gk, gv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      grad, q, k, v, out, lse, dropout, causal, bias, scale);
  return {gq, gk, gv, Tensor()};
}

const char* install() {
  if (c10::GetAllocator(c10::kCUDA) || at::CUDAHooksRegistry()->Has("CUDAHooks"))
    return "a CUDA library is already loaded in this process";
  at::CUDAHooksRegistry()->Register(
      "CUDAHooks", [](at::CUDAHooksArgs) { return std::unique_ptr<at::CUDAHooksInterface>(new Hooks); });
  if (at::detail::getCUDAHooks().deviceCount() != 1)
    return "CUDA was queried before the stand-in was installed; libtorch keeps the first answer";
  c10::SetAllocator(c10::kCUDA, &device_memory);
  static c10::impl::DeviceGuardImplRegistrar guard(c10::kCUDA, new Guard);

  // Leaked: unregistering during static destruction would race with libtorch's own teardown.
  auto* all = new torch::Library(torch::Library::IMPL, "_", c10::DispatchKey::CUDA, __FILE__, __LINE__);
  all->fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>());
  auto* aten = new torch::Library(torch::Library::IMPL, "aten", c10::DispatchKey::CUDA, __FILE__, __LINE__);
  aten->impl("empty.memory_format", empty);
  aten->impl("empty_strided", empty_strided);
  aten->impl("_scaled_dot_product_fused_attention_overrideable", attention);
  aten->impl("_scaled_dot_product_fused_attention_overrideable_backward", attention_backward);
  at::native::_fused_sdp_choice_stub.set_cuda_dispatch_ptr(attention_choice);
  // A composite kernel beats a backend fallback. Where the CPU has a kernel of its own beside the
  // composite one, a GPU has too, and the composite one rounds differently (silu_backward). A few
  // more look up a device stub that is not there (copy_). All these name the fallback outright.
  const std::set<std::string> stubbed = {"aten::copy_", "aten::mode", "aten::conj_physical_"};
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const auto& name : dispatcher.getAllOpNames()) {
    auto op = dispatcher.findOp(name);
    if (name.name.rfind("aten::", 0) != 0 || !op || !op->hasSchema()) continue;
    bool own = op->hasKernelForDispatchKey(c10::DispatchKey::CPU);
    bool composite = op->hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd) ||
                     op->hasKernelForDispatchKey(c10::DispatchKey::CompositeExplicitAutograd);
    if ((own && composite) || stubbed.count(name.name)) {
      std::string full = name.name + (name.overload_name.empty() ? "" : "." + name.overload_name);
      aten->impl(full.c_str(), torch::CppFunction::makeFromBoxedFunction<&fallback>());
    }
  }
  return nullptr;
}

}  // namespace

extern "C" {

// Null on success, else why not. Call once, before any CUDA query and before the first backward.
const char* fake_cuda_install() {
  static const char* error = [] {
    try {
      return install();
    } catch (const std::exception& e) {
      static std::string text;
      text = e.what();
      return text.c_str();
    }
  }();
  return error;
}

void fake_cuda_set_limit(size_t bytes) {
  std::lock_guard<std::mutex> hold(ledger.lock);
  ledger.limit = bytes;
}
void fake_cuda_refuse(uint64_t allocation) {
  std::lock_guard<std::mutex> hold(ledger.lock);
  ledger.refused = allocation ? ledger.allocations + allocation : 0;
}
uint64_t fake_cuda_allocations() {
  std::lock_guard<std::mutex> hold(ledger.lock);
  return ledger.allocations;
}
size_t fake_cuda_current() {
  std::lock_guard<std::mutex> hold(ledger.lock);
  return ledger.current;
}
size_t fake_cuda_peak() {
  std::lock_guard<std::mutex> hold(ledger.lock);
  return ledger.peak;
}
uint64_t fake_cuda_host_reads() { return host_reads; }
uint64_t fake_cuda_uploads() { return uploads; }
uint64_t fake_cuda_syncs() { return syncs; }

// Name of the op behind the latest host read, cut to fit.
void fake_cuda_last_read(char* text, size_t room) {
  std::lock_guard<std::mutex> hold(last_read_lock);
  std::snprintf(text, room, "%s", last_read.c_str());
}

// Counters to zero, peak to the present; the limit stays.
void fake_cuda_reset() {
  {
    std::lock_guard<std::mutex> hold(ledger.lock);
    ledger.peak = ledger.current;
    ledger.refused -= std::min(ledger.refused, ledger.allocations);
    ledger.allocations = 0;
  }
  host_reads = uploads = syncs = 0;
  std::lock_guard<std::mutex> hold(last_read_lock);
  last_read.clear();
}

}  // extern "C"
