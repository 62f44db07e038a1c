// Threads, seeds, versions, devices and their memory. CUDA is reached through libtorch's own hooks,
// so the same source builds against a CPU-only libtorch and needs no CUDA toolkit.
#include "cuda.h"
#include "env.h"

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/detail/CUDAHooksInterface.h>

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 10)
#define VIGORL_DEVICE_STATS 1
#include <c10/core/CachingDeviceAllocator.h>
#endif

namespace vigorl {

namespace {

napi_value version(Call& call) { return make_string(call.env, TORCH_VERSION); }

napi_value num_threads(Call& call) {
  return make_number(call.env, at::get_num_threads());
}

napi_value set_num_threads(Call& call) {
  const int64_t count = call.integer(0);
  if (count < 1 || count > 4096) throw JsError("the number of threads must be 1 to 4096");
  at::set_num_threads(static_cast<int>(count));
  return make_undefined(call.env);
}

napi_value parallel_info(Call& call) { return make_string(call.env, at::get_parallel_info()); }
napi_value build_info(Call& call) { return make_string(call.env, at::show_config()); }

// manualSeed(seed): seeds the default generators of the CPU and of every CUDA device.
napi_value manual_seed(Call& call) {
  const auto seed = static_cast<uint64_t>(call.integer(0));
  at::manual_seed(seed);
  return make_undefined(call.env);
}

const at::Generator& generator(const Call& call, size_t i) {
  const c10::Device device = call.missing(i) ? c10::Device("cpu") : c10::Device(call.string(i));
  return at::globalContext().defaultGenerator(device);
}

// rngState(device?) -> handle of a uint8 tensor; setRngState(handle, device?) puts it back.
napi_value rng_state(Call& call) {
  auto source = generator(call, 0);
  std::lock_guard<std::mutex> lock(source.mutex());
  return call.handle(source.get_state());
}

napi_value set_rng_state(Call& call) {
  auto target = generator(call, 1);
  std::lock_guard<std::mutex> lock(target.mutex());
  target.set_state(call.tensor(0));
  return make_undefined(call.env);
}

bool has_cuda() { return at::globalContext().hasCUDA(); }

c10::DeviceIndex cuda_index(Call& call) {
  const int64_t index = call.integer(0), count = at::detail::getCUDAHooks().getNumGPUs();
  if (index < 0 || index >= count) throw JsError("no CUDA device has the number " + std::to_string(index));
  return static_cast<c10::DeviceIndex>(index);
}

napi_value cuda_count(Call& call) {
  return make_number(call.env, has_cuda() ? at::detail::getCUDAHooks().getNumGPUs() : 0);
}

// synchronize(index): waits until a CUDA device has done everything asked of it.
napi_value synchronize(Call& call) {
  if (has_cuda()) at::detail::getCUDAHooks().deviceSynchronize(cuda_index(call));
  return make_undefined(call.env);
}

// cudaMemory(index) -> [allocated, reserved, peak allocated, free, total] in bytes, or null where
// there is no CUDA device or this libtorch cannot tell.
napi_value cuda_memory(Call& call) {
  napi_value result;
  napi_get_null(call.env, &result);
#ifdef VIGORL_DEVICE_STATS
  if (has_cuda()) {
    const c10::DeviceIndex index = cuda_index(call);
    // The allocator sets itself up with the first tensor on the device.
    at::empty({1}, at::TensorOptions().device(c10::Device(c10::kCUDA, index)));
    auto* allocator = c10::getDeviceAllocator(c10::kCUDA);
    const auto stats = allocator->getDeviceStats(index);
    const auto [available, total] = allocator->getMemoryInfo(index);
    const double numbers[] = {static_cast<double>(stats.allocated_bytes[0].current),
                              static_cast<double>(stats.reserved_bytes[0].current),
                              static_cast<double>(stats.allocated_bytes[0].peak),
                              static_cast<double>(available), static_cast<double>(total)};
    check(napi_create_array_with_length(call.env, 5, &result), "numbers");
    for (uint32_t i = 0; i < 5; i++) {
      napi_set_element(call.env, result, i, make_number(call.env, numbers[i]));
    }
  }
#endif
  return result;
}

// resetPeak(index): the peak of `cudaMemory` counts from now on.
napi_value reset_peak(Call& call) {
#ifdef VIGORL_DEVICE_STATS
  if (has_cuda()) {
    const c10::DeviceIndex index = cuda_index(call);
    at::empty({1}, at::TensorOptions().device(c10::Device(c10::kCUDA, index)));
    c10::getDeviceAllocator(c10::kCUDA)->resetPeakStats(index);
  }
#endif
  return make_undefined(call.env);
}

// cudaKernels() -> "" where kernels of our own run on this thread's CUDA device, else why not.
napi_value cuda_kernels(Call& call) {
  return make_string(call.env, has_cuda() ? cuda_kernels_fault() : "there is no CUDA device");
}

napi_value empty_cache(Call& call) {
#ifdef VIGORL_DEVICE_STATS
  if (has_cuda()) c10::getDeviceAllocator(c10::kCUDA)->emptyCache();
#endif
  return make_undefined(call.env);
}

// setDeterministic(on): libtorch refuses (or replaces) kernels whose sums depend on timing.
napi_value set_deterministic(Call& call) {
  at::globalContext().setDeterministicAlgorithms(call.boolean(0), /*warn_only=*/true);
  return make_undefined(call.env);
}

// setTf32(on): whether float32 matrix products on CUDA may use TF32.
napi_value set_tf32(Call& call) {
  at::globalContext().setAllowTF32CuBLAS(call.boolean(0));
  at::globalContext().setAllowTF32CuDNN(call.boolean(0));
  return make_undefined(call.env);
}

}  // namespace

void register_system(napi_env env, napi_value exports) {
  expose<version>(env, exports, "version");
  expose<num_threads>(env, exports, "numThreads");
  expose<set_num_threads>(env, exports, "setNumThreads");
  expose<parallel_info>(env, exports, "parallelInfo");
  expose<build_info>(env, exports, "buildInfo");
  expose<manual_seed>(env, exports, "manualSeed");
  expose<rng_state>(env, exports, "rngState");
  expose<set_rng_state>(env, exports, "setRngState");
  expose<cuda_count>(env, exports, "cudaCount");
  expose<synchronize>(env, exports, "synchronize");
  expose<cuda_memory>(env, exports, "cudaMemory");
  expose<reset_peak>(env, exports, "resetPeak");
  expose<cuda_kernels>(env, exports, "cudaKernels");
  expose<empty_cache>(env, exports, "emptyCache");
  expose<set_deterministic>(env, exports, "setDeterministic");
  expose<set_tf32>(env, exports, "setTf32");
}

}  // namespace vigorl
